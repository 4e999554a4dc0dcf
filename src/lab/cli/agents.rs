//! `adit-lab agents`: many simulated agents against one gateway, and what they cost it.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tokio::signal::unix::{SignalKind, signal};

use adit_core::config::{DatabaseUrl, LogFormat};
use adit_lab::agents::{self, Figures, Noise, Wanted};
use adit_observe::{log, print};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many agents have a link
    agents: usize,
    /// How many of them say all that the gateway lets them, while that is measured
    #[arg(long, value_name = "K", default_value_t = 1)]
    noisy: usize,
    /// What they say: reports of their connections, or other addresses of theirs
    #[arg(long, default_value = Noise::Reports.as_str(), value_parser = noise())]
    noise: Noise,
    /// How many users read lists and details over the API and follow its events, for the length of a window
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    people: usize,
    /// What is left to chance follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the gateway's processor time is counted, each time
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive)]
    window: f64,
    /// How many connections are terminated
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    terminations: usize,
    /// Leave out the kill of the gateway, after which all come back
    #[arg(long)]
    no_storm: bool,
    /// How long all agents may take to have a link
    #[arg(long, value_name = "SECONDS", default_value_t = 180.0, value_parser = positive)]
    patience: f64,
    /// UDP sockets that the agents share, each in a loopback network of its own
    #[arg(long, value_name = "COUNT", default_value_t = 250)]
    sockets: usize,
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

fn noise() -> impl TypedValueParser<Value = Noise> {
    PossibleValuesParser::new(Noise::ALL.map(Noise::as_str))
        .map(|word| Noise::ALL.into_iter().find(|noise| noise.as_str() == word).unwrap_or(Noise::Reports))
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("`{text}` is no number of seconds from 0.1 to 3600")),
    }
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
        figures = agents::measure(wanted, say) => Ok(figures?),
        _ = interrupt.recv() => bail!("interrupted; nothing is left running"),
        _ = terminate.recv() => bail!("terminated; nothing is left running"),
    }
}

fn wanted(arguments: Arguments) -> anyhow::Result<Wanted> {
    let Arguments {
        agents,
        noisy,
        noise,
        people,
        seed,
        terminations,
        no_storm,
        sockets,
        database,
        folder,
        ..
    } = arguments;
    let adit = match arguments.adit {
        Some(adit) => adit,
        None => env::current_exe().context("cannot find this program")?.with_file_name("adit"),
    };
    Ok(Wanted {
        agents,
        noisy,
        noise,
        people,
        seed,
        window: Duration::from_secs_f64(arguments.window),
        terminations,
        storm: !no_storm,
        patience: Duration::from_secs_f64(arguments.patience),
        sockets,
        adit,
        database,
        folder,
    })
}
