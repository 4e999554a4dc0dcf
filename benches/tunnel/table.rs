//! What was measured, by metric and peer, and the Markdown table of its medians.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::figures::{cell, median};

/// The table's lines, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    RoundTripP50,
    RoundTripP99,
    OneCpu,
    ManyRate,
    ManyP99,
    ManyCpu,
    EachRate,
    EachP99,
    EachCpu,
    UploadOneRate,
    UploadOneCpu,
    UploadEightRate,
    UploadEightCpu,
    BesideStalled,
    BesideBulkTimes,
    BesideBulkP99,
    WanUpload,
    WanP50,
    WanP99,
    BaseNear,
    BaseFar,
    IdleNear,
    IdleFar,
}

impl Metric {
    const fn as_str(self) -> &'static str {
        match self {
            Self::RoundTripP50 => "MLLP 1 KiB, 1 connection: round trip p50, µs",
            Self::RoundTripP99 => "MLLP 1 KiB, 1 connection: round trip p99, µs",
            Self::OneCpu => "MLLP 1 KiB, 1 connection: CPU, µs a message",
            Self::ManyRate => "MLLP 1 KiB, 64 connections: messages a second",
            Self::ManyP99 => "MLLP 1 KiB, 64 connections: round trip p99, µs",
            Self::ManyCpu => "MLLP 1 KiB, 64 connections: CPU, µs a message",
            Self::EachRate => "a TCP connection per message: messages a second",
            Self::EachP99 => "a TCP connection per message: p99, µs",
            Self::EachCpu => "a TCP connection per message: CPU, µs a message",
            Self::UploadOneRate => "upload, 1 connection: MB/s",
            Self::UploadOneCpu => "upload, 1 connection: CPU, s/GB",
            Self::UploadEightRate => "upload, 8 connections: MB/s",
            Self::UploadEightCpu => "upload, 8 connections: CPU, s/GB",
            Self::BesideStalled => "upload beside 256 stalled receivers: share of its rate alone",
            Self::BesideBulkTimes => "messages beside an upload: p99, times that without",
            Self::BesideBulkP99 => "messages beside an upload: p99, µs",
            Self::WanUpload => "50 ms and 1 % loss, upload, 1 connection: MB/s",
            Self::WanP50 => "50 ms and 1 % loss, 32 connections of 10 messages a second: p50, ms",
            Self::WanP99 => "50 ms and 1 % loss, 32 connections of 10 messages a second: p99, ms",
            Self::BaseNear => "memory at rest, near end: MB",
            Self::BaseFar => "memory at rest, far end: MB",
            Self::IdleNear => "memory with 1,000 idle connections, near end: MB",
            Self::IdleFar => "memory with 1,000 idle connections, far end: MB",
        }
    }

    /// The line that says how much more than direct TCP this is, where that is what matters.
    const fn added_label(self) -> Option<&'static str> {
        match self {
            Self::RoundTripP50 => Some("MLLP 1 KiB, 1 connection: added p50, µs"),
            Self::RoundTripP99 => Some("MLLP 1 KiB, 1 connection: added p99, µs"),
            _ => None,
        }
    }
}

/// Samples, one a round.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<Metric, BTreeMap<String, Vec<f64>>>);

impl Table {
    pub(crate) fn note(&mut self, metric: Metric, peer: &str, value: f64) {
        self.0.entry(metric).or_default().entry(peer.into()).or_default().push(value);
    }

    /// Peers as columns in the order given; the last column compares adit with stunnel.
    pub(crate) fn render(&self, peers: &[&str]) -> String {
        let mut text = String::from("| |");
        for peer in peers {
            put(&mut text, format_args!(" {peer} |"));
        }
        text.push_str(" adit ÷ stunnel |\n|---|");
        text.push_str(&"---:|".repeat(peers.len() + 1));
        text.push('\n');
        for (&metric, samples) in &self.0 {
            put_line(&mut text, metric.as_str(), peers, samples);
            let (Some(label), Some(direct)) = (metric.added_label(), samples.get("direct")) else { continue };
            let added = samples
                .iter()
                .filter(|(peer, _)| *peer != "direct")
                .map(|(peer, values)| {
                    // Of the same round, so that a noisy neighbour weighs on both.
                    let added = values.iter().zip(direct).map(|(value, direct)| value - direct).collect();
                    (peer.clone(), added)
                })
                .collect();
            put_line(&mut text, label, peers, &added);
        }
        text
    }
}

fn put_line(text: &mut String, label: &str, peers: &[&str], samples: &BTreeMap<String, Vec<f64>>) {
    put(text, format_args!("| {label} |"));
    let value = |peer: &str| samples.get(peer).and_then(|values| median(values));
    for peer in peers {
        put(
            text,
            format_args!(" {} |", samples.get(*peer).map_or_else(|| "–".into(), |values| cell(values))),
        );
    }
    match (value("adit"), value("stunnel")) {
        (Some(adit), Some(stunnel)) if stunnel > 0.0 => put(text, format_args!(" {:.2} |\n", adit / stunnel)),
        _ => text.push_str(" – |\n"),
    }
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("writing to a String cannot fail");
}
