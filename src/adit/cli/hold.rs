//! `adit hold`: holds the network of a container that others share. Mirth and its sidecar meet on loopback;
//! a network that belonged to either of them would end with its restart, and leave the other without one.

use std::process::ExitCode;

use anyhow::Context;

use super::signals::Signals;

#[derive(clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run() -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(async {
            Signals::watch()?.stop().await;
            Ok(ExitCode::SUCCESS)
        })
}
