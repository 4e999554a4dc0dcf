//! Whether the other end of a control link is alive: sends a beat at a steady pace and declares
//! the link lost after too long a silence.
//!
//! It is told the time and asked when to be woken; it never sleeps and owns no socket. Anything
//! heard counts, not only an answer to a beat.

use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct Heartbeat {
    every: Duration,
    silence_max: Duration,
    heard: Instant,
    next_beat: Instant,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Send heartbeat `number`, counted from 1.
    Send { number: u64 },
    /// Close the link. Said on every later poll too.
    Lost { silent_for: Duration },
}

impl Heartbeat {
    /// Starts: the first beat is due one interval from `now`.
    #[must_use]
    pub fn new(now: Instant, every: Duration, missed_max: u32) -> Self {
        let silence_max = every.saturating_mul(missed_max);
        Self { every, silence_max, heard: now, next_beat: now + every, number: 0 }
    }

    pub fn handle_heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// Notes a beat of the other end. The own next one is due with it rather than up to half an interval later: one
    /// packet then carries both, and the acknowledgement.
    pub fn handle_beat(&mut self, now: Instant) {
        self.handle_heard(now);
        if self.next_beat.saturating_duration_since(now) <= self.every / 2 {
            self.next_beat = self.next_beat.min(now);
        }
    }

    /// Returns what to do now. A process that slept through several beats sends one.
    pub fn poll(&mut self, now: Instant) -> Option<Beat> {
        let silent_for = now.saturating_duration_since(self.heard);
        if silent_for >= self.silence_max {
            return Some(Beat::Lost { silent_for });
        }
        if now < self.next_beat {
            return None;
        }
        self.next_beat = now + self.every;
        self.number += 1;
        Some(Beat::Send { number: self.number })
    }

    /// Returns when to poll next.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.next_beat.min(self.heard + self.silence_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    #[test]
    fn a_silent_peer_is_lost_after_three_missed_heartbeats() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, EVERY, 3);
        let beats = run_until(&mut heartbeat, start + EVERY * 3);
        assert_eq!(
            beats,
            [Beat::Send { number: 1 }, Beat::Send { number: 2 }, Beat::Lost { silent_for: EVERY * 3 }]
        );
    }

    #[test]
    fn a_peer_heard_in_time_is_never_lost() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, EVERY, 3);
        for round in 1..1_000 {
            let now = start + EVERY * round;
            assert_eq!(heartbeat.poll(now), Some(Beat::Send { number: round.into() }));
            heartbeat.handle_heard(now + EVERY / 2);
        }
    }

    #[test]
    fn a_beat_is_answered_once_half_an_interval_is_over() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, EVERY, 3);
        let half = start + EVERY / 2;
        heartbeat.handle_beat(half.checked_sub(Duration::from_nanos(1)).unwrap());
        assert_eq!(heartbeat.deadline(), start + EVERY);
        heartbeat.handle_beat(half);
        assert_eq!(heartbeat.poll(half), Some(Beat::Send { number: 1 }));
        heartbeat.handle_beat(half);
        assert_eq!(heartbeat.deadline(), half + EVERY, "the answer is not answered");
        heartbeat.handle_beat(half + EVERY * 2);
        assert_eq!(heartbeat.deadline(), half + EVERY, "what was due stays due");
    }

    #[test]
    fn one_instant_parts_the_alive_from_the_lost() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, EVERY, 1);
        let just_before = (start + EVERY).checked_sub(Duration::from_nanos(1)).unwrap();
        assert_eq!(heartbeat.poll(just_before), None);
        assert_eq!(heartbeat.poll(start + EVERY), Some(Beat::Lost { silent_for: EVERY }));
    }

    #[test]
    fn a_process_that_slept_says_for_how_long_the_link_is_lost() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, EVERY, 3);
        let silent_for = Duration::from_hours(1);
        assert_eq!(heartbeat.poll(start + silent_for), Some(Beat::Lost { silent_for }));
    }

    #[test]
    fn news_from_the_past_do_not_set_the_link_back() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start + EVERY, EVERY, 3);
        heartbeat.handle_heard(start);
        assert_eq!(heartbeat.deadline(), start + EVERY * 2);
        assert_eq!(heartbeat.poll(start + EVERY * 3), Some(Beat::Send { number: 1 }));
    }

    /// Jumps from deadline to deadline.
    fn run_until(heartbeat: &mut Heartbeat, end: Instant) -> Vec<Beat> {
        let mut beats = Vec::new();
        while heartbeat.deadline() <= end && !matches!(beats.last(), Some(Beat::Lost { .. })) {
            beats.extend(heartbeat.poll(heartbeat.deadline()));
        }
        beats
    }
}
