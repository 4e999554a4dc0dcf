//! What is seen in passing on one connection: messages, acknowledgements, DICOM associations and
//! objects. Handles are kept, so that counting one more allocates nothing and takes no lock.

use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{Counter, Histogram, counter, histogram};

use super::labels::BoundedLabels;
use super::{
    ACK_LATENCY, ACKS, ADMIN_REQUESTS, DICOM_ASSOCIATIONS, DICOM_BYTES, DICOM_OBJECTS, DICOM_REQUESTS,
    DICOM_STORE_LATENCY, MESSAGES,
};
use adit_core::domain::limits;

static MESSAGE_TYPES: BoundedLabels = BoundedLabels::new(limits::METRIC_LABELS_MAX);
static AE_TITLES: BoundedLabels = BoundedLabels::new(limits::METRIC_LABELS_MAX);

/// The counters of one connection, made as they are needed.
#[derive(Debug, Default)]
pub struct StreamMetrics {
    /// The name in this host's own file.
    connection: String,
    types: Handles<String, TypeHandles>,
    codes: Handles<(String, &'static str), Counter>,
    associations: Handles<(String, &'static str), Counter>,
    requests: Handles<&'static str, Counter>,
    objects: Handles<&'static str, ObjectHandles>,
    admin: Handles<&'static str, Counter>,
}

/// What became of a request of an admin session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminOutcome {
    Forwarded,
    /// By the agent, without Mirth.
    Answered,
    Refused,
}

impl AdminOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Answered => "answered",
            Self::Refused => "refused",
        }
    }
}

#[derive(Debug, Clone)]
struct TypeHandles {
    messages: Counter,
    latency: Histogram,
}

#[derive(Debug, Clone)]
struct ObjectHandles {
    count: Counter,
    bytes: Counter,
    latency: Histogram,
}

impl StreamMetrics {
    #[must_use]
    pub fn new(connection: &str) -> Self {
        Self { connection: connection.to_owned(), ..Self::default() }
    }

    /// Counts one message; `kind` such as `ADT^A01`.
    pub fn message(&self, kind: &str) {
        self.with_type(kind, |handles| handles.messages.increment(1));
    }

    /// Counts one acknowledgement, and how long it took where its message was seen too.
    pub fn acknowledgement(&self, kind: &str, code: &'static str, latency: Option<Duration>) {
        let is_known = |known: &(String, &str)| known.0 == kind && known.1 == code;
        let make = || {
            let kind = MESSAGE_TYPES.bound(kind);
            let labels = [("connection", self.name()), ("type", kind), ("code", code.to_owned())];
            counter!(ACKS, &labels)
        };
        self.codes.with(is_known, || (kind.to_owned(), code), make, |acks| acks.increment(1));
        if let Some(latency) = latency {
            self.with_type(kind, |handles| handles.latency.record(latency));
        }
    }

    /// Counts what became of an association that `calling` asked for.
    pub fn association(&self, calling: &str, outcome: &'static str) {
        let is_known = |known: &(String, &str)| known.0 == calling && known.1 == outcome;
        let make = || {
            let calling = AE_TITLES.bound(calling);
            let labels = [("connection", self.name()), ("calling", calling), ("outcome", outcome.to_owned())];
            counter!(DICOM_ASSOCIATIONS, &labels)
        };
        self.associations.with(is_known, || (calling.to_owned(), outcome), make, |seen| seen.increment(1));
    }

    /// Counts one request of an association; `operation` such as `C-STORE`.
    pub fn request(&self, operation: &'static str) {
        let make = || counter!(DICOM_REQUESTS, "connection" => self.name(), "operation" => operation);
        self.requests.with(|known| *known == operation, || operation, make, |seen| seen.increment(1));
    }

    /// Counts one object that was answered with a status of `class`, and how long that took where
    /// the object was seen whole.
    pub fn object(&self, class: &'static str, bytes: u64, latency: Option<Duration>) {
        let make = || ObjectHandles {
            count: counter!(DICOM_OBJECTS, "connection" => self.name(), "status" => class),
            bytes: counter!(DICOM_BYTES, "connection" => self.name(), "status" => class),
            latency: histogram!(DICOM_STORE_LATENCY, "connection" => self.name(), "status" => class),
        };
        self.objects.with(
            |known| *known == class,
            || class,
            make,
            |handles| {
                handles.count.increment(1);
                handles.bytes.increment(bytes);
                if let Some(latency) = latency {
                    handles.latency.record(latency);
                }
            },
        );
    }

    /// Counts one request of an admin session.
    pub fn admin(&self, outcome: AdminOutcome) {
        let outcome = outcome.as_str();
        let make = || counter!(ADMIN_REQUESTS, "connection" => self.name(), "outcome" => outcome);
        self.admin.with(|known| *known == outcome, || outcome, make, |seen| seen.increment(1));
    }

    fn with_type(&self, kind: &str, count: impl FnOnce(&TypeHandles)) {
        let make = || {
            let labels = [("connection", self.name()), ("type", MESSAGE_TYPES.bound(kind))];
            TypeHandles { messages: counter!(MESSAGES, &labels), latency: histogram!(ACK_LATENCY, &labels) }
        };
        self.types.with(|known| known == kind, || kind.to_owned(), make, count);
    }

    fn name(&self) -> String {
        self.connection.clone()
    }
}

/// Handles by what they count: few, found by looking at each, replaced as a whole when one joins.
#[derive(Debug)]
struct Handles<K, H>(ArcSwap<Vec<(K, H)>>);

impl<K, H> Default for Handles<K, H> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<K: Clone, H: Clone> Handles<K, H> {
    /// Uses a handle: above the bound handles are made, used and forgotten.
    fn with(
        &self,
        is_known: impl Fn(&K) -> bool,
        key: impl FnOnce() -> K,
        make: impl FnOnce() -> H,
        count: impl FnOnce(&H),
    ) {
        let known = self.0.load();
        if let Some((_, handle)) = known.iter().find(|(known, _)| is_known(known)) {
            return count(handle);
        }
        let joining = (key(), make());
        count(&joining.1);
        self.0.rcu(|known| {
            let mut more = Vec::clone(known);
            if more.len() < limits::METRIC_LABELS_MAX && !more.iter().any(|(known, _)| is_known(known)) {
                more.push(joining.clone());
            }
            more
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn only_beyond_the_bound_is_a_handle_made_each_time() {
        let handles = Handles::<usize, usize>::default();
        let times = Cell::new(0);
        let use_it = |key: usize| {
            let make = || {
                times.set(times.get() + 1);
                key
            };
            handles.with(|known| *known == key, || key, make, |handle| assert_eq!(*handle, key));
        };
        for key in (0..limits::METRIC_LABELS_MAX).chain(0..limits::METRIC_LABELS_MAX) {
            use_it(key);
        }
        assert_eq!(times.get(), limits::METRIC_LABELS_MAX);
        for _ in 0..2 {
            use_it(limits::METRIC_LABELS_MAX);
        }
        assert_eq!(times.get(), limits::METRIC_LABELS_MAX + 2);
    }
}
