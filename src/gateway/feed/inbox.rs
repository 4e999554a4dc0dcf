//! What one link must look at: whether its rules changed, whose presence did, whether the database came or went.
//! Notes add up until they are taken, and while nothing happens there is nothing but a waker.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use adit_core::domain::id::ServerId;

#[derive(Debug, Default)]
pub(crate) struct LinkInbox {
    news: Mutex<News>,
    filled: Notify,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Something changed that this link's rules may say.
    pub(crate) rules: bool,
    /// The database went away or came back.
    pub(crate) database: bool,
    /// Peers that came, went, or say something else of where and how they are reached. No more than the link
    /// watches.
    pub(crate) peers: BTreeSet<ServerId>,
}

impl News {
    fn is_empty(&self) -> bool {
        !self.rules && !self.database && self.peers.is_empty()
    }
}

impl LinkInbox {
    pub(crate) fn note_rules(&self) {
        self.note(|news| news.rules = true);
    }

    pub(crate) fn note_database(&self) {
        self.note(|news| news.database = true);
    }

    pub(crate) fn note_peer(&self, peer: ServerId) {
        self.note(|news| _ = news.peers.insert(peer));
    }

    /// Waits for news and takes them. Safe to drop while waiting: nothing is lost.
    pub(crate) async fn news(&self) -> News {
        loop {
            let news = std::mem::take(&mut *self.news.lock());
            if !news.is_empty() {
                return news;
            }
            self.filled.notified().await;
        }
    }

    fn note(&self, note: impl FnOnce(&mut News)) {
        note(&mut self.news.lock());
        self.filled.notify_one();
    }

    /// Takes the news that are there.
    #[cfg(test)]
    pub(crate) fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock())
    }
}
