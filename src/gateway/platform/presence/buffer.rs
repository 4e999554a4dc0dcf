//! What was measured and is not written yet, by server and connection. Pure: it is told the time, and nothing
//! here looks at all of them for the sake of one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::store::{FactRecord, NewLink};
use adit_core::domain::connection::Side;
use adit_core::domain::connectivity::Timed;
use adit_core::domain::id::{ConnectionId, GatewayId, ServerId};
use adit_core::domain::limits::{
    ACK_TIME_WRITE_EVERY, CONTROL_LINKS_MAX, FACT_WRITE_EVERY, FACTS_AT_ONCE_BURST, FACTS_AT_ONCE_EACH,
    FACTS_OF_WRITE_MAX,
};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::Report;
use adit_core::protocol::text::Software;
use adit_core::protocol::token_buckets::TokenBuckets;

/// One end of a connection, by who stands there.
type End = (ServerId, ConnectionId);

/// Bounded by what the database knows: nobody is noted here whose key or connection was not looked up there.
#[derive(Debug)]
pub(in crate::platform) struct MeasureBuffer {
    links: BTreeMap<ServerId, LinkNote>,
    ends: BTreeMap<End, Measured>,
    /// Ends with a transition that is not written.
    transitions: BTreeSet<End>,
    /// Ends of which only the time of the last acknowledgement is not written.
    ack_times: BTreeSet<End>,
    /// Servers whose link came up, with which what the database has of their ends is being voided.
    voiding: BTreeSet<ServerId>,
    /// What each agent may have written at once; the rest waits for the next round.
    at_once: TokenBuckets<ServerId>,
}

/// Whether a server has a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkNote {
    pub(super) gateway: GatewayId,
    pub(super) is_up: bool,
    /// It came up since what was written last, whatever it is now.
    pub(super) came_up: bool,
    pub(super) at: Timestamp,
    /// The build of its agent, where it has told since what was written last.
    pub(super) software: Option<Software>,
}

impl LinkNote {
    /// Returns it as it is written.
    pub(super) const fn as_new(&self) -> NewLink<'_> {
        NewLink { gateway: self.gateway, is_up: self.is_up, at: self.at, software: self.software.as_ref() }
    }
}

#[derive(Debug)]
struct Measured {
    fact: FactRecord,
    written_at: Option<Timestamp>,
    /// Its connection has been connected before.
    has_connected: bool,
    /// Its server's link has ended: it is forgotten once it is written.
    is_over: bool,
}

/// What is written together.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) links: Vec<(ServerId, LinkNote)>,
    pub(super) facts: Vec<MeasuredFact>,
}

#[derive(Debug, Clone)]
pub(super) struct MeasuredFact {
    pub(super) key: End,
    pub(super) fact: FactRecord,
    pub(super) has_connected: bool,
    what: Unwritten,
}

impl MeasuredFact {
    /// Returns whether more than the time of an acknowledgement is new.
    pub(super) fn is_transition(&self) -> bool {
        self.what == Unwritten::Transition
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unwritten {
    Nothing,
    AckTime,
    Transition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Transitions whose side has not been written within the last second.
    Due,
    /// These, and times of acknowledgements after half a minute.
    DueWithTimes,
    All,
}

impl Batch {
    pub(super) const fn is_empty(&self) -> bool {
        self.links.is_empty() && self.facts.is_empty()
    }

    fn has_room(&self) -> bool {
        self.links.len() + self.facts.len() < FACTS_OF_WRITE_MAX
    }
}

impl Default for MeasureBuffer {
    fn default() -> Self {
        let keys_max = 2 * CONTROL_LINKS_MAX;
        Self {
            links: BTreeMap::new(),
            ends: BTreeMap::new(),
            transitions: BTreeSet::new(),
            ack_times: BTreeSet::new(),
            voiding: BTreeSet::new(),
            at_once: TokenBuckets::every(FACTS_AT_ONCE_BURST, FACTS_AT_ONCE_EACH, keys_max),
        }
    }
}

impl MeasureBuffer {
    /// Notes that a server's link came up or went down. What its agent said over an earlier one is void once
    /// there is a newer.
    pub(super) fn note_link(&mut self, server: ServerId, note: LinkNote) {
        let is_up = note.is_up;
        match self.links.entry(server) {
            Entry::Vacant(place) => _ = place.insert(note),
            Entry::Occupied(mut before) => {
                let before = before.get_mut();
                let (came_up, software) =
                    (note.came_up || before.came_up, note.software.or(before.software.take()));
                *before = LinkNote { came_up, software, ..note };
            }
        }
        let ends: Vec<_> = self.ends.range(of(server)).map(|(end, _)| *end).collect();
        for end in ends {
            let is_written = !self.transitions.contains(&end) && !self.ack_times.contains(&end);
            if is_up || is_written {
                self.forget(end);
            } else if let Some(measured) = self.ends.get_mut(&end) {
                measured.is_over = true;
            }
        }
    }

    pub(super) fn knows(&self, server: ServerId, id: ConnectionId) -> bool {
        self.ends.contains_key(&(server, id))
    }

    /// Returns whether what the database has of a server's ends is of an earlier link, and not voided there yet.
    pub(super) fn is_void(&self, server: ServerId) -> bool {
        self.voiding.contains(&server) || self.links.get(&server).is_some_and(|link| link.came_up)
    }

    /// Takes a report; `stored` is what the database has, where nothing was known here. Returns whether it is to
    /// be written at once.
    pub(super) fn handle(
        &mut self,
        server: ServerId,
        id: ConnectionId,
        stored: Option<(Side, Option<FactRecord>)>,
        report: &Report,
        at: Timestamp,
    ) -> bool {
        let end = (server, id);
        let (before, side) = match (self.ends.get(&end), stored) {
            (Some(known), _) => (Some(known.fact), known.fact.side),
            (None, Some((side, stored))) => (stored.map(|fact| said_before_the_link(fact, at)), side),
            // Forgotten meanwhile: the link that brought this is over.
            (None, None) => return false,
        };
        let (fact, news) = merge(before, id, side, report, at);
        let new = Measured { fact, written_at: None, has_connected: false, is_over: false };
        let measured = self.ends.entry(end).or_insert(new);
        measured.fact = fact;
        measured.is_over = false;
        let goes = news == Unwritten::Transition && waits(measured.written_at, FACT_WRITE_EVERY, at);
        self.note_unwritten(end, news);
        goes && self.at_once.try_take(server, Instant::now())
    }

    /// Takes what is due at `now`, as if it were written.
    pub(super) fn take_due(&mut self, which: Flush, now: Timestamp) -> Batch {
        let mut batch = Batch::default();
        while batch.has_room()
            && let Some(link) = self.links.pop_first()
        {
            if link.1.came_up {
                self.voiding.insert(link.0);
            }
            batch.links.push(link);
        }
        let room = FACTS_OF_WRITE_MAX - batch.links.len();
        let is_due = |end: &&End, pause| {
            let written_at = self.ends.get(end).and_then(|measured| measured.written_at);
            which == Flush::All || waits(written_at, pause, now)
        };
        let transitions = self.transitions.iter().filter(|end| is_due(end, FACT_WRITE_EVERY)).copied();
        let mut due: Vec<_> = transitions.take(room).map(|end| (end, Unwritten::Transition)).collect();
        if which != Flush::Due {
            let times = self.ack_times.iter().filter(|end| is_due(end, ACK_TIME_WRITE_EVERY)).copied();
            due.extend(times.take(room - due.len()).map(|end| (end, Unwritten::AckTime)));
        }
        batch.facts.extend(due.into_iter().filter_map(|(end, what)| self.take(end, what, now)));
        batch
    }

    /// Puts back what could not be written, unless there is newer.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.voiding.clear();
        for (server, link) in batch.links {
            match self.links.entry(server) {
                Entry::Vacant(place) => _ = place.insert(link),
                Entry::Occupied(mut newer) => {
                    let newer = newer.get_mut();
                    newer.came_up |= link.came_up;
                    newer.software = newer.software.take().or(link.software);
                }
            }
        }
        for MeasuredFact { key, fact, has_connected, what } in batch.facts {
            let is_void = self.links.get(&key.0).is_some_and(|link| link.came_up);
            match self.ends.entry(key) {
                Entry::Vacant(_) if is_void => continue,
                Entry::Vacant(place) => {
                    // Its link had ended when it was taken.
                    place.insert(Measured { fact, written_at: None, has_connected, is_over: true });
                }
                Entry::Occupied(_) => {}
            }
            self.note_unwritten(key, what);
        }
    }

    /// Notes that a batch is written, and whose connections need not be asked again whether they have ever been
    /// connected.
    pub(super) fn note_written(&mut self, ends: &[End]) {
        self.voiding.clear();
        for end in ends {
            if let Some(measured) = self.ends.get_mut(end) {
                measured.has_connected = true;
            }
        }
    }

    fn take(&mut self, end: End, what: Unwritten, now: Timestamp) -> Option<MeasuredFact> {
        self.transitions.remove(&end);
        self.ack_times.remove(&end);
        let measured = self.ends.get_mut(&end)?;
        measured.written_at = Some(now);
        let (fact, has_connected) = (measured.fact, measured.has_connected);
        if measured.is_over {
            self.ends.remove(&end);
        }
        Some(MeasuredFact { key: end, fact, has_connected, what })
    }

    fn note_unwritten(&mut self, end: End, what: Unwritten) {
        match what {
            Unwritten::Nothing => {}
            Unwritten::AckTime if self.transitions.contains(&end) => {}
            Unwritten::AckTime => _ = self.ack_times.insert(end),
            Unwritten::Transition => {
                self.ack_times.remove(&end);
                self.transitions.insert(end);
            }
        }
    }

    fn forget(&mut self, end: End) {
        self.transitions.remove(&end);
        self.ack_times.remove(&end);
        self.ends.remove(&end);
    }
}

/// Returns what is left of what an earlier link told, as the database will have it.
pub(super) fn voided(fact: FactRecord, at: Timestamp) -> FactRecord {
    let tunnel = if fact.tunnel.value.is_some() { Timed { value: None, since: at } } else { fact.tunnel };
    FactRecord { tunnel, fault: None, ..fact }
}

fn waits(written_at: Option<Timestamp>, pause: Duration, now: Timestamp) -> bool {
    written_at.is_none_or(|written| now.since(written) >= pause)
}

/// Returns the ends at which a server may stand.
const fn of(server: ServerId) -> RangeInclusive<End> {
    (server, ConnectionId::from_bytes([0; 16]))..=(server, ConnectionId::from_bytes([0xff; 16]))
}

/// Returns what the database has, as it will have it once the link is written over which this is the first report:
/// a tunnel of an earlier one is forgotten then, and would stay so if this one were taken for the same.
fn said_before_the_link(stored: FactRecord, at: Timestamp) -> FactRecord {
    match stored.tunnel.value {
        Some(_) => FactRecord { tunnel: Timed { value: None, since: at }, ..stored },
        None => stored,
    }
}

/// Returns what is known after a report, and what of it is to be written.
fn merge(
    before: Option<FactRecord>,
    connection: ConnectionId,
    side: Side,
    report: &Report,
    at: Timestamp,
) -> (FactRecord, Unwritten) {
    let path = report.tunnel;
    let tunnel_since = before.filter(|fact| fact.tunnel.value == path).map(|fact| fact.tunnel.since);
    let mirth = report.mirth.map(|value| {
        let same = before.and_then(|fact| fact.mirth).filter(|mirth| mirth.value == value);
        Timed { value, since: same.map_or(at, |mirth| mirth.since) }
    });
    let fact = FactRecord {
        connection,
        side,
        tunnel: Timed { value: path, since: tunnel_since.unwrap_or(at) },
        mirth,
        last_ack: report.last_ack.or(before.and_then(|fact| fact.last_ack)),
        fault: report.fault.map(|value| {
            let same = before.and_then(|fact| fact.fault).filter(|fault| fault.value == value);
            Timed { value, since: same.map_or(at, |fault| fault.since) }
        }),
    };
    let news = match before {
        Some(before) if before == fact => Unwritten::Nothing,
        Some(before) if before == (FactRecord { last_ack: before.last_ack, ..fact }) => Unwritten::AckTime,
        _ => Unwritten::Transition,
    };
    (fact, news)
}

#[cfg(test)]
mod tests;
