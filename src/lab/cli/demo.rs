//! `adit-lab demo`: the main job on any machine, in one process.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use adit_core::config::LogFormat;
use adit_lab::show::{Demo, table};
use adit_observe::log;
use adit_observe::print;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Exit after the table: 0 when every message and object was accepted and equal, and no TCP
    /// connection broke
    #[arg(long)]
    once: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    log::init_if_asked(LogFormat::Text)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(show(arguments.once))
}

async fn show(once: bool) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let started = Instant::now();
    // Narration: who no longer listens gets the result by the exit code.
    let say = |step: &str| {
        let _ = print::line(format_args!("{:>6.1} s  {step}", started.elapsed().as_secs_f64()));
    };
    let demo = Demo::start(&say).await?;
    let outcome = demo.run(&say).await;
    if let Ok(rows) = &outcome {
        let _ = print::line(format_args!("\n{}", table(rows)));
        if !once {
            let _ = print::line(demo.invitation());
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
    }
    demo.shutdown().await;
    outcome?;
    Ok(ExitCode::SUCCESS)
}
