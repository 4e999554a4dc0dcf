//! What keeps a connection from working, in one sentence that says what fails, on whose side, and who
//! must act. `adit check`, `adit status` and `adit health` say the same because all ask here; what is wrong
//! is judged in [`super::health`].

use super::health::HealthProblem;
use super::stats::{AgentStatus, EntryStatus};

/// Returns what keeps `entry` from working as its file means it to, or `None`. `has_link` is whether the
/// control link is up.
#[must_use]
pub fn diagnose(entry: &EntryStatus, has_link: bool) -> Option<String> {
    entry.health().problem().map(|problem| sentence(problem, entry, has_link))
}

/// Returns what keeps all connections of an agent from working well, beside what [`diagnose`] says of each.
#[must_use]
pub fn diagnose_agent(status: &AgentStatus) -> Option<&str> {
    status.clone_seen.as_ref().map(|fault| fault.what.as_str())
}

/// Returns what keeps an agent from being ready, a line each; none while every entry that is meant to
/// carry can, and the agent has a link or a tunnel. A gateway that is away alone stops no message.
#[must_use]
pub fn unready_reasons(status: &AgentStatus) -> Vec<String> {
    let has_link = status.gateway.on == Some(true);
    let mut problems: Vec<_> = status
        .entries
        .iter()
        .filter(|entry| {
            entry.health().problem().is_some_and(|problem| !problem.is_meant() && !problem.lets_pass())
        })
        .filter_map(|entry| Some(format!("{}: {}", entry.name, diagnose(entry, has_link)?)))
        .collect();
    if status.stopping {
        problems.insert(0, "it was told to stop".into());
    }
    let has_tunnel = status.entries.iter().any(|entry| entry.tunnel.on == Some(true));
    if !has_link && !has_tunnel {
        problems.insert(0, "there is neither a link to the gateway nor a tunnel to a peer".into());
    }
    problems
}

fn sentence(problem: HealthProblem, entry: &EntryStatus, has_link: bool) -> String {
    match problem {
        HealthProblem::NotActivated
        | HealthProblem::Paused
        | HealthProblem::Terminated
        | HealthProblem::NoRule
        | HealthProblem::Unlisted
        | HealthProblem::ConfigMismatch
        | HealthProblem::Unusable => of_policy(problem, entry, has_link),
        HealthProblem::Stopping => {
            "this agent or the peer's is stopping; it carries again once both run".into()
        }
        HealthProblem::Silent => {
            let since = entry.silent_since.map_or_else(String::new, |since| format!(" since {since}"));
            format!(
                "the peer's agent has not been heard{since}, so nothing new may begin; its host must run, and \
                 packets must pass in both directions"
            )
        }
        HealthProblem::Tunnel => {
            let unsaid = if entry.is_source() {
                "the peer's agent does not answer yet; it must run, and reach the gateway"
            } else {
                "the peer's agent has not dialled yet; it must run, and reach the gateway"
            };
            // Whatever failed, this alone is why.
            let why = entry.path_conflict.as_deref().unwrap_or_else(|| reason(entry, unsaid));
            format!("there is no tunnel to the peer: {why}")
        }
        HealthProblem::Mirth | HealthProblem::MirthUnknown => {
            of_mirth(problem == HealthProblem::MirthUnknown, entry)
        }
        HealthProblem::Port => {
            let unsaid = "it opens after two seconds without trouble";
            format!("the port {} is closed: {}", entry.address, reason(entry, unsaid))
        }
        HealthProblem::PeerFull => format!(
            "the port {} is closed because the peer's agent carries as many TCP connections as its own file \
             allows; have the partner raise `streams_max` there, or lower it here",
            entry.address
        ),
        HealthProblem::Full => format!(
            "the port {} is closed because {} TCP connections are open, as many as may be; raise `streams_max`, \
             or let the local Mirth open fewer",
            entry.address, entry.streams_max
        ),
        HealthProblem::Comparison => {
            let key = entry.peer_key.map_or_else(String::new, |key| key.fingerprint.to_string());
            format!(
                "it carries, but nobody has compared the peer's key; ask the partner for the `own key` of their \
                 `adit status`, and if it is {key} run `adit trust {} {key}`",
                entry.name
            )
        }
    }
}

/// Says why the gateway's rules and this host's file do not let it work.
fn of_policy(problem: HealthProblem, entry: &EntryStatus, has_link: bool) -> String {
    let (name, id) = (&entry.name, entry.id);
    match problem {
        HealthProblem::NotActivated => format!(
            "it is not switched on; the organization of the server that receives runs `adit admin connection activate \
             {id}` on the gateway's host"
        ),
        HealthProblem::Paused => format!(
            "it is paused; the party that paused it runs `adit admin connection resume {id}` on the gateway's host"
        ),
        HealthProblem::Terminated => format!(
            "it was terminated for good; take the entry out of the file, or, if no honest gateway can have said so, \
             run `adit trust {name} --forget-ended`"
        ),
        HealthProblem::Unlisted => format!(
            "the gateway does not list it; compare `id` with `adit admin connection list` on the gateway's host, \
             whose operator must act if {id} stands there"
        ),
        HealthProblem::ConfigMismatch => format!(
            "the gateway and this host's file disagree: {}; take the entry anew that `adit admin connection entry` \
             prints",
            reason(entry, "the type, side, peer, protocol or access differs")
        ),
        HealthProblem::Unusable => {
            reason(entry, "this build cannot use what the gateway says of it: update adit").to_owned()
        }
        // What holds the entry up before any rule counts, such as a taken port, is known here.
        _ if has_link => {
            reason(entry, "the gateway has not said yet what it may do; wait a moment").to_owned()
        }
        _ => reason(entry, "no gateway has said yet what it may do; the control link must come up first")
            .to_owned(),
    }
}

fn of_mirth(is_unknown: bool, entry: &EntryStatus) -> String {
    match (is_unknown, entry.is_source()) {
        (false, true) => {
            "the partner's Mirth does not answer at the far end; the partner must start it or the channel's listener"
                .into()
        }
        (false, false) => format!(
            "the Mirth of this host does not answer: {}",
            reason(entry, "start it, or correct where the entry says that it is")
        ),
        (true, true) => "the partner's agent has not said yet whether its Mirth answers".into(),
        (true, false) => format!(
            "it is not known whether the Mirth of this host answers: {}",
            reason(entry, "it was not asked yet")
        ),
    }
}

fn reason<'a>(entry: &'a EntryStatus, unsaid: &'a str) -> &'a str {
    entry.last_error.as_ref().map_or(unsaid, |fault| fault.what.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Fault, PeerKey, TimedFlag};
    use adit_core::domain::connection::Side;
    use adit_core::domain::id::{ConnectionId, KeyFingerprint, ServerId};
    use adit_core::domain::path::PathPreference;
    use adit_core::domain::time::Timestamp;
    use adit_core::protocol::connection::word;

    const ON: TimedFlag = TimedFlag { on: Some(true), since: None };
    const OFF: TimedFlag = TimedFlag { on: Some(false), since: None };

    fn working(side: Side) -> EntryStatus {
        let fingerprint = KeyFingerprint::from_bytes([7; 32]);
        EntryStatus {
            name: "adt".into(),
            id: ConnectionId::from_bytes([1; 16]),
            kind: "P2P".into(),
            route: "Lakeside → St Mary".into(),
            side: side.as_str().into(),
            protocol: "mllp".into(),
            peer: ServerId::from_bytes([2; 16]),
            peer_name: Some("St Mary".into()),
            status: word::ACTIVE.into(),
            gateway: ON,
            tunnel: ON,
            mirth: ON,
            path: None,
            path_choice: PathPreference::AUTO,
            path_conflict: None,
            path_reason: None,
            path_changes: 0,
            better_paths: vec![],
            rtt_micros: None,
            packets_lost: None,
            silent_since: None,
            port_open: side == Side::Source,
            at_limit: false,
            peer_full: false,
            streams_max: 1_024,
            limit_reached: 0,
            silent_reset: 0,
            address: "127.0.0.1:6661".into(),
            streams: 0,
            streams_opened: 0,
            streams_cut: 0,
            strangers_refused: 0,
            messages: 0,
            acknowledged: 0,
            bytes_into_tunnel: 0,
            bytes_out_of_tunnel: 0,
            dicom: None,
            last_ack: None,
            peer_key: Some(PeerKey { fingerprint, verified: true }),
            admin: None,
            last_error: None,
        }
    }

    fn with(side: Side, change: impl FnOnce(&mut EntryStatus)) -> String {
        let mut entry = working(side);
        change(&mut entry);
        diagnose(&entry, true).unwrap_or_default()
    }

    fn fault(what: &str) -> Fault {
        Fault { at: Timestamp::from_millis(0), what: what.into() }
    }

    #[test]
    fn what_works_has_no_trouble_whatever_went_wrong_before() {
        for side in [Side::Source, Side::Target] {
            assert_eq!(with(side, |entry| entry.last_error = Some(fault("the tunnel ended"))), "");
        }
    }

    #[test]
    fn what_the_rules_forbid_comes_with_the_command_that_helps() {
        for (status, expected) in [
            (word::READY, "adit admin connection activate"),
            (word::PAUSED, "adit admin connection resume"),
            (word::TERMINATED, "adit trust adt --forget-ended"),
            (word::UNLISTED, "adit admin connection list"),
            (word::CONFIG_MISMATCH, "adit admin connection entry"),
            (word::UNUSABLE, "update adit"),
            (word::UNKNOWN, "not said yet"),
        ] {
            let said = with(Side::Source, |entry| entry.status = status.into());
            assert!(said.contains(expected), "{status}: {said}");
        }
    }

    #[test]
    fn a_port_that_could_not_be_bound_is_named_before_any_rule_counts() {
        let said = with(Side::Source, |entry| {
            entry.status = String::new();
            entry.last_error = Some(fault("cannot bind TCP 127.0.0.1:6661; stop what uses it"));
        });
        assert_eq!(said, "cannot bind TCP 127.0.0.1:6661; stop what uses it");
    }

    #[test]
    fn a_tunnel_that_is_down_by_silence_says_so() {
        let silent = |entry: &mut EntryStatus| {
            (entry.tunnel, entry.silent_since) = (OFF, Some(Timestamp::from_millis(0)));
        };
        for side in [Side::Source, Side::Target] {
            assert!(with(side, silent).starts_with("the peer's agent has not been heard since"));
        }
    }

    #[test]
    fn a_missing_tunnel_says_why_it_is_missing() {
        let said = with(Side::Source, |entry| {
            (entry.tunnel, entry.mirth, entry.port_open) = (OFF, OFF, false);
            entry.last_error = Some(fault("cannot bind TCP 127.0.0.1:6661; stop what uses it"));
        });
        assert!(said.starts_with("there is no tunnel") && said.contains("cannot bind TCP"), "{said}");
    }

    #[test]
    fn owners_who_allow_no_path_in_common_are_why_there_is_no_tunnel() {
        let said = with(Side::Target, |entry| {
            entry.tunnel = OFF;
            entry.path_conflict = Some("this side allows direct and the peer's side relay".into());
            entry.last_error = Some(fault("the peer did not answer"));
        });
        assert_eq!(said, "there is no tunnel to the peer: this side allows direct and the peer's side relay");
    }

    #[test]
    fn it_is_said_whose_mirth_does_not_answer() {
        let silent = |entry: &mut EntryStatus| entry.mirth = OFF;
        assert!(with(Side::Source, silent).starts_with("the partner's Mirth does not answer"));
        assert!(with(Side::Target, silent).starts_with("the Mirth of this host does not answer"));
    }

    #[test]
    fn a_closed_port_is_trouble_of_the_source_alone() {
        let closed = |entry: &mut EntryStatus| entry.port_open = false;
        assert!(with(Side::Source, closed).starts_with("the port 127.0.0.1:6661 is closed"));
        assert_eq!(with(Side::Target, closed), "");
    }

    #[test]
    fn a_key_that_nobody_compared_is_trouble_though_messages_pass() {
        let said = with(Side::Target, |entry| {
            entry.peer_key = entry.peer_key.map(|key| PeerKey { verified: false, ..key });
        });
        assert!(said.contains("it carries") && said.contains("adit trust adt sha256:07"), "{said}");
    }
}
