//! The pace of passwords over one admin connection: each takes a place before it is sent and gives it
//! back once Mirth has proven it right, so that guesses in parallel are no faster than one by one.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use adit_core::domain::limits::{
    ADMIN_LOGIN_WAIT_MAX, ADMIN_WRONG_LOGINS_BURST, ADMIN_WRONG_LOGINS_PER_SECOND,
};
use adit_core::protocol::token_bucket::TokenBucket;

/// How soon one that waits looks again.
const POLL_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct LoginLimiter {
    bucket: Mutex<TokenBucket>,
    given_back: Notify,
}

impl Default for LoginLimiter {
    fn default() -> Self {
        let bucket = TokenBucket::per_second(ADMIN_WRONG_LOGINS_BURST, ADMIN_WRONG_LOGINS_PER_SECOND);
        Self { bucket: Mutex::new(bucket), given_back: Notify::new() }
    }
}

impl LoginLimiter {
    /// Takes a place, waiting for one; returns whether it got one in time.
    pub(super) async fn take(&self) -> bool {
        let taking = async {
            while !self.try_take() {
                tokio::select! {
                    () = self.given_back.notified() => {}
                    () = sleep(POLL_EVERY) => {}
                }
            }
        };
        let began = Instant::now();
        let has_place = timeout(ADMIN_LOGIN_WAIT_MAX, taking).await.is_ok();
        tracing::debug!(has_place, waited = ?began.elapsed(), "a password is to be checked by Mirth");
        has_place
    }

    /// Gives a place back: Mirth has let in the one who took it.
    pub(super) fn give_back(&self) {
        tracing::debug!("Mirth let the sender in, so the place among wrong passwords is free again");
        self.bucket.lock().give_back();
        self.given_back.notify_one();
    }

    fn try_take(&self) -> bool {
        self.bucket.lock().try_take(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_in_parallel_find_no_more_places_than_one_by_one() {
        let limiter = LoginLimiter::default();
        let taken = (0..60).filter(|_| limiter.try_take()).count();
        assert_eq!(taken, usize::try_from(ADMIN_WRONG_LOGINS_BURST).unwrap());
    }

    #[tokio::test]
    async fn whoever_is_proven_right_makes_room_for_the_next() {
        let limiter = LoginLimiter::default();
        for _ in 0..200 {
            assert!(limiter.take().await);
            limiter.give_back();
        }
    }
}
