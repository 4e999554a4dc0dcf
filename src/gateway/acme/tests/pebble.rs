//! Certificates from a real ACME authority, Pebble, with which Let's Encrypt tests clients, where Debian's package is
//! installed; its mock DNS says that every name is this host. A whole gateway gets them, and curl is the browser.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use adit_core::config::LogFormat;
use adit_core::config::console::{ConsoleConfig, ConsoleWay};
use adit_core::config::gateway::{GatewayConfig, IdentityProviders, RelayConfig};
use adit_net::identity::acme_challenge;
use adit_net::identity::time::HostClock;
use rcgen::{BasicConstraints, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpStream;

use super::*;
use crate::service::{Gateway, GatewaySockets};

/// Nothing here takes longer, however busy the machine is.
const SOON: Duration = Duration::from_secs(120);

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < SOON, "not within {} s: {what}", SOON.as_secs());
        sleep(Duration::from_millis(50)).await;
    }
}

/// The host's clock, and how far it is set ahead.
#[derive(Debug, Default)]
struct AheadClock(AtomicI64);

impl TimeSource for AheadClock {
    fn now(&self) -> Timestamp {
        HostClock.now().saturating_add(Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs()))
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The authority's processes, which end with it.
struct Pebble {
    folder: TempDir,
    port: u16,
    management: u16,
    processes: Vec<Child>,
}

impl Pebble {
    /// Looks for challenges at `tls_port`.
    async fn start(tls_port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [port, management, dns, dns_management] = std::array::from_fn(|_| free_port());
        write_certificates(&folder);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("server.pem"),
            "privateKey": path("server.key"),
            "httpPort": 1,
            "tlsPort": tls_port,
            "certificateValidityPeriod": 90 * 24 * 3_600,
        } });
        fs::write(folder.path().join("pebble.json"), config.to_string()).unwrap();
        let dns = format!("127.0.0.1:{dns}");
        let mut mock_dns = Command::new("pebble-challtestsrv");
        mock_dns.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "", "-dns01", &dns]);
        mock_dns.args(["-management", &format!("127.0.0.1:{dns_management}")]);
        let mut pebble = Command::new("pebble");
        pebble.args(["-config", &path("pebble.json"), "-dnsserver", &dns]);
        // One nonce of five is refused, as real authorities do now and then.
        let settings = [("VA_NOSLEEP", "1"), ("AUTHZREUSE", "0"), ("WFE_NONCEREJECT", "20")];
        pebble.envs(settings.map(|(name, value)| (format!("PEBBLE_{name}"), value)));
        let start = |mut command: Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let processes = vec![start(mock_dns), start(pebble)];
        for port in [port, management] {
            let listens = async || TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop);
            eventually("Pebble listens", listens).await;
        }
        Self { folder, port, management, processes }
    }

    fn acme(&self) -> AcmeConfig {
        AcmeConfig {
            directory: format!("https://localhost:{}/dir", self.port),
            contact: Some("mailto:it@example.org".into()),
            ca: Some(self.folder.path().join("ca.pem")),
        }
    }

    /// Writes the root of what it signs, another at every start.
    async fn root(&self) -> PathBuf {
        let path = self.folder.path().join("root.pem");
        let url = format!("https://localhost:{}/roots/0", self.management);
        let got =
            curl(&self.folder.path().join("ca.pem"), &["--output", &path.display().to_string(), &url]).await;
        assert!(got.is_some());
        path
    }
}

impl Pebble {
    fn kill(&mut self) {
        for mut process in self.processes.drain(..) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write_certificates(folder: &TempDir) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another name than a leaf has by itself, which would pass for self-signed.
    ca.distinguished_name.push(DnType::CommonName, "Pebble's own CA");
    let ca_key = KeyPair::generate().unwrap();
    let root = adit_net::identity::web::certificate_pem(ca.self_signed(&ca_key).unwrap().der());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let pem = adit_net::identity::web::certificate_pem;
    let key = pem(key.serialized_der()).replace("CERTIFICATE", "PRIVATE KEY");
    for (name, text) in [("ca.pem", root), ("server.pem", pem(leaf.der())), ("server.key", key)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
}

/// Returns what curl gets that trusts `root` alone, if it gets something.
async fn curl(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--noproxy", "*", "--max-time", "20", "--cacert"])
        .arg(root)
        .args(arguments);
    let output = tokio::task::spawn_blocking(move || curl.output().unwrap()).await.unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks a gateway for the API's description as a browser does.
async fn browse(gateway: SocketAddr, root: &Path) -> Option<()> {
    let leads_to = format!("{HOST}:443:{gateway}");
    let url = format!("https://{HOST}/api/v1/openapi.json");
    let said = curl(root, &["--connect-to", &leads_to, &url]).await?;
    said.contains("openapi").then_some(())
}

async fn look_at(gateway: SocketAddr, name: &str, alpns: &[&[u8]]) -> std::io::Result<fixture::Look> {
    fixture::look(TcpStream::connect(gateway).await?, name, alpns).await
}

async fn start(
    folder: &TempDir,
    sockets: GatewaySockets,
    acme: AcmeConfig,
    clock: &Arc<AheadClock>,
) -> Gateway {
    let config = GatewayConfig {
        name: format!("{GATEWAY}:443").parse().unwrap(),
        listen: sockets.address(),
        state: folder.path().join("state"),
        database: None,
        trust_domain: "example.org".parse().unwrap(),
        metrics: None,
        log: LogFormat::Text,
        relay: RelayConfig::default(),
        identity_providers: IdentityProviders::default(),
        console: Some(ConsoleConfig {
            name: format!("{HOST}:443").parse().unwrap(),
            way: ConsoleWay::Acme(acme),
        }),
    };
    Gateway::start(&config, sockets, Arc::clone(clock) as Arc<dyn TimeSource>).await.unwrap()
}

fn is_installed() -> bool {
    let is_there =
        ["pebble", "pebble-challtestsrv"].iter().all(|name| Path::new("/usr/bin").join(name).exists());
    if !is_there {
        println!("skipped: Debian's package `pebble` is not installed");
    }
    is_there
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_gets_and_renews_a_certificate_that_browsers_trust_from_a_real_authority() {
    if !is_installed() {
        return;
    }
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(AheadClock::default()));
    let sockets = GatewaySockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = sockets.address();
    let mut pebble = Pebble::start(address.port()).await;
    let root = pebble.root().await;
    let gateway = start(&folder, sockets, pebble.acme(), &clock).await;
    eventually("a browser trusts the gateway", async || browse(address, &root).await).await;
    let own: &[&[u8]] = &[b"http/1.1"];
    assert!(look_at(address, GATEWAY, own).await.unwrap().is_gateways_own(), "agents see what they saw");
    assert!(look_at(address, HOST, &[acme_challenge::ALPN]).await.is_err(), "no challenge is pending");

    // A restart shows what there is, though the authority is away.
    let acme = pebble.acme();
    let pem = || fs::read(folder.path().join("state/acme-certificate.pem")).unwrap();
    let first = pem();
    gateway.shutdown().await;
    let gateway = start(&folder, GatewaySockets::bind(address).unwrap(), acme.clone(), &clock).await;
    assert_eq!(browse(address, &root).await, Some(()));
    assert_eq!(pem(), first);

    // Two thirds of its life have passed.
    clock.0.store(61 * 24 * 3_600 * 1_000, Ordering::SeqCst);
    let second = eventually("it is renewed", async || Some(pem()).filter(|read| *read != first)).await;
    eventually("a browser trusts the next", async || browse(address, &root).await).await;

    // An authority that is away costs a try, and no certificate.
    pebble.kill();
    clock.0.store(2 * 61 * 24 * 3_600 * 1_000, Ordering::SeqCst);
    let kept = || Kept::new(Folder::open(&folder.path().join("state")).unwrap());
    let failed =
        async || kept().orders(&acme.directory, HOST).unwrap().failed.filter(|it| it.why.contains("reached"));
    eventually("the failure is on file", failed).await;
    assert_eq!(browse(address, &root).await, Some(()));
    assert_eq!(pem(), second);
    gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_authority_that_finds_nobody_says_so() {
    if !is_installed() {
        return;
    }
    let pebble = Pebble::start(free_port()).await;
    let world = World::new();
    let authority = AcmeAuthority {
        config: pebble.acme(),
        host: HOST.into(),
        kept: Kept::new(world.state()),
        tls: Arc::clone(&world.tls),
        clock: world.clock.clone(),
        is_plain: false,
    };
    let refused = authority.order(None).await.unwrap_err();
    let named = format!("did not find this gateway at TCP 443 of {HOST}");
    assert!(refused.why.contains(&named) && refused.why.contains("Failed to connect"), "{}", refused.why);
    let asked: &[&[u8]] = &[acme_challenge::ALPN];
    assert!(fixture::ask(&world.tls, HOST, asked).await.is_err(), "the challenge is over");
}
