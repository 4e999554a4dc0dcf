//! What each agent needs by itself: its link to the gateway, an entry in its file, and at the source its port.

use super::{Beside, Fact, Whose, fault, fault_since};
use crate::http::console::shapes::{Connection, End, Progress, Server};

const START: &str = "There, start the agent (`systemctl start adit-agent`, or its container) and let it reach the gateway \
                     over UDP 443 or TCP 443. `adit check` on that server says which step fails.";
const ENROL: &str = "The server's owner makes a connector configuration on the server's page, puts it beside the agent's \
                     file there, and starts the agent; `adit check` on that server says which step fails.";
const ENTRY: &str = "There, copy the agent entry from the connection's page into the agent's file, set its address, and \
                     restart the agent.";

/// How the agent of an own server has enrolled.
#[derive(Debug, Clone)]
pub(in crate::http::console) struct Enrolment {
    pub(in crate::http::console) server: Server,
    pub(in crate::http::console) progress: Progress,
}

pub(super) fn links(connection: &Connection, beside: &Beside) -> Vec<Fact> {
    let ends = [
        ("Source's agent and gateway", Whose::Source, &connection.source, beside.source.as_ref()),
        ("Target's agent and gateway", Whose::Target, &connection.target, beside.target.as_ref()),
    ];
    ends.map(|(name, whose, end, enrolment)| link(Fact::new(connection, name, whose), end, enrolment)).into()
}

fn link(fact: Fact, end: &End, enrolment: Option<&Enrolment>) -> Fact {
    let fact = fact.since(end.link.since.clone());
    if end.server.is_none() {
        return fact.unknown("no server is named yet");
    }
    match (end.link.state.as_str(), enrolment) {
        ("up", _) => fact.yes("the agent is linked to the gateway"),
        (_, Some(enrolment)) if enrolment.server.enrolled_at.is_none() => not_enrolled(fact, &enrolment.progress),
        (_, Some(enrolment)) if enrolment.server.key.is_none() => fact.no(
            "the key of the agent was revoked, so the gateway refuses it",
            "Make a new connector configuration on the server's page and enrol the agent with it; the partner then \
             compares the new key and runs `adit trust`.",
        ),
        ("never", _) => fact.no("no agent has ever been linked to the gateway", ENROL),
        _ => fact.no("the agent is not linked to the gateway", START),
    }
}

/// Says how far an own agent has come that has not enrolled.
fn not_enrolled(fact: Fact, progress: &Progress) -> Fact {
    match progress.stage.as_str() {
        "downloaded" => fact.no(
            "a connector configuration was downloaded, and no agent has enrolled with it yet",
            "Put it beside the agent's file on that server and start the agent, before it expires; `adit check` there \
             says which step fails.",
        ),
        "expired" => fact.no(
            "the connector configuration has expired before an agent enrolled with it",
            ENROL,
        ),
        "revoked" => fact.no("the connector configuration was voided before an agent enrolled with it", ENROL),
        _ => fact.no("no agent has ever enrolled, and there is no connector configuration to enrol with", ENROL),
    }
}

pub(super) fn entries(connection: &Connection, is_settling: bool) -> Vec<Fact> {
    let ends = [
        ("Entry in the source agent's file", Whose::Source, &connection.source),
        ("Entry in the target agent's file", Whose::Target, &connection.target),
    ];
    ends.map(|(name, whose, end)| entry(Fact::new(connection, name, whose), connection, end, is_settling))
        .into()
}

fn entry(fact: Fact, connection: &Connection, end: &End, is_settling: bool) -> Fact {
    if !end.link.is_up() {
        return fact.unknown("not known while the agent is not linked");
    }
    let since = fault_since(end);
    match fault(end) {
        Some("no_entry") => fact.since(since).no("the agent's file has no entry for this connection", ENTRY),
        Some("mismatch") => fact.since(since).no("the agent's file disagrees with the platform about this connection", ENTRY),
        Some("update_needed") => fact.since(since).no(
            "the agent is too old for what the gateway says of this connection",
            "Update adit there, and restart the agent.",
        ),
        None if end.tunnel.state == "never" && connection.status == "Active" && !is_settling => fact.since(end.link.since.clone()).no(
            "the agent has told nothing of this connection: its file has no entry for it, or its adit is too old to say so",
            format!("{ENTRY} If the entry is there, update adit there."),
        ),
        None if end.tunnel.state == "never" => fact.unknown("the agent has told nothing of it yet"),
        _ => fact.yes("the agent's file has an entry that fits"),
    }
}

/// The port that local senders, or people, connect to.
pub(super) fn port(connection: &Connection) -> Fact {
    let source = &connection.source;
    let fact = Fact::new(connection, "Port of the source's agent", Whose::Source);
    match fault(source) {
        Some("port_taken") => fact.since(fault_since(source)).no(
            "the agent cannot listen on its local port, as when another program has it",
            "There, `adit status` names the port. Stop the program that has it (`ss -ltnp` names it), or write another \
             `listen` into the entry, restart the agent, and point the sender to it.",
        ),
        Some("no_entry" | "mismatch" | "update_needed") => fact.unknown("not known without an entry"),
        _ if !source.link.is_up() => fact.unknown("not known while the agent is not linked"),
        _ if source.tunnel.state == "never" => fact.unknown("the agent has told nothing of it yet"),
        _ if connection.status != "Active" => fact.unknown("not looked at before the connection is Active"),
        _ => fact.yes("the agent has its local port"),
    }
}
