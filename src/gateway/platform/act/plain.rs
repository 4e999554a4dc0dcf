//! Transactions that are no acts: looking, and writing what is measured or counted. Run again like acts;
//! nobody asked for them, so no audit entry is theirs.

use std::time::Instant;

use tokio::time::timeout_at;
use tracing::debug;

use crate::store::{StoreError, Turn, Tx};
use adit_net::identity::random;

use super::super::Platform;
use super::outcome::ActError;
use super::retries::Retries;

impl Platform {
    /// Reads in one consistent view.
    pub(in super::super) async fn look<T, E: ActError>(
        &self,
        work: impl AsyncFn(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut retries = self.retries();
        loop {
            let looking = async {
                let mut tx = self.begin_read().await.map_err(error_of)?;
                work(&mut tx).await
            };
            match self.in_time(&retries, looking).await {
                Err(error) if error.is_transient() => retries.wait_after(error).await?,
                looked => return looked,
            }
        }
    }

    /// Writes what is no act. What a commit without an answer wrote is written again: the work must find out
    /// whether it is there, or be as good twice.
    pub(in super::super) async fn record<T, E: ActError>(
        &self,
        work: impl AsyncFn(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut retries = self.retries();
        loop {
            match self.record_once(&work, &retries).await {
                Ok(recorded) => return Ok(recorded),
                Err(error) => retries.wait_where_harmless(error).await?,
            }
        }
    }

    async fn record_once<T, E: ActError>(
        &self,
        work: &impl AsyncFn(&mut Tx) -> Result<T, E>,
        retries: &Retries,
    ) -> Result<T, E> {
        let writing = async {
            let mut tx = self.begin_write(retries.turn()).await.map_err(error_of)?;
            work(&mut tx).await.map(|value| (value, tx))
        };
        let (value, tx) = self.in_time(retries, writing).await?;
        self.commit(tx).await.map_err(error_of)?;
        Ok(value)
    }

    /// Gives up what would last longer than an act may: a server that is stopped, or a writer before this one,
    /// takes what time there is for each step of it. What is given up has not been committed.
    pub(super) async fn in_time<T, E: ActError>(
        &self,
        retries: &Retries,
        attempt: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let done = timeout_at(retries.deadline(Instant::now()).into(), attempt).await;
        done.unwrap_or_else(|_| Err(error_of(self.store.out_of_time())))
    }

    pub(super) fn retries(&self) -> Retries {
        Retries::new(Instant::now(), self.act_wait)
    }

    pub(in super::super) async fn begin_write(&self, turn: Turn) -> Result<Tx, StoreError> {
        #[cfg(test)]
        self.faults.begin()?;
        self.store.write_in(turn).await
    }

    pub(super) async fn begin_read(&self) -> Result<Tx, StoreError> {
        #[cfg(test)]
        self.faults.begin()?;
        self.store.read().await
    }

    pub(super) async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        #[cfg(test)]
        if let Some(fault) = self.faults.next_commit() {
            return fault.commit(tx, &self.faults).await;
        }
        tx.commit().await
    }
}

/// Converts a store's error by way of the platform's.
pub(super) fn error_of<E: ActError>(error: StoreError) -> E {
    super::super::error::PlatformError::from(error).into()
}

impl Retries {
    /// Waits before the next attempt of what may be made twice, or gives the error back where none helps.
    pub(super) async fn wait_where_harmless<E: ActError>(&mut self, error: E) -> Result<(), E> {
        if matches!(error.store(), Some(StoreError::CommitUnknown)) {
            return self.wait_after(error_of::<E>(StoreError::Away { doing: "committing" })).await;
        }
        if error.is_transient() { self.wait_after(error).await } else { Err(error) }
    }

    /// Waits before the next attempt, or gives the error back as it is told when the time for them is over.
    pub(super) async fn wait_after<E: ActError>(&mut self, error: E) -> Result<(), E> {
        let is_conflict = matches!(error.store(), Some(StoreError::Conflict { .. }));
        let Some(pause) = self.next_pause(Instant::now(), random::draw(), is_conflict) else {
            debug!(why = %error, "the database was tried for as long as an act may last");
            return Err(error.after_waiting());
        };
        debug!(why = %error, pause_ms = pause.as_millis(), "a transaction is run again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
