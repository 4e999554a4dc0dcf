//! What the gateway's relay did, summed over all agents: who talks to whom is no label.

use metrics::{counter, gauge};

use super::as_gauge;

pub(super) const PACKETS: &str = "adit_relay_packets_total";
pub(super) const BYTES: &str = "adit_relay_bytes_total";
pub(super) const SENDS: &str = "adit_relay_sends_total";
pub(super) const ANSWERS: &str = "adit_relay_answers_total";
pub(super) const REGISTERED: &str = "adit_relay_agents";
/// Agents' carriers on TCP 443, labelled `proven`.
pub(super) const CARRIERS: &str = "adit_gateway_carriers";
/// Labelled `reason`, one of a fixed few words.
pub(super) const DROPPED: &str = "adit_relay_dropped_packets_total";

/// Counted since the gateway started, but for `registered` and the carriers, which are of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelaySample<const REASONS: usize> {
    pub packets: u64,
    pub bytes: u64,
    pub sends: u64,
    pub answers: u64,
    pub registered: u64,
    pub carriers: u64,
    pub proven_carriers: u64,
    pub drops: [(&'static str, u64); REASONS],
}

/// Publishes what the relay did.
pub fn relay<const REASONS: usize>(sample: &RelaySample<REASONS>) {
    counter!(PACKETS).absolute(sample.packets);
    counter!(BYTES).absolute(sample.bytes);
    counter!(SENDS).absolute(sample.sends);
    counter!(ANSWERS).absolute(sample.answers);
    gauge!(REGISTERED).set(as_gauge(sample.registered));
    gauge!(CARRIERS, "proven" => "yes").set(as_gauge(sample.proven_carriers));
    gauge!(CARRIERS, "proven" => "no").set(as_gauge(sample.carriers.saturating_sub(sample.proven_carriers)));
    for (reason, packets) in sample.drops {
        counter!(DROPPED, "reason" => reason).absolute(packets);
    }
}
