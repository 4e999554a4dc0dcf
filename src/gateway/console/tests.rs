//! Who sees which certificate, over real TCP and TLS, and what becomes of new files.

pub(crate) mod fixture;

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicI64;

use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::id::ServerId;
use adit_net::host::folder::Folder;
use adit_net::identity::acme_challenge;
use adit_net::identity::time::HostClock;
use adit_net::identity::tls::ENROL_ALPN;
use adit_net::transport::tls::Spoken;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use self::fixture::Look;
use super::*;
use crate::service::{Gateway, GatewaySockets};
use crate::set_clock::Clock;

const HOST: &str = "console.example.org";
const GATEWAY: &str = "gateway.example.org";
const START: i64 = 1_795_510_800_000;
const DAY: i64 = 24 * 3_600 * 1_000;

struct World {
    folder: TempDir,
    console: Console,
    tls: Arc<FrontDoorTls>,
    ca_der: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock(AtomicI64::new(START)));
        let state = Folder::open(&folder.path().join("state")).unwrap();
        let (tls, ca_der) = fixture::front_door(&state, GATEWAY, clock.now());
        let files = ConsoleFiles {
            host: HOST.into(),
            certificate: folder.path().join("console.pem"),
            key: folder.path().join("console.key"),
        };
        let console = Console::new(files, Arc::clone(&tls), clock);
        Self { folder, console, tls, ca_der }
    }

    /// Writes a pair from `issuer` for `name`.
    fn write(&self, issuer: &str, name: &str) {
        let made = fixture::made(issuer, name);
        self.write_file("console.pem", &format!("{}{}", made.leaf, made.signer), 0o644);
        self.write_file("console.key", &made.key, 0o600);
    }

    fn write_file(&self, name: &str, text: &str, mode: u32) {
        let path = self.folder.path().join(name);
        // As who renews certificates does: a new file in the place of the old one.
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Looks as often as it takes to see what is new and at rest.
    fn look(&mut self) {
        self.console.look();
        self.console.look();
    }

    /// Connects as one who asks for `name`; returns as what it was served, and what it saw.
    async fn ask(&self, name: &str, alpns: &[&[u8]]) -> (Spoken, Look) {
        fixture::ask(&self.tls, name, alpns).await.unwrap()
    }

    /// Returns whose certificate browsers see.
    async fn issuer(&self) -> String {
        self.ask(HOST, &[b"h2", b"http/1.1"]).await.1.issuer
    }
}

#[tokio::test]
async fn who_asks_for_the_console_sees_its_certificate_and_agents_never_do() {
    let mut world = World::new();
    world.write("Public CA", HOST);
    world.look();
    let h1: &[&[u8]] = &[b"http/1.1"];
    let browser: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (name, alpns, spoken, issuer, named) in [
        (HOST, browser, Spoken::Console, "CN=Public CA", Some(HOST)),
        (HOST, h1, Spoken::Console, "CN=Public CA", Some(HOST)),
        ("CONSOLE.example.org", browser, Spoken::Console, "CN=Public CA", Some(HOST)),
        // Agents of every version: to a carrier, at the gateway's name or its address, and to enrol.
        (GATEWAY, h1, Spoken::Http, "CN=adit CA", None),
        ("adit", h1, Spoken::Http, "CN=adit CA", None),
        (GATEWAY, &[ENROL_ALPN], Spoken::Enrolment, "CN=adit CA", None),
        (HOST, &[ENROL_ALPN], Spoken::Enrolment, "CN=adit CA", None),
        // People who know the gateway's CA.
        (GATEWAY, browser, Spoken::Http, "CN=adit CA", Some(GATEWAY)),
        (GATEWAY, &[], Spoken::Http, "CN=adit CA", Some(GATEWAY)),
    ] {
        let (as_whom, look) = world.ask(name, alpns).await;
        assert_eq!((as_whom, look.issuer.as_str()), (spoken, issuer), "{name} {alpns:?}");
        let host = named.map(|host| look.names(host));
        assert_ne!(host, Some(false), "{name} {alpns:?}");
        assert_eq!(look.is_gateways_own(), named.is_none(), "{name} {alpns:?}");
    }
}

/// The kernel takes connections from when the port is bound, long before the gateway does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_connects_before_the_gateway_serves_sees_the_consoles_certificate_too() {
    const WAITING: usize = 24;
    for round in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let made = fixture::made("Public CA", HOST);
        fs::write(folder.path().join("console.pem"), &made.leaf).unwrap();
        let key = folder.path().join("console.key");
        fs::write(&key, &made.key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "name = \"{GATEWAY}:443\"\ntrust_domain = \"example.org\"\nstate = \"state\"\n[console]\n\
             name = \"{HOST}\"\ncertificate = \"console.pem\"\nkey = \"console.key\"\n"
        );
        let config = GatewayConfig::parse(&text, folder.path()).unwrap();
        let sockets = GatewaySockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut looks = JoinSet::new();
        for _ in 0..WAITING {
            let tcp = TcpStream::connect(sockets.address()).await.unwrap();
            looks.spawn(fixture::look(tcp, HOST, &[b"http/1.1"]));
        }
        let gateway = Gateway::start(&config, sockets, Arc::new(HostClock)).await.unwrap();
        while let Some(look) = looks.join_next().await {
            assert_eq!(look.unwrap().unwrap().issuer, "CN=Public CA", "round {round}");
        }
        gateway.shutdown().await;
    }
}

#[tokio::test]
async fn a_challenge_is_shown_to_who_asks_for_it_while_it_is_pending_and_to_nobody_else() {
    let mut world = World::new();
    world.write("Public CA", HOST);
    world.look();
    let config = || acme_challenge::server_config(HOST, &[7; 32]).unwrap();
    let shown = world.tls.show_challenge(ConsoleTls { host: HOST.into(), config: config() });
    let asked: &[&[u8]] = &[acme_challenge::ALPN];
    let (spoken, look) = world.ask(HOST, asked).await;
    assert_eq!((spoken, look.challenge_digest(HOST)), (Spoken::Challenge, Some([7; 32])));
    for (name, alpns) in [
        (HOST, &[b"h2".as_slice(), b"http/1.1"][..]),
        (HOST, &[acme_challenge::ALPN, b"http/1.1"]),
        (HOST, &[]),
        (GATEWAY, &[b"http/1.1"]),
        (HOST, &[ENROL_ALPN]),
        (GATEWAY, &[acme_challenge::ALPN, ENROL_ALPN]),
    ] {
        let (spoken, look) = world.ask(name, alpns).await;
        assert_ne!(spoken, Spoken::Challenge);
        assert_eq!(look.challenge_digest(HOST), None, "{name} {alpns:?}");
    }
    assert!(fixture::ask(&world.tls, GATEWAY, asked).await.is_err(), "another name has no challenge");
    drop(shown);
    assert!(fixture::ask(&world.tls, HOST, asked).await.is_err(), "none is pending any more");
}

#[tokio::test]
async fn people_who_know_the_ca_take_the_gateway_for_what_it_is() {
    let world = World::new();
    let (_, look) = world.ask(GATEWAY, &[b"h2", b"http/1.1"]).await;
    let now = u64::try_from(START / 1_000).unwrap();
    assert!(look.is_good_for(GATEWAY, &world.ca_der, now));
    assert!(!look.is_good_for("other.example.org", &world.ca_der, now));
    let server = ServerId::from_bytes([1; 16]).to_string();
    assert!(!look.is_good_for(&server, &world.ca_der, now));
}

#[tokio::test]
async fn a_new_pair_is_shown_once_both_files_are_there() {
    let mut world = World::new();
    world.look();
    assert_eq!(world.issuer().await, "CN=adit CA", "there is none yet");
    world.write("First CA", HOST);
    world.look();
    assert_eq!(world.issuer().await, "CN=First CA");
    world.write("Second CA", HOST);
    world.console.look();
    assert_eq!(world.issuer().await, "CN=First CA", "another file may be about to follow");
    world.console.look();
    assert_eq!(world.issuer().await, "CN=Second CA");
}

#[tokio::test]
async fn a_pair_of_no_use_leaves_the_one_before() {
    let mut world = World::new();
    world.write("Good CA", HOST);
    world.look();
    let other = fixture::made("Bad CA", HOST);
    let good = fs::read_to_string(world.folder.path().join("console.key")).unwrap();
    for (name, text, mode) in [
        ("console.pem", "nothing", 0o644),
        ("console.pem", &*other.leaf, 0o644),
        ("console.key", &other.key, 0o640),
        ("console.key", "", 0o600),
    ] {
        world.write_file(name, text, mode);
        world.look();
        assert_eq!(world.issuer().await, "CN=Good CA", "{name} {mode:o}");
        assert!(world.console.files.read().is_err());
    }
    fs::remove_file(world.folder.path().join("console.pem")).unwrap();
    world.look();
    assert_eq!(world.issuer().await, "CN=Good CA");
    world.write_file("console.key", &good, 0o600);
    world.write("Better CA", HOST);
    world.look();
    assert_eq!(world.issuer().await, "CN=Better CA");
}

#[tokio::test]
async fn what_others_may_read_or_does_not_fit_is_named() {
    let world = World::new();
    let said = |world: &World| error_chain(&world.console.files.read().unwrap_err());
    assert!(said(&world).starts_with("cannot read `"), "{}", said(&world));
    world.write("CA", HOST);
    fs::set_permissions(world.folder.path().join("console.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(said(&world).contains("(mode 0644); run: chmod 600"), "{}", said(&world));
    world.write("CA", "other.example.org");
    assert!(said(&world).contains("the certificate does not name console.example.org;"), "{}", said(&world));
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_warned_of_once_a_day() {
    let mut world = World::new();
    world.write("CA", HOST);
    world.look();
    let until = world.console.expires_at.unwrap();
    let at = |days: i64| Timestamp::from_millis(until.as_millis() - days * DAY);
    let mut warned = Vec::new();
    for now in [at(30), at(15), at(13), at(13), at(12), at(0), at(-1)] {
        world.console.clock = Arc::new(Clock(AtomicI64::new(now.as_millis())));
        world.console.warn_of_end();
        warned.push(world.console.warned_at);
    }
    let (thirteen, twelve, none) = (Some(at(13)), Some(at(12)), None);
    assert_eq!(warned, [none, none, thirteen, thirteen, twelve, Some(at(0)), Some(at(-1))]);
}
