//! How fast one admin connection's requests go on, by what each costs: Mirth's work, its event log, its own
//! audit, a question of ours, our audit. A client that is faster waits.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use adit_core::domain::limits;
use adit_core::protocol::token_bucket::TokenBucket;
use adit_mirth::side_effect::Logged;

const KIB: usize = 1024;

#[derive(Debug)]
pub(super) struct AdminLimiters {
    refusals: Mutex<TokenBucket>,
    requests: Mutex<TokenBucket>,
    audits: Mutex<TokenBucket>,
    events: Mutex<TokenBucket>,
    questions: Mutex<TokenBucket>,
    sessions: Mutex<TokenBucket>,
}

impl Default for AdminLimiters {
    fn default() -> Self {
        let limiter = |burst, per_second| Mutex::new(TokenBucket::per_second(burst, per_second));
        Self {
            refusals: limiter(limits::ADMIN_REFUSALS_BURST, limits::ADMIN_REFUSALS_PER_SECOND),
            requests: limiter(limits::ADMIN_REQUESTS_BURST, limits::ADMIN_REQUESTS_PER_SECOND),
            audits: limiter(limits::ADMIN_AUDITS_BURST, limits::ADMIN_AUDITS_PER_SECOND),
            events: limiter(limits::ADMIN_EVENTS_BURST, limits::ADMIN_EVENTS_PER_SECOND),
            questions: limiter(limits::ADMIN_QUESTIONS_BURST, limits::ADMIN_QUESTIONS_PER_SECOND),
            sessions: limiter(limits::ADMIN_MIRTH_SESSIONS_BURST, limits::ADMIN_MIRTH_SESSIONS_PER_SECOND),
        }
    }
}

impl AdminLimiters {
    /// Returns how long a refusal waits before it is written and answered: its record costs disk.
    pub(super) fn refusal_delay(&self, now: Instant) -> Duration {
        self.refusals.lock().take(now)
    }

    /// Returns how long a request waits before it is sent on.
    pub(super) fn request_delay(&self, now: Instant) -> Duration {
        self.requests.lock().take(now)
    }

    /// Returns how long a request waits besides of which Mirth writes `bytes` into its event log.
    pub(super) fn logged_delay(&self, logged: Logged, bytes: usize, now: Instant) -> Duration {
        match logged {
            Logged::Nothing => Duration::ZERO,
            Logged::Audit => self.audits.lock().take(now),
            Logged::Event => {
                let mut events = self.events.lock();
                (0..bytes.div_ceil(KIB).max(1)).map(|_| events.take(now)).last().unwrap_or_default()
            }
        }
    }

    /// Returns how long a question of the agent's own waits before it is asked.
    pub(super) fn question_delay(&self, now: Instant) -> Duration {
        self.questions.lock().take(now)
    }

    /// Returns how long a request waits besides of which Mirth may make a session.
    pub(super) fn session_delay(&self, now: Instant) -> Duration {
        self.sessions.lock().take(now)
    }

    /// Gives the place of a session back: Mirth made none.
    pub(super) fn give_back_session(&self) {
        self.sessions.lock().give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 20 s of records sent as fast as they are let through.
    #[test]
    fn records_of_mirths_own_audit_pass_five_a_second_after_a_few_at_once() {
        let start = Instant::now();
        let limiters = AdminLimiters::default();
        let mut passed = 0;
        while limiters.logged_delay(Logged::Audit, 60 * KIB, start) <= Duration::from_secs(20) {
            passed += 1;
        }
        println!("{passed} records in 20 s");
        assert_eq!(passed, limits::ADMIN_AUDITS_BURST + 20 * limits::ADMIN_AUDITS_PER_SECOND);
    }

    #[test]
    fn what_mirth_logs_of_a_request_is_paced_by_its_length() {
        let start = Instant::now();
        let limiters = AdminLimiters::default();
        let logged = |bytes| limiters.logged_delay(Logged::Event, bytes, start);
        for _ in 0..limits::ADMIN_EVENTS_BURST {
            assert_eq!(logged(100), Duration::ZERO);
        }
        assert_eq!(logged(0), Duration::from_millis(20));
        assert_eq!(logged(50 * KIB), Duration::from_millis(20) * 51);
        assert_eq!(limiters.logged_delay(Logged::Nothing, 50 * KIB, start), Duration::ZERO);
    }

    #[test]
    fn questions_of_our_own_are_paced() {
        let start = Instant::now();
        let limiters = AdminLimiters::default();
        for _ in 0..limits::ADMIN_QUESTIONS_BURST {
            assert_eq!(limiters.question_delay(start), Duration::ZERO);
        }
        assert_eq!(limiters.question_delay(start), Duration::from_millis(10));
    }
}
