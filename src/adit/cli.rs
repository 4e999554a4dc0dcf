//! The command line: arguments in, one file per command, the error chain printed once.

mod admin;
mod agent;
mod check;
mod explain;
mod files;
mod gateway;
mod health;
mod hold;
mod open;
mod path;
mod shown;
mod signals;
mod status;
mod trust;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::admin::Several;
use self::files::FileError;
use adit_core::config::ConfigProblems;
use adit_core::domain::visible::{error_chain, visible_lines};
use adit_observe::log;
use adit_observe::print::{self, PrintError};

/// The exit code of a command line that cannot be read, as clap has it.
const USAGE: u8 = 2;

/// Carries HL7v2 and DICOM between hospitals' Mirth servers through mutually authenticated QUIC
/// tunnels.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: AditCommand,
}

#[derive(Subcommand)]
enum AditCommand {
    /// Run the agent beside a Mirth server
    Agent(agent::Arguments),
    /// Run the gateway that enrols and introduces agents
    Gateway(gateway::Arguments),
    /// Show what a running agent does
    Status(status::Arguments),
    /// Check configuration, certificates, permissions, ports and reachability
    Check(check::Arguments),
    /// Say by an exit code whether a running agent or gateway is well; for probes
    Health(health::Arguments),
    /// Do nothing until stopped: holds the network that the containers of Mirth and its agent share
    Hold(hold::Arguments),
    /// Accept a peer's public key, or that of this host's Mirth, after comparing it
    Trust(trust::Arguments),
    /// Choose the path to a peer while the agent runs
    Path(path::Arguments),
    /// Say what would become of a partner's request to this host's Mirth, and by which rule
    Explain(explain::Arguments),
    /// Administer the platform on the gateway's host
    Admin(admin::Arguments),
}

/// Parses the process's arguments, runs the command, prints an error chain once.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // It repeats what was typed, or what a script took from elsewhere.
        Err(error) if error.use_stderr() => {
            print::error_text(visible_lines(&error.render().to_string()));
            return ExitCode::from(USAGE);
        }
        // Help and version, whose reader may be gone.
        Err(error) => {
            let printed = if std::io::stdout().is_terminal() && !is_set("NO_COLOR") {
                print::text(error.render().ansi())
            } else {
                print::text(error.render())
            };
            return printed.map_or_else(|error| ended(&error.into()), |()| ExitCode::SUCCESS);
        }
    };
    let outcome = match arguments.command {
        AditCommand::Agent(arguments) => agent::run(&arguments),
        AditCommand::Gateway(arguments) => gateway::run(arguments),
        AditCommand::Status(arguments) => status::run(&arguments),
        AditCommand::Check(arguments) => check::run(&arguments),
        AditCommand::Health(arguments) => health::run(&arguments),
        AditCommand::Hold(hold::Arguments {}) => hold::run(),
        AditCommand::Trust(arguments) => trust::run(&arguments),
        AditCommand::Path(arguments) => path::run(&arguments),
        AditCommand::Explain(arguments) => explain::run(&arguments),
        AditCommand::Admin(arguments) => admin::run(arguments),
    };
    let code = outcome.unwrap_or_else(|error| ended(&error));
    log::flush();
    code
}

/// Returns whether it is set, as no-color.org has it.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Says why the command failed, unless only its reader is gone.
fn ended(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<PrintError>().is_some_and(PrintError::is_reader_gone) {
        return ExitCode::SUCCESS;
    }
    let text = format!("adit: {}", chain(error));
    // A service whose log nobody reads must still end.
    if !log::write_plain(&text) {
        print::error_text(format_args!("{text}\n"));
    }
    ExitCode::FAILURE
}

/// Returns the error with its causes on one line, whatever names are in it; a list keeps its lines.
fn chain(error: &anyhow::Error) -> String {
    let is_list = error
        .chain()
        .any(|cause| cause.is::<FileError>() || cause.is::<ConfigProblems>() || cause.is::<Several>());
    if is_list { visible_lines(&format!("{error:#}")).into_owned() } else { error_chain(error.as_ref()) }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::*;

    #[test]
    fn only_a_reader_that_is_gone_ends_a_command_quietly() {
        let gone = || io::Error::from(ErrorKind::BrokenPipe);
        assert_eq!(ended(&PrintError::from(gone()).into()), ExitCode::SUCCESS);
        assert_eq!(ended(&gone().into()), ExitCode::FAILURE);
    }

    #[test]
    fn an_error_is_one_line_whatever_is_in_it() {
        let error = anyhow::anyhow!("a\u{1b}[2J\u{7}").context("no `St\nMary\u{202e}`");
        assert_eq!(chain(&error), "no `St\\nMary\\u{202e}`: a\\u{1b}[2J\\u{7}");
    }
}
