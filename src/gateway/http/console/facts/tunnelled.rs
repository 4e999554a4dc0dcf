//! What the two agents need of each other, by what both say: trust, one secret, a path, the tunnel; and the Mirth
//! behind it.

use super::{Fact, Holds, Whose, fault, fault_since};
use crate::http::console::shapes::{Connection, End};

const TRUST: &str = "Trust between the agents";
const SECRET: &str = "Secret of the connection";
const PATH: &str = "Path between the agents";
const TUNNEL: &str = "Tunnel between the agents";

const COMPARE: &str = "There, have the partner read out the key of its agent over the phone (`own key` in its `adit status`). \
                       Only if it is the key that `adit status` shows there, run `adit trust` with the entry's name and \
                       that key. Do not trust a key that nobody has read out.";
const ROTATE: &str = "Rotate Secrets on the connection's page; both agents fetch the new one by themselves. Where `secret` is \
                      written into an agent's file, take it out or write the new one there.";
const OWN_SECRET: &str = "There, take the line `secret` out of the entry in the agent's file, or correct it, and restart the \
                          agent; then Rotate Secrets on the connection's page, so that both agents fetch the same.";
const REACH: &str = "On both sides let the agents reach the gateway over UDP 443 or TCP 443 in both directions, so that it can \
                     relay, or let UDP pass between the two hosts. The gateway's operator says whether its relay is on.";

/// Why there is no tunnel, where an agent says so.
struct Trouble {
    name: &'static str,
    whose: Whose,
    evidence: &'static str,
    remedy: &'static str,
}

/// Finds the first of what both agents say, in the order in which a tunnel needs it. What keeps one agent by itself
/// from beginning stands before all of that.
fn trouble(connection: &Connection) -> Option<Trouble> {
    let (source, target) = (fault(&connection.source), fault(&connection.target));
    let has = |words: &[&str]| whose(source, target, |word| words.contains(&word));
    let found = |name, whose, evidence, remedy| Some(Trouble { name, whose, evidence, remedy });
    if has(&["no_entry", "mismatch", "update_needed", "port_taken"]).is_some() {
        return None;
    }
    if let Some(whose) = has(&["peer_key"]) {
        return found(
            TRUST,
            whose,
            "the agent knows another key of its peer than the peer shows now, and refuses it",
            COMPARE,
        );
    }
    if let Some(whose) = has(&["peer_key_uncompared"]) {
        return found(
            TRUST,
            whose,
            "nobody has compared the peer's key, which administration needs first",
            COMPARE,
        );
    }
    if let Some(whose) = has(&["peer_certificate"]) {
        return found(
            TRUST,
            whose,
            "the agent does not accept the certificate that its peer shows",
            "There, `adit status` and the agent's log say what is wrong with it. See that the clocks of both hosts are \
             right, and restart the peer's agent, so that it renews its certificate.",
        );
    }
    if let Some(whose) = has(&["no_secret"]) {
        return found(
            SECRET,
            whose,
            "the agent does not have the connection's secret, and the gateway has none left for it",
            ROTATE,
        );
    }
    if let Some(whose) = has(&["file_secret"]) {
        return found(
            SECRET,
            whose,
            "the peer does not answer to the secret that is written in the agent's own file",
            OWN_SECRET,
        );
    }
    if has(&["wrong_secret"]).is_some() {
        return found(SECRET, Whose::Both, "the two agents do not have the same secret", ROTATE);
    }
    if let Some(whose) = has(&["refused_by_peer"]) {
        return found(
            TRUST,
            other(whose),
            "the agent refuses its peer and does not say why",
            "There, `adit status` and the agent's log name the reason. An agent of an earlier version does not tell it: \
             update adit there.",
        );
    }
    of_path(&has)
}

fn of_path(has: &impl Fn(&[&str]) -> Option<Whose>) -> Option<Trouble> {
    let found = |whose, evidence, remedy| Some(Trouble { name: PATH, whose, evidence, remedy });
    if has(&["no_common_path"]).is_some() {
        return found(
            Whose::Both,
            "the two agents' files allow no kind of path in common",
            "Agree on one kind and write it as `path` or `prefer` into both entries, or take these lines out, which \
             allows all.",
        );
    }
    if let Some(whose) = has(&["path_limited"]) {
        return found(
            whose,
            "no path answers, and the agent's file does not allow every kind",
            "There, take `path` and `prefer` out of the entry, which allows the relay too, and restart the agent; or let \
             UDP pass between the two hosts.",
        );
    }
    if has(&["no_path"]).is_some() {
        return found(
            Whose::Both,
            "no packet of the one agent reaches the other, though both reach the gateway",
            REACH,
        );
    }
    has(&["peer_silent"])?;
    found(
        Whose::Both,
        "the agents reach each other's hosts, and get no answer there: packets are lost in between",
        REACH,
    )
}

/// Returns which of the two says such a word.
fn whose(source: Option<&str>, target: Option<&str>, is: impl Fn(&str) -> bool) -> Option<Whose> {
    match (source.is_some_and(&is), target.is_some_and(&is)) {
        (true, true) => Some(Whose::Both),
        (true, false) => Some(Whose::Source),
        (false, true) => Some(Whose::Target),
        (false, false) => None,
    }
}

const fn other(whose: Whose) -> Whose {
    match whose {
        Whose::Source => Whose::Target,
        Whose::Target => Whose::Source,
        Whose::Both => Whose::Both,
    }
}

/// Returns since when it is so: from when the first of those concerned says it.
fn since(connection: &Connection, whose: Whose) -> Option<String> {
    let (source, target) = (fault_since(&connection.source), fault_since(&connection.target));
    match whose {
        Whose::Source => source.or(target),
        Whose::Target => target.or(source),
        Whose::Both => [source, target].into_iter().flatten().min(),
    }
}

/// Trust, secret and path, then the tunnel.
pub(super) fn between(connection: &Connection, is_settling: bool) -> Vec<Fact> {
    let trouble = trouble(connection);
    let is_up = is_up(connection);
    let mut facts: Vec<_> = [
        (TRUST, "each agent accepts the other's key"),
        (SECRET, "both agents have the same secret"),
        (PATH, "packets of each agent reach the other"),
    ]
    .into_iter()
    .map(|(name, holding)| match &trouble {
        Some(trouble) if trouble.name == name => Fact::new(connection, name, trouble.whose)
            .since(since(connection, trouble.whose))
            .no(trouble.evidence, trouble.remedy),
        _ if is_up => Fact::new(connection, name, Whose::Both).yes(holding),
        _ => Fact::new(connection, name, Whose::Both).unknown("not known without a tunnel"),
    })
    .collect();
    let tunnel = tunnel(connection, trouble.as_ref());
    facts.push(match tunnel.holds {
        Holds::No if is_settling => tunnel.unknown("the two agents are still finding each other"),
        _ => tunnel,
    });
    facts
}

/// Returns the tunnel as lists show it: with why there is none.
pub(super) fn lamp(connection: &Connection) -> Fact {
    let trouble = trouble(connection);
    let fact = tunnel(connection, trouble.as_ref());
    match trouble {
        Some(trouble) if fact.holds != Holds::Yes => Fact::new(connection, TUNNEL, trouble.whose)
            .since(since(connection, trouble.whose))
            .no(format!("down: {}", trouble.evidence), trouble.remedy),
        _ => fact,
    }
}

fn is_up(connection: &Connection) -> bool {
    connection.source.has_tunnel() && connection.target.has_tunnel()
}

fn tunnel(connection: &Connection, trouble: Option<&Trouble>) -> Fact {
    let (source, target) = (&connection.source, &connection.target);
    let fact = |whose| Fact::new(connection, TUNNEL, whose);
    if is_up(connection) {
        let evidence = format!("the tunnel is up, {}", source.tunnel.state);
        return fact(Whose::Both)
            .since(source.tunnel.since.clone().max(target.tunnel.since.clone()))
            .yes(evidence);
    }
    if connection.status != "Active" {
        return fact(Whose::Both)
            .unknown(format!("no tunnel is needed while the connection is {}", connection.status));
    }
    let (late, at) = match (source.has_tunnel(), target.has_tunnel()) {
        (true, _) => (Whose::Target, "the tunnel is up at the source alone"),
        (_, true) => (Whose::Source, "the tunnel is up at the target alone"),
        (false, false) => (Whose::Both, "the tunnel is down"),
    };
    let down = match late {
        Whose::Source => source.tunnel.since.clone(),
        Whose::Target => target.tunnel.since.clone(),
        Whose::Both => source.tunnel.since.clone().max(target.tunnel.since.clone()),
    };
    let fact = fact(late).since(down);
    let can_begin = source.link.is_up() && target.link.is_up() && has_begun(source) && has_begun(target);
    if trouble.is_some() || !can_begin {
        return fact.unknown(format!("{at}, for what fails before"));
    }
    fact.no(
        format!("{at}, and neither agent says why"),
        "Wait half a minute: agents that have just started are still finding each other. Then `adit status` on both \
         servers says what is refused; an agent of an earlier version says it there alone.",
    )
}

/// Returns whether an agent has all that it needs by itself.
fn has_begun(end: &End) -> bool {
    !matches!(fault(end), Some("no_entry" | "mismatch" | "update_needed" | "port_taken"))
}

pub(super) fn mirth(connection: &Connection) -> Fact {
    let target = &connection.target;
    let fact = Fact::new(connection, "Target's agent and Mirth", Whose::Target);
    if !target.link.is_up() {
        return fact.unknown("not known while the target's agent is not linked");
    }
    let Some(state) = &target.mirth else { return fact.unknown("the agent has not looked at its Mirth yet") };
    let fact = fact.since(state.since.clone());
    match (state.state.as_str(), fault(target)) {
        (_, Some("mirth_key")) => fact.no(
            "the managed Mirth shows another key than the one that the agent trusts",
            "There, compare the key of Mirth's certificate with what `adit status` shows, and if it is right run `adit \
             trust` with the entry's name, `--mirth` and that key.",
        ),
        ("up", _) => fact.yes("its Mirth answers"),
        ("down", _) if connection.is_admin() => fact.no(
            "the managed Mirth does not answer the agent over HTTPS",
            "There, start Mirth, and compare `mirth` in the agent's file with the address and the HTTPS port that Mirth \
             listens on; `adit check` on that server tries it.",
        ),
        ("down", _) => fact.no(
            "its Mirth does not accept on the port that the agent forwards to",
            "There, start Mirth and deploy the channel, and compare the port of the channel's listener with `forward_to` in \
             the agent's file; `adit check` on that server tries it.",
        ),
        _ => fact.unknown("the agent has not looked at its Mirth yet"),
    }
}
