//! What is known of one path from asking it: when it answered, since when it does so without a gap,
//! when to ask again. Which path is used is decided in [`super::choice`].

use std::time::{Duration, Instant};

use super::choice::PathRole;
use crate::domain::limits::{
    PATH_DOUBT, PATH_SILENCE, PROBE_AGAIN, PROBE_EVERY, PROBE_SEARCH_MAX, PROBE_SEARCH_MIN,
    PROBE_STANDBY_EVERY,
};
use crate::protocol::packet::PROBE_BYTES_MIN;

/// So many padded probes lost in a row are no accident.
const PADDED_LOST_MIN: u32 = 3;

/// A path that is probed.
#[derive(Debug)]
pub(super) struct PathProbe {
    /// Somebody said that it exists; otherwise it was learnt from a probe.
    pub(super) announced: bool,
    /// When it last answered; `None` when it never did, or too long ago.
    pub(super) answered: Option<Instant>,
    /// When it was first asked what it has not answered yet.
    pub(super) asked: Option<Instant>,
    /// Since when each question was answered within [`PATH_DOUBT`]: when the first of them was put.
    /// Says nothing while the last question is older than that.
    pub(super) steady: Option<Instant>,
    /// Probes since a search began.
    attempts: u32,
    /// Padded probes since one was answered.
    padded: u32,
    pub(super) due: Instant,
}

/// What an answered probe proves: both directions carried so many bytes, after it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    pub(super) sent: Instant,
    pub(super) length: usize,
}

impl PathProbe {
    pub(super) fn new(announced: bool, now: Instant) -> Self {
        Self { announced, answered: None, asked: None, steady: None, attempts: 0, padded: 0, due: now }
    }

    /// Begins again, as if nothing had ever been asked, save that a source stays valid until it lapses.
    pub(super) fn reset(&mut self, now: Instant) {
        (self.asked, self.steady, self.padded) = (None, None, 0);
        self.search(now);
    }

    /// Asks quickly from now on.
    pub(super) fn search(&mut self, now: Instant) {
        (self.attempts, self.due) = (0, now);
    }

    pub(super) fn answered_since(&self, since: Instant) -> bool {
        self.answered.is_some_and(|answered| answered >= since)
    }

    pub(super) fn answered_within(&self, span: Duration, now: Instant) -> bool {
        self.answered.is_some_and(|answered| now.saturating_duration_since(answered) < span)
    }

    /// Returns from when on something may be wrong: a question has waited too long.
    pub(super) fn doubted_at(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + PATH_DOUBT)
    }

    /// Returns from when on the path in use is given up: so long after its last answer, and not because
    /// nobody asked (a suspended host, a late timer).
    pub(super) fn silent_at(&self, silence: Duration) -> Option<Instant> {
        let asked = self.asked? + silence.saturating_sub(PROBE_EVERY);
        Some(self.answered.map_or(asked, |answered| asked.max(answered + silence)))
    }

    pub(super) fn is_doubted(&self, now: Instant) -> bool {
        self.doubted_at().is_some_and(|at| at <= now)
    }

    /// Returns whether it answers short probes and loses padded ones.
    pub(super) fn is_narrow(&self, now: Instant) -> bool {
        self.padded >= PADDED_LOST_MIN && self.answered_within(PATH_SILENCE * 2, now)
    }

    /// Returns whether a question is under way that may still be answered in time.
    pub(super) fn is_asked(&self, now: Instant) -> bool {
        self.asked.is_some() && !self.is_doubted(now)
    }

    /// Returns whether it answers short probes, so that a padded one tells something.
    pub(super) fn is_responsive(&self, now: Instant) -> bool {
        self.steady.is_some() && !self.is_doubted(now)
    }

    pub(super) fn note_probe(&mut self, length: usize, now: Instant) {
        self.asked.get_or_insert(now);
        if length > PROBE_BYTES_MIN {
            self.padded = self.padded.saturating_add(1);
        }
    }

    /// Schedules the next probe of a path that is given up after so much silence.
    pub(super) fn schedule_after_probe(&mut self, role: PathRole, silence: Duration, now: Instant) {
        let is_silent = self.silent_at(silence).is_some_and(|at| at <= now);
        let pause = match role {
            PathRole::Active if is_silent => PROBE_EVERY,
            PathRole::Active => PROBE_AGAIN,
            PathRole::Better if self.is_responsive(now) => PROBE_AGAIN,
            PathRole::Better if self.steady.is_some() => PROBE_SEARCH_MAX,
            // At 0, 10, 20, 40, 80 … ms: each pause but the first as long as all before it.
            PathRole::Better | PathRole::Searched => PROBE_SEARCH_MIN
                .saturating_mul(2_u32.saturating_pow(self.attempts.saturating_sub(1)))
                .min(PROBE_SEARCH_MAX),
            PathRole::Standby | PathRole::Idle | PathRole::Forbidden => PROBE_STANDBY_EVERY,
        };
        self.attempts = self.attempts.saturating_add(1);
        self.due = now + pause;
    }

    /// Takes an answer into account. An answer to what was asked before the last one came is news
    /// of the path, but not what is waited for.
    pub(super) fn note_answer(&mut self, proof: Proof, now: Instant) {
        self.answered = Some(now);
        self.attempts = 0;
        if proof.length > PROBE_BYTES_MIN {
            self.padded = 0;
        }
        if self.asked.is_some_and(|asked| proof.sent < asked) {
            return;
        }
        if self.is_doubted(now) {
            self.steady = None;
        }
        self.asked = None;
        self.steady.get_or_insert(proof.sent);
    }

    /// Schedules the next probe: from `climb_at` on an answered probe of a better path is proof enough.
    pub(super) fn schedule_after_answer(
        &mut self,
        role: PathRole,
        proof: Proof,
        climb_at: Option<Instant>,
        now: Instant,
    ) {
        self.due = match role {
            PathRole::Active | PathRole::Searched => now + PROBE_EVERY,
            // A padded probe is under way, or due.
            PathRole::Better if self.asked.is_some() || self.due <= now => self.due,
            PathRole::Better => {
                let rested = now + PROBE_SEARCH_MAX;
                climb_at.filter(|at| *at > proof.sent).map_or(rested, |at| at.clamp(now, rested))
            }
            PathRole::Standby | PathRole::Idle | PathRole::Forbidden => now + PROBE_STANDBY_EVERY,
        };
    }
}
