//! What a run has measured, as a table for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::measure::Histogram;

#[derive(Debug, Default, Serialize)]
pub struct Figures {
    pub agents: usize,
    pub connections: usize,
    pub seed: u64,
    #[serde(rename = "set_up_seconds", serialize_with = "seconds")]
    pub set_up: Duration,
    pub linking: Linking,
    #[serde(rename = "rest_cpu_percent")]
    pub rest_percent: f64,
    #[serde(rename = "resident_empty_bytes")]
    pub resident_empty: u64,
    #[serde(rename = "resident_linked_bytes")]
    pub resident_linked: u64,
    pub linked_at_rest: usize,
    pub noise: Option<NoiseFigures>,
    pub people: Option<PeopleFigures>,
    pub termination: Termination,
    pub storm: Option<Storm>,
    /// Of links and attempts since the last start of the gateway, by reason.
    pub ends: BTreeMap<String, u64>,
}

/// All agents dial at once.
#[derive(Debug, Default, Serialize)]
pub struct Linking {
    pub linked: usize,
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    pub spent: Duration,
    /// Attempts and links that came to nothing meanwhile.
    pub ends: u64,
}

/// Some agents say all they may.
#[derive(Debug, Serialize)]
pub struct NoiseFigures {
    pub noisy: usize,
    pub what: &'static str,
    #[serde(rename = "messages_per_second")]
    pub per_second: f64,
    #[serde(rename = "cpu_percent")]
    pub percent: f64,
    /// Than at rest.
    #[serde(rename = "more_cpu_percent")]
    pub more_percent: f64,
    /// Of that, what the same noise costs while only the noisy ones and their peers have links.
    #[serde(rename = "own_cpu_percent")]
    pub own_percent: f64,
}

/// People read and follow while all agents have their links.
#[derive(Debug, Default, Serialize)]
pub struct PeopleFigures {
    pub people: usize,
    /// That stayed open to the end.
    pub streams: usize,
    pub lists: u64,
    #[serde(rename = "list_p50_seconds", serialize_with = "seconds")]
    pub list_p50: Duration,
    #[serde(rename = "list_p99_seconds", serialize_with = "seconds")]
    pub list_p99: Duration,
    #[serde(rename = "detail_p50_seconds", serialize_with = "seconds")]
    pub detail_p50: Duration,
    #[serde(rename = "detail_p99_seconds", serialize_with = "seconds")]
    pub detail_p99: Duration,
    /// Told to wait.
    pub refused: u64,
    #[serde(rename = "cpu_percent")]
    pub percent: f64,
    /// More than without them.
    #[serde(rename = "more_resident_bytes")]
    pub more_resident: u64,
}

/// Connections are terminated by another process than the gateway; both agents hear of it.
#[derive(Debug, Default, Serialize)]
pub struct Termination {
    pub heard: u64,
    pub unheard: u64,
    /// Until the act is committed.
    #[serde(rename = "act_p50_seconds", serialize_with = "seconds")]
    pub act_p50: Duration,
    #[serde(rename = "act_p99_seconds", serialize_with = "seconds")]
    pub act_p99: Duration,
    /// From the same moment until the second agent hears.
    #[serde(rename = "p50_seconds", serialize_with = "seconds")]
    pub p50: Duration,
    #[serde(rename = "p99_seconds", serialize_with = "seconds")]
    pub p99: Duration,
    #[serde(rename = "max_seconds", serialize_with = "seconds")]
    pub max: Duration,
}

/// The gateway is killed and started again.
#[derive(Debug, Serialize)]
pub struct Storm {
    pub linked: usize,
    /// Until it says that it serves.
    #[serde(rename = "started_seconds", serialize_with = "seconds")]
    pub started: Duration,
    /// Until all agents have their rules again, from the kill on.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    pub spent: Duration,
}

impl PeopleFigures {
    pub(super) fn of(
        people: usize,
        streams: usize,
        lists: &Histogram,
        details: &Histogram,
        refused: u64,
    ) -> Self {
        Self {
            people,
            streams,
            lists: lists.count(),
            list_p50: lists.quantile(0.5),
            list_p99: lists.quantile(0.99),
            detail_p50: details.quantile(0.5),
            detail_p99: details.quantile(0.99),
            refused,
            ..Self::default()
        }
    }

    fn fill(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        rows.row("people at once", self.people, "")?;
        rows.row("streams of events open to the end", self.streams, "")?;
        rows.row("lists read", self.lists, "")?;
        rows.row("a list, p50", millis(self.list_p50), "ms")?;
        rows.row("a list, p99", millis(self.list_p99), "ms")?;
        rows.row("a detail, p50", millis(self.detail_p50), "ms")?;
        rows.row("a detail, p99", millis(self.detail_p99), "ms")?;
        rows.row("requests told to wait", self.refused, "")?;
        rows.row("processor with people", hundredths(self.percent), "% of a core")?;
        rows.row("memory more than without them", self.more_resident / 1_024, "KiB")
    }
}

impl Termination {
    pub(super) fn of(acts: &Histogram, heard: &Histogram, unheard: u64) -> Self {
        Self {
            heard: heard.count(),
            unheard,
            act_p50: acts.quantile(0.5),
            act_p99: acts.quantile(0.99),
            p50: heard.quantile(0.5),
            p99: heard.quantile(0.99),
            max: heard.max(),
        }
    }
}

impl Figures {
    /// Returns the gateway's memory for each linked agent, in bytes.
    #[must_use]
    pub fn memory_each(&self) -> u64 {
        let linked = u64::try_from(self.linked_at_rest).unwrap_or(u64::MAX).max(1);
        self.resident_linked.saturating_sub(self.resident_empty) / linked
    }

    /// Returns whether every agent had its link, everybody's events went on, and both ends heard of each termination.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let all_back = self.storm.as_ref().is_none_or(|storm| storm.linked == self.agents);
        let all_follow = self.people.as_ref().is_none_or(|people| people.streams == people.people);
        self.linking.linked == self.agents && self.termination.unheard == 0 && all_back && all_follow
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = Rows(f);
        rows.row("agents", self.agents, "")?;
        rows.row("connections, active at the start", self.connections, "")?;
        rows.row("set-up of the platform", tenths(self.set_up), "s")?;
        rows.row("linked", self.linking.linked, "agents")?;
        rows.row("until then", tenths(self.linking.took), "s")?;
        rows.row("gateway's processor until then", tenths(self.linking.spent), "s")?;
        rows.row("attempts and links that failed until then", self.linking.ends, "")?;
        rows.row("gateway's memory without a link", self.resident_empty / 1_024, "KiB")?;
        rows.row("gateway's memory with all", self.resident_linked / 1_024, "KiB")?;
        rows.row("memory for each linked agent", self.memory_each() / 1_024, "KiB")?;
        rows.row("processor at rest", hundredths(self.rest_percent), "% of a core")?;
        if let Some(noise) = &self.noise {
            noise.fill(&mut rows)?;
        }
        if let Some(people) = &self.people {
            people.fill(&mut rows)?;
        }
        self.termination.fill(&mut rows)?;
        if let Some(storm) = &self.storm {
            storm.fill(&mut rows)?;
        }
        for (why, times) in &self.ends {
            writeln!(rows.0, "{times:>8} x {why}")?;
        }
        Ok(())
    }
}

impl NoiseFigures {
    fn fill(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        rows.row(
            &format!("noise of {} with {}", self.noisy, self.what),
            tenths_of(self.per_second),
            "messages/s",
        )?;
        rows.row("processor with noise", hundredths(self.percent), "% of a core")?;
        rows.row("more than at rest", hundredths(self.more_percent), "% of a core")?;
        rows.row("of it the noisy ones' own", hundredths(self.own_percent), "% of a core")?;
        let others = self.more_percent - self.own_percent;
        rows.row("of it the others'", hundredths(others), "% of a core")
    }
}

impl Termination {
    fn fill(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        rows.row("terminations heard by both agents", self.heard, "")?;
        rows.row("terminations unheard", self.unheard, "")?;
        rows.row("act of terminating, p50", millis(self.act_p50), "ms")?;
        rows.row("act of terminating, p99", millis(self.act_p99), "ms")?;
        rows.row("terminated until both heard, p50", millis(self.p50), "ms")?;
        rows.row("terminated until both heard, p99", millis(self.p99), "ms")?;
        rows.row("terminated until both heard, most", millis(self.max), "ms")
    }
}

impl Storm {
    fn fill(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        rows.row("linked again after a kill", self.linked, "agents")?;
        rows.row("killed until the gateway serves again", tenths(self.started), "s")?;
        rows.row("killed until all are back", tenths(self.took), "s")?;
        rows.row("gateway's processor for it", tenths(self.spent), "s")
    }
}

struct Rows<'f, 'b>(&'f mut fmt::Formatter<'b>);

impl Rows<'_, '_> {
    fn row(&mut self, what: &str, value: impl Display, unit: &str) -> fmt::Result {
        writeln!(self.0, "{what:<44} {:>10} {unit}", value.to_string())
    }
}

fn tenths(duration: Duration) -> String {
    tenths_of(duration.as_secs_f64())
}

fn tenths_of(value: f64) -> String {
    format!("{value:.1}")
}

fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
