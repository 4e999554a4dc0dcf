//! What the relay's thread can forward: packets and gigabytes for each second of processor that it
//! takes, with a thousand agents registered, each by the real exchange at a socket of its own.
//!
//!     cargo bench -p adit-benches --bench relay -- [--quick] [--agents 1000] [--seconds 3]
//!
//! Every agent sends to another over loopback, several bursts under way at a time: as batches that
//! the kernel segments (as quinn sends them), packet by packet, or one packet only, which leaves
//! nothing to gather. The thread's own
//! processor time is read from `/proc`, so that other work on the machine changes the rate but
//! hardly the cost; loopback's part of the kernel's work is in it, for receiving and for sending.

#![expect(clippy::print_stdout, reason = "a bench speaks to people on the terminal")]

mod agents;

use std::fs;
use std::time::{Duration, Instant};

use adit_core::protocol::relay::DropReason;
use adit_net::transport::relay::{RelayCounters, RelayHandle};
use anyhow::{Context as _, Result, bail, ensure};

use agents::{Agents, Burst};

/// QUIC's floor with a little room, Ethernet's, and the most that adit tries.
const LENGTHS: [usize; 3] = [1_252, 1_452, 6_500];
/// How the packets of a burst are sent, with how many there are, and how many of them by one call.
const SHAPES: [(&str, Burst); 3] = [
    ("batches of 10", Burst { packets: 10, segments: 10 }),
    ("10 one by one", Burst { packets: 10, segments: 1 }),
    ("one each", Burst { packets: 1, segments: 1 }),
];
/// Bursts under way at a time, each of another pair.
const UNDER_WAY: usize = 16;

fn main() -> Result<()> {
    let options = Options::read()?;
    agents::allow_sockets(options.agents)?;
    let agents = Agents::register(options.agents)?;
    let processor = Processor::of_thread("adit-relay")?;
    println!("{} agents registered; {} s each row", agents.count(), options.row.as_secs_f64());
    println!();
    println!(
        "| packet bytes | sent as | packets/s | per core | Gbit/s per core | CPU s/GB | sends per packet | lost |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for length in LENGTHS {
        for (name, burst) in SHAPES {
            println!("| {length} | {name} {}", row(&agents, &processor, length, burst, options.row)?);
        }
    }
    let counters = agents.relay().counters();
    for reason in DropReason::ALL.into_iter().filter(|&reason| counters.dropped(reason) > 0) {
        println!("dropped as {}: {}", reason.as_str(), counters.dropped(reason));
    }
    // A bench that loses what it sends measures something else.
    ensure!(counters.dropped(DropReason::NotPermitted) == 0, "agents were not permitted to each other");
    Ok(())
}

struct Options {
    agents: usize,
    row: Duration,
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self { agents: 1_000, row: Duration::from_secs(3) };
        // `cargo bench` adds `--bench` to what the user wrote.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.row = Duration::from_millis(100),
                "--agents" => options.agents = number(arguments.next())?,
                "--seconds" => options.row = Duration::from_secs(number(arguments.next())? as u64),
                other => bail!("`{other}` is not understood; see the top of benches/relay/main.rs"),
            }
        }
        ensure!(options.agents >= 2 * UNDER_WAY, "at least {} agents are needed", 2 * UNDER_WAY);
        Ok(options)
    }
}

fn number(argument: Option<String>) -> Result<usize> {
    argument.context("a number is missing at the end")?.parse().context("that is no number")
}

/// One line of the table.
fn row(
    agents: &Agents,
    processor: &Processor,
    length: usize,
    burst: Burst,
    lasts: Duration,
) -> Result<String> {
    let (before, spent_before, started) = (Totals::of(agents.relay()), processor.spent()?, Instant::now());
    let (mut sent_count, mut arrived, mut first) = (0, 0, 0);
    while started.elapsed() < lasts {
        sent_count += agents.send_bursts(first, UNDER_WAY, length, burst)?;
        arrived += agents.receive_bursts(first, UNDER_WAY, burst)?;
        first += UNDER_WAY;
    }
    let wall = started.elapsed().as_secs_f64();
    let spent = processor.spent()?.saturating_sub(spent_before).as_secs_f64();
    let after = Totals::of(agents.relay());
    let (packets, bytes) = (after.packets - before.packets, after.bytes - before.bytes);
    ensure!(packets > 0.0 && spent > 0.0, "nothing was relayed");
    Ok(format!(
        "| {:.0} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} % |",
        packets / wall,
        packets / spent,
        bytes * 8.0 / spent / 1e9,
        spent / (bytes / 1e9),
        (after.sends - before.sends) / packets,
        100.0 * (1.0 - as_float(arrived) / as_float(sent_count)),
    ))
}

struct Totals {
    packets: f64,
    bytes: f64,
    sends: f64,
}

impl Totals {
    fn of(relay: &RelayHandle) -> Self {
        let counters: &RelayCounters = relay.counters();
        Self {
            packets: as_float(counters.packets()),
            bytes: as_float(counters.bytes()),
            sends: as_float(counters.sends()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no run counts to 2^53")]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// How long one thread of this process has been on a processor.
struct Processor {
    schedstat: String,
}

impl Processor {
    fn of_thread(name: &str) -> Result<Self> {
        for task in fs::read_dir("/proc/self/task")? {
            let path = task?.path();
            if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name) {
                return Ok(Self { schedstat: path.join("schedstat").to_string_lossy().into_owned() });
            }
        }
        bail!("there is no thread `{name}`");
    }

    fn spent(&self) -> Result<Duration> {
        let text = fs::read_to_string(&self.schedstat)?;
        let nanoseconds = text.split(' ').next().context("schedstat is empty")?;
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }
}
