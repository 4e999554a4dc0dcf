//! What people have decided, and what an agent has refused for good.

use super::{Fact, Whose, fault};
use crate::http::console::acts::UNTIL_TIER;
use crate::http::console::filters::isolated;
use crate::http::console::shapes::Connection;

const NAME: &str = "Decided by people";

/// Returns whether it is people who have yet to decide, or who have decided that nothing flows now.
pub(super) fn waits(connection: &Connection) -> bool {
    matches!(connection.status.as_str(), "Ready" | "Offered" | "Provisioning" | "Paused")
}

pub(super) fn decided(connection: &Connection) -> Fact {
    let fact = |whose| Fact::new(connection, NAME, whose).since(Some(connection.changed_at.clone()));
    match connection.status.as_str() {
        "Active" => fact(Whose::Both).yes("the connection is Active"),
        "Ready" => fact(Whose::Both).no(
            "the connection is Ready and nobody has switched it on",
            "Either of the two organizations activates it, on the connection's page.",
        ),
        "Paused" => fact(holder(connection)).no(
            format!("the connection is Paused by {}", holders(connection)),
            if connection.held_by.iter().any(|by| by.ends_with(UNTIL_TIER)) {
                "An owner of that organization chooses a tier that admits Admin RW, on the organization's page; then it \
                 goes on by itself."
            } else {
                "Whoever paused it resumes it on the connection's page, once the reason for the pause is gone. Each \
                 organization lifts its own pause."
            },
        ),
        "Failed" => failed(connection, fact),
        "Offered" => fact(Whose::Source).no(
            "the offer is not accepted yet",
            "Its recipient accepts it on the connection's page and names the server that is to manage.",
        ),
        "Provisioning" => {
            fact(Whose::Both).no("the connection is being set up", "Wait a moment, then look again.")
        }
        status => fact(Whose::Both).no(
            format!("the connection is {status} for good"),
            "It carries nothing any more. Make a new one: ask for the channel again, or offer administration again.",
        ),
    }
}

/// Returns who holds the pause.
fn holder(connection: &Connection) -> Whose {
    let holds = |name: &str| {
        connection
            .held_by
            .iter()
            .any(|by| by.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest == UNTIL_TIER))
    };
    match (holds(&connection.source.organization.name), holds(&connection.target.organization.name)) {
        (true, false) => Whose::Source,
        (false, true) => Whose::Target,
        _ => Whose::Both,
    }
}

fn failed(connection: &Connection, fact: impl Fn(Whose) -> Fact) -> Fact {
    let why = connection
        .failure
        .clone()
        .unwrap_or_else(|| "the connection has failed, and no reason is known".into());
    let whose = side_of_failure(&why);
    let end = match whose {
        Whose::Source => Some(&connection.source),
        Whose::Target => Some(&connection.target),
        Whose::Both => None,
    };
    let is_mended = end.is_some_and(|end| end.link.is_up() && fault(end) != Some("mismatch"));
    let remedy = if why.contains("4.4.1") {
        "Update the managed Mirth there to 4.4.1 or later, or make an Admin RW connection instead; then retry the \
         connection on its page."
    } else if is_mended {
        "The agent's file there does not disagree any more: retry the connection on its page, then activate it."
    } else {
        "There, copy the agent entry from the connection's page into the agent's file, set its address, restart the \
         agent, and retry the connection on its page."
    };
    fact(whose).no(why, remedy)
}

/// Returns whose agent has refused for good: behind a server's name the reason says its side.
fn side_of_failure(why: &str) -> Whose {
    match (why.rfind(" (source): "), why.rfind(" (target): ")) {
        (Some(source), target) if target.is_none_or(|target| source > target) => Whose::Source,
        (_, Some(_)) => Whose::Target,
        _ => Whose::Both,
    }
}

fn holders(connection: &Connection) -> String {
    let holders: Vec<_> = connection.held_by.iter().map(|by| isolated(by)).collect();
    holders.join(" and ")
}
