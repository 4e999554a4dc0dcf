//! What must be true for a message to arrive, in the order in which it needs it; and what helps where it is not.

use super::filters::isolated;
use super::shapes::{Connection, End, State};

/// One fact, on one side.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    /// Whose it is to mend.
    pub(super) side: String,
    pub(super) holds: Holds,
    /// What is known, in a few words.
    pub(super) evidence: String,
    pub(super) since: Option<String>,
    remedy: &'static str,
}

/// Whether a fact is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// Nothing tells yet, or it cannot be so while an earlier one is not.
    Unknown,
}

/// The first fact that is not so.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) title: String,
    pub(super) side: String,
    pub(super) evidence: String,
    pub(super) remedy: &'static str,
    /// Whom to call.
    pub(super) call: String,
}

const LINK: &str = "Start the agent there (`systemctl status adit`) and let it reach the gateway at UDP 443 or TCP 443; \
                    `adit check` on that server says which step fails.";
const NEVER_LINKED: &str = "The server's owner makes a connector configuration and enrols the agent with it.";
const TUNNEL: &str = "Both agents are linked and do not reach each other: both files need an entry for this connection, \
                      and each side must trust the other's key. `adit status` on either server says what is refused.";
const MIRTH: &str =
    "Start Mirth and the channel's listener, and compare its port with `forward` in the agent's file there.";
const MESSAGES: &str = "Everything is up and nothing was acknowledged yet: send a message from the source's Mirth to the \
                        agent's port.";

impl Fact {
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

    /// Returns the class of its lamp.
    pub(super) fn dot(&self) -> &'static str {
        match self.holds {
            Holds::Yes => "up",
            Holds::No => "down",
            Holds::Unknown => "never",
        }
    }
}

/// Returns the three lamps: both links, the tunnel, and the way to the target's Mirth where that is known.
pub(super) fn lamps(connection: &Connection) -> Vec<Fact> {
    let mut lamps = vec![
        link("Source's agent and gateway", &connection.source),
        link("Target's agent and gateway", &connection.target),
        tunnel(connection),
    ];
    lamps.extend(connection.target.mirth.as_ref().map(|state| mirth(&connection.target, state)));
    lamps
}

/// Returns all facts in order.
pub(super) fn all(connection: &Connection, own: &str) -> Vec<Fact> {
    let mut facts = vec![decided(connection, own)];
    facts.extend(lamps(connection));
    if !connection.is_admin() {
        facts.push(acknowledged(connection));
    }
    facts
}

/// Returns the first that fails, for one of `own`.
pub(super) fn first_failing(facts: &[Fact], connection: &Connection, own: &str) -> Option<Finding> {
    let fact = facts.iter().find(|fact| fact.holds != Holds::Yes)?;
    let is_own = connection.is_source(own) && connection.source.organization.name == fact.side
        || connection.is_target(own) && connection.target.organization.name == fact.side;
    let call = if is_own {
        "your own integration engineer".to_owned()
    } else {
        format!("the integration engineer of {}", isolated(&fact.side))
    };
    Some(Finding {
        title: fact.name.into(),
        side: fact.side.clone(),
        evidence: fact.evidence.clone(),
        remedy: fact.remedy,
        call,
    })
}

fn decided(connection: &Connection, own: &str) -> Fact {
    let source = connection.source.organization.name.clone();
    let other = connection.peer(own).to_owned();
    let (holds, side, evidence, remedy) = match connection.status.as_str() {
        "Active" => (Holds::Yes, source, "it is Active".to_owned(), ""),
        "Ready" => (Holds::No, source, "it is Ready, not switched on".into(), "Either party activates it."),
        "Paused" => {
            let by: Vec<_> = connection.held_by.iter().map(|by| isolated(by)).collect();
            let by = by.join(" and ");
            let side = connection.held_by.first().cloned().unwrap_or(other);
            (Holds::No, side, format!("it is Paused by {by}"), "Whoever paused it resumes it.")
        }
        "Failed" => {
            let why = connection.failure.clone().unwrap_or_else(|| "no reason is known".into());
            (
                Holds::No,
                side_of_failure(connection, &why),
                why,
                "Mend the agent's file there, then retry the connection.",
            )
        }
        "Offered" => {
            let side = connection.source.organization.name.clone();
            (
                Holds::No,
                side,
                "the offer is not accepted yet".into(),
                "Its recipient accepts it and names a server.",
            )
        }
        status => {
            (Holds::No, other, format!("it is {status}"), "It carries nothing any more; make a new one.")
        }
    };
    Fact { name: "Decided", side, holds, evidence, since: Some(connection.changed_at.clone()), remedy }
}

/// Returns whose agent has refused for good: the reason names the side's server.
fn side_of_failure(connection: &Connection, why: &str) -> String {
    let is_targets = connection.target.server.as_ref().is_some_and(|server| why.contains(&server.name))
        || why.contains("target");
    if is_targets { &connection.target } else { &connection.source }.organization.name.clone()
}

fn link(name: &'static str, end: &End) -> Fact {
    let (holds, evidence, remedy) = match end.link.state.as_str() {
        "up" => (Holds::Yes, "linked", ""),
        "never" => (Holds::No, "no agent has ever linked", NEVER_LINKED),
        _ => (Holds::No, "not linked", LINK),
    };
    let since = end.link.since.clone();
    Fact { name, side: end.organization.name.clone(), holds, evidence: evidence.into(), since, remedy }
}

fn tunnel(connection: &Connection) -> Fact {
    let (source, target) = (&connection.source, &connection.target);
    let (holds, evidence) = match (source.tunnel.is_up(), target.tunnel.is_up()) {
        (true, true) => (Holds::Yes, format!("up, {}", source.tunnel.state)),
        (true, false) => (Holds::No, "up at the source alone".into()),
        (false, true) => (Holds::No, "up at the target alone".into()),
        (false, false) if source.tunnel.state == "never" && target.tunnel.state == "never" => {
            let is_expected = source.link.is_up() && target.link.is_up();
            (if is_expected { Holds::No } else { Holds::Unknown }, "never up".into())
        }
        (false, false) => (Holds::No, "down".into()),
    };
    let late = if source.tunnel.is_up() { target } else { source };
    let since = late.tunnel.since.clone();
    Fact {
        name: "Tunnel between the agents",
        side: late.organization.name.clone(),
        holds,
        evidence,
        since,
        remedy: TUNNEL,
    }
}

fn mirth(end: &End, state: &State) -> Fact {
    let (holds, evidence) = match state.state.as_str() {
        "up" => (Holds::Yes, "the port accepts"),
        "down" => (Holds::No, "the port does not accept"),
        _ => (Holds::Unknown, "not looked at yet"),
    };
    Fact {
        name: "Target's agent and Mirth",
        side: end.organization.name.clone(),
        holds,
        evidence: evidence.into(),
        since: state.since.clone(),
        remedy: MIRTH,
    }
}

fn acknowledged(connection: &Connection) -> Fact {
    let at = connection.last_acknowledged_at.clone();
    let (holds, evidence) =
        if at.is_some() { (Holds::Yes, "a message was acknowledged") } else { (Holds::Unknown, "none yet") };
    let side = connection.source.organization.name.clone();
    Fact {
        name: "Last message acknowledged",
        side,
        holds,
        evidence: evidence.into(),
        since: at,
        remedy: MESSAGES,
    }
}
