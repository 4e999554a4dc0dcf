//! `adit agent`: the life of the agent's process, in order.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;

use super::files;
use super::signals::Signals;
use adit_agent::Agent;
use adit_agent::state::AgentState;
use adit_core::config::agent::AgentConfig;
use adit_net::host::privilege;
use adit_observe::{log, metrics};

const START_EXTENDED_EVERY: Duration = Duration::from_secs(20);
/// Longer than the pauses between, on a busy host too.
const START_EXTENDED_BY: Duration = Duration::from_mins(2);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The agent's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_agent(&arguments.config)?;
    privilege::act_as_owner(&arguments.config, &config.state)?;
    privilege::check_named(config.connector.as_deref())?;
    if let Some(connector) = config.connector.as_deref().filter(|_| needs_token(&config)) {
        files::check_connector(connector)?;
    }
    log::init(config.log)?;
    tracing::debug!(
        config = %arguments.config.display(),
        state = %config.state.display(),
        user = rustix::process::geteuid().as_raw(),
        listen = %config.listen,
        metrics = config.metrics.map(tracing::field::display),
        entries = config.sources.len() + config.targets.len() + config.managing.len() + config.managed.len(),
        "the agent's file is read"
    );
    // One thread: see the agent's own words on it.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(config))
}

/// Returns whether the agent will enrol.
fn needs_token(config: &AgentConfig) -> bool {
    AgentState::open_if_made(&config.state).is_none_or(|state| matches!(state.enrolment(), Ok(None)))
}

async fn serve(config: AgentConfig) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::watch()?;
    let address = config.metrics;
    let handle = address.map(|_| metrics::install()).transpose()?;
    let starting = Agent::start(config);
    let mut agent = tokio::select! {
        started = starting => started?,
        () = extend_start() => unreachable!("it goes on until dropped"),
        reason = signals.stop() => {
            tracing::info!(reason, "the agent stops before it was running");
            return Ok(ExitCode::SUCCESS);
        }
    };
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("")]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the agent is running");
    // Only now: a second agent on one state must hear of the first, not of a port in use.
    let mut serving_metrics = pin!(async {
        match address.zip(handle) {
            Some((address, handle)) => metrics::serve_at(address, handle).await,
            None => std::future::pending().await,
        }
    });
    let (code, reason) = tokio::select! {
        () = &mut serving_metrics => (ExitCode::FAILURE, "the metrics are served no more"),
        () = agent.failed() => (ExitCode::FAILURE, "a part of it ended"),
        signal = signals.stop() => (ExitCode::SUCCESS, signal),
    };
    tracing::info!(reason, "the agent is stopping");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    tokio::select! {
        () = agent.drain() => {}
        reason = signals.stop() => tracing::info!(reason, "told again: what has not ended is reset"),
        // The first of them may have been the reason; it must not be asked again.
        () = serving_metrics, if code == ExitCode::SUCCESS => {}
    }
    agent.end().await;
    tracing::info!("the agent has stopped");
    Ok(code)
}

/// Asks systemd for more time as long as the agent starts: it may have to wait for a gateway that is away,
/// and a unit's limit (`TimeoutStartSec`, 90 s) would kill it. Nobody is told where there is no systemd.
async fn extend_start() {
    let mut turns = tokio::time::interval(START_EXTENDED_EVERY);
    loop {
        turns.tick().await;
        let span = u32::try_from(START_EXTENDED_BY.as_micros()).unwrap_or(u32::MAX);
        let _ = sd_notify::notify(&[
            NotifyState::ExtendTimeoutUsec(span),
            NotifyState::Status("starts; one that is not enrolled waits for its gateway"),
        ]);
    }
}
