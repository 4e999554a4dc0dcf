//! The command line: arguments in, one file per command, the error chain printed once.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "commands speak to people on the terminal")]

mod admin;
mod agent;
mod check;
mod demo;
mod explain;
mod files;
mod gateway;
mod lab;
mod path;
mod status;
mod trust;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Carries HL7v2 and DICOM between hospitals' Mirth servers through mutually authenticated QUIC
/// tunnels.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent beside a Mirth server
    Agent(agent::Arguments),
    /// Run the gateway that enrols and introduces agents
    Gateway(gateway::Arguments),
    /// Show the main job in one process: gateway, two agents, two stand-in Mirths
    Demo(demo::Arguments),
    /// Write a complete set of files for gateway and two agents on this machine
    Lab(lab::Arguments),
    /// Show what a running agent does
    Status(status::Arguments),
    /// Check configuration, certificates, permissions, ports and reachability
    Check(check::Arguments),
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
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Gateway(arguments) => gateway::run(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Lab(arguments) => lab::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Trust(arguments) => trust::run(&arguments),
        Command::Path(arguments) => path::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Admin(arguments) => admin::run(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("adit: {error:#}");
        ExitCode::FAILURE
    })
}
