//! `adit gateway`: the life of the gateway's process, in order.

mod init;
mod migrate;

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;

use super::files;
use super::signals::Signals;
use adit_core::config::gateway::GatewayConfig;
use adit_gateway::service::{Gateway, GatewaySockets};
use adit_net::host::privilege;
use adit_net::identity::time::HostClock;
use adit_observe::{log, metrics};

/// How much longer each excuse lets a start take, and how often there is one.
const START_EXCUSED_MICROS: u32 = 60_000_000;
const START_EXCUSED_EVERY: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    /// The gateway's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/gateway.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<GatewayCommand>,
}

#[derive(clap::Subcommand)]
enum GatewayCommand {
    /// Make the first organization, and a link by which its owner signs in; before the first start
    Init(init::Arguments),
    /// Move the platform to another database while no gateway runs on it, and compare row by row
    Migrate(migrate::Arguments),
}

pub(super) fn run(Arguments { config: path, command }: Arguments) -> anyhow::Result<ExitCode> {
    match command {
        Some(GatewayCommand::Init(arguments)) => return init::run(&arguments),
        Some(GatewayCommand::Migrate(arguments)) => return migrate::run(&arguments),
        None => {}
    }
    let config = files::read_gateway(&path)?;
    privilege::act_as_owner(&path, &config.state)?;
    log::init(config.log)?;
    tracing::debug!(
        config = %path.display(),
        state = %config.state.display(),
        has_database_elsewhere = config.database.is_some(),
        user = rustix::process::geteuid().as_raw(),
        listen = %config.listen,
        metrics = config.metrics.map(tracing::field::display),
        "the gateway's file is read"
    );
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(&config))
}

async fn serve(config: &GatewayConfig) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::watch()?;
    let metrics = match config.metrics {
        Some(address) => Some((address, metrics::install()?)),
        None => None,
    };
    let sockets = GatewaySockets::bind(config.listen)?;
    let serving_metrics = async {
        match metrics {
            Some((address, handle)) => metrics::serve_at(address, handle).await,
            None => std::future::pending().await,
        }
    };
    let mut serving_metrics = std::pin::pin!(serving_metrics);
    // It waits for its database; the metrics say so meanwhile.
    let started = tokio::select! {
        started = Gateway::start_begun(config, sockets, Arc::new(HostClock)) => Some(started?),
        () = &mut serving_metrics => anyhow::bail!("the metrics are served no more"),
        never = excuse_long_start() => match never {},
        reason = signals.stop() => {
            tracing::info!(reason, "the gateway is stopped before it served");
            None
        }
    };
    let Some(mut gateway) = started else { return Ok(ExitCode::SUCCESS) };
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let (code, reason) = tokio::select! {
        () = &mut serving_metrics => (ExitCode::FAILURE, "the metrics are served no more"),
        () = gateway.failed() => (ExitCode::FAILURE, "a part of it ended"),
        signal = signals.stop() => (ExitCode::SUCCESS, signal),
    };
    tracing::info!(reason, "the gateway is stopping");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    gateway.shutdown().await;
    Ok(code)
}

/// Asks systemd for more time, again and again: a start takes as long as the database is away.
async fn excuse_long_start() -> Infallible {
    loop {
        let _ = sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(START_EXCUSED_MICROS)]);
        tokio::time::sleep(START_EXCUSED_EVERY).await;
    }
}
