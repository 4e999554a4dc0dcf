//! The servers whose changes one follower has yet to look at: a set, or, where they are too many or it is not
//! known whose, all.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use adit_core::domain::id::ServerId;
use adit_core::domain::limits::CHANGED_SERVERS_MAX;

#[derive(Debug, Default)]
pub(crate) struct ConcernedServers {
    waiting: Mutex<Concerned>,
    filled: Notify,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Concerned {
    Servers(BTreeSet<ServerId>),
    All,
}

impl Default for Concerned {
    fn default() -> Self {
        Self::Servers(BTreeSet::new())
    }
}

impl Concerned {
    fn add(&mut self, more: Self) {
        match (&mut *self, more) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Servers(servers), Self::Servers(more)) => {
                servers.extend(more);
                if servers.len() > CHANGED_SERVERS_MAX {
                    *self = Self::All;
                }
            }
        }
    }

    fn is_nobody(&self) -> bool {
        matches!(self, Self::Servers(servers) if servers.is_empty())
    }
}

impl ConcernedServers {
    pub(crate) fn note(&self, concerned: Concerned) {
        self.waiting.lock().add(concerned);
        self.filled.notify_one();
    }

    /// Waits until somebody is concerned and takes them. Safe to drop while waiting: nothing is lost.
    pub(crate) async fn next(&self) -> Concerned {
        loop {
            let concerned = std::mem::take(&mut *self.waiting.lock());
            if !concerned.is_nobody() {
                return concerned;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<ServerId> {
        numbers.into_iter().map(|number| ServerId::from_random((number as u128).to_be_bytes())).collect()
    }

    #[tokio::test]
    async fn changes_of_the_same_servers_are_one_look_at_each() {
        let concerned = ConcernedServers::default();
        concerned.note(Concerned::Servers(servers([1, 2])));
        concerned.note(Concerned::Servers(servers([2, 3])));
        assert_eq!(concerned.next().await, Concerned::Servers(servers([1, 2, 3])));
        assert!(concerned.waiting.lock().is_nobody());
    }

    #[tokio::test]
    async fn more_servers_than_the_bound_mean_all() {
        let concerned = ConcernedServers::default();
        concerned.note(Concerned::Servers(servers(0..CHANGED_SERVERS_MAX)));
        assert_eq!(*concerned.waiting.lock(), Concerned::Servers(servers(0..CHANGED_SERVERS_MAX)));
        concerned.note(Concerned::Servers(servers([CHANGED_SERVERS_MAX])));
        assert_eq!(concerned.next().await, Concerned::All);
        concerned.note(Concerned::All);
        concerned.note(Concerned::Servers(servers([1])));
        assert_eq!(concerned.next().await, Concerned::All);
    }
}
