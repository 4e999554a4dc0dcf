//! What is measured of each peer: which load, and what its numbers mean.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::load::Measured;
use crate::peers::{Peer, Wire};
use crate::process::again;
use crate::table::{Metric, Table};

const IDLE_CONNECTIONS: &str = "1000";
const STALLED_CONNECTIONS: &str = "256";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Row {
    OneConnection,
    ManyConnections,
    ConnectionEach,
    UploadOne,
    UploadEight,
    BesideStalled,
    WanMessages,
    WanUpload,
    BesideBulk,
}

pub(crate) const ALL: [Row; 9] = [
    Row::OneConnection,
    Row::ManyConnections,
    Row::ConnectionEach,
    Row::UploadOne,
    Row::UploadEight,
    Row::BesideStalled,
    Row::WanMessages,
    Row::WanUpload,
    Row::BesideBulk,
];

impl Row {
    /// A wire of 50 ms is no place for what is measured in microseconds, and the other way round.
    const fn suits(self, wire: Wire) -> bool {
        match (self, wire) {
            (Self::BesideBulk, _) => true,
            (Self::WanUpload | Self::WanMessages, wire) => matches!(wire, Wire::Wan),
            (_, wire) => matches!(wire, Wire::Loopback),
        }
    }
}

/// Puts one load on one peer and notes what it came to, with the processor time of both its ends.
pub(crate) fn measure(row: Row, peer: &Peer, quick: bool, table: &mut Table) -> Result<()> {
    if !row.suits(peer.wire) {
        return Ok(());
    }
    let seconds = if quick { "1" } else { "4" };
    let bytes = if quick { "134217728" } else { "1073741824" };
    let wan_bytes = if quick { "67108864" } else { "268435456" };
    let wan_seconds = if quick { "5" } else { "30" };
    let [mllp, sink] = [peer.mllp, peer.sink].map(|address| address.to_string());
    let shape: &[&str] = match row {
        Row::OneConnection => &["load", "messages", &mllp, "1", seconds],
        Row::ManyConnections => &["load", "messages", &mllp, "64", seconds],
        Row::ConnectionEach => &["load", "each", &mllp, seconds],
        Row::UploadOne => &["load", "upload", &sink, "1", bytes],
        Row::UploadEight => &["load", "upload", &sink, "8", bytes],
        Row::BesideStalled => &["load", "beside", &sink, STALLED_CONNECTIONS, bytes],
        Row::BesideBulk => &["load", "beside-bulk", &mllp, &sink, seconds],
        Row::WanUpload => &["load", "upload", &sink, "1", wan_bytes],
        Row::WanMessages => &["load", "paced", &mllp, "32", "10", wan_seconds],
    };
    let before = peer.cpu()?;
    let output = again(shape)?.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the load {shape:?} failed: {}", output.status);
    let measured = Measured::read(&String::from_utf8(output.stdout)?)?;
    let cpu = peer
        .cpu()?
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before).as_secs_f64() / measured.all);
    eprintln!("{:>8} {row:?}: {measured:?}, CPU {cpu:?} s each", peer.name);

    let mut note = |metric, value| table.note(metric, &peer.name, value);
    let cpu_metric = match row {
        Row::OneConnection => {
            note(Metric::RoundTripP50, measured.p50_micros);
            note(Metric::RoundTripP99, measured.p99_micros);
            Metric::OneCpu
        }
        Row::ManyConnections => {
            note(Metric::ManyRate, measured.rate);
            note(Metric::ManyP99, measured.p99_micros);
            Metric::ManyCpu
        }
        Row::ConnectionEach => {
            note(Metric::EachRate, measured.rate);
            note(Metric::EachP99, measured.p99_micros);
            Metric::EachCpu
        }
        Row::UploadOne => {
            note(Metric::UploadOneRate, measured.rate / 1e6);
            Metric::UploadOneCpu
        }
        Row::UploadEight => {
            note(Metric::UploadEightRate, measured.rate / 1e6);
            Metric::UploadEightCpu
        }
        Row::BesideStalled => {
            note(Metric::BesideStalled, measured.rate);
            return Ok(());
        }
        Row::BesideBulk => {
            note(Metric::BesideBulkTimes, measured.rate);
            note(Metric::BesideBulkP99, measured.p99_micros);
            return Ok(());
        }
        Row::WanUpload => {
            note(Metric::WanUpload, measured.rate / 1e6);
            return Ok(());
        }
        Row::WanMessages => {
            note(Metric::WanP50, measured.p50_micros / 1e3);
            note(Metric::WanP99, measured.p99_micros / 1e3);
            return Ok(());
        }
    };
    if let Some(cpu) = cpu {
        let scale = if matches!(row, Row::UploadOne | Row::UploadEight) { 1e9 } else { 1e6 };
        note(cpu_metric, cpu * scale);
    }
    Ok(())
}

/// Resident memory of both ends with a thousand connections that have carried one message each.
pub(crate) fn idle_memory(peer: &Peer, table: &mut Table) -> Result<()> {
    let Some(base) = peer.resident()? else { return Ok(()) };
    let mllp = peer.mllp.to_string();
    let mut command = again(&["load", "hold", &mllp, IDLE_CONNECTIONS])?;
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take().context("its output is piped")?).read_line(&mut line)?;
    let resident = peer.resident()?.context("it has had ends")?;
    drop(holder.stdin.take());
    let status = holder.wait()?;
    ensure!(
        status.success() && line.trim() == IDLE_CONNECTIONS,
        "{} does not hold {IDLE_CONNECTIONS} connections",
        peer.name
    );
    eprintln!("{:>8} memory of near and far end: {base:.1?} MB at rest, {resident:.1?} MB idle", peer.name);
    table.note(Metric::BaseNear, &peer.name, base[0]);
    table.note(Metric::BaseFar, &peer.name, base[1]);
    table.note(Metric::IdleNear, &peer.name, resident[0]);
    table.note(Metric::IdleFar, &peer.name, resident[1]);
    Ok(())
}
