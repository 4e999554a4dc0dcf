//! Who waits for which provider: at each there are places for so many requests, one reads what it says of itself at a
//! time, and nobody waits longer than a request may last. A provider that hangs has its own users wait alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use adit_core::domain::limits::{PROVIDER_REQUESTS_MAX, PROVIDER_TIMEOUT, PROVIDER_WAITING_MAX};

use super::OpenIdError;

/// Of all providers that anybody waits for.
#[derive(Debug, Default)]
pub(super) struct Turns {
    of: Mutex<BTreeMap<String, Arc<Queues>>>,
}

/// Before one provider.
#[derive(Debug)]
struct Queues {
    waiting: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    _queues: Arc<Queues>,
}

impl Turns {
    /// Waits for a place for a request.
    pub(super) async fn to_ask(&self, issuer: &str) -> Result<Turn, OpenIdError> {
        let queues = self.queues(issuer);
        let line = Arc::clone(&queues.requests);
        take(queues, line).await
    }

    /// Waits until nobody else reads what the provider says of itself. Whoever has waited looks first whether the other
    /// has read it.
    pub(super) async fn to_read(&self, issuer: &str) -> Result<Turn, OpenIdError> {
        let queues = self.queues(issuer);
        let line = Arc::clone(&queues.reading);
        take(queues, line).await
    }

    fn queues(&self, issuer: &str) -> Arc<Queues> {
        let mut all = self.of.lock();
        // Turns and those who wait hold theirs.
        all.retain(|_, queues| Arc::strong_count(queues) > 1);
        Arc::clone(all.entry(issuer.to_owned()).or_insert_with(|| Arc::new(Queues::new())))
    }
}

impl Queues {
    fn new() -> Self {
        let line = |places| Arc::new(Semaphore::new(places));
        Self { waiting: line(PROVIDER_WAITING_MAX), requests: line(PROVIDER_REQUESTS_MAX), reading: line(1) }
    }
}

async fn take(queues: Arc<Queues>, line: Arc<Semaphore>) -> Result<Turn, OpenIdError> {
    let _waiting = Arc::clone(&queues.waiting).try_acquire_owned().map_err(|_| OpenIdError::Busy)?;
    let permit = timeout(PROVIDER_TIMEOUT, line.acquire_owned()).await;
    match permit {
        Ok(Ok(permit)) => Ok(Turn { _permit: permit, _queues: queues }),
        _ => Err(OpenIdError::Busy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_a_turn_in_time_or_is_told_so() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..PROVIDER_REQUESTS_MAX {
            held.push(turns.to_ask("https://one.example").await.unwrap());
        }
        let late = turns.to_ask("https://one.example").await;
        assert!(matches!(late, Err(OpenIdError::Busy)), "{late:?}");
        turns.to_ask("https://other.example").await.expect("another provider's users do not wait");
        let ((), next) = tokio::join!(async { drop(held.pop()) }, turns.to_ask("https://one.example"));
        drop((held, next.unwrap()));
        turns.to_read("https://other.example").await.unwrap();
        assert_eq!(turns.of.lock().len(), 1, "nothing is kept of those whom nobody waits for");
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_for_a_provider_and_no_more() {
        let turns = Turns::default();
        let _reading = turns.to_read("https://one.example").await.unwrap();
        let waiting = (0..=PROVIDER_WAITING_MAX).map(|_| turns.to_read("https://one.example"));
        let begun = tokio::time::Instant::now();
        let first = futures_util::future::select_all(waiting.map(Box::pin)).await;
        assert!(matches!(first.0, Err(OpenIdError::Busy)));
        assert_eq!(begun.elapsed(), std::time::Duration::ZERO, "the one too many is told at once");
    }
}
