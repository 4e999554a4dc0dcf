//! What agents on carriers cost a gateway: memory each, processor at rest, and whether a slow reader delays
//! the others.
//!
//!     cargo bench -p adit-benches --bench carriers -- [--quick] [--carriers 1000] [--seconds 5]
//!
//! The gateway is a whole one in a process of its own, whose memory and processor time are read from `/proc`;
//! only the control links are left out, which agents over UDP have as well. Agents register by their carriers
//! every 15 s, as real ones do.

#![expect(clippy::print_stdout, reason = "a bench speaks to people on the terminal")]

mod agent;
mod gateway;

use std::time::{Duration, Instant};

use adit_core::domain::limits::{CARRIER_QUEUE_BYTES_MAX, REGISTER_EVERY};
use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{interval, sleep};

use agent::Agent;
use gateway::{GatewayProcess, Spent};

/// Round trips that a latency is taken of.
const ROUND_TRIPS: usize = 500;
/// In flight to a slow reader between two of them: far more than its connection drains.
const FLOOD_PACKETS: usize = 48;
const PACKET_BYTES: usize = 1_200;

fn main() -> Result<()> {
    let options = Options::read()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match options.serve {
        true => runtime.block_on(gateway::serve(options.carriers)),
        false => runtime.block_on(measure(&options)),
    }
}

struct Options {
    carriers: usize,
    rest: Duration,
    round_trips: usize,
    /// This process is the gateway.
    serve: bool,
}

impl Options {
    fn read() -> Result<Self> {
        let rest = Duration::from_secs(5);
        let mut options = Self { carriers: 1_000, rest, round_trips: ROUND_TRIPS, serve: false };
        // `cargo bench` adds `--bench` to what the user wrote.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => {
                    (options.carriers, options.rest, options.round_trips) = (40, Duration::from_secs(1), 20)
                }
                "--carriers" => options.carriers = number(arguments.next())?,
                "--seconds" => options.rest = Duration::from_secs(number(arguments.next())? as u64),
                "--serve" => options.serve = true,
                other => bail!("`{other}` is not understood; see the top of benches/carriers/main.rs"),
            }
        }
        ensure!(options.carriers >= 4, "at least 4 carriers are needed");
        Ok(options)
    }
}

fn number(argument: Option<String>) -> Result<usize> {
    argument.context("a number is missing at the end")?.parse().context("that is no number")
}

async fn measure(options: &Options) -> Result<()> {
    let gateway = GatewayProcess::start(options.carriers)?;
    // Once in use, so that what is made once is not counted for the first.
    drop(Agent::open(&gateway, 0).await?);
    let before = gateway.memory_kib()?;
    let started = Instant::now();
    let mut agents = Vec::new();
    for number in 0..options.carriers {
        agents.push(Agent::open(&gateway, number).await.with_context(|| format!("carrier {number}"))?);
    }
    let took = started.elapsed();
    let each = (gateway.memory_kib()? - before) / agents.len() as f64;
    println!("{} carriers opened and registered in {:.1} s", agents.len(), took.as_secs_f64());
    println!("memory at rest: {each:.1} KiB each (aim: 64)");
    println!("processor at rest: {:.2} % of a core", at_rest(&gateway, &mut agents, options.rest).await?);
    let after = (gateway.memory_kib()? - before) / agents.len() as f64;
    println!("memory after that: {after:.1} KiB each");

    let alone = latency(&mut agents, options.round_trips, false).await?;
    let beside = latency(&mut agents, options.round_trips, true).await?;
    println!();
    println!("| round trip between two carriers | p50 µs | p99 µs |");
    println!("|---|---|---|");
    println!("| alone | {} | {} |", alone.0, alone.1);
    println!("| beside a slow reader | {} | {} |", beside.0, beside.1);
    Ok(())
}

/// Registers each agent again when its time has come; returns what the gateway spent meanwhile.
async fn at_rest(gateway: &GatewayProcess, agents: &mut [Agent], rest: Duration) -> Result<f64> {
    let (spent, started): (Spent, _) = (gateway.spent()?, Instant::now());
    let mut due = interval(REGISTER_EVERY / u32::try_from(agents.len())?);
    let mut number = 0;
    while started.elapsed() < rest {
        due.tick().await;
        let count = agents.len();
        agents[number % count].register().await?;
        number += 1;
    }
    Ok(100.0 * (gateway.spent()? - spent).as_secs_f64() / started.elapsed().as_secs_f64())
}

/// Returns the median and the 99th percentile of round trips from the first agent to the second and back, in
/// microseconds. Beside a slow reader, the third floods the fourth, which reads nothing.
async fn latency(agents: &mut [Agent], round_trips: usize, is_beside: bool) -> Result<(u128, u128)> {
    let [one, other, flooding, slow, ..] = agents else { bail!("four agents are needed") };
    if is_beside {
        // Its queue, and what the kernels and the pipes between hold, are full first.
        let fill = 64 * CARRIER_QUEUE_BYTES_MAX / PACKET_BYTES / FLOOD_PACKETS;
        for _ in 0..fill {
            flooding.send(slow.route(), FLOOD_PACKETS, PACKET_BYTES).await?;
        }
        sleep(Duration::from_millis(500)).await;
    }
    let mut micros = Vec::new();
    for _ in 0..round_trips {
        if is_beside {
            flooding.send(slow.route(), FLOOD_PACKETS, PACKET_BYTES).await?;
        }
        let started = Instant::now();
        one.send(other.route(), 1, PACKET_BYTES).await?;
        other.receive().await?;
        other.send(one.route(), 1, PACKET_BYTES).await?;
        one.receive().await?;
        micros.push(started.elapsed().as_micros());
    }
    micros.sort_unstable();
    Ok((micros[micros.len() / 2], micros[micros.len() * 99 / 100]))
}
