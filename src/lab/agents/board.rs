//! What the agents have come to, as those who measure read it: how many have a link, why links ended, and when
//! they heard of a connection's end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use adit_core::domain::id::ConnectionId;

/// Reasons told apart; others are counted together.
const REASONS_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Board {
    tally: watch::Sender<Tally>,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Rises when all links are to be made again; older ones no longer count.
    generation: u64,
    /// Agents with a link of this generation that have all their rules.
    pub(super) linked: usize,
    /// Reports and addresses that noisy agents have sent.
    pub(super) noise: u64,
    /// Of links and attempts, by reason.
    pub(super) ends: BTreeMap<String, u64>,
    /// Ends of connections, as their agents heard of them.
    heard: BTreeMap<ConnectionId, Heard>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    times: usize,
    last: Instant,
}

/// A link that counts until it is dropped.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    board: &'a Board,
    generation: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self { tally: watch::Sender::new(Tally::default()) }
    }
}

impl Board {
    /// Counts a link whose agent has its snapshot.
    pub(super) fn count_link(&self) -> Counted<'_> {
        let mut generation = 0;
        self.tally.send_modify(|tally| {
            tally.linked += 1;
            generation = tally.generation;
        });
        Counted { board: self, generation }
    }

    /// Counts from none again: links made so far are of no more interest.
    pub(super) fn begin_again(&self) {
        self.tally.send_modify(|tally| {
            tally.generation += 1;
            tally.linked = 0;
            tally.ends.clear();
        });
    }

    pub(super) fn note_end(&self, why: String) {
        self.tally.send_if_modified(|tally| {
            let is_kept = tally.ends.contains_key(&why) || tally.ends.len() < REASONS_MAX;
            *tally.ends.entry(if is_kept { why } else { "other reasons".into() }).or_default() += 1;
            false
        });
    }

    pub(super) fn note_noise(&self) {
        self.tally.send_if_modified(|tally| {
            tally.noise += 1;
            false
        });
    }

    pub(super) fn note_ended(&self, connection: ConnectionId, at: Instant) {
        self.tally.send_modify(|tally| {
            let heard = tally.heard.entry(connection).or_insert(Heard { times: 0, last: at });
            heard.times += 1;
            heard.last = heard.last.max(at);
        });
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Tally) -> T) -> T {
        read(&self.tally.borrow())
    }

    /// Waits until `count` agents have their links, no longer than `patience`.
    pub(super) async fn all_linked(&self, count: usize, patience: Duration) {
        let mut watched = self.tally.subscribe();
        // The sender lives as long as `self`.
        let _ = timeout(patience, watched.wait_for(|tally| tally.linked >= count)).await;
    }

    /// Waits until both agents of a connection have heard of its end; returns when the second did, or nothing
    /// if that took longer than `patience`.
    pub(super) async fn both_heard(&self, connection: ConnectionId, patience: Duration) -> Option<Instant> {
        let mut watched = self.tally.subscribe();
        let heard = |tally: &Tally| tally.heard.get(&connection).is_some_and(|heard| heard.times >= 2);
        let tally = timeout(patience, watched.wait_for(heard)).await.ok()?.ok()?;
        tally.heard.get(&connection).map(|heard| heard.last)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.board.tally.send_modify(|tally| {
            if tally.generation == self.generation {
                tally.linked -= 1;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_link_of_before_counts_no_more() {
        let board = Board::default();
        let before = board.count_link();
        board.begin_again();
        let now = board.count_link();
        drop(before);
        assert_eq!(board.read(|tally| tally.linked), 1);
        drop(now);
        assert_eq!(board.read(|tally| tally.linked), 0);
    }

    #[tokio::test]
    async fn an_end_is_heard_once_the_second_agent_has() {
        let (board, connection) = (Board::default(), ConnectionId::from_bytes([1; 16]));
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        board.note_ended(connection, first);
        assert_eq!(board.both_heard(connection, Duration::ZERO).await, None);
        board.note_ended(connection, second);
        assert_eq!(board.both_heard(connection, LONG).await, Some(second));
    }
}
