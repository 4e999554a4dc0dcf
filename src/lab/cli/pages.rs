//! `adit-lab pages`: every page of the console of a large platform, and many who listen.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use adit_core::config::{DatabaseUrl, LogFormat};
use adit_lab::pages::{self, Figures, Wanted};
use adit_observe::{log, print};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Servers of all organizations; most are the big one's
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    servers: usize,
    /// Connections, all of them the big one's
    #[arg(long, value_name = "COUNT", default_value_t = 5_000)]
    connections: usize,
    /// Of how many connections the last hour was measured
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    measured: usize,
    /// How often each page is asked for
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    rounds: usize,
    /// How many pages are asked for at the same time, after one was alone
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    at_once: usize,
    /// Streams of events that are open at once
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    streams: usize,
    /// How long the gateway's processor time is counted, each time
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    window: f64,
    /// A few of everything, in seconds
    #[arg(long)]
    once: bool,
    /// The gateway's binary; by default `adit` beside this one
    #[arg(long, value_name = "PATH")]
    adit: Option<PathBuf>,
    /// Where the gateway keeps its platform: an empty database; by default in its state folder
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseUrl>,
    /// Where the run's folder is made, which goes with it; by default where temporary files go
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    log::init_if_asked(LogFormat::Text)?;
    let json = arguments.json;
    let wanted = wanted(arguments)?;
    let started = Instant::now();
    // Narration, beside the figures.
    let say = |step: &str| {
        print::error_text(format_args!("{:>6.1} s  {step}\n", started.elapsed().as_secs_f64()));
    };
    let figures = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(measure(&wanted, &say))?;
    if json {
        print::line(serde_json::to_string_pretty(&figures)?)?;
    } else {
        print::text(&figures)?;
    }
    Ok(if figures.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures until told to stop; the gateway ends with it.
async fn measure(wanted: &Wanted, say: &dyn Fn(&str)) -> anyhow::Result<Figures> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    tokio::select! {
        figures = pages::measure(wanted, say) => Ok(figures?),
        _ = interrupt.recv() => bail!("interrupted; nothing is left running"),
        _ = terminate.recv() => bail!("terminated; nothing is left running"),
    }
}

fn wanted(arguments: Arguments) -> anyhow::Result<Wanted> {
    let Arguments { servers, connections, measured, rounds, at_once, streams, window, .. } = arguments;
    if !(100..=50_000).contains(&servers) || connections > 100_000 {
        bail!(
            "expected from 100 to 50000 servers and at most 100000 connections; found {servers} and {connections}"
        );
    }
    if !(0.1..=3_600.0).contains(&window) || rounds == 0 || at_once == 0 {
        bail!("expected a window of 0.1 to 3600 seconds, and pages that are asked for");
    }
    let adit = match arguments.adit {
        Some(adit) => adit,
        None => env::current_exe().context("cannot find this program")?.with_file_name("adit"),
    };
    let wanted = Wanted {
        servers,
        connections,
        measured,
        rounds,
        at_once,
        streams,
        window: Duration::from_secs_f64(window),
        adit,
        database: arguments.database,
        folder: arguments.folder,
    };
    if !arguments.once {
        return Ok(wanted);
    }
    let (rounds, at_once, window) = (2, 2, Duration::from_secs(1));
    Ok(Wanted {
        servers: 100,
        connections: 200,
        measured: 20,
        rounds,
        at_once,
        streams: 20,
        window,
        ..wanted
    })
}
