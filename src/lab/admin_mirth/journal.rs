//! What arrived at the stand-in: every request from its head on, and its body once that was whole.

use std::collections::VecDeque;

use aws_lc_rs::digest;
use parking_lot::{Mutex, MutexGuard};

use crate::limits::STAND_IN_REQUESTS_MAX;
use crate::measure::Digest;

/// A request in the journal, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The TLS connection it came on, numbered from zero.
    pub connection: u64,
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// Names in lower case, values as text, in their order.
    pub headers: Vec<(String, String)>,
    /// Whose session it came in.
    pub user: Option<String>,
    /// `None` until the body was whole, and forever when it was not read.
    pub body: Option<ArrivedBody>,
    /// Of the answer, once one was decided.
    pub status: Option<u16>,
}

impl Arrived {
    /// Returns the first header of that name (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivedBody {
    pub bytes: u64,
    pub digest: Digest,
}

impl ArrivedBody {
    pub(super) fn beginning() -> Counting {
        Counting { bytes: 0, context: digest::Context::new(&digest::SHA256) }
    }
}

/// A body on its way in.
pub(super) struct Counting {
    bytes: u64,
    context: digest::Context,
}

impl Counting {
    pub(super) fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.context.update(data);
    }

    pub(super) fn finish(self) -> ArrivedBody {
        ArrivedBody { bytes: self.bytes, digest: Digest::finish(self.context) }
    }
}

/// The oldest requests are forgotten beyond `STAND_IN_REQUESTS_MAX`.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    arrived: VecDeque<Arrived>,
    forgotten: u64,
    connections: u64,
}

impl Journal {
    /// Returns the requests remembered, in the order of arrival.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        self.entries().arrived.iter().cloned().collect()
    }

    /// Returns the number of TLS connections in all.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.entries().connections
    }

    /// Returns how many requests remembered had this method and this target.
    #[must_use]
    pub fn count(&self, method: &str, target: &str) -> usize {
        let entries = self.entries();
        entries.arrived.iter().filter(|one| one.method == method && one.target == target).count()
    }

    pub(super) fn connected(&self) {
        self.entries().connections += 1;
    }

    /// Returns the place by which the rest is added.
    pub(super) fn arrive(
        &self,
        connection: u64,
        head: &hyper::http::request::Parts,
        user: Option<&str>,
    ) -> u64 {
        let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let arrived = Arrived {
            connection,
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head.headers.iter().map(header).collect(),
            user: user.map(str::to_owned),
            body: None,
            status: None,
        };
        let mut entries = self.entries();
        if entries.arrived.len() == STAND_IN_REQUESTS_MAX {
            entries.arrived.pop_front();
            entries.forgotten += 1;
        }
        entries.arrived.push_back(arrived);
        entries.forgotten + entries.arrived.len() as u64 - 1
    }

    pub(super) fn whole(&self, place: u64, body: ArrivedBody) {
        self.change(place, |arrived| arrived.body = Some(body));
    }

    pub(super) fn answered(&self, place: u64, status: u16) {
        self.change(place, |arrived| arrived.status = Some(status));
    }

    fn change(&self, place: u64, change: impl FnOnce(&mut Arrived)) {
        let mut entries = self.entries();
        let index = place.checked_sub(entries.forgotten).and_then(|index| usize::try_from(index).ok());
        if let Some(arrived) = index.and_then(|index| entries.arrived.get_mut(index)) {
            change(arrived);
        }
    }

    /// Locks the entries, poisoned or not: entries are whole after every change, so a panic elsewhere leaves
    /// nothing half-done.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }
}
