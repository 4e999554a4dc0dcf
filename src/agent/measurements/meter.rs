//! The minute that runs of one connection. Pure: it is told what is counted since the start, and the time.
//!
//! What is found counted at the first look after a minute's end counts for that minute: it is off by a second at
//! most. Time is split exactly.

use std::time::Duration;

use crate::connection::status::TunnelStatus;
use adit_core::domain::measurement::{Figure, Latencies, Span, Sums};
use adit_core::domain::time::Timestamp;

/// A clock that is set back by less is waited for: the minute that runs is longer then.
const WAITED_FOR: Duration = Duration::from_mins(2);

/// What is true of a connection at one look.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Since the start.
    pub(super) counted: Sums,
    pub(super) tunnel: Option<TunnelStatus>,
}

#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When the minute began that runs.
    minute: Option<Timestamp>,
    sums: Sums,
    /// What was counted at the last look.
    counted: Sums,
    /// Of the tunnel at the last look: since when it was there, packets sent and lost.
    packets: Option<(Timestamp, u64, u64)>,
}

impl Meter {
    /// Takes a look, so long after the last one. Returns the minute that ended in between; `latencies` are taken
    /// along then.
    pub(super) fn handle(
        &mut self,
        reading: &Reading,
        latencies: impl FnOnce() -> Latencies,
        now: Timestamp,
        passed: Duration,
    ) -> Option<(Timestamp, Sums)> {
        let current = Span::Minute.begin(now);
        self.add_counted(&reading.counted);
        self.add_packets(reading.tunnel.as_ref());
        let running = *self.minute.get_or_insert(current);
        if current <= running {
            if running.since(current) > WAITED_FOR {
                self.minute = Some(current);
            }
            self.add_time(reading.tunnel.as_ref(), passed);
            return None;
        }
        let after = now.since(current).min(passed);
        self.add_time(reading.tunnel.as_ref(), passed.saturating_sub(after));
        self.sums.latencies_mut().merge(&latencies());
        let ended = std::mem::take(&mut self.sums).capped(Span::Minute);
        self.minute = Some(current);
        self.add_time(reading.tunnel.as_ref(), after);
        Some((running, ended))
    }

    fn add_counted(&mut self, counted: &Sums) {
        for figure in Figure::ALL {
            let more = counted.get(figure).saturating_sub(self.counted.get(figure));
            self.sums.add(figure, more);
        }
        self.counted = counted.clone();
    }

    /// A tunnel's packets are counted from its own start.
    fn add_packets(&mut self, tunnel: Option<&TunnelStatus>) {
        let Some(tunnel) = tunnel else { return };
        let seen = (tunnel.since, tunnel.packets_sent, tunnel.packets_lost);
        let (sent, lost) = match self.packets.replace(seen) {
            Some((since, sent, lost)) if since == tunnel.since => (sent, lost),
            _ => (0, 0),
        };
        self.sums.add(Figure::PacketsSent, tunnel.packets_sent.saturating_sub(sent));
        self.sums.add(Figure::PacketsLost, tunnel.packets_lost.saturating_sub(lost));
    }

    /// Adds a stretch of time in which all was as it is now.
    fn add_time(&mut self, tunnel: Option<&TunnelStatus>, passed: Duration) {
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        self.sums.add(Figure::MeasuredMillis, millis);
        let Some(tunnel) = tunnel.filter(|tunnel| tunnel.silent_since.is_none()) else { return };
        self.sums.add(Figure::UpMillis, millis);
        if let Some(path) = tunnel.path {
            self.sums.add(Figure::of_path(path), millis);
        }
        if millis > 0 && !tunnel.rtt.is_zero() {
            let micros = u64::try_from(tunnel.rtt.as_micros()).unwrap_or(u64::MAX);
            self.sums.add(Figure::RttMicros, micros);
            self.sums.add(Figure::RttSamples, 1);
        }
    }
}
