//! `adit check`: configuration, certificates, permissions, ports and reachability of an agent or a
//! gateway. Every problem comes with its remedy; nothing is repaired here.

mod agent;
mod finding;
mod gateway;
mod gateways;
mod network;
mod state;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use self::finding::Findings;
use super::files::{self, FileError};
use adit_core::config::agent::AgentConfig;
use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::visible::error_chain;
use adit_net::host::privilege;
use adit_observe::print;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The agent's or gateway's file. Left out: the agent's, /etc/adit/agent.toml, or, where there is
    /// none, the gateway's, /etc/adit/gateway.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the file for a gateway's, whatever it looks like
    #[arg(long)]
    gateway: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    let path = arguments.config.clone().unwrap_or_else(|| usual(Path::new("/etc/adit")));
    let config = read(&path, arguments.gateway, &mut findings);
    let state = config.as_ref().map(Config::state);
    if let Err(error) = state.map_or(Ok(()), |state| privilege::act_as_owner(&path, state)) {
        findings.problem(format!("state: {}", error_chain(&error)));
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start the runtime")?.block_on(check(config, &mut findings));
    }
    print::text(&findings)?;
    Ok(if findings.has_problem() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A file that can be used.
enum Config {
    Agent(Box<AgentConfig>),
    Gateway(Box<GatewayConfig>),
}

impl Config {
    fn state(&self) -> &Path {
        match self {
            Self::Agent(config) => &config.state,
            Self::Gateway(config) => &config.state,
        }
    }
}

/// Returns the file of the agent that is set up in `folder`, or of the gateway where only that is.
fn usual(folder: &Path) -> PathBuf {
    let (agent, gateway) = (folder.join("agent.toml"), folder.join("gateway.toml"));
    if !agent.exists() && gateway.exists() { gateway } else { agent }
}

fn read(path: &Path, is_gateway: bool, findings: &mut Findings) -> Option<Config> {
    let written = files::read(path).map_err(|error| findings.error(&error)).ok()?;
    let config = if is_gateway || GatewayConfig::is_meant_by(&written.text) {
        files::read_gateway(path).map(|config| Config::Gateway(Box::new(config)))
    } else {
        files::read_agent(path).map(|config| Config::Agent(Box::new(config)))
    };
    config.map_err(|error| unusable(&error, findings)).ok()
}

async fn check(config: Option<Config>, findings: &mut Findings) {
    match config {
        Some(Config::Agent(config)) => agent::check(&config, findings).await,
        Some(Config::Gateway(config)) => gateway::check(&config, findings).await,
        None => {}
    }
}

/// Reports the problems: each problem of a file is a finding of its own.
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
