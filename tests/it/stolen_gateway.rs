//! What a gateway in the wrong hands, or one restored from an old backup, leaves behind once the honest one
//! is back: nothing that a person must repair, but what it explicitly said for good; and that a person of the
//! host can undo.

use std::path::Path;
use std::sync::Arc;

use adit_agent::state::AgentState;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::{Rule, ToAgent, fixture};
use adit_gateway::authority::Authority;
use adit_net::identity::time::{HostClock, TimeSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::impostor::Forger;
use super::lab::{Lab, Part, SOURCE_OWNER, TARGET_OWNER, adit, eventually, mirth, run};
use super::thief::{Script, Thief, snapshot};
use super::wire::{End, Wire, listener, read_to_end};

const YEAR_MILLIS: i64 = 365 * 86_400_000;
/// 2090-01-01.
const FAR: Timestamp = Timestamp::from_millis(3_786_912_000_000);

/// Waits until A shows that it did not take what contains `words`.
async fn says_it_took_not(lab: &Lab, words: &str) {
    eventually(&format!("A says that it did not take `{words}`"), async || {
        let status = lab.status(Part::A).await?;
        status.not_taken.iter().any(|fault| fault.what.contains(words)).then_some(())
    })
    .await;
}

async fn echoes(wire: &mut Wire, word: &[u8; 4]) {
    wire.source.write_all(word).await.unwrap();
    let mut heard = [0; 4];
    wire.target.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, word);
}

async fn forget_ended(lab: &Lab, part: Part, name: &str) -> String {
    let mut command = adit();
    command.args(["trust", name, "--forget-ended", "--config"]).arg(lab.config(part));
    let output = run(command).await;
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success(), "{told}");
    told
}

fn audit(lab: &Lab, part: Part) -> String {
    std::fs::read_to_string(lab.state(part).join("audit.jsonl")).unwrap()
}

fn made_up_keys(round: u8) -> Vec<KeyFingerprint> {
    let key = |number: u16| {
        let mut bytes = [round; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        KeyFingerprint::from_bytes(bytes)
    };
    (0..8_191).map(key).collect()
}

fn made_up_rule(number: u16) -> Rule {
    let mut id = [0xab; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    Rule {
        connection: ConnectionId::from_bytes(id),
        secret_epoch: u32::MAX,
        cut_epoch: u32::MAX,
        ..fixture::rule(7)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_cuts_however_many_a_thief_made_up_before() {
    let listener = listener().await;
    let mut lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let mut open = Wire::open(lab.port(0), &listener).await;
    let thief = Thief::take(
        &mut lab,
        Script::saying(|_, rules, _| {
            let flood = |round| ToAgent::Snapshot {
                revision: 1,
                rules: rules.iter().cloned().chain((0..1_000).map(made_up_rule)).collect(),
                revoked: made_up_keys(round),
            };
            let ended = (0..8_191).map(|number| made_up_rule(number).connection).collect();
            vec![flood(1), flood(2), ToAgent::Ended { connections: ended }]
        }),
    );
    thief.is_heard_by(&lab, Part::A).await;
    says_it_took_not(&lab, "concern nothing in this agent's file").await;
    echoes(&mut open, b"live").await;
    thief.give_back(&mut lab).await;

    let linked = lab.status(Part::A).await.unwrap().gateway;
    let partner = lab.status(Part::B).await.unwrap().server.to_string();
    lab.admin(&["server", "revoke", &partner, "--as", TARGET_OWNER]).await;
    assert_eq!(read_to_end(&mut open.source).await, (vec![], End::Rst));
    lab.port_refuses(0).await;
    assert_eq!(lab.status(Part::A).await.unwrap().gateway, linked, "the link never flaps");
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_that_a_thief_raised_neither_stop_a_disconnect_nor_the_connection() {
    let listener = listener().await;
    let mut lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let raise = |_: ServerId, rules: Vec<Rule>, _: &Authority| {
        let raised = |rule: Rule| Rule { cut_epoch: u32::MAX, secret_epoch: u32::MAX, ..rule };
        vec![snapshot(rules.into_iter().map(raised).collect())]
    };
    let thief = Thief::take(&mut lab, Script::saying(raise));
    for part in [Part::A, Part::B] {
        thief.is_heard_by(&lab, part).await;
        lab.entry_becomes(part, 0, "its tunnel is cut", |entry| entry.tunnel.on == Some(false)).await;
    }
    thief.give_back(&mut lab).await;
    lab.port_open(0).await;
    let mut open = Wire::open(lab.port(0), &listener).await;
    let id = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    lab.admin(&["connection", "disconnect", &id, "--as", SOURCE_OWNER]).await;
    assert_eq!(read_to_end(&mut open.source).await, (vec![], End::Rst));
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_knows_nothing_for_a_while_suspends_what_comes_back_by_itself() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let thief = Thief::take(&mut lab, Script::saying(|_, _, _| vec![snapshot(Vec::new())]));
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "is not listed", |entry| {
            entry.status == "Not listed" && entry.tunnel.on == Some(false)
        })
        .await;
    }
    lab.port_refuses(0).await;
    // Nor does a restart without the honest gateway make it worse.
    lab.kill(Part::A);
    lab.start(Part::A);
    thief.give_back(&mut lab).await;
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_came_while_the_agent_was_away_is_heard() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let id = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    lab.kill(Part::B);
    lab.admin(&["connection", "terminate", &id, "--as", SOURCE_OWNER]).await;
    lab.start(Part::B);
    lab.entry_becomes(Part::B, 0, "is over", |entry| entry.status == "Terminated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_thief_ended_stays_so_until_the_hosts_owner_undoes_it() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let name = lab.entry(Part::A, 0).await.unwrap().name;
    let key = lab.status(Part::B).await.unwrap().key;
    let end = move |_: ServerId, rules: Vec<Rule>, _: &Authority| {
        let connections = rules.iter().map(|rule| rule.connection).collect();
        let snapshot = ToAgent::Snapshot { revision: 1, rules: rules.into(), revoked: vec![key] };
        vec![snapshot, ToAgent::Ended { connections }]
    };
    let thief = Thief::take(&mut lab, Script::saying(end));
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "is over", |entry| entry.status == "Terminated").await;
    }
    thief.give_back(&mut lab).await;
    lab.kill(Part::A);
    lab.start(Part::A);
    lab.linked().await;
    for part in [Part::A, Part::B] {
        lab.entry_becomes(part, 0, "is still over", |entry| entry.status == "Terminated").await;
    }

    // While the agent runs, and without it.
    let told = forget_ended(&lab, Part::A, &name).await;
    assert!(told.contains("a gateway ended it") && told.contains(&key.to_string()), "{told}");
    lab.entry_becomes(Part::A, 0, "is active", |entry| entry.status == "Active").await;
    let name = lab.entry(Part::B, 0).await.unwrap().name;
    lab.kill(Part::B);
    let told = forget_ended(&lab, Part::B, &name).await;
    assert!(told.contains("a gateway ended it"), "{told}");
    assert!(forget_ended(&lab, Part::B, &name).await.contains("nothing to forget"));
    lab.start(Part::B);
    lab.port_open(0).await;
    for part in [Part::A, Part::B] {
        assert_eq!(audit(&lab, part).matches("end_forgotten").count(), 1, "{part:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_an_end_that_the_honest_gateway_meant_changes_nothing_for_long() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let entry = lab.entry(Part::A, 0).await.unwrap();
    lab.admin(&["connection", "terminate", &entry.id.to_string(), "--as", TARGET_OWNER]).await;
    lab.entry_becomes(Part::A, 0, "is over", |entry| entry.status == "Terminated").await;
    forget_ended(&lab, Part::A, &entry.name).await;
    lab.entry_becomes(Part::A, 0, "is over again", |entry| entry.status == "Terminated").await;
    lab.port_refuses(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_nobody_asked_for_is_not_taken() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let expires = lab.status(Part::A).await.unwrap().leaf_expires;
    let enrolled = std::fs::read(lab.state(Part::A).join("enrolment.json")).unwrap();
    let key = own_key(&lab.state(Part::A));
    let unasked = move |server: ServerId, rules: Vec<Rule>, authority: &Authority| {
        let csr = adit_net::identity::csr::VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
        let leaf = authority.sign_server(&csr, server, FAR).unwrap();
        vec![snapshot(rules), ToAgent::Renewed { leaf: hex::encode(leaf) }]
    };
    let thief = Thief::take(&mut lab, Script::saying(unasked));
    says_it_took_not(&lab, "nobody asked for").await;
    assert_eq!(lab.status(Part::A).await.unwrap().leaf_expires, expires);
    assert_eq!(std::fs::read(lab.state(Part::A).join("enrolment.json")).unwrap(), enrolled);
    assert!(audit(&lab, Part::A).contains("gateway_not_taken"));
    thief.give_back(&mut lab).await;
    lab.kill(Part::A);
    lab.start(Part::A);
    lab.port_open(0).await;
}

fn own_key(state: &Path) -> Arc<adit_net::identity::key::KeyPair> {
    let der = std::fs::read(state.join("key.p8")).unwrap();
    Arc::new(adit_net::identity::key::KeyPair::from_pkcs8_der(&der).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_was_asked_for_but_is_not_valid_now_is_not_taken() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let enrolled = std::fs::read(lab.state(Part::A).join("enrolment.json")).unwrap();
    let mut script = Script::saying(|_, rules, _| vec![snapshot(rules)]);
    script.only_renews = true;
    script.signs_at = Some(FAR);
    let thief = Thief::take(&mut lab, script);
    eventually("A says why it has no link", async || {
        let fault = lab.status(Part::A).await?.gateway_error?;
        fault.what.contains("valid from 20").then_some(())
    })
    .await;
    assert!(thief.renewals() > 0);
    assert_eq!(std::fs::read(lab.state(Part::A).join("enrolment.json")).unwrap(), enrolled);
    thief.give_back(&mut lab).await;
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_leaf_that_an_older_version_kept_heals_by_itself() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.kill(Part::A);
    let state = AgentState::open(&lab.state(Part::A)).unwrap();
    let enrolment = state.enrolled().unwrap();
    let (identity, trust) = state.identity(&enrolment).unwrap();
    let bad = Forger::with_stolen_ca(&lab, &trust).signs(identity.key(), enrolment.server, FAR);
    state.store_leaf(bad.leaf_der()).unwrap();
    state.store_clock_offset_millis(64 * YEAR_MILLIS).unwrap();
    drop(state);
    lab.start(Part::A);
    lab.port_open(0).await;
    let expires = lab.status(Part::A).await.unwrap().leaf_expires;
    assert!(expires < HostClock.now().saturating_add(adit_core::domain::limits::LEAF_LIFE * 2), "{expires}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thiefs_clock_thirty_years_ahead_cuts_nothing() {
    outlives_a_clock(30 * YEAR_MILLIS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thiefs_clock_thirty_years_behind_cuts_nothing() {
    outlives_a_clock(-30 * YEAR_MILLIS).await;
}

async fn outlives_a_clock(ahead_millis: i64) {
    let listener = listener().await;
    let mut lab = Lab::to(Protocol::Tcp, listener.local_addr().unwrap()).await;
    let mut open = Wire::open(lab.port(0), &listener).await;
    let since = lab.entry(Part::A, 0).await.unwrap().tunnel.since;
    let mut script = Script::saying(|_, rules, _| vec![snapshot(rules)]);
    script.ahead_millis = ahead_millis;
    let thief = Thief::take(&mut lab, script);
    thief.is_heard_by(&lab, Part::B).await;
    says_it_took_not(&lab, "set this host's clock").await;
    echoes(&mut open, b"live").await;

    // New tunnels come to be as well, over leaves that are valid in truth; rules are heard.
    lab.kill(Part::B);
    lab.start(Part::B);
    lab.entry_becomes(Part::A, 0, "has a new tunnel", |entry| {
        entry.port_open && entry.tunnel.since.is_some() && entry.tunnel.since != since
    })
    .await;
    drop(Wire::open(lab.port(0), &listener).await);
    thief.give_back(&mut lab).await;
    eventually("A says no more of it", async || {
        lab.status(Part::A).await.filter(|status| status.not_taken.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_clock_correction_is_a_year_goes_on_after_a_restart() {
    let mirth = mirth().await;
    let mut lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    lab.kill(Part::A);
    // As if the host's clock had been set right by a year meanwhile.
    let state = AgentState::open(&lab.state(Part::A)).unwrap();
    state.store_clock_offset_millis(-YEAR_MILLIS).unwrap();
    drop(state);
    lab.start(Part::A);
    lab.linked().await;
    lab.port_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_though_it_cannot_be_written_down() {
    let mirth = mirth().await;
    let lab = Lab::to(Protocol::Mllp, mirth.address()).await;
    let id = lab.entry(Part::A, 0).await.unwrap().id.to_string();
    // No file can take its place.
    let in_the_way = lab.state(Part::A).join("rules.json");
    std::fs::remove_file(&in_the_way).unwrap();
    std::fs::create_dir(&in_the_way).unwrap();
    lab.admin(&["connection", "pause", &id, "--as", TARGET_OWNER]).await;
    lab.port_refuses(0).await;
    lab.admin(&["connection", "resume", &id, "--as", TARGET_OWNER]).await;
    lab.entry_becomes(Part::B, 0, "is active", |entry| entry.status == "Active").await;
    lab.logs(Part::A, "the rules could not be kept").await;
    assert_eq!(lab.entry(Part::A, 0).await.unwrap().status, "Paused", "what widens waits for the disk");
    std::fs::remove_dir(&in_the_way).unwrap();
    lab.port_open(0).await;
}
