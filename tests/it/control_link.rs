//! Control links over real QUIC: who gets one, what is said on it, how it ends.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::domain::access::Access;
use adit_core::domain::connection::ConnectionType;
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::limits::{AUDIT_ROWS_BURST, CONTROL_OPENINGS_BURST, LEAF_LIFE, PEER_ADDRESSES_MAX};
use adit_core::protocol::capability::{Capabilities, Capability};
use adit_core::protocol::control::{
    Activity, Change, PeerRefusal, SessionReport, SessionStage, ToAgent, ToGateway,
};
use adit_core::protocol::frame::Code;
use adit_core::protocol::rule_list::RuleList;
use adit_gateway::platform::{AdminOffer, Initiator, OfferLife};
use adit_net::identity::key::KeyPair;
use adit_net::identity::tls::Identity;

use tokio::time::timeout;

use super::lab::HANG_LIMIT;
use super::world::{Agent, DAY, World, eventually};

fn csr(key: &KeyPair) -> ToGateway {
    ToGateway::Renew { csr: hex::encode(key.csr_der().unwrap()) }
}

#[tokio::test]
async fn an_enrolled_agent_is_welcomed_with_a_snapshot_of_nothing() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let mut link = agent.link(&world).await;
    let welcome = link.next().await.unwrap();
    let now = adit_net::identity::time::TimeSource::now(&*world.clock);
    let capabilities =
        Capabilities::own().with(Capability::AcknowledgesNotes).with(Capability::KeepsMeasurements);
    assert_eq!(welcome, ToAgent::Welcome { version: 1, now, capabilities });
    let snapshot = link.next().await.unwrap();
    assert_eq!(snapshot, ToAgent::Snapshot { revision: 1, rules: RuleList::default(), revoked: vec![] });
}

#[tokio::test]
async fn an_address_that_is_not_proven_gets_a_retry_no_longer_than_what_it_sent() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let (identity, trust) = agent.host.state.identity(&agent.enrolment).unwrap();
    // Sees the first packet of a genuine dial, and sends it in its own name.
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut packet = [0; 2_048];
    let place = stranger.local_addr().unwrap();
    let asked = tokio::select! {
        _ = agent.dial_at(&world, place, identity, trust) => panic!("nobody answers"),
        received = stranger.recv_from(&mut packet) => received.unwrap().0,
    };
    stranger.send_to(&packet[..asked], world.gateway.address()).await.unwrap();
    // What the genuine dial sent besides lies in the same queue.
    let answered = async {
        loop {
            let (answered, from) = stranger.recv_from(&mut packet).await.unwrap();
            if from == world.gateway.address() {
                return answered;
            }
        }
    };
    let answered = timeout(HANG_LIMIT, answered).await.expect("an answer");
    // Long header, packet type Retry (RFC 9000 §17.2.5).
    assert_eq!(packet[0] & 0xf0, 0xf0, "{:02x?}, {answered} bytes", &packet[..16]);
    assert!(answered <= asked, "{answered} bytes for {asked}");
}

#[tokio::test]
async fn a_leaf_is_renewed_over_its_own_key_only() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let key = agent.host.state.key_pair().unwrap();
    let mut link = agent.welcomed(&world).await;
    link.send(csr(&key)).await;
    let Ok(ToAgent::Renewed { leaf }) = link.next().await else { panic!("no leaf") };
    agent.host.state.store_leaf(&hex::decode(leaf).unwrap()).unwrap();
    let renewed = agent.host.state.enrolled().unwrap();
    agent.host.state.identity(&renewed).unwrap();

    link.send(csr(&KeyPair::generate().unwrap())).await;
    assert!(link.goodbye().await.contains("over its own key only"));
}

#[tokio::test]
async fn a_link_without_a_leaf_of_our_ca_is_refused_with_an_audit_entry() {
    let world = World::start().await;
    let other = World::start().await;
    let agent = world.enrolled("a").await;
    let foreign = other.enrolled("a").await;
    let (_, trust) = agent.host.state.identity(&agent.enrolment).unwrap();
    let gateway = Identity::clone(&world.gateway.authority().identity());
    let (of_other_ca, _) = foreign.host.state.identity(&foreign.enrolment).unwrap();
    let rows = [
        ("another CA's", of_other_ca, "not signed by the CA"),
        ("self-signed", self_signed(&agent), "not signed by the CA"),
        ("the gateway's own", gateway, "only servers dial"),
    ];
    for (what, identity, why) in rows {
        let dialled = agent.dial_as(&world, identity, trust.clone()).await;
        // A TLS 1.3 client is done before the server has looked at its leaf.
        if let Ok(mut link) = dialled {
            assert!(link.next().await.is_err(), "{what}");
        }
        eventually(async || {
            let refusals = world.audited_refusals().await;
            refusals.iter().any(|told| told.starts_with("open control link: ") && told.contains(why))
        })
        .await;
    }
}

/// The right name over a key that no CA has seen.
fn self_signed(agent: &Agent) -> Identity {
    let key = Arc::new(KeyPair::generate().unwrap());
    let signing = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &rustls::pki_types::PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec()),
        &rcgen::PKCS_ECDSA_P256_SHA256,
    )
    .unwrap();
    let mut params = rcgen::CertificateParams::default();
    let uri = format!("spiffe://example.org/server/{}", agent.server());
    params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    Identity::new(params.self_signed(&signing).unwrap().der(), key).unwrap()
}

#[tokio::test]
async fn an_expired_leaf_can_only_renew() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    world.clock.pass(LEAF_LIFE + DAY);

    let mut link = agent.link(&world).await;
    assert!(matches!(link.next().await, Ok(ToAgent::RenewOnly { .. })));
    link.send(ToGateway::FetchSecret { connection: ConnectionId::from_random([1; 16]) }).await;
    assert!(link.goodbye().await.contains("can only be renewed"));

    let mut link = agent.link(&world).await;
    assert!(matches!(link.next().await, Ok(ToAgent::RenewOnly { .. })));
    link.send(csr(&agent.host.state.key_pair().unwrap())).await;
    let Ok(ToAgent::Renewed { leaf }) = link.next().await else { panic!("no leaf") };
    agent.host.state.store_leaf(&hex::decode(leaf).unwrap()).unwrap();
    let enrolment = agent.host.state.enrolled().unwrap();
    Agent { enrolment, ..agent }.welcomed(&world).await;
}

#[tokio::test]
async fn a_revoked_key_is_cut_off_for_good() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let mut link = agent.welcomed(&world).await;
    world.gateway.platform().revoke_server(&world.owner, agent.server()).await.unwrap();
    assert!(link.goodbye().await.contains("revoked"));

    let mut again = agent.link(&world).await;
    assert!(again.goodbye().await.contains("revoked"));
    // Expired as well: still not even renewed.
    world.clock.pass(LEAF_LIFE + DAY);
    let mut again = agent.link(&world).await;
    assert!(again.goodbye().await.contains("revoked"));
}

#[tokio::test]
async fn a_key_that_is_revoked_while_its_hello_is_waited_for_is_served_nothing() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let mut link = agent.dial(&world).await.unwrap();
    // By then it is judged; where it is not, it is refused all the same.
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.gateway.platform().revoke_server(&world.owner, agent.server()).await.unwrap();
    link.hello().await;
    assert!(link.goodbye().await.contains("revoked"));
}

#[tokio::test]
async fn a_newer_link_of_the_same_agent_replaces_the_older() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let mut older = agent.welcomed(&world).await;
    let mut newer = agent.welcomed(&world).await;
    assert!(older.goodbye().await.contains("newer link"));
    newer.send(csr(&agent.host.state.key_pair().unwrap())).await;
    assert!(matches!(newer.next().await, Ok(ToAgent::Renewed { .. })));
}

#[tokio::test]
async fn whoever_breaks_the_protocol_hears_why() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;

    let mut late = agent.dial(&world).await.unwrap();
    late.send(ToGateway::Heartbeat { number: 1 }).await;
    assert!(late.goodbye().await.contains("no hello"));

    let mut other = agent.dial(&world).await.unwrap();
    let boot = adit_core::domain::id::BootId::from_bytes([1; 8]);
    let capabilities = Capabilities::default();
    let (versions, software) = (vec![98, 99], "9.0.0".into());
    other.send(ToGateway::Hello { version: 98, versions, capabilities, software, boot }).await;
    let refused = other.goodbye().await;
    assert!(
        refused.contains("the agent speaks control versions 98, 99, this gateway control version 1"),
        "{refused}"
    );

    let mut twice = agent.welcomed(&world).await;
    twice.hello().await;
    assert!(twice.goodbye().await.contains("hello twice"));

    let mut many = agent.welcomed(&world).await;
    let addresses = vec![many.address; PEER_ADDRESSES_MAX + 1];
    many.send(ToGateway::Listening { addresses }).await;
    assert!(many.goodbye().await.contains("addresses"));
}

#[tokio::test]
async fn a_secret_of_an_unknown_connection_is_not_there() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let mut link = agent.welcomed(&world).await;
    let connection = ConnectionId::from_random([1; 16]);
    link.send(ToGateway::FetchSecret { connection }).await;
    assert_eq!(link.next().await.unwrap(), ToAgent::SecretUnavailable { connection });
}

#[tokio::test]
async fn what_both_agents_of_an_accepted_offer_say_of_its_sessions_reaches_both_logs() {
    let world = World::start().await;
    let pair = world.pair().await;
    let platform = world.gateway.platform();
    let Initiator::Member { organization: to, .. } = pair.source_initiator else { panic!("a member") };
    let mut managed = pair.target.welcomed(&world).await;
    let mut managing = pair.source.welcomed(&world).await;
    let (server, access, life) = (pair.target.server(), Access::ReadOnly, OfferLife::default());
    let offer = AdminOffer { server, to, access, life };
    let connection = platform.offer_admin(&pair.target_initiator, &offer).await.unwrap();
    platform.accept_offer(&pair.source_initiator, connection, pair.source.server()).await.unwrap();
    for (link, organization) in [(&mut managed, "St Mary"), (&mut managing, "Hillside")] {
        let rule = loop {
            if let ToAgent::Change { change: Change::Rule { rule }, .. } = link.next().await.unwrap() {
                break rule;
            }
        };
        assert_eq!((rule.connection, rule.kind), (connection, ConnectionType::AdminRo));
        assert_eq!((rule.activity, rule.protocol), (Activity::Active, None));
        assert_eq!(rule.peer_organization.as_deref(), Some(organization));
    }

    let (number, local_peer) = (1, Ipv4Addr::LOCALHOST.into());
    let session = SessionReport {
        number,
        stage: SessionStage::Ended.into(),
        local_peer,
        requests: 9,
        refused: 1,
        changes: 0,
        audits: 0,
    };
    // Of channel data nobody tells sessions; it is left aside, and the link goes on.
    managed.send(ToGateway::AdminSession { connection: pair.connection, session, note: None }).await;
    managed.send(ToGateway::AdminSession { connection, session, note: None }).await;
    eventually(async || {
        let log = platform.audit(&pair.source_initiator, 50).await.unwrap();
        let told: Vec<_> = log.iter().filter(|entry| entry.action.starts_with("admin session")).collect();
        told.len() == 1
            && told[0].detail.contains("9 requests, 1 refused")
            && told[0].actor == "agent of target"
    })
    .await;
}

#[tokio::test]
async fn a_gateway_stopped_with_a_goodbye_serves_again_from_its_state() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    let mut link = agent.welcomed(&world).await;
    let (world, reason) = tokio::join!(world.restart_gateway(), link.goodbye());
    assert!(reason.contains("stopping"));
    agent.welcomed(&world).await;
}

/// How many rows the log that `initiator` reads has.
async fn rows(world: &World, initiator: &Initiator) -> usize {
    world.gateway.platform().audit(initiator, 10_000).await.unwrap().len()
}

#[tokio::test]
async fn a_secret_that_is_fetched_thousands_of_times_hides_nothing_in_either_log() {
    const FETCHES: usize = 6_000;
    let world = World::start().await;
    let pair = world.pair().await;
    let before = rows(&world, &world.operator).await;
    let mut link = pair.source.welcomed(&world).await;
    for _ in 0..FETCHES {
        link.send(ToGateway::FetchSecret { connection: pair.connection }).await;
        assert!(matches!(link.next().await, Ok(ToAgent::Secret { .. })));
    }
    let log = world.gateway.platform().audit(&world.operator, 10_000).await.unwrap();
    let fetched: Vec<_> = log.iter().filter(|row| row.action == "fetch secret").collect();
    let times: u32 = fetched.iter().map(|row| row.times).sum();
    println!("{FETCHES} fetches of one secret: {} rows", log.len() - before);
    // Two logs; a row for the first, and one a minute for the others.
    assert_eq!(times as usize, 2 * FETCHES, "all are counted");
    assert!(log.len() - before <= 10, "{} rows", log.len() - before);
    let partners = world.gateway.platform().audit(&pair.target_initiator, 20).await.unwrap();
    assert!(partners.iter().any(|row| row.action != "fetch secret"), "what others did is still to be seen");
}

#[tokio::test]
async fn peers_that_an_agent_makes_up_fill_no_log() {
    const PEERS: usize = 3_000;
    let world = World::start().await;
    let pair = world.pair().await;
    let before = rows(&world, &world.operator).await;
    let mut link = pair.source.welcomed(&world).await;
    for number in 0..PEERS {
        let mut id = [0x5a; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let peer = Some(ServerId::from_random(id));
        let reason = PeerRefusal::Unlisted.into();
        link.send(ToGateway::RefusedPeer { connection: None, peer, reason, left_out: 0, note: None }).await;
    }
    let refused = async || {
        let log = world.gateway.platform().audit(&world.operator, 10_000).await.unwrap();
        let told = log.iter().filter(|row| row.action == "refuse peer");
        (log.len(), told.map(|row| row.times as usize).sum::<usize>())
    };
    eventually(async || refused().await.1 == PEERS).await;
    let written = refused().await.0 - before;
    println!("{PEERS} made-up peers: {written} rows");
    assert!(written <= AUDIT_ROWS_BURST as usize + 10, "{written} rows");
}

#[tokio::test]
async fn what_an_agent_says_of_its_build_is_a_short_printable_text() {
    let world = World::start().await;
    let agent = world.enrolled("a").await;
    for software in ["x".repeat(1_000_000), "0.1\n0".into()] {
        let mut link = agent.dial(&world).await.unwrap();
        let boot = "0101010101010101";
        let hello = serde_json::json!({ "type": "hello", "version": 1, "software": software, "boot": boot });
        link.sender.send(&hello).await.unwrap();
        assert!(link.next().await.is_err_and(|end| end.peer_code() == Some(Code::Protocol)));
    }
    agent.welcomed(&world).await;
}

#[tokio::test]
async fn an_agent_that_keeps_opening_links_holds_up_no_other() {
    let world = World::start().await;
    let (busy, other) = (world.enrolled("busy").await, world.enrolled("other").await);
    let mut links = Vec::new();
    let mut refused = 0;
    for _ in 0..4 * CONTROL_OPENINGS_BURST {
        match busy.dial(&world).await {
            // It never says hello.
            Ok(mut link) => {
                let answer = timeout(Duration::from_millis(1), link.receiver.receive::<ToAgent>()).await;
                refused += usize::from(answer.is_ok_and(|end| end.is_err()));
                links.push(link);
            }
            Err(_) => refused += 1,
        }
    }
    other.welcomed(&world).await;
    let mut open = 0;
    for link in &mut links {
        let answer = timeout(Duration::from_millis(1), link.receiver.receive::<ToAgent>()).await;
        open += usize::from(answer.is_err());
    }
    println!("{} links dialled, {refused} refused at once, {open} open", 4 * CONTROL_OPENINGS_BURST);
    assert!(open < 3 * CONTROL_OPENINGS_BURST as usize, "{open} are open");
}
