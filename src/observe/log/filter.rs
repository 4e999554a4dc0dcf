//! Which lines are written: `ADIT_LOG` as people write it, over what holds without it.
//!
//! A level alone is meant for our own lines. Libraries say in their words what ours say in the operator's, so
//! they are heard below an error only where a filter names them. What is no filter costs a line that says so,
//! never the start: what only watches must not stop what carries.

use std::env::VarError;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

/// A packet that the network refuses shows as a path that fails.
const DEFAULT: &str = "error,quinn_udp=off,adit=info";
const LIBRARIES_OFF: &str = "off";
/// What the targets of our lines begin with.
const CRATES: [&str; 8] =
    ["adit", "adit_agent", "adit_core", "adit_gateway", "adit_lab", "adit_mirth", "adit_net", "adit_observe"];

/// A part of the filter that is ignored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterProblem {
    #[error("ADIT_LOG is ignored: it is not UTF-8; {EXPECTED}")]
    NotText,
    #[error("`{part}` in ADIT_LOG is ignored: it is neither a level nor a module; {EXPECTED}")]
    Neither { part: String },
    #[error(
        "`{part}` in ADIT_LOG is ignored: no crate of adit has this name; they are {}",
        CRATES.join(", ")
    )]
    NoCrate { part: String },
    #[error("`{part}` in ADIT_LOG is ignored: it cannot be read; {EXPECTED}")]
    Unreadable { part: String },
}

const EXPECTED: &str = "write a level (off, error, warn, info, debug or trace), a module and its level such as \
                        adit_net::transport=debug, a span such as [agent{server=ID}]=debug, or several with \
                        commas between them";

/// Returns the filter, and what of the variable's value is ignored.
pub(super) fn from_variable(value: Result<String, VarError>) -> (EnvFilter, Vec<FilterProblem>) {
    match value {
        Ok(text) => from_text(&text),
        Err(VarError::NotPresent) => (EnvFilter::new(DEFAULT), Vec::new()),
        Err(VarError::NotUnicode(_)) => (EnvFilter::new(DEFAULT), vec![FilterProblem::NotText]),
    }
}

fn from_text(text: &str) -> (EnvFilter, Vec<FilterProblem>) {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let (mut filter, mut problems) = (EnvFilter::new(DEFAULT), Vec::new());
    for part in parts {
        match directive(part) {
            Ok(Part::Level(LevelFilter::OFF)) => filter = EnvFilter::new(LIBRARIES_OFF),
            Ok(Part::Level(level)) => filter = filter.add_directive(ours_at(level)),
            Ok(Part::Directive(directive)) => filter = filter.add_directive(directive),
            Err(problem) => problems.push(problem),
        }
    }
    (filter, problems)
}

enum Part {
    /// Of all that is ours.
    Level(LevelFilter),
    Directive(Directive),
}

fn directive(part: &str) -> Result<Part, FilterProblem> {
    if let Ok(level) = part.parse() {
        return Ok(Part::Level(level));
    }
    let part = part.to_owned();
    let target = part.split(['=', '[']).next().unwrap_or_default();
    let krate = target.split("::").next().unwrap_or_default();
    if krate.starts_with("adit") && !CRATES.contains(&krate) {
        return Err(FilterProblem::NoCrate { part });
    }
    // It would be taken for a module of which everything is written, and nothing else: a level with a slip.
    if target == part && !CRATES.contains(&krate) {
        return Err(FilterProblem::Neither { part });
    }
    part.parse().map(Part::Directive).map_err(|_| FilterProblem::Unreadable { part })
}

fn ours_at(level: LevelFilter) -> Directive {
    format!("adit={level}").parse().expect("a level of ours is a directive")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::log::tests::Captured;

    /// Returns what a process with this filter writes of the lines below.
    fn written(text: &str) -> Vec<String> {
        let (filter, problems) = from_text(text);
        assert_eq!(problems, [], "{text}");
        let captured = Captured::default();
        let output = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .without_time()
            .with_ansi(false)
            .with_writer(move || output.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "adit_gateway::control", "info");
            tracing::debug!(target: "adit_net::transport::routes", "debug");
            tracing::trace!(target: "adit_net::transport::routes", "trace");
            for server in [1, 2] {
                let span = tracing::info_span!("agent", server = %format_args!("0badcafe-{server}"));
                span.in_scope(|| tracing::debug!(target: "adit_gateway::control", "of {server}"));
            }
            tracing::warn!(target: "quinn_udp", "sendmsg error");
            tracing::error!(target: "quinn_udp", "sendmsg error");
            tracing::warn!(target: "rustls::conn", "rustls warns");
            tracing::error!(target: "hyper", "hyper fails");
        });
        let line = |line: &str| line.rsplit(": ").next().unwrap_or_default().to_owned();
        captured.text().lines().map(line).collect()
    }

    #[test]
    fn a_level_is_meant_for_our_own_lines() {
        assert_eq!(written(""), ["info", "hyper fails"]);
        assert_eq!(written("info"), ["info", "hyper fails"]);
        assert_eq!(written("DEBUG"), ["info", "debug", "of 1", "of 2", "hyper fails"]);
        assert_eq!(written("trace"), ["info", "debug", "trace", "of 1", "of 2", "hyper fails"]);
        assert_eq!(written("error"), ["hyper fails"]);
        assert_eq!(written("off"), [""; 0]);
    }

    #[test]
    fn libraries_are_silent_by_default_below_an_error() {
        assert!(!written("").contains(&"rustls warns".to_owned()));
    }

    #[test]
    fn packets_that_the_network_refuses_are_heard_of_only_by_who_asks_for_them() {
        let heard = |text| written(text).iter().filter(|line| *line == "sendmsg error").count();
        assert_eq!([heard(""), heard("info"), heard("trace,quinn=trace")], [0; 3]);
        assert_eq!(heard("info,quinn_udp=warn"), 2);
    }

    #[test]
    fn a_module_or_library_is_heard_where_it_is_named() {
        let routes = "adit_net::transport::routes=trace";
        assert_eq!(written(routes), ["info", "debug", "trace", "hyper fails"]);
        assert_eq!(written(&format!("warn, {routes}")), ["debug", "trace", "hyper fails"]);
        assert_eq!(written("rustls=warn"), ["info", "rustls warns", "hyper fails"]);
        assert_eq!(written("off,quinn_udp=error"), ["sendmsg error"]);
    }

    #[test]
    fn a_span_is_followed_by_the_value_of_its_field() {
        assert_eq!(written("[agent{server=0badcafe-2}]=debug"), ["info", "of 2", "hyper fails"]);
        assert_eq!(written("[{server=0badcafe-1}]=debug"), ["info", "of 1", "hyper fails"]);
    }

    #[test]
    fn a_part_that_is_no_filter_is_named_where_it_is_ignored() {
        let (_, problems) = from_text("debgu,debug,adit_nett=trace,quinn,adit_net=loud,[agent=debug");
        let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(said[0].starts_with("`debgu` in ADIT_LOG is ignored: it is neither a level"), "{said:?}");
        assert!(said[0].contains("write a level (off, error, warn, info, debug or trace)"), "{said:?}");
        assert!(said[1].contains("`adit_nett=trace`") && said[1].contains("adit_net, "), "{said:?}");
        assert!(said[2].contains("`quinn`"), "{said:?}");
        assert!(said[3].contains("`adit_net=loud`"), "{said:?}");
        assert!(said[4].contains("`[agent=debug`"), "{said:?}");
        assert_eq!(said.len(), 5, "{said:?}");
    }

    #[test]
    fn a_value_that_is_no_text_is_ignored() {
        let value = VarError::NotUnicode(OsString::from_vec(vec![0xff]));
        assert_eq!(from_variable(Err(value)).1, [FilterProblem::NotText]);
    }
}
