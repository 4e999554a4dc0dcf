//! Enrolment over real TLS: what is given, and every way of being sent away.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_agent::enrol::{EnrolError, await_identity};
use adit_core::config::connector::Connector;
use adit_core::domain::connection::Protocol;
use adit_core::domain::limits::{ENROL_CONNECTIONS, ENROL_PER_MINUTE, ENROL_TIMEOUT};
use adit_core::domain::secret::RegistrationToken;
use adit_core::protocol::enrol;
use adit_net::identity::error::IdentityError;
use adit_net::identity::key::KeyPair;
use adit_net::identity::peer::VerifiedPeer;
use adit_net::identity::tls::enrol_client_config;
use adit_net::transport::carrier::proxy::Proxies;
use adit_net::transport::happy_eyeballs::ATTEMPT_TIMEOUT;
use adit_net::transport::tls::connect_enrol;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use super::lab::{HANG_LIMIT, Lab, Part, mirth};
use super::world::{Host, World};

#[tokio::test]
async fn a_token_that_made_a_host_its_server_is_gone() {
    let world = World::start().await;
    let server = world.server("a").await;
    let host = world.host("a");
    host.write(&world.connector(server).await);
    let enrolment = host.enrol().await.unwrap();
    assert_eq!(enrolment.server, server);
    assert_eq!(enrolment.gateway_route, world.gateway.authority().route());

    let (identity, trust) = host.state.identity(&enrolment).unwrap();
    let chain = [rustls::pki_types::CertificateDer::from(identity.leaf_der().to_vec())];
    let peer = VerifiedPeer::from_handshake(&chain, &trust).unwrap();
    assert_eq!(peer.server(), Some(server));
    assert_eq!(peer.key(), host.state.key_pair().unwrap().fingerprint());

    let left = std::fs::read_to_string(&host.connector).unwrap();
    assert_eq!(Connector::parse(&left).unwrap().token, None);
    // The next start needs neither gateway nor token.
    world.gateway.shutdown().await;
    assert_eq!(host.enrol().await.unwrap(), enrolment);
}

#[tokio::test]
async fn an_agent_killed_before_the_answer_to_its_request_gets_in_with_the_same_key() {
    let world = World::start().await;
    let server = world.server("a").await;
    let connector = world.connector(server).await;
    let host = world.host("a");
    host.write(&connector);
    let first = host.enrol().await.unwrap();
    std::fs::remove_file(host.state.path().join("enrolment.json")).unwrap();

    host.write(&connector);
    let second = host.enrol().await.unwrap();
    assert_eq!(second.route, first.route);
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_with_one_answer_for_all() {
    let world = World::start().await;
    let (a, b) = (world.server("a").await, world.server("b").await);
    let (for_a, for_b) = (world.connector(a).await, world.connector(b).await);
    let voided = world.connector(b).await;
    let for_b_anew = world.connector(b).await;
    drop(for_b);
    let used = world.host("first");
    used.write(&for_a);
    used.enrol().await.unwrap();

    let unknown = adit_core::domain::id::ServerId::from_random([9; 16]);
    let wrong = Some(RegistrationToken::from_bytes([1; 32]));
    let rows = [
        ("wrong", Connector { token: wrong.clone(), ..for_b_anew.clone() }),
        ("replaced by a newer one", voided),
        ("used by another key", for_a.clone()),
        ("another server's", Connector { server: b, ..for_a.clone() }),
        ("unknown server", Connector { server: unknown, ..for_a }),
    ];
    let mut answers = Vec::new();
    for (what, connector) in rows {
        answers.push(refused(&world, what, &connector).await);
    }
    world.clock.pass(super::world::DAY);
    answers.push(refused(&world, "expired", &for_b_anew).await);
    assert!(answers[0].contains("download a new connector file"), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

async fn refused(world: &World, what: &str, connector: &Connector) -> String {
    let host = world.host(what);
    host.write(connector);
    let Err(EnrolError::Refused { answer, .. }) = host.enrol().await else {
        panic!("{what}: was not refused")
    };
    assert_eq!(host.state.enrolment().unwrap(), None, "{what}");
    let kept = std::fs::read_to_string(&host.connector).unwrap();
    assert!(Connector::parse(&kept).unwrap().token.is_some(), "{what}: the token must stay");
    answer
}

#[tokio::test]
async fn a_gateway_with_another_ca_key_never_sees_the_token() {
    let world = World::start().await;
    let server = world.server("a").await;
    let connector = world.connector(server).await;
    let other = World::start().await;
    let host = world.host("a");
    host.write(&Connector { addresses: vec![other.gateway.address().into()], ..connector.clone() });
    let error = host.enrol().await.unwrap_err();
    let EnrolError::NotTheGateway { source: IdentityError::WrongCaKey { expected, found }, .. } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(expected, connector.key);
    assert_eq!(found, other.gateway.authority().trust().ca_key());

    // One right address among wrong ones is enough.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = vec![closed.into(), other.gateway.address().into(), world.gateway.address().into()];
    host.write(&Connector { addresses, ..connector });
    host.enrol().await.unwrap();
}

#[tokio::test]
async fn a_silent_first_address_hides_no_good_second_one() {
    let world = World::start().await;
    let server = world.server("a").await;
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    silent.listen(0).unwrap();
    let hole = silent.local_addr().unwrap().as_socket().unwrap();
    // With its queue full, the kernel drops what others send it.
    let _filling = std::net::TcpStream::connect(hole).unwrap();
    let addresses = vec![hole.into(), world.gateway.address().into()];
    let host = world.host("a");
    host.write(&Connector { addresses, ..world.connector(server).await });
    let started = Instant::now();
    host.enrol().await.unwrap();
    assert!(started.elapsed() < ATTEMPT_TIMEOUT, "it waited for the silent one");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_named() {
    let world = World::start().await;
    let server = world.server("a").await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = world.host("a");
    host.write(&Connector { addresses: vec![closed.into()], ..world.connector(server).await });
    let error = host.enrol().await.unwrap_err().to_string();
    assert!(error.contains(&closed.to_string()), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_request_that_asks_for_more_than_a_key_is_refused_without_spending_the_token() {
    let world = World::start().await;
    let server = world.server("a").await;
    let connector = world.connector(server).await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        hex::encode(params.serialize_request(&key).unwrap().der())
    };
    let token = connector.token.as_ref().unwrap().reveal_hex();
    let body = |csr: &str| format!(r#"{{"server":"{server}","token":"{token}","csr":"{csr}"}}"#);
    let ca_flag = csr(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let name = csr(|params| {
        let uri = "spiffe://example.org/gateway".try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    });
    let good = hex::encode(KeyPair::generate().unwrap().csr_der().unwrap());
    let rows = [
        (body(&ca_flag), "400", "asks to be a CA"),
        (body(&name), "400", "asks for a name"),
        (body("zz"), "400", "not hexadecimal"),
        (body(&good[..good.len() - 2]), "400", "cannot be read"),
        ("{".into(), "400", "not an enrolment request"),
        (" ".repeat(20_000), "413", "at most"),
    ];
    for (body, status, error) in rows {
        let answer = exchange(world.gateway.address(), &connector, &post(enrol::PATH, &body)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains(error), "{answer}");
        assert!(!answer.contains(&token), "{answer}");
    }
    let answer = exchange(world.gateway.address(), &connector, &post("/api/v1/other", "{}")).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let answer = exchange(world.gateway.address(), &connector, &post(enrol::PATH, &body(&good))).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_to_wait() {
    let world = World::start().await;
    let server = world.server("a").await;
    let connector = world.connector(server).await;
    let wrong = format!(r#"{{"server":"{server}","token":"00","csr":"00"}}"#);
    for _ in 0..ENROL_PER_MINUTE.get() {
        let answer = exchange(world.gateway.address(), &connector, &post(enrol::PATH, &wrong)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let answer = exchange(world.gateway.address(), &connector, &post(enrol::PATH, &wrong)).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    // One is free again every two seconds.
    let told =
        answer.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("retry-after: ")?.parse().ok());
    assert!(told.is_some_and(|seconds: u64| (1..=2).contains(&seconds)), "{answer}");
    assert!(answer.contains("try again in"), "{answer}");
}

/// Forty servers of one hospital behind one NAT, told to enrol by one script.
#[tokio::test]
async fn forty_agents_of_one_address_enrol() {
    let world = World::start().await;
    let hosts = hosts(&world, 40).await;
    all_enrol(hosts).await;
}

#[tokio::test]
async fn forty_agents_of_an_address_that_asked_too_often_enrol_after_their_wait() {
    let world = World::start().await;
    let hosts = hosts(&world, 40).await;
    let connector = world.connector(world.server("spent").await).await;
    use_up_the_limit(world.gateway.address(), &connector).await;
    all_enrol(hosts).await;
}

/// As agents do that were just started.
async fn all_enrol(hosts: Vec<Host>) {
    let enrolling = async {
        let mut enrolling = JoinSet::new();
        for host in hosts {
            enrolling.spawn_local(async move {
                let (proxies, why) = (Proxies::default(), watch::Sender::new(None));
                await_identity(&host.state, Some(&host.connector), &proxies, &why).await.map(drop)
            });
        }
        enrolling.join_all().await
    };
    let enrolled = timeout(HANG_LIMIT, LocalSet::new().run_until(enrolling)).await.expect("all come in");
    for enrolled in enrolled {
        enrolled.unwrap();
    }
}

/// A token that was used is worth nothing but to the same agent, whose repeats cost what guesses do.
#[tokio::test]
async fn a_token_that_is_used_repeatedly_uses_up_the_pace() {
    let world = World::start().await;
    let server = world.server("a").await;
    let connector = world.connector(server).await;
    let csr = hex::encode(KeyPair::generate().unwrap().csr_der().unwrap());
    let token = connector.token.as_ref().unwrap().reveal_hex();
    let body = format!(r#"{{"server":"{server}","token":"{token}","csr":"{csr}"}}"#);
    let mut answers = Vec::new();
    // Some are free again meanwhile.
    while answers.len() < 20 * ENROL_PER_MINUTE.get() as usize {
        answers.push(exchange(world.gateway.address(), &connector, &post(enrol::PATH, &body)).await);
        if answers.last().unwrap().starts_with("HTTP/1.1 429") {
            break;
        }
    }
    assert!(answers[0].starts_with("HTTP/1.1 200"), "{}", answers[0]);
    assert!(answers.last().unwrap().starts_with("HTTP/1.1 429"), "{}", answers.last().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_agents_enrol_though_their_address_is_throttled() {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let file = std::fs::read_to_string(lab.dir().join("a").join("connector.toml")).unwrap();
    let connector = Connector::parse(&file).unwrap();
    lab.start(Part::Gateway);
    lab.gateway_serves().await;
    let began = Instant::now();
    for _ in 0..5 {
        use_up_the_limit(lab.gateway_address(), &connector).await;
    }
    lab.start(Part::A);
    lab.start(Part::B);
    lab.port_open(0).await;
    let log = lab.log(Part::Gateway);
    let said: Vec<_> = log.lines().filter(|line| line.contains("asks too often")).collect();
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap();
    assert!((1..=2 + minutes).contains(&said.len()), "at once, and then a count a minute: {said:#?}");
}

/// Asks with a token that is none until the gateway says that it was too often.
async fn use_up_the_limit(gateway: SocketAddr, connector: &Connector) {
    let wrong = format!(r#"{{"server":"{}","token":"00","csr":"00"}}"#, connector.server);
    while !exchange(gateway, connector, &post(enrol::PATH, &wrong)).await.starts_with("HTTP/1.1 429") {}
}

async fn hosts(world: &World, count: usize) -> Vec<Host> {
    let mut hosts = Vec::new();
    for number in 0..count {
        let name = format!("server {number}");
        let server = world.server(&name).await;
        let host = world.host(&name);
        host.write(&world.connector(server).await);
        hosts.push(host);
    }
    hosts
}

/// A load balancer's health checks, for example.
#[tokio::test]
async fn connections_that_ask_for_nothing_use_up_no_enrolments() {
    let world = World::start().await;
    let server = world.server("a").await;
    let host = world.host("a");
    host.write(&world.connector(server).await);
    for _ in 0..200 {
        drop(TcpStream::connect(world.gateway.address()).await.unwrap());
    }
    let connector = Connector::parse(&std::fs::read_to_string(&host.connector).unwrap()).unwrap();
    for _ in 0..2 * ENROL_PER_MINUTE.get() {
        let tls = enrol_client_config(connector.key, connector.trust_domain.clone()).unwrap();
        let tcp = TcpStream::connect(world.gateway.address()).await.unwrap();
        drop(connect_enrol(tcp, &world.gateway.address().into(), tls).await.unwrap());
    }
    host.enrol().await.unwrap();
}

/// Connects from 127.0.0.`last`, of which loopback has many.
async fn connect_from(world: &World, last: usize) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    let last = u8::try_from(last).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(world.gateway.address()).await.unwrap()
}

/// Whether it is still served within a moment far shorter than any limit of ours.
async fn is_kept(tcp: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(500), tcp.read(&mut [0])).await.is_err()
}

#[tokio::test]
async fn a_newcomer_is_enrolled_at_once_though_many_addresses_hold_every_place_in_silence() {
    let world = World::start().await;
    let server = world.server("a").await;
    let host = world.host("a");
    host.write(&world.connector(server).await);
    let mut silent = Vec::new();
    for number in 0..52 * 5 {
        silent.push(connect_from(&world, 2 + number % 52).await);
    }
    let began = Instant::now();
    host.enrol().await.unwrap();
    let took = began.elapsed();
    println!("enrolled after {took:?} beside {} silent connections", silent.len());
    // It held no place until then: the silent ones' own time was not over.
    assert!(took < ENROL_TIMEOUT, "{took:?}");
}

#[tokio::test]
async fn a_newcomer_is_enrolled_though_many_addresses_fall_silent_in_tls() {
    let world = World::start().await;
    let server = world.server("a").await;
    let host = world.host("a");
    host.write(&world.connector(server).await);
    let mut silent = Vec::new();
    for number in 0..52 * 5 {
        let mut tcp = connect_from(&world, 2 + number % 52).await;
        // The head of a TLS record that never comes.
        tcp.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
        silent.push(tcp);
    }
    host.enrol().await.unwrap();
}

#[tokio::test]
async fn who_speaks_keeps_the_place_while_silent_ones_of_the_same_address_lose_theirs() {
    let world = World::start().await;
    let mut speaking = connect_from(&world, 2).await;
    speaking.write_all(&[0x16]).await.unwrap();
    let mut first = connect_from(&world, 2).await;
    // As many as one address may have.
    let mut others = Vec::new();
    for _ in 0..ENROL_CONNECTIONS.of_address {
        others.push(connect_from(&world, 2).await);
    }
    assert!(matches!(first.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(is_kept(&mut speaking).await);
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// One raw request inside real TLS, and all that comes back.
async fn exchange(address: SocketAddr, connector: &Connector, request: &str) -> String {
    let tls = enrol_client_config(connector.key, connector.trust_domain.clone()).unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut stream = connect_enrol(tcp, &address.into(), tls).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        answer.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(answer).unwrap()
}
