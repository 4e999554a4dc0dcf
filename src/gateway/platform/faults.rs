//! Faults of the database, for tests, and how often it is asked: a commit that fails or whose answer is lost, and a database that is away.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::store::{StoreError, Tx};

#[derive(Debug, Default)]
pub(super) struct Faults {
    commits: Mutex<VecDeque<CommitFault>>,
    is_away: AtomicBool,
    begun: AtomicUsize,
}

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitFault {
    /// Others changed the same.
    Conflict,
    /// It is made, and its answer is lost.
    LostAnswer,
    /// It never arrives, and so does no answer.
    LostCommit,
    /// It never arrives, and the database stays away.
    Away,
}

impl Faults {
    /// Lets the next commits fail in this order.
    pub(super) fn fail_commits(&self, faults: impl IntoIterator<Item = CommitFault>) {
        self.commits.lock().extend(faults);
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Returns how many transactions were begun since the last time.
    pub(super) fn take_begun(&self) -> usize {
        self.begun.swap(0, Ordering::SeqCst)
    }

    pub(super) fn begin(&self) -> Result<(), StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::Away { doing: "starting a transaction" });
        }
        Ok(())
    }

    pub(super) fn next_commit(&self) -> Option<CommitFault> {
        self.commits.lock().pop_front()
    }
}

impl CommitFault {
    pub(super) async fn commit(self, tx: Tx, faults: &Faults) -> Result<(), StoreError> {
        match self {
            Self::Conflict => return Err(StoreError::Conflict { doing: "committing" }),
            Self::LostAnswer => tx.commit().await?,
            Self::LostCommit => drop(tx),
            Self::Away => faults.set_away(true),
        }
        Err(StoreError::CommitUnknown)
    }
}
