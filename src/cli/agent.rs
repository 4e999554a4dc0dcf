//! `adit agent`: the life of the agent's process, in order.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use sd_notify::NotifyState;

use super::signals::Signals;
use super::{files, privilege};
use crate::agent::Agent;
use crate::agent::state::AgentState;
use crate::config::agent::AgentConfig;
use crate::observe::{log, metrics};

#[derive(clap::Args)]
pub struct Arguments {
    /// The agent's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_agent(&arguments.config)?;
    privilege::act_as_owner(&arguments.config, &config.state)?;
    privilege::check_named(config.connector.as_deref())?;
    if let Some(connector) = config.connector.as_deref().filter(|_| needs_token(&config)) {
        files::check_connector(connector)?;
    }
    log::init(config.log)?;
    // One thread: see the agent's own words on it.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(config))
}

/// Whether the agent will enrol.
fn needs_token(config: &AgentConfig) -> bool {
    AgentState::look_if_made(&config.state).is_none_or(|state| matches!(state.enrolment(), Ok(None)))
}

async fn serve(config: AgentConfig) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::watch()?;
    let address = config.metrics;
    let handle = address.map(|_| metrics::install()).transpose()?;
    let starting = Agent::start(config);
    let mut agent = tokio::select! {
        started = starting => started?,
        reason = signals.stop() => {
            tracing::info!(reason, "the agent stops before it was running");
            return Ok(ExitCode::SUCCESS);
        }
    };
    // Only now: a second agent on one state must hear of the first, not of a port in use.
    let metrics = match address.zip(handle) {
        Some((address, handle)) => Some((metrics::listen(address).await?, handle)),
        None => None,
    };
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the agent is running");
    let serving_metrics = async {
        match metrics {
            Some((listener, handle)) => metrics::serve(listener, handle).await,
            None => std::future::pending().await,
        }
    };
    let (code, reason) = tokio::select! {
        () = serving_metrics => (ExitCode::FAILURE, "the metrics are served no more"),
        () = agent.failed() => (ExitCode::FAILURE, "a part of it ended"),
        signal = signals.stop() => (ExitCode::SUCCESS, signal),
    };
    tracing::info!(reason, "the agent is stopping");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    agent.shutdown().await;
    tracing::info!("the agent has stopped");
    Ok(code)
}
