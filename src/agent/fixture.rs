//! The parts of an agent for their tests, those that need no socket and all: two connections with one peer, as in
//! `policy::tests`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::audit_log::AuditLog;
use super::disk::Disk;
use super::entries::{Entries, EntryRun};
use super::gateway_link::GatewayLink;
use super::outbox::{Notes, Outbox};
use super::parts::{self, Beginnings, ControlOwn, Parts};
use super::paths::Paths;
use super::policies::Policies;
use super::policy::tests::PEER;
use super::secret_store::SecretStore;
use super::state::{AgentState, Enrolment};
use super::stopping::Stopping;
use super::trust_store::TrustStore;
use adit_core::config::agent::{AgentConfig, Congestion};
use adit_core::domain::id::{BootId, ConnectionId, KeyFingerprint, RouteId, ServerId};
use adit_core::protocol::control::Rule;
use adit_core::protocol::rules::RuleBook;
use adit_net::identity::ca::CertificateAuthority;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::key::KeyPair;
use adit_net::identity::time::{HostClock, LearntClock, TimeSource};
use adit_net::identity::tls::Identity;
use adit_net::transport::endpoint::{AgentEndpoint, Credentials, TunnelSettings};
use adit_net::transport::routes::{OwnEnd, Routes};
use adit_net::transport::socket::AgentSocket;
use adit_observe::audit::AuditFile;

pub(crate) const OWN_KEY: KeyFingerprint = KeyFingerprint::from_bytes([9; 32]);

pub(crate) struct Fixture {
    pub(crate) entries: Arc<Entries>,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) trust: Arc<TrustStore>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) secrets: Arc<SecretStore>,
    pub(crate) link: Arc<GatewayLink>,
    pub(crate) notes: Notes,
    folder: Arc<TempDir>,
    _runs: Vec<EntryRun>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::start(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// Starts anew with what is on disk.
    pub(crate) fn restart(self) -> Self {
        let folder = Arc::clone(&self.folder);
        // The state is one process's at a time.
        drop(self);
        Self::start(folder)
    }

    fn start(folder: Arc<TempDir>) -> Self {
        let config = config(folder.path());
        let clock = Arc::new(LearntClock::new(HostClock, 0));
        let (entries, runs) = Entries::from_config(&config, &clock);
        let entries = Arc::new(entries);
        let state = Arc::new(AgentState::open(&config.state).unwrap());
        let (disk, (sender, notes)) = (Disk::new(Arc::clone(&state)), Outbox::new());
        let file = AuditFile::open(&folder.path().join("audit.jsonl")).unwrap();
        let audit = AuditLog::new(file, Arc::clone(&clock), Arc::clone(&entries), sender);
        let audited = || (Arc::clone(&clock), Arc::clone(&audit));
        let trust = TrustStore::new(OWN_KEY, Arc::clone(&entries), audited(), &state, disk.clone()).unwrap();
        let concerned = (Arc::clone(&entries), Arc::clone(&trust));
        let policies = Policies::new(concerned, audited(), &state, disk.clone()).unwrap();
        let held = state.all_secrets().unwrap();
        let secrets = SecretStore::new(held, Arc::clone(&entries), Arc::clone(&policies), disk);
        let link = GatewayLink::new(Arc::clone(&clock), Stopping::new(), Arc::clone(&audit));
        Self { entries, audit, trust, policies, secrets, link, notes, folder, _runs: runs }
    }

    pub(crate) const fn id(number: u8) -> ConnectionId {
        ConnectionId::from_bytes([number; 16])
    }

    /// Adopts these rules as the gateway's snapshot.
    pub(crate) async fn adopt(&self, revision: u64, rules: Vec<Rule>) {
        let mut book: RuleBook = self.policies.received();
        book.apply_snapshot(revision, rules, Vec::new());
        self.policies.adopt(book).await;
    }

    /// Lets no file be written any more.
    pub(crate) fn break_disk(&self) {
        std::fs::remove_dir_all(self.folder.path().join("state")).unwrap();
    }

    pub(crate) fn audit_lines(&self) -> usize {
        let path: PathBuf = self.folder.path().join("audit.jsonl");
        std::fs::read_to_string(path).unwrap().lines().count()
    }
}

/// Returns the file of two connections with one peer.
pub(crate) fn config(folder: &Path) -> AgentConfig {
    AgentConfig::parse(&text(), folder).unwrap()
}

/// Returns all parts of an agent that is enrolled and dials nobody, and what its control link alone has.
pub(crate) fn parts(
    folder: &Path,
    config: &AgentConfig,
    entries: Entries,
    clock: Arc<LearntClock>,
) -> (Parts, ControlOwn) {
    let (now, server) = (HostClock.now(), ServerId::from_bytes([1; 16]));
    let ca = CertificateAuthority::create("example.org".parse().unwrap(), now).unwrap();
    let key = Arc::new(KeyPair::generate().unwrap());
    let csr = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
    let identity = Identity::new(&ca.sign_server(&csr, server, now).unwrap(), key).unwrap();
    let (route, gateway) = (RouteId::from_bytes([1; 8]), RouteId::from_bytes([2; 8]));
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (socket, own_packets) = AgentSocket::new(udp, route).unwrap();
    let boot = BootId::from_bytes([3; 8]);
    let own = OwnEnd { route, gateway, boot };
    let (routes, _) = Routes::new(Arc::clone(&socket), own_packets, own);
    let credentials = Credentials { identity, trust: ca.trust().clone(), clock: clock.clone() };
    let settings = TunnelSettings { congestion: Congestion::Bbr };
    let endpoint = AgentEndpoint::new(Arc::clone(&socket), route, credentials, settings).unwrap();
    let enrolment = Enrolment {
        server,
        route,
        gateway_route: gateway,
        gateway_addresses: Vec::new(),
        trust_domain: "example.org".parse().unwrap(),
        ca: Vec::new(),
        leaf: Vec::new(),
        spent_token: [0; 32],
    };
    let state = Arc::new(AgentState::open(&config.state).unwrap());
    let audit = AuditFile::open(&folder.join("audit.jsonl")).unwrap();
    let (paths, (outbox, notes)) = (Paths::from_config(config), Outbox::new());
    let beginnings = Beginnings { clock, endpoint, routes, entries, paths, enrolment, audit, outbox };
    let parts = parts::load(beginnings, &state).unwrap();
    let announced = parts::of_announced(&parts, BTreeMap::new());
    (parts, ControlOwn { socket, boot, announced, direct_addresses: Vec::new(), notes })
}

fn text() -> String {
    let entry = |number: u8| {
        format!(
            "[[p2p_source]]\nname = \"entry-{number}\"\nid = \"{}\"\npeer = \"{PEER}\"\nprotocol = \"mllp\"\n\
             listen = \"127.0.0.1:{}\"\n",
            Fixture::id(number),
            6_660 + u16::from(number)
        )
    };
    format!("state = \"state\"\n{}{}", entry(1), entry(2))
}
