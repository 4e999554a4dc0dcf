//! How long a tunnel has been silent, and whether its other end still knows it.
//!
//! Only what the peer says of what it heard from us counts: our own nonces come back below QUIC, its
//! acknowledgements on the tunnel. Either proves both directions of a path and a living agent. But an
//! agent can live and have ended the tunnel: the message that says so goes once or twice over the
//! very path whose silence was the reason, and no stateless reset finds its way back behind a virtual
//! address. Then nonces come back and acknowledgements do not, so a question of ours that was never
//! acknowledged ends the tunnel too. Every tunnel asks at least when its path answers again after a
//! silence, and with QUIC's keep-alive.

use std::time::{Duration, Instant};

use crate::domain::limits::{
    TUNNEL_ASKED_ANEW_AFTER, TUNNEL_PINGED_EVERY, TUNNEL_UNANSWERED, TUNNEL_UNANSWERED_MAX,
};

/// What QUIC counted since the tunnel's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// Frames sent that the peer must acknowledge.
    pub questions: u64,
    /// Packets that the peer has acknowledged: what it says again is none.
    pub answers: u64,
    /// Frames received that we must acknowledge.
    pub asked: u64,
    /// Datagrams sent.
    pub sent: u64,
}

#[derive(Debug)]
pub struct Liveness {
    heard: Instant,
    counts: PacketCounts,
    unanswered: Option<Unanswered>,
    /// Since when the peer was asking and got nothing from us at all.
    owed: Option<Instant>,
    /// When QUIC was last made to send.
    pinged: Option<Instant>,
}

/// Questions since the latest acknowledgement.
#[derive(Debug, Clone, Copy)]
struct Unanswered {
    /// When the first was put. QUIC doubles its pauses from here on.
    first: Instant,
    /// The same, but not before the path answered again after a silence.
    since: Instant,
}

impl Liveness {
    /// Starts the watch of a tunnel that was opened now.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        let counts = PacketCounts { questions: 0, answers: 0, asked: 0, sent: 0 };
        Self { heard: now, counts, unanswered: None, owed: None, pinged: None }
    }

    /// Takes what QUIC has counted by now, as often as the caller likes to look.
    pub fn note_counts(&mut self, counts: PacketCounts, now: Instant) {
        if counts.answers != self.counts.answers {
            (self.counts.answers, self.counts.questions) = (counts.answers, counts.questions);
            self.heard = now;
            self.unanswered = None;
        } else if counts.questions != self.counts.questions {
            self.unanswered.get_or_insert(Unanswered { first: now, since: now });
        }
        if counts.sent != self.counts.sent {
            (self.counts.sent, self.counts.asked) = (counts.sent, counts.asked);
            self.owed = None;
        } else if counts.asked != self.counts.asked {
            self.owed.get_or_insert(now);
        }
    }

    /// Notes that the peer last answered below QUIC at `heard`, on whichever path.
    pub fn note_heard(&mut self, heard: Instant) {
        if heard.saturating_duration_since(self.heard) >= TUNNEL_ASKED_ANEW_AFTER
            && let Some(unanswered) = &mut self.unanswered
        {
            // What was asked meanwhile may never have arrived.
            unanswered.since = heard;
        }
        self.heard = self.heard.max(heard);
    }

    /// Returns for how long nothing has been heard of the peer.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Returns when it will have been silent for `span`, if nothing more is heard.
    #[must_use]
    pub fn silent_at(&self, span: Duration) -> Instant {
        self.heard + span
    }

    /// Returns when QUIC should be made to send, whatever it waits for: the peer is heard below QUIC but does
    /// not answer on the tunnel, or gets no answer from us. QUIC alone would wait for as long as the path was
    /// silent before, and while its window is full it withholds even its acknowledgements.
    #[must_use]
    pub fn pings_at(&self) -> Option<Instant> {
        let unanswered = self.unanswered.map(|unanswered| unanswered.since);
        let since = unanswered.into_iter().chain(self.owed).min()?;
        let at = since.max(self.pinged.unwrap_or(since)) + TUNNEL_PINGED_EVERY;
        (at < self.heard + TUNNEL_ASKED_ANEW_AFTER).then_some(at)
    }

    /// Notes that it was made to send.
    pub const fn note_pinged(&mut self, now: Instant) {
        self.pinged = Some(now);
    }

    /// Returns whether the peer answers below QUIC but acknowledges nothing on the tunnel, though it was
    /// asked often enough: it has ended the tunnel and we were not told.
    #[must_use]
    pub fn is_forgotten(&self, now: Instant) -> bool {
        self.forgotten_at().is_some_and(|at| at <= now)
    }

    /// Returns when [`Self::silent_for`] reaches `stall` or [`Self::is_forgotten`] turns true, if nothing
    /// more is heard.
    #[must_use]
    pub fn ends_at(&self, stall: Duration) -> Instant {
        let silent = self.heard + stall;
        self.forgotten_at().map_or(silent, |forgotten| silent.min(forgotten))
    }

    /// Returns when it is forgotten, never while the path itself is silent. After an outage QUIC may not ask
    /// again for as long as the outage lasted.
    fn forgotten_at(&self) -> Option<Instant> {
        let Unanswered { first, since } = self.unanswered?;
        let outage = since.saturating_duration_since(first);
        let at = since + outage.clamp(TUNNEL_UNANSWERED, TUNNEL_UNANSWERED_MAX);
        (at < self.heard + TUNNEL_ASKED_ANEW_AFTER).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    /// A tunnel with the times of its run in milliseconds.
    struct Run {
        start: Instant,
        liveness: Liveness,
    }

    impl Run {
        fn new() -> Self {
            let start = Instant::now();
            Self { start, liveness: Liveness::new(start) }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn count(&mut self, questions: u64, answers: u64, millis: u64) {
            let now = self.at(millis);
            self.liveness.note_counts(PacketCounts { questions, answers, asked: 0, sent: questions }, now);
        }

        /// Notes that the peer answers below QUIC each second of the span.
        fn hear(&mut self, from: u64, to: u64) {
            for millis in (from..=to).step_by(1_000) {
                let heard = self.at(millis);
                self.liveness.note_heard(heard);
            }
        }

        #[track_caller]
        fn ends_at(&self, millis: u64) {
            assert_eq!(self.liveness.ends_at(STALL), self.at(millis));
            let just_before = self.at(millis).checked_sub(Duration::from_nanos(1)).unwrap();
            let is_over = |at| self.liveness.is_forgotten(at) || self.liveness.silent_for(at) >= STALL;
            assert!(!is_over(just_before) && is_over(self.at(millis)));
        }
    }

    #[test]
    fn either_kind_of_answer_ends_a_silence() {
        let mut run = Run::new();
        run.ends_at(60_000);
        run.hear(1_000, 1_000);
        run.ends_at(61_000);
        run.count(5, 3, 2_000);
        run.ends_at(62_000);
        // Late news of an earlier answer is none.
        run.hear(1_500, 1_500);
        assert_eq!(run.liveness.silent_for(run.at(3_000)), Duration::from_secs(1));
    }

    #[test]
    fn what_nobody_asked_need_not_be_answered() {
        let mut run = Run::new();
        run.count(5, 3, 1_000);
        run.hear(1_000, 100_000);
        run.ends_at(160_000);
        assert_eq!(run.liveness.pings_at(), None);
    }

    #[test]
    fn a_tunnel_that_is_not_answered_for_ten_seconds_is_forgotten_if_its_peer_is_heard() {
        let mut run = Run::new();
        run.count(5, 3, 1_000);
        run.count(6, 3, 2_000);
        run.hear(2_000, 11_000);
        run.count(9, 3, 11_000);
        run.ends_at(12_000);
        run.count(9, 4, 11_500);
        run.hear(12_000, 20_000);
        run.ends_at(80_000);
    }

    #[test]
    fn a_silent_path_is_no_proof_that_a_tunnel_is_forgotten() {
        let mut run = Run::new();
        run.count(1, 0, 0);
        run.hear(0, 5_000);
        run.ends_at(65_000);
        run.liveness.note_pinged(run.at(6_000));
        assert_eq!(run.liveness.pings_at(), None);
    }

    #[test]
    fn after_an_outage_its_length_is_waited_within_ten_seconds_to_a_minute() {
        for (outage, waits) in
            [(3_000, 10_000), (11_000, 11_000), (29_000, 29_000), (59_000, 59_000), (70_000, 60_000)]
        {
            let mut run = Run::new();
            run.count(1, 0, 0);
            run.hear(outage, outage + waits);
            run.ends_at(outage + waits);
        }
    }

    #[test]
    fn quic_is_made_to_answer_when_the_peer_asks_in_vain() {
        let mut run = Run::new();
        let note = |run: &mut Run, asked, sent, millis| {
            let now = run.at(millis);
            run.liveness.note_counts(PacketCounts { questions: 0, answers: 0, asked, sent }, now);
        };
        run.hear(0, 3_000);
        note(&mut run, 4, 4, 100);
        assert_eq!(run.liveness.pings_at(), None);
        note(&mut run, 5, 4, 200);
        note(&mut run, 6, 4, 900);
        assert_eq!(run.liveness.pings_at(), Some(run.at(1_200)));
        note(&mut run, 6, 5, 1_000);
        assert_eq!(run.liveness.pings_at(), None);
    }

    #[test]
    fn quic_is_made_to_ask_again_each_second_while_the_peer_is_heard() {
        let mut run = Run::new();
        run.count(1, 0, 500);
        run.hear(0, 3_000);
        assert_eq!(run.liveness.pings_at(), Some(run.at(1_500)));
        run.liveness.note_pinged(run.at(1_600));
        assert_eq!(run.liveness.pings_at(), Some(run.at(2_600)));
        run.count(2, 0, 1_600);
        assert_eq!(run.liveness.pings_at(), Some(run.at(2_600)));
        run.count(2, 1, 2_000);
        assert_eq!(run.liveness.pings_at(), None);
    }
}
