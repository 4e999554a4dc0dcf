//! `adit gateway`: the life of the gateway's process, in order.

mod migrate;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use sd_notify::NotifyState;

use super::files;
use super::signals::Signals;
use adit_core::config::gateway::GatewayConfig;
use adit_gateway::service::{Gateway, GatewaySockets};
use adit_net::host::privilege;
use adit_net::identity::time::HostClock;
use adit_observe::{log, metrics};

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
    /// Move the platform to another database while no gateway runs on it, and compare row by row
    Migrate(migrate::Arguments),
}

pub(super) fn run(Arguments { config: path, command }: Arguments) -> anyhow::Result<ExitCode> {
    if let Some(GatewayCommand::Migrate(arguments)) = command {
        return migrate::run(&arguments);
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
    let mut gateway = Gateway::start(config, sockets, Arc::new(HostClock)).await?;
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let serving_metrics = async {
        match metrics {
            Some((address, handle)) => metrics::serve_at(address, handle).await,
            None => std::future::pending().await,
        }
    };
    let (code, reason) = tokio::select! {
        () = serving_metrics => (ExitCode::FAILURE, "the metrics are served no more"),
        () = gateway.failed() => (ExitCode::FAILURE, "a part of it ended"),
        signal = signals.stop() => (ExitCode::SUCCESS, signal),
    };
    tracing::info!(reason, "the gateway is stopping");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    gateway.shutdown().await;
    Ok(code)
}
