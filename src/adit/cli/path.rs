//! `adit path`: a person chooses the path to a peer while the agent runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::files;
use super::shown::ask_shown;
use adit_agent::status::{Answer, Request};
use adit_core::domain::path::{PathKind, PathPreference};
use adit_net::host::privilege;
use adit_observe::print;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The connection's name or id in the agent's file; all connections with its peer share the path
    connection: String,
    /// What this agent may use: auto, or direct, relay and tcp with commas between those allowed, most wanted
    /// first; until it stops or this is called again. Say the same at both ends
    path: PathPreference,
    /// The agent's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_agent(&arguments.config)?;
    privilege::act_as_owner(&arguments.config, &config.state)?;
    let entry = files::find_entry(&config, &arguments.connection)?;
    let request = Request::Path { connection: entry.id, path: arguments.path };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(ask_shown(&config.state, &request))? {
        Answer::PathChosen => {}
        Answer::Failed { what } => bail!("the agent did not take the path: {what}"),
        Answer::Status(_)
        | Answer::Trusted { .. }
        | Answer::Explained(_)
        | Answer::Forgotten { .. }
        | Answer::Waits { .. } => {
            bail!("the agent gave an answer to another question")
        }
    }
    let allowed = allowed(arguments.path);
    let connection = &arguments.connection;
    print::line(format_args!(
        "{connection} may use {allowed} until the agent stops; `adit status` shows the path in use"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns what stands after "may use".
fn allowed(preference: PathPreference) -> String {
    let kinds: Vec<_> = preference.iter().collect();
    match kinds[..] {
        [PathKind::Direct] => "only the direct path".into(),
        [PathKind::Relay] => "only the relay".into(),
        [PathKind::Tcp] => "only the relay over TCP".into(),
        _ if preference == PathPreference::AUTO => "any path".into(),
        _ => format!("these paths, most wanted first ({preference}),"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_said_back() {
        let check = |text: &str, said: &str| assert_eq!(allowed(text.parse().unwrap()), said);
        check("auto", "any path");
        check("direct", "only the direct path");
        check("relay", "only the relay");
        check("tcp", "only the relay over TCP");
        check("tcp,direct", "these paths, most wanted first (tcp,direct),");
    }
}
