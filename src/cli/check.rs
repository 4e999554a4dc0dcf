//! `adit check`: configuration, certificates, permissions, ports and reachability of an agent or a
//! gateway. Every problem comes with its remedy; nothing is repaired here.

mod agent;
mod finding;
mod gateway;
mod network;
mod state;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use self::finding::Findings;
use super::files::{self, FileError};
use crate::config::gateway::GatewayConfig;

#[derive(clap::Args)]
pub struct Arguments {
    /// The agent's or gateway's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
    /// Take the file for a gateway's, whatever it looks like
    #[arg(long)]
    gateway: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let findings = runtime.context("cannot start the runtime")?.block_on(check(arguments));
    print!("{findings}");
    Ok(if findings.has_problem() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn check(arguments: &Arguments) -> Findings {
    let path = &arguments.config;
    let mut findings = Findings::default();
    match files::read(path) {
        Err(error) => findings.error(&error),
        Ok(written) if arguments.gateway || GatewayConfig::is_meant_by(&written.text) => {
            match files::read_gateway(path) {
                Ok(config) => gateway::check(&config, &mut findings).await,
                Err(error) => unusable(&error, &mut findings),
            }
        }
        Ok(_) => match files::read_agent(path) {
            Ok(config) => agent::check(&config, &mut findings).await,
            Err(error) => unusable(&error, &mut findings),
        },
    }
    findings
}

/// Each problem of a file is a finding of its own.
fn unusable(error: &FileError, findings: &mut Findings) {
    if let FileError::Unusable { path, problems } = error {
        for problem in problems.iter() {
            findings.problem(format!("{}: {problem}", path.display()));
        }
    } else {
        findings.error(error);
    }
}

#[cfg(test)]
mod tests;
