//! The command line of the lab: arguments in, one file per command, the error chain printed once.

mod agents;
mod demo;
mod lab;
mod pages;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use adit_core::domain::visible::{error_chain, visible_lines};
use adit_observe::print::{self, PrintError};

/// The exit code of a command line that cannot be read, as clap has it.
const USAGE: u8 = 2;

/// Shows adit at work on one machine, with stand-ins for Mirth; nothing here is for production.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Subcommand)]
enum LabCommand {
    /// Show the main job in one process: gateway, two agents, two stand-in Mirths
    Demo(demo::Arguments),
    /// Write a complete set of files for gateway and two agents on this machine
    Lab(lab::Arguments),
    /// Load one gateway with many simulated agents and print what they cost it
    Agents(agents::Arguments),
    /// Ask for every page of a large platform's console, and print how long each takes and what it weighs
    Pages(pages::Arguments),
}

/// Parses the process's arguments, runs the command, prints an error chain once.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // It repeats what was typed.
        Err(error) if error.use_stderr() => {
            print::error_text(visible_lines(&error.render().to_string()));
            return ExitCode::from(USAGE);
        }
        Err(error) => {
            let printed = print::text(error.render());
            return printed.map_or_else(|error| ended(&error.into()), |()| ExitCode::SUCCESS);
        }
    };
    let outcome = match arguments.command {
        LabCommand::Demo(arguments) => demo::run(&arguments),
        LabCommand::Lab(arguments) => lab::run(&arguments),
        LabCommand::Agents(arguments) => agents::run(arguments),
        LabCommand::Pages(arguments) => pages::run(arguments),
    };
    outcome.unwrap_or_else(|error| ended(&error))
}

/// Says why the command failed, unless only its reader is gone.
fn ended(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<PrintError>().is_some_and(PrintError::is_reader_gone) {
        return ExitCode::SUCCESS;
    }
    print::error_text(format_args!("adit-lab: {}\n", error_chain(error.as_ref())));
    ExitCode::FAILURE
}
