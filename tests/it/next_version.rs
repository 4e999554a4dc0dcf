//! A stand-in for the next version of adit, which is not written yet: it speaks the control link through the
//! real library and says what only a newer build would, one protocol more, one path kind, one message, one
//! change, one reason, one capability, one control version. Whatever it meets here is today's, real
//! processes and the real gateway; every other connection works on.

use std::fs;

use adit_core::domain::connection::Protocol;
use adit_core::protocol::capability::Capability;
use adit_core::protocol::control::{Rule, ToAgent, ToGateway, VERSION};
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;
use adit_net::identity::time::{HostClock, TimeSource};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::lab::{Lab, Part, TARGET_OWNER, adit, eventually, mirth, run};
use super::thief::{Script, Thief};
use super::world::{Link, Pair, World};

const VERSION_HERE: &str = env!("CARGO_PKG_VERSION");

fn rule_of(rule: &Rule) -> Value {
    serde_json::to_value(rule).unwrap()
}

/// What a gateway of the next version says to an agent whose first connection carries a new protocol.
fn words_of_the_next_gateway(newer: &Value) -> impl Fn(Vec<Rule>) -> Vec<Value> + use<> {
    let newer = newer.clone();
    move |rules| {
        let mut given: Vec<_> = rules.iter().map(rule_of).collect();
        for rule in given.iter_mut().filter(|rule| rule["connection"] == newer) {
            rule["protocol"] = "fhir".into();
            rule["priority"] = json!({ "of": "the next version" });
        }
        let foreign = json!({ "connection": "0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d", "kind": "broadcast" });
        let message = json!({ "type": "relays", "relays": [{ "at": "192.0.2.1:443", "via": "tcp" }] });
        let change = json!({ "change": "moved", "to": "another gateway" });
        let peer = rules[0].peer;
        vec![
            message.clone(),
            json!({
                "type": "snapshot", "revision": 1, "revoked": ["sha512:00"],
                "rules": given.into_iter().chain([foreign, json!("no rule at all")]).collect::<Vec<_>>(),
            }),
            json!({ "type": "change", "revision": 2, "change": change }),
            message,
            json!({ "type": "candidates", "peer": peer, "addresses": [{ "tcp": "192.0.2.1:443" }], "why": "?" }),
            json!({ "type": "heartbeat", "number": 1, "now": HostClock.now(), "load": 0.5 }),
        ]
    }
}

async fn carries(lab: &Lab, index: usize, seed: u64) {
    lab.port_open(index).await;
    let report = Sender::to(lab.port(index)).send(Generator::new(seed).take(1)).await;
    assert_eq!(report.accepted(), 1, "{:?}", report.sent);
}

async fn command(lab: &Lab, word: &str, part: Part) -> String {
    let mut command = adit();
    command.arg(word).arg("--config").arg(lab.config(part));
    let output = run(command).await;
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_next_gateways_rules_the_one_that_cannot_be_used_costs_its_own_connection() {
    let mirth = mirth().await;
    let mut lab = Lab::to_all(&[(Protocol::Mllp, mirth.address()), (Protocol::Mllp, mirth.address())]).await;
    carries(&lab, 1, 1).await;
    let id = lab.entry(Part::A, 0).await.unwrap().id;
    let words = words_of_the_next_gateway(&json!(id));
    let thief = Thief::take(&mut lab, Script::saying_anything(move |_, rules, _| words(rules)));
    let expected = format!(
        "the gateway calls for protocol `fhir`, which this build ({VERSION_HERE}) does not know: update adit"
    );
    for part in [Part::A, Part::B] {
        thief.is_heard_by(&lab, part).await;
        let told = |what: &str| what == expected;
        let entry = lab
            .entry_becomes(part, 0, "cannot be used", |entry| {
                entry.last_error.as_ref().is_some_and(|fault| told(&fault.what))
            })
            .await;
        assert_eq!((entry.status.as_str(), entry.tunnel.on), ("Update needed", Some(false)), "{part:?}");
        assert!(lab.log(part).contains(&expected), "{part:?}");
        assert!(lab.log(part).contains("relays"), "{part:?} names the unknown message");
        assert!(command(&lab, "status", part).await.contains("calls for protocol `fhir`"), "{part:?}");
        assert_eq!(lab.status(part).await.unwrap().gateway.on, Some(true), "{part:?}: the link stays");
    }
    lab.port_refuses(0).await;
    carries(&lab, 1, 2).await;

    // What cannot be used lies on disk, where the next start and `adit check` find it.
    lab.kill(Part::A);
    assert!(command(&lab, "check", Part::A).await.contains("calls for protocol `fhir`"));
    lab.start(Part::A);
    lab.entry_becomes(Part::A, 0, "cannot be used", |entry| entry.status == "Update needed").await;
    carries(&lab, 1, 3).await;

    thief.give_back(&mut lab).await;
    carries(&lab, 0, 4).await;
    carries(&lab, 1, 5).await;
}

/// Says something in words that the library does not have.
async fn say(link: &mut Link, message: Value) {
    link.sender.send(&message).await.unwrap();
}

#[tokio::test]
async fn what_only_a_next_agent_knows_costs_nothing_else() {
    let world = World::start().await;
    let Pair { source, target, connection, source_initiator, .. } = world.pair().await;
    let mut today = target.welcomed(&world).await;

    let mut next = source.dial(&world).await.unwrap();
    say(
        &mut next,
        json!({
            "type": "hello", "version": 1, "versions": [1, 2], "capabilities": ["skips-unknown", "reads-minds"],
            "software": "0.2.0", "boot": "0101010101010101", "platform": { "os": "the next" },
        }),
    )
    .await;
    let Ok(ToAgent::Welcome { version: VERSION, capabilities, .. }) = next.next().await else {
        panic!("no welcome")
    };
    assert!(capabilities.has(Capability::SkipsUnknown));
    assert!(matches!(next.next().await, Ok(ToAgent::Snapshot { revision: 1, .. })));

    say(&mut next, json!({ "type": "measurements", "of": connection, "loss": 0.01 })).await;
    say(
        &mut next,
        json!({ "type": "listening", "addresses": ["192.0.2.9:4433", { "tcp": "192.0.2.9:443" }] }),
    )
    .await;
    let report = json!({ "tunnel": "punched", "mirth": true, "last_ack": null, "loss": 0.01 });
    say(&mut next, json!({ "type": "report", "connection": connection, "report": report })).await;
    let refused =
        json!({ "type": "refused_peer", "connection": connection, "peer": null, "reason": "too_tired" });
    say(&mut next, refused).await;
    let session = json!({
        "number": 1, "stage": "suspended", "local_peer": "192.0.2.9", "requests": 1, "refused": 0, "changes": 0,
    });
    say(&mut next, json!({ "type": "admin_session", "connection": connection, "session": session })).await;
    say(&mut next, json!({ "type": "fetch_secret", "connection": connection })).await;
    // An answer to the last says that the link outlived all that came before.
    let answer = loop {
        match next.next().await.unwrap() {
            ToAgent::Candidates { .. } => {}
            other => break other,
        }
    };
    assert!(matches!(answer, ToAgent::Secret { .. }), "{answer:?}");

    let candidates = today.next().await.unwrap();
    let ToAgent::Candidates { addresses, .. } = candidates else { panic!("{candidates:?}") };
    assert_eq!(addresses, ["192.0.2.9:4433".parse().unwrap()]);
    let view = world.gateway.platform().connection(&source_initiator, connection).await.unwrap();
    assert_eq!(view.source.tunnel.state, "other");
    let refusals = world.audited_refusals().await;
    assert!(refusals.iter().any(|row| row.contains("does not know: `too_tired`")), "{refusals:?}");

    let unfit = json!({ "type": "unfit", "connection": connection, "reason": "mirth_too_new" });
    say(&mut next, unfit).await;
    let changed = today.next().await.unwrap();
    assert!(matches!(changed, ToAgent::Change { .. }), "{changed:?}");
    let view = world.gateway.platform().connection(&source_initiator, connection).await.unwrap();
    assert!(view.failure.as_ref().is_some_and(|why| why.contains("mirth_too_new")), "{:?}", view.failure);
    today.send(ToGateway::Heartbeat { number: 1 }).await;
}

#[tokio::test]
async fn an_agent_that_has_left_this_version_behind_is_refused_with_both_lists() {
    let world = World::start().await;
    let mut next = world.enrolled("next").await.dial(&world).await.unwrap();
    let hello = json!({
        "type": "hello", "version": 2, "versions": [2, 3], "capabilities": [], "software": "0.9.0",
        "boot": "0101010101010101",
    });
    say(&mut next, hello).await;
    let refused = next.goodbye().await;
    assert!(refused.contains("control versions 2, 3, this gateway control version 1"), "{refused}");
    assert!(refused.contains("adit 0.9.0"), "{refused}");
}

/// A gateway of the next version wrote a status that this one does not know.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_word_in_a_row_hides_its_own_connection_alone() {
    let mirth = mirth().await;
    let lab = Lab::to_all(&[(Protocol::Mllp, mirth.address()), (Protocol::Mllp, mirth.address())]).await;
    carries(&lab, 1, 1).await;
    let id = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    set_status(&lab, &id, "Draining").await;
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "is hidden", |entry| entry.status == "Not listed").await;
    }
    carries(&lab, 1, 2).await;
    let log = lab.log(Part::Gateway);
    assert!(log.contains(&id) && log.contains("holds a word that this build"), "{log}");
    let listed = lab.admin(&["connection", "list", "--as", TARGET_OWNER]).await;
    assert!(!listed.contains(&id), "{listed}");
    lab.linked().await;

    set_status(&lab, &id, "Active").await;
    carries(&lab, 0, 3).await;
    carries(&lab, 1, 4).await;
}

/// Changes a row, and tells of it, as another build does.
async fn set_status(lab: &Lab, connection: &str, status: &str) {
    let path = lab.state(Part::Gateway).join("platform.db");
    let options = SqliteConnectOptions::new().filename(path).pragma("ignore_check_constraints", "ON");
    let mut database = options.connect().await.unwrap();
    let changed = sqlx::query("UPDATE connection SET status = ? WHERE id = ?")
        .bind(status.to_owned())
        .bind(connection.to_owned())
        .execute(&mut database)
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 1);
    let told = "INSERT INTO change (organization, server, connection, kind)
         SELECT s.organization, s.id, c.id, 'connection' FROM connection c
            JOIN server s ON s.id IN (c.source_server, c.target_server) WHERE c.id = ?";
    sqlx::query(told).bind(connection.to_owned()).execute(&mut database).await.unwrap();
}

/// `rules.json` as the next version leaves it, read by this one without its gateway.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_the_next_version_kept_cost_no_more_than_what_is_new_in_them() {
    let mirth = mirth().await;
    let mut lab = Lab::to_all(&[(Protocol::Mllp, mirth.address()), (Protocol::Mllp, mirth.address())]).await;
    let id = lab.entry(Part::B, 0).await.unwrap().id.to_string();
    lab.kill(Part::B);
    lab.kill(Part::Gateway);
    let path = lab.state(Part::B).join("rules.json");
    let mut rules: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    rules["rules"][&id]["activity"] = "draining".into();
    rules["measured"] = json!({ "by": "the next version" });
    fs::write(&path, serde_json::to_vec(&rules).unwrap()).unwrap();
    for name in ["enrolment.json", "known-keys.json", "secrets.json"] {
        let path = lab.state(Part::B).join(name);
        let mut kept: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let of_next = json!({ "only": "the next version knows" });
        match name {
            "enrolment.json" => kept["next"] = of_next,
            _ => kept[&id]["next"] = of_next,
        }
        fs::write(&path, serde_json::to_vec(&kept).unwrap()).unwrap();
    }
    // The source still takes connections for the tunnel that was.
    lab.port_refuses(1).await;
    lab.start(Part::B);
    lab.entry_becomes(Part::B, 0, "cannot be used", |entry| entry.status == "Update needed").await;
    eventually("B says why", async || lab.log(Part::B).contains("activity `draining`").then_some(())).await;
    carries(&lab, 1, 2).await;
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    carries(&lab, 0, 3).await;
}
