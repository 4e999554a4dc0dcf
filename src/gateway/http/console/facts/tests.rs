//! Facts to the first that fails, and on whose side: both parties' people are told the same.

use serde_json::{Value, json};

use super::*;
use crate::http::console::shapes::{Measurements, Progress, Server};

const AT: &str = "2026-11-30T09:00:00.000Z";
const LATER: &str = "2026-11-30T09:05:00.000Z";

/// Returns a connection over which messages pass, as the API tells it.
fn working() -> Value {
    let end = |name: &str, id: &str| {
        json!({
            "organization": { "id": id, "name": name },
            "server": { "id": id, "name": format!("{name} Mirth") },
            "link": { "state": "up", "since": AT },
            "tunnel": { "state": "direct", "since": AT },
        })
    };
    let mut target = end("St Mary", "t");
    target["mirth"] = json!({ "state": "up", "since": AT });
    json!({
        "id": "c", "type": "P2P", "route": "Lakeside Mirth → St Mary Mirth", "source": end("Lakeside", "s"),
        "target": target, "channel": { "name": "ADT", "protocol": "mllp" }, "status": "Active",
        "connectivity": "Connected", "pulses": true, "last_acknowledged_at": LATER, "created_at": AT,
        "changed_at": AT,
    })
}

fn read(connection: Value) -> Connection {
    serde_json::from_value(connection).unwrap()
}

/// Returns it without a tunnel, and with what its two agents say.
fn down(source: Option<&str>, target: Option<&str>) -> Value {
    let mut it = working();
    it["connectivity"] = "Disconnected".into();
    for (side, word) in [("source", source), ("target", target)] {
        it[side]["tunnel"] = json!({ "state": "down", "since": AT });
        if let Some(word) = word {
            it[side]["fault"] = json!({ "state": word, "since": LATER });
        }
    }
    it
}

/// Returns it with what one of its agents says while its tunnel is up.
fn up(side: &str, word: &str) -> Value {
    let mut it = working();
    it[side]["fault"] = json!({ "state": word, "since": LATER });
    it
}

fn with(mut it: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut it);
    it
}

/// Returns the first that fails with what was measured, as both parties see it.
#[track_caller]
fn found(it: &Connection, recent: Option<Recent>) -> Option<(Finding, Finding)> {
    let facts = all(it, &Beside { recent, ..Beside::default() });
    let [ours, theirs] = ["s", "t"].map(|own| first_failing(&facts, it, own));
    let (ours, theirs) = (ours?, theirs?);
    assert_eq!(
        (&ours.side, &ours.evidence, &ours.remedy, &ours.since),
        (&theirs.side, &theirs.evidence, &theirs.remedy, &theirs.since)
    );
    Some((ours, theirs))
}

/// Expects the fact that fails, the side, and that each party is told to call whoever can mend it.
#[track_caller]
fn check(it: Value, title: &str, side: &str, evidence: &str) {
    let it = read(it);
    let (ours, theirs) = found(&it, None).expect("something fails");
    assert_eq!((ours.title, ours.side.as_str()), (title, side), "{}", ours.evidence);
    let is_waiting = matches!(it.status.as_str(), "Ready" | "Offered" | "Provisioning" | "Paused");
    assert_eq!(ours.how, if is_waiting { How::Waits } else { How::Fails }, "{}", it.status);
    assert!(ours.evidence.contains(evidence), "{}", ours.evidence);
    assert!(!ours.remedy.is_empty() && ours.since.is_some(), "{ours:?}");
    let own = "your own integration engineer";
    let expected = match side {
        "Lakeside" => [own.to_owned(), "the integration engineer of Lakeside".into()],
        "St Mary" => ["the integration engineer of St Mary".into(), own.to_owned()],
        _ => ["St Mary", "Lakeside"]
            .map(|other| format!("{own}, together with the integration engineer of {other}")),
    };
    assert_eq!([ours.call, theirs.call], expected);
}

const BOTH: &str = "Lakeside and St Mary";

#[test]
fn what_people_decided_is_named_with_who_can_undo_it() {
    let name = "Decided by people";
    let status = |status: &'static str| with(down(None, None), move |it| it["status"] = status.into());
    let paused = |by: &'static [&'static str]| with(status("Paused"), move |it| it["held_by"] = json!(by));
    let failed = |why: &'static str| with(status("Failed"), move |it| it["failure"] = why.into());
    check(status("Ready"), name, BOTH, "nobody has switched it on");
    check(paused(&["Lakeside"]), name, "Lakeside", "Paused by Lakeside");
    check(paused(&["St Mary"]), name, "St Mary", "Paused by St Mary");
    check(paused(&["Lakeside", "St Mary"]), name, BOTH, "Paused by Lakeside and St Mary");
    check(paused(&["St Mary (until its tier admits Admin RW)"]), name, "St Mary", "Paused by St Mary");
    check(failed("Lakeside Mirth (source): other protocol"), name, "Lakeside", "other protocol");
    check(failed("St Mary Mirth (target): other side"), name, "St Mary", "other side");
    check(failed("A (target): server (source): other type"), name, "Lakeside", "other type");
    check(status("Offered"), name, "Lakeside", "not accepted yet");
    check(status("Terminated"), name, BOTH, "Terminated for good");
}

#[test]
fn an_agent_without_a_link_is_named_whatever_it_said_last() {
    for (side, organization, name) in [
        ("source", "Lakeside", "Source's agent and gateway"),
        ("target", "St Mary", "Target's agent and gateway"),
    ] {
        for it in [working(), up(side, "no_entry"), down(Some("no_path"), Some("no_path"))] {
            let it = with(it, |it| it[side]["link"]["state"] = "down".into());
            check(it, name, organization, "not linked");
        }
        let never = with(working(), |it| it[side]["link"] = json!({ "state": "never" }));
        let facts = all(&read(never), &Beside::default());
        assert!(facts.iter().any(|fact| fact.evidence == "no agent has ever been linked to the gateway"));
    }
}

#[test]
fn what_one_agent_needs_by_itself_is_named_on_its_side() {
    for (word, evidence) in
        [("no_entry", "no entry"), ("mismatch", "disagrees"), ("update_needed", "too old")]
    {
        // The other has no path meanwhile, and dials in vain.
        check(down(Some(word), Some("no_path")), "Entry in the source agent's file", "Lakeside", evidence);
        check(
            down(Some("refused_by_peer"), Some(word)),
            "Entry in the target agent's file",
            "St Mary",
            evidence,
        );
    }
    check(down(Some("port_taken"), None), "Port of the source's agent", "Lakeside", "another program has it");
    let silent = with(down(None, None), |it| it["target"]["tunnel"] = json!({ "state": "never" }));
    check(silent, "Entry in the target agent's file", "St Mary", "its adit is too old to say so");
}

#[test]
fn nothing_is_wrong_with_agents_that_have_just_been_told_of_a_connection() {
    let silent = |side: &str| with(down(None, None), |it| it[side]["tunnel"] = json!({ "state": "never" }));
    let activated = millis(AT).unwrap();
    for it in [silent("source"), silent("target"), down(None, None)].map(read) {
        let is_wrong = |age_ms: i64| {
            let beside = Beside { now_ms: activated + age_ms, ..Beside::default() };
            all(&it, &beside).iter().any(|fact| fact.holds == Holds::No)
        };
        assert_eq!([0, 59_999, 60_000].map(is_wrong), [false, false, true]);
    }
    let named = read(with(down(Some("no_entry"), None), |it| it["changed_at"] = AT.into()));
    let facts = all(&named, &Beside { now_ms: activated, ..Beside::default() });
    assert_eq!(first_failing(&facts, &named, "s").unwrap().title, "Entry in the source agent's file");
}

#[test]
fn what_keeps_two_agents_apart_is_named_on_the_side_that_can_mend_it() {
    const TRUST: &str = "Trust between the agents";
    const SECRET: &str = "Secret of the connection";
    const PATH: &str = "Path between the agents";
    for (source, target, name, side) in [
        (Some("peer_key"), None, TRUST, "Lakeside"),
        (Some("refused_by_peer"), Some("peer_key"), TRUST, "St Mary"),
        (Some("file_secret"), Some("peer_key"), TRUST, "St Mary"),
        (Some("peer_key"), Some("peer_key"), TRUST, BOTH),
        (Some("peer_key_uncompared"), None, TRUST, "Lakeside"),
        (Some("refused_by_peer"), Some("peer_certificate"), TRUST, "St Mary"),
        (Some("refused_by_peer"), None, TRUST, "St Mary"),
        (None, Some("no_secret"), SECRET, "St Mary"),
        (Some("no_secret"), None, SECRET, "Lakeside"),
        (Some("file_secret"), Some("wrong_secret"), SECRET, "Lakeside"),
        (Some("refused_by_peer"), Some("file_secret"), SECRET, "St Mary"),
        (Some("file_secret"), Some("file_secret"), SECRET, BOTH),
        (Some("refused_by_peer"), Some("wrong_secret"), SECRET, BOTH),
        (Some("no_common_path"), None, PATH, BOTH),
        (Some("path_limited"), Some("no_path"), PATH, "Lakeside"),
        (Some("no_path"), Some("path_limited"), PATH, "St Mary"),
        (Some("path_limited"), Some("path_limited"), PATH, BOTH),
        (Some("no_path"), Some("no_path"), PATH, BOTH),
        (Some("peer_silent"), None, PATH, BOTH),
    ] {
        check(down(source, target), name, side, "");
    }
    check(down(None, None), "Tunnel between the agents", BOTH, "neither agent says why");
    check(down(Some("other"), None), "Tunnel between the agents", BOTH, "neither agent says why");
}

#[test]
fn what_keeps_messages_from_passing_over_a_tunnel_is_named() {
    let mirth = "Target's agent and Mirth";
    let refuses = with(working(), |it| it["target"]["mirth"]["state"] = "down".into());
    check(refuses.clone(), mirth, "St Mary", "does not accept on the port");
    let admin = json!({ "access": "read-only", "offered_by": "St Mary" });
    check(with(refuses, |it| it["administration"] = admin), mirth, "St Mary", "over HTTPS");
    check(up("target", "mirth_key"), mirth, "St Mary", "another key");
    check(up("source", "full"), "Room for another TCP connection", "Lakeside", "source agent's file allows");
    check(
        up("source", "peer_full"),
        "Room for another TCP connection",
        "St Mary",
        "target agent's file allows",
    );
    check(up("source", "sender_refused"), "Messages are sent", "Lakeside", "not let in");
    check(up("target", "not_answered"), "Messages are answered", "St Mary", "not acknowledged it");
    check(up("target", "not_accepted"), "Messages are accepted", "St Mary", "AE or AR");
}

/// Returns what one minute of both ends was.
fn measured(messages: u64, accepted: u64, errors: u64) -> Recent {
    let step = json!({
        "at": AT, "up": 1.0, "messages": messages, "bytes_sent": 100 * messages, "bytes_received": 0,
        "acknowledgements": { "AA": accepted, "AE": errors, "AR": 0, "CA": 0, "CE": 0, "CR": 0 },
        "objects": { "stored": 0, "failed": 0 },
    });
    let ends = json!({ "source": { "steps": [step] }, "target": { "steps": [step] } });
    let measured: Measurements = serde_json::from_value(ends).unwrap();
    Recent::of(&measured, 15, AT.into())
}

#[test]
fn what_was_measured_tells_of_messages_that_an_agent_does_not() {
    let quiet = read(with(working(), |it| it["last_acknowledged_at"] = Value::Null));
    let (finding, _) = found(&quiet, Some(measured(0, 0, 0))).unwrap();
    assert_eq!(
        (finding.title, finding.side.as_str(), finding.how),
        ("Messages are sent", "Lakeside", How::Unseen)
    );
    assert!(finding.evidence.contains("nothing was sent in the last 15 minutes"), "{}", finding.evidence);
    let (finding, _) = found(&quiet, Some(measured(3, 0, 0))).unwrap();
    assert_eq!((finding.title, finding.side.as_str()), ("Messages are answered", "St Mary"));
    let refused = read(with(working(), |it| it["last_acknowledged_at"] = AT.into()));
    let (finding, _) = found(&refused, Some(measured(3, 0, 2))).unwrap();
    assert_eq!((finding.title, finding.side.as_str()), ("Messages are accepted", "St Mary"));
    assert!(finding.evidence.contains("AE 2 in the last 15 minutes"), "{}", finding.evidence);
}

#[test]
fn nothing_is_found_where_messages_pass() {
    let it = read(working());
    assert!(found(&it, Some(measured(3, 3, 0))).is_none());
    // Of the minute that runs only the acknowledgement is known.
    assert!(found(&it, Some(measured(0, 0, 0))).is_none());
    // The last answer is newer than those that refused.
    assert!(found(&it, Some(measured(3, 0, 3))).is_none());
    // Some refused, and the last ones not: the messages are wrong, not the connection.
    assert!(found(&it, Some(measured(3, 2, 1))).is_none());
}

#[test]
fn the_owner_of_a_server_alone_is_told_how_far_its_agent_has_come() {
    let it = read(with(working(), |it| it["source"]["link"] = json!({ "state": "never" })));
    let enrolment = |stage: &str, is_enrolled: bool| Enrolment {
        server: serde_json::from_value::<Server>(json!({
            "id": "s", "name": "A", "description": "", "version": "", "online": false,
            "enrolled_at": is_enrolled.then_some(AT), "key": null,
        }))
        .unwrap(),
        progress: serde_json::from_value::<Progress>(json!({ "stage": stage })).unwrap(),
    };
    for (stage, is_enrolled, expected) in [
        ("none", false, "there is no connector configuration"),
        ("downloaded", false, "was downloaded, and no agent has enrolled"),
        ("expired", false, "has expired before an agent enrolled"),
        ("revoked", true, "the key of the agent was revoked"),
    ] {
        let source = Some(enrolment(stage, is_enrolled));
        let facts = all(&it, &Beside { source, ..Beside::default() });
        let finding = first_failing(&facts, &it, "s").unwrap();
        assert!(finding.evidence.contains(expected), "{}", finding.evidence);
        assert_eq!(finding.side, "Lakeside");
    }
    let (finding, _) = found(&it, None).unwrap();
    assert_eq!(finding.evidence, "no agent has ever been linked to the gateway");
}

#[test]
fn the_lamp_of_a_tunnel_says_why_it_is_down_and_on_whose_side() {
    let lamp = |it: Value| lamps(&read(it)).into_iter().find(|lamp| lamp.name.starts_with("Tunnel")).unwrap();
    let refused = lamp(down(Some("refused_by_peer"), Some("peer_key")));
    assert_eq!((refused.holds, refused.side.as_str()), (Holds::No, "St Mary"));
    assert!(refused.evidence.contains("down: the agent knows another key"), "{}", refused.evidence);
    assert_eq!(lamp(working()).holds, Holds::Yes);
    let ready = lamp(with(down(None, None), |it| it["status"] = "Ready".into()));
    assert_eq!(ready.holds, Holds::Unknown);
}

#[test]
fn what_an_agent_said_of_its_tunnel_is_not_shown_as_true_once_its_link_is_down() {
    let is_up = |it: &Connection| {
        lamps(it).iter().any(|lamp| lamp.name.starts_with("Tunnel") && lamp.holds == Holds::Yes)
    };
    assert!(is_up(&read(working())));
    for side in ["source", "target"] {
        let it = read(with(working(), |it| it[side]["link"]["state"] = "down".into()));
        assert!(!is_up(&it), "{side}");
        let told = all(&it, &Beside::default());
        let told = told.iter().filter(|fact| fact.holds == Holds::Yes).map(|fact| fact.name);
        let told: Vec<_> =
            told.filter(|name| name.contains("between the agents") || name.contains("Room")).collect();
        assert!(
            told.iter().all(|name| *name == "Room for another TCP connection" && side == "target"),
            "{side}: {told:?}"
        );
    }
    let none = read(with(working(), |it| {
        it["source"]["link"]["state"] = "down".into();
        it["target"]["link"]["state"] = "down".into();
    }));
    assert_eq!(none.path(), None);
}
