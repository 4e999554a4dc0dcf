//! How many refusals are written down: a peer that keeps trying fills neither the disk nor the
//! gateway's log. All are counted elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::domain::id::ServerId;
use crate::domain::limits::{REFUSAL_KINDS_MAX, REFUSALS_AUDITED_PER_MINUTE};
use crate::protocol::control::PeerRefusal;

const MINUTE: Duration = Duration::from_mins(1);

/// Who was refused, as far as it is known, and why; no reason stands for a failed handshake.
type Kind = (Option<ServerId>, Option<PeerRefusal>);

#[derive(Debug, Default)]
pub struct Refusals {
    kinds: BTreeMap<Kind, Counted>,
}

#[derive(Debug)]
struct Counted {
    minute: Instant,
    in_minute: u32,
    left_out: u64,
}

impl Refusals {
    /// Counts a refusal. If it is to be written: how many of its kind were left out since the last.
    pub fn handle(
        &mut self,
        peer: Option<ServerId>,
        reason: Option<PeerRefusal>,
        now: Instant,
    ) -> Option<u64> {
        let kind = (peer, reason);
        if !self.kinds.contains_key(&kind) && self.kinds.len() >= REFUSAL_KINDS_MAX {
            self.kinds.retain(|_, counted| now.saturating_duration_since(counted.minute) < MINUTE);
            if self.kinds.len() >= REFUSAL_KINDS_MAX {
                return None;
            }
        }
        let counted = self.kinds.entry(kind).or_insert(Counted { minute: now, in_minute: 0, left_out: 0 });
        if now.saturating_duration_since(counted.minute) >= MINUTE {
            counted.minute = now;
            counted.in_minute = 0;
        }
        if counted.in_minute >= REFUSALS_AUDITED_PER_MINUTE.get() {
            counted.left_out += 1;
            return None;
        }
        counted.in_minute += 1;
        Some(std::mem::take(&mut counted.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> ServerId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        ServerId::from_bytes(id)
    }

    const WRONG_SECRET: Option<PeerRefusal> = Some(PeerRefusal::WrongSecret);

    #[test]
    fn a_peer_that_keeps_trying_is_written_down_ten_times_a_minute_and_what_was_left_out_is_said() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        for _ in 0..10 {
            assert_eq!(refusals.handle(Some(peer(1)), WRONG_SECRET, start), Some(0));
        }
        for _ in 0..500 {
            assert_eq!(refusals.handle(Some(peer(1)), WRONG_SECRET, start + MINUTE / 2), None);
        }
        assert_eq!(refusals.handle(Some(peer(1)), Some(PeerRefusal::Paused), start), Some(0));
        assert_eq!(refusals.handle(Some(peer(2)), WRONG_SECRET, start), Some(0));
        assert_eq!(refusals.handle(None, None, start), Some(0));
        assert_eq!(refusals.handle(Some(peer(1)), WRONG_SECRET, start + MINUTE), Some(500));
        assert_eq!(refusals.handle(Some(peer(1)), WRONG_SECRET, start + MINUTE), Some(0));
    }

    #[test]
    fn the_kinds_remembered_have_a_bound_and_old_ones_make_room() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        for number in 0..REFUSAL_KINDS_MAX {
            assert_eq!(refusals.handle(Some(peer(number)), None, start), Some(0));
        }
        assert_eq!(refusals.handle(Some(peer(REFUSAL_KINDS_MAX)), None, start), None);
        assert_eq!(refusals.handle(Some(peer(0)), None, start), Some(0));
        assert_eq!(refusals.handle(Some(peer(REFUSAL_KINDS_MAX)), None, start + MINUTE), Some(0));
        assert_eq!(refusals.kinds.len(), 1);
    }
}
