//! The parts of an agent that need no socket, for their tests: two connections with one peer, as in
//! `policy::tests`.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::audit_log::AuditLog;
use super::disk::Disk;
use super::entries::{Entries, EntryRun};
use super::gateway_link::GatewayLink;
use super::outbox::{Notes, Outbox};
use super::policies::Policies;
use super::policy::tests::PEER;
use super::secret_store::SecretStore;
use super::state::AgentState;
use super::stopping::Stopping;
use super::trust_store::TrustStore;
use adit_core::config::agent::AgentConfig;
use adit_core::domain::id::{ConnectionId, KeyFingerprint};
use adit_core::protocol::control::Rule;
use adit_core::protocol::rules::RuleBook;
use adit_net::identity::time::{HostClock, LearntClock};
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
        let config = AgentConfig::parse(&text(), folder.path()).unwrap();
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
