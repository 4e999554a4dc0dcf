//! Promises that are checked on what the product shows, without the model: should both be wrong in the same way, these
//! still hold.

use std::collections::BTreeSet;

use crate::outcome::{ConnectionLine, Line, List};
use crate::run::Observed;
use crate::step::{Asker, Event};
use crate::world::Written;

/// How the names of all users begin.
const USERS: [&str; 2] = ["Ada ", "the operator himself"];

/// Returns the first promise that is broken after the last step.
pub(crate) fn broken(observed: &[Observed]) -> Option<String> {
    let last = observed.last()?;
    unwritten(last).or_else(|| ungranted(last))
}

/// What the asker reads of a refusal is what the logs say; no log says in its details who of an organization it was.
pub(crate) fn missaid(sentence: Option<&str>, written: &[Written]) -> Option<String> {
    let mut wrong = written.iter().filter(|row| {
        let is_other = sentence.is_some_and(|told| row.entry.outcome == "refused" && row.detail != told);
        is_other || USERS.iter().any(|user| row.detail.contains(user))
    });
    wrong.next().map(|row| format!("the asker read {sentence:?}, and a log says {row:?}"))
}

/// What a user did or was refused is in its own log once, and in nobody's twice.
fn unwritten(last: &Observed) -> Option<String> {
    let Event::Member { who, .. } = last.step.event else { return None };
    let home = match who {
        Asker::Host => None,
        Asker::Member { organization, .. } => Some(organization),
    };
    let outcome = if last.is_refused() { "refused" } else { "done" };
    // What follows from a rule is written beside it, by the gateway.
    let by_user: Vec<_> = last.entries().iter().filter(|entry| entry.actor != "the gateway").collect();
    let own = by_user.iter().filter(|entry| entry.log == home && entry.outcome == outcome).count();
    let logs: BTreeSet<_> = by_user.iter().map(|entry| entry.log).collect();
    if own == 1 && logs.len() == by_user.len() {
        return None;
    }
    Some(format!("what a user asked is in its own log once and in no log twice, not {by_user:?}"))
}

/// No P2P connection without an approved grant over a live agreement.
fn ungranted(last: &Observed) -> Option<String> {
    let connections = last.seen_by_host(List::Connections)?;
    let grants = last.seen_by_host(List::Grants)?;
    let peerings = last.seen_by_host(List::Peerings)?;
    let living = connections.iter().filter_map(|line| match line {
        Line::Connection(it) if it.kind == "P2P" && !it.status.is_over() => Some(it),
        _ => None,
    });
    let mut bare = living.filter(|it| !is_granted(it, grants) || !is_agreed(it, peerings));
    bare.next().map(|it| format!("a P2P connection without an approved grant over a live agreement: {it:?}"))
}

fn is_granted(connection: &ConnectionLine, grants: &BTreeSet<Line>) -> bool {
    let approved = grants.iter().filter(|line| {
        matches!(line, Line::Grant(it) if it.connection == Some(connection.number)
            && it.status == "approved" && [it.holder, it.owner] == connection.organizations)
    });
    approved.count() == 1
}

fn is_agreed(connection: &ConnectionLine, peerings: &BTreeSet<Line>) -> bool {
    let [one, other] = connection.organizations;
    peerings.iter().any(|line| {
        matches!(line, Line::Peering { requester, recipient, status: "live", .. }
            if [(one, other), (other, one)].contains(&(*requester, *recipient)))
    })
}
