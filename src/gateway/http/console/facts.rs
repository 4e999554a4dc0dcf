//! What must be true for a message to arrive, in the order in which it needs it; and what helps where it is not. One
//! truth: the page that diagnoses, the lamps of lists and the overview all ask here.

mod decided;
mod linked;
mod passing;
mod tunnelled;

pub(super) use self::linked::Enrolment;
pub(super) use self::passing::Recent;

use super::filters::isolated;
use super::moments::millis;
use super::shapes::{Connection, End};

/// What its agents have for finding each other, once a connection is Active.
const SETTLING_MS: i64 = 60_000;

/// Whose it is to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Source,
    Target,
    Both,
}

/// Whether a fact is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// Nothing tells yet, or it cannot be so while an earlier one is not.
    Unknown,
}

/// One fact, on one side or between the two.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) whose: Whose,
    /// The organization that it stands with, or both.
    pub(super) side: String,
    pub(super) holds: Holds,
    /// What is known, as a part of a sentence.
    pub(super) evidence: String,
    pub(super) since: Option<String>,
    /// What to do, in sentences.
    remedy: String,
}

/// The first fact that is not so.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) title: &'static str,
    pub(super) side: String,
    /// Where that is.
    pub(super) place: String,
    pub(super) evidence: String,
    pub(super) since: Option<String>,
    pub(super) remedy: String,
    /// Whom to call.
    pub(super) call: String,
    pub(super) how: How,
}

/// What the first fact that is not so means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Something is broken.
    Fails,
    /// Nothing is: somebody has yet to decide, or has decided so.
    Waits,
    /// Nothing tells that it works.
    Unseen,
}

/// What is known beside the connection itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Beside {
    pub(super) now_ms: i64,
    pub(super) recent: Option<Recent>,
    /// How the agents of the viewer's own ends have enrolled: nobody else is told.
    pub(super) source: Option<Enrolment>,
    pub(super) target: Option<Enrolment>,
}

impl Fact {
    fn new(connection: &Connection, name: &'static str, whose: Whose) -> Self {
        let side = side(connection, whose);
        Self {
            name,
            whose,
            side,
            holds: Holds::Unknown,
            evidence: String::new(),
            since: None,
            remedy: String::new(),
        }
    }

    fn yes(self, evidence: impl Into<String>) -> Self {
        Self { holds: Holds::Yes, evidence: evidence.into(), ..self }
    }

    fn no(self, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { holds: Holds::No, evidence: evidence.into(), remedy: remedy.into(), ..self }
    }

    fn unknown(self, evidence: impl Into<String>) -> Self {
        Self { holds: Holds::Unknown, evidence: evidence.into(), ..self }
    }

    fn since(self, since: Option<String>) -> Self {
        Self { since, ..self }
    }

    pub(super) fn tone(&self) -> &'static str {
        match self.holds {
            Holds::Yes => "good",
            Holds::No => "bad",
            Holds::Unknown => "",
        }
    }

    pub(super) fn sign(&self) -> &'static str {
        match self.holds {
            Holds::Yes => "✓",
            Holds::No => "✗",
            Holds::Unknown => "–",
        }
    }

    /// Says it for who does not see the sign.
    pub(super) fn word(&self) -> &'static str {
        match self.holds {
            Holds::Yes => "holds",
            Holds::No => "fails",
            Holds::Unknown => "not known",
        }
    }

    /// Returns the class of its lamp.
    pub(super) fn dot(&self) -> &'static str {
        match self.holds {
            Holds::Yes => "up",
            Holds::No => "down",
            Holds::Unknown => "never",
        }
    }
}

/// Returns the lamps: both links, the tunnel, and the way to the target's Mirth where that is known.
pub(super) fn lamps(connection: &Connection) -> Vec<Fact> {
    let beside = Beside::default();
    let mut lamps = linked::links(connection, &beside);
    lamps.push(tunnelled::lamp(connection));
    lamps.extend(connection.target.mirth.as_ref().map(|_| tunnelled::mirth(connection)));
    lamps
}

/// Returns all facts in order.
pub(super) fn all(connection: &Connection, beside: &Beside) -> Vec<Fact> {
    let is_settling = is_settling(connection, beside.now_ms);
    let mut facts = vec![decided::decided(connection)];
    facts.extend(linked::links(connection, beside));
    facts.extend(linked::entries(connection, is_settling));
    facts.push(linked::port(connection));
    facts.extend(tunnelled::between(connection, is_settling));
    facts.push(tunnelled::mirth(connection));
    facts.push(passing::room(connection));
    if !connection.is_admin() {
        facts.extend(passing::messages(connection, beside.recent.as_ref()));
    }
    facts
}

/// Returns whether it is Active for so short a time that its agents may not have heard of it, or found each other.
fn is_settling(connection: &Connection, now_ms: i64) -> bool {
    let changed = millis(&connection.changed_at);
    let is_young = changed.is_some_and(|changed| (0..SETTLING_MS).contains(&(now_ms - changed)));
    connection.status == "Active" && is_young
}

/// Returns the first that fails, or of which nothing tells that it holds, for one of `own`.
pub(super) fn first_failing(facts: &[Fact], connection: &Connection, own: &str) -> Option<Finding> {
    let failing = facts.iter().find(|fact| fact.holds == Holds::No);
    let fact = failing.or_else(|| facts.iter().find(|fact| fact.holds == Holds::Unknown))?;
    Some(Finding {
        title: fact.name,
        side: fact.side.clone(),
        place: place(connection, fact.whose),
        evidence: fact.evidence.clone(),
        since: fact.since.clone(),
        remedy: fact.remedy.clone(),
        call: call(connection, fact.whose, own),
        how: match failing {
            None => How::Unseen,
            Some(_) if decided::waits(connection) => How::Waits,
            Some(_) => How::Fails,
        },
    })
}

/// Names the organization that a fact stands with.
fn side(connection: &Connection, whose: Whose) -> String {
    let (source, target) = (&connection.source.organization, &connection.target.organization);
    match whose {
        Whose::Source => source.name.clone(),
        Whose::Target => target.name.clone(),
        Whose::Both if source.id == target.id => source.name.clone(),
        Whose::Both => format!("{} and {}", isolated(&source.name), isolated(&target.name)),
    }
}

/// Says where that is.
fn place(connection: &Connection, whose: Whose) -> String {
    let of = |word: &str, end: &End| match &end.server {
        Some(server) => format!("{word} {}", isolated(&server.name)),
        None => word.to_owned(),
    };
    let (source, target) = (of("source", &connection.source), of("target", &connection.target));
    match whose {
        Whose::Source => source,
        Whose::Target => target,
        Whose::Both => format!("{source}, {target}"),
    }
}

/// Says whom one of `own` calls.
fn call(connection: &Connection, whose: Whose, own: &str) -> String {
    let (source, target) = (&connection.source.organization, &connection.target.organization);
    let concerned = match whose {
        Whose::Source => vec![source],
        Whose::Target => vec![target],
        Whose::Both => vec![source, target],
    };
    let other = concerned.iter().find(|organization| organization.id != own);
    let is_own = concerned.iter().any(|organization| organization.id == own);
    match (is_own, other) {
        (true, None) => "your own integration engineer".into(),
        (true, Some(other)) => {
            format!(
                "your own integration engineer, together with the integration engineer of {}",
                isolated(&other.name)
            )
        }
        (false, Some(other)) => format!("the integration engineer of {}", isolated(&other.name)),
        (false, None) => "the gateway's operator".into(),
    }
}

/// Returns what an agent says keeps it from carrying, while its word is current.
fn fault(end: &End) -> Option<&str> {
    end.fault.as_ref().filter(|_| end.link.is_up()).map(|fault| fault.state.as_str())
}

/// Returns since when it says so.
fn fault_since(end: &End) -> Option<String> {
    end.fault.as_ref().and_then(|fault| fault.since.clone())
}

#[cfg(test)]
mod tests;
