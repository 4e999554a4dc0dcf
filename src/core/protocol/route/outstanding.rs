//! The probes that wait for their answer. Each nonce counts once.

use std::collections::VecDeque;
use std::time::Instant;

use super::path::Path;
use super::path_probe::Proof;
use crate::domain::limits::{PROBE_ANSWER_WITHIN, PROBES_OUTSTANDING_MAX};

#[derive(Debug, Default)]
pub(super) struct Outstanding(VecDeque<Probe>);

#[derive(Debug, Clone, Copy)]
struct Probe {
    nonce: [u8; 16],
    to: Path,
    proof: Proof,
}

impl Outstanding {
    /// Notes a question: the oldest is forgotten first.
    pub(super) fn note(&mut self, nonce: [u8; 16], to: Path, proof: Proof) {
        if self.0.len() >= PROBES_OUTSTANDING_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Probe { nonce, to, proof });
    }

    /// Returns which path was asked with this nonce, and what its answer over `from` proves: nothing when it
    /// is late. From elsewhere it does not count: one who sees an answer can send it on, and sooner.
    pub(super) fn take(&mut self, nonce: [u8; 16], from: Path, now: Instant) -> Option<(Path, Proof)> {
        let index = self.0.iter().position(|probe| probe.nonce == nonce)?;
        let Probe { to, proof, .. } = self.0[index];
        if to == from {
            self.0.remove(index);
        }
        let is_in_time = now.saturating_duration_since(proof.sent) <= PROBE_ANSWER_WITHIN;
        is_in_time.then_some((to, proof))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_counts_once_in_time_only_over_the_path_that_was_asked() {
        let [asked, elsewhere] = [1, 2].map(|port| Path::Direct(SocketAddr::from(([192, 0, 2, 1], port))));
        let (now, mut outstanding) = (Instant::now(), Outstanding::default());
        let proof = Proof { sent: now, length: 65 };
        let mut take = |nonce, from, at| {
            outstanding.note([1; 16], asked, proof);
            let first = outstanding.take(nonce, from, at).is_some();
            // A copy that came sooner from elsewhere leaves the genuine one its worth.
            let genuine = outstanding.take([1; 16], asked, now).is_some();
            outstanding.clear();
            (first, genuine)
        };
        assert_eq!(take([1; 16], asked, now), (true, false));
        assert_eq!(take([1; 16], elsewhere, now), (true, true));
        assert_eq!(take([2; 16], asked, now), (false, true));
        let late = now + PROBE_ANSWER_WITHIN + Duration::from_nanos(1);
        assert_eq!(take([1; 16], asked, late), (false, false));
    }
}
