//! When the peer is dialled again: after a pause that grows, or sooner, once its agent is another run.

use std::time::{Duration, Instant};

use crate::domain::id::BootId;
use crate::domain::limits::{TUNNEL_BACKOFF_MAX, TUNNEL_BACKOFF_MIN, TUNNEL_LASTED};
use crate::protocol::backoff::Backoff;

#[derive(Debug)]
pub(super) struct Redial {
    backoff: Backoff,
    draws: Draws,
    /// Dials since a tunnel was up last.
    attempts: u32,
    /// The run of the peer's agent that was dialled last.
    dialled: Option<BootId>,
    /// The run that answers now.
    seen: Option<BootId>,
    pause: Option<Pause>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    /// And so long, whatever happens.
    until_least: Instant,
}

impl Redial {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            backoff: Backoff::new(TUNNEL_BACKOFF_MIN, TUNNEL_BACKOFF_MAX, TUNNEL_LASTED),
            draws: Draws(seed),
            attempts: 0,
            dialled: None,
            seen: None,
            pause: None,
        }
    }

    /// Notes which run of the peer's agent answers: what an earlier one did counts no more.
    pub(super) fn note_run(&mut self, run: Option<BootId>) {
        self.seen = run;
        if self.is_other_run(run)
            && let Some(pause) = &mut self.pause
        {
            pause.until = pause.until.min(pause.until_least);
        }
    }

    /// Returns whether `run` is another than the one that was dialled.
    pub(super) fn is_other_run(&self, run: Option<BootId>) -> bool {
        run.is_some() && run != self.dialled
    }

    /// Returns until when the peer is left alone, if it is.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.pause.map(|pause| pause.until).filter(|until| now < *until)
    }

    /// Begins a dial of `run`; returns which it is since a tunnel was up.
    pub(super) fn begin(&mut self, run: Option<BootId>) -> u32 {
        if run != self.dialled {
            self.dialled = run;
            self.backoff.reset();
        }
        self.pause = None;
        self.attempts = self.attempts.saturating_add(1);
        self.attempts
    }

    /// Notes that it failed; returns when the next one may begin.
    pub(super) fn fail(&mut self, now: Instant) -> Instant {
        let delay = self.backoff.next_delay(self.draws.draw());
        let until_least = now + delay.min(TUNNEL_BACKOFF_MIN);
        let until = if self.is_other_run(self.seen) { until_least } else { now + delay };
        self.pause = Some(Pause { until, until_least });
        until
    }

    /// Notes that it brought a tunnel.
    pub(super) const fn succeed(&mut self) {
        self.attempts = 0;
    }

    /// Notes that the tunnel ended after `up_for`.
    pub(super) fn lose(&mut self, up_for: Duration, now: Instant) {
        self.backoff.on_lost(up_for);
        self.fail(now);
    }
}

/// Numbers without a pattern, from a seed that comes from outside (`SplitMix64`).
#[derive(Debug)]
struct Draws(u64);

impl Draws {
    /// Returns one in 0..1.
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Half of it is precise enough for a pause.
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: [Option<BootId>; 2] = [Some(BootId::from_bytes([1; 8])), Some(BootId::from_bytes([2; 8]))];

    #[test]
    fn pauses_grow_until_another_run_of_the_peer_answers() {
        let start = Instant::now();
        let mut redial = Redial::new(1);
        let mut pauses = Vec::new();
        for attempt in 1..=8 {
            assert_eq!(redial.begin(RUNS[0]), attempt);
            pauses.push(redial.fail(start) - start);
        }
        assert!(pauses[7] >= TUNNEL_BACKOFF_MAX / 2 && pauses[0] <= TUNNEL_BACKOFF_MIN, "{pauses:?}");
        redial.note_run(RUNS[0]);
        assert_eq!(redial.waits_until(start), Some(start + pauses[7]));
        redial.note_run(None);
        assert_eq!(redial.waits_until(start), Some(start + pauses[7]));
        redial.note_run(RUNS[1]);
        assert_eq!(redial.waits_until(start), Some(start + TUNNEL_BACKOFF_MIN));
        redial.begin(RUNS[1]);
        assert!(redial.fail(start) - start <= TUNNEL_BACKOFF_MIN, "what failed was an earlier run");
        (0..8).for_each(|_| _ = redial.fail(start));
        redial.note_run(RUNS[0]);
        assert!(redial.fail(start) - start <= TUNNEL_BACKOFF_MIN, "another is there already");
    }

    #[test]
    fn a_tunnel_that_did_not_last_keeps_the_pause_long() {
        let start = Instant::now();
        let mut redial = Redial::new(2);
        for (up_for, most, least) in [
            (TUNNEL_LASTED / 2, TUNNEL_BACKOFF_MAX, TUNNEL_BACKOFF_MAX / 2),
            (TUNNEL_LASTED, TUNNEL_BACKOFF_MIN, Duration::ZERO),
        ] {
            (0..8).for_each(|_| _ = redial.fail(start));
            redial.lose(up_for, start);
            let pause = redial.waits_until(start).unwrap() - start;
            assert!(pause <= most && pause >= least, "{pause:?} after {up_for:?}");
        }
    }

    #[test]
    fn draws_of_two_seeds_differ_and_fill_their_range() {
        let mut draws = [Draws(1), Draws(2)];
        let mut seen = [0; 4];
        for _ in 0..1_000 {
            let [one, other] = draws.each_mut().map(Draws::draw);
            assert!(one.to_bits() != other.to_bits());
            assert!((0.0..1.0).contains(&one), "{one}");
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in 0..1")]
            let quarter = (one * 4.0) as usize;
            seen[quarter] += 1;
        }
        assert!(seen.iter().all(|count| *count > 150), "{seen:?}");
    }
}
