//! The agent's state folder: its key, what enrolment gave, and what must survive a crash.
//!
//! One process at a time. A file that cannot be understood is an error and never quietly replaced:
//! forgetting known keys or ended connections would widen what the agent allows. What is only a
//! cache counts as missing instead, because the agent learns it again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use adit_core::config::{HostPort, TrustDomain};
use adit_core::domain::id::{ConnectionId, KeyFingerprint, RouteId, ServerId};
use adit_core::domain::limits::SECRETS_KEPT_MAX;
use adit_core::domain::secret::{RegistrationToken, Secret};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::rules::RuleBook;
use adit_net::host::folder::{Folder, FolderError, FolderLock};
use adit_net::identity::error::IdentityError;
use adit_net::identity::key::KeyPair;
use adit_net::identity::known_keys::KnownKeys;
use adit_net::identity::local_https::{LocalCertificate, LocalNames};
use adit_net::identity::tls::{Identity, Trust};

const KEY: &str = "key.p8";
const ENROLMENT: &str = "enrolment.json";
const KNOWN_KEYS: &str = "known-keys.json";
const RULES: &str = "rules.json";
const SECRETS: &str = "secrets.json";
const CLOCK: &str = "clock.json";
const ADDRESSES: &str = "peer-addresses.json";
const UDP_PORT: &str = "udp-port.json";
const MIRTH_KEYS: &str = "mirth-keys.json";
const LOCAL_CERTIFICATE: &str = "admin-https.json";
/// Appended to the name of a damaged file.
const DAMAGED: &str = ".damaged";
/// All of them; none is read or written that is not listed.
pub const FILES: [&str; 10] =
    [KEY, ENROLMENT, KNOWN_KEYS, RULES, SECRETS, CLOCK, ADDRESSES, UDP_PORT, MIRTH_KEYS, LOCAL_CERTIFICATE];

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("the state in `{path}` holds no identity; start the agent with a connector file, and it enrols")]
    NotEnrolled { path: PathBuf },
    #[error("`{path}` is damaged; restore this file from a backup, or {}", way_out(path))]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error(
        "the key or certificate in `{path}` is damaged; restore this file from a backup, or {}",
        way_out(path)
    )]
    Identity { path: PathBuf, source: IdentityError },
}

/// Returns the smallest step that lets an agent start without the damaged file at `path`.
fn way_out(path: &Path) -> &'static str {
    match path.file_name().and_then(|name| name.to_str()) {
        Some(KNOWN_KEYS) => "move it away and run `adit trust` again for each connection",
        Some(MIRTH_KEYS) => "move it away and trust the managed Mirths' HTTPS keys again",
        Some(SECRETS) => {
            "move it away and have new secrets made: `adit admin connection rotate CONNECTION` on the \
             gateway's host, for each"
        }
        Some(LOCAL_CERTIFICATE) => {
            "start the agent; a new certificate is made, which people must accept anew"
        }
        // The key and what it was enrolled for belong together.
        _ => "move it away and enrol again with a new connector file",
    }
}

/// Moves a damaged file to where the next one like it replaces it.
fn set_aside(path: &Path) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(DAMAGED);
    // A disk that takes nothing is no reason to stop: what is damaged counts as missing.
    let _ = std::fs::rename(path, aside);
}

/// What enrolment gave; the leaf is replaced by every renewal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    pub server: ServerId,
    /// This agent's route.
    pub route: RouteId,
    pub gateway_route: RouteId,
    pub gateway_addresses: Vec<HostPort>,
    pub trust_domain: TrustDomain,
    /// DER.
    #[serde(with = "hex")]
    pub ca: Vec<u8>,
    #[serde(with = "hex")]
    pub leaf: Vec<u8>,
    /// SHA-256 of the token that was spent for this, to know it again without keeping it.
    #[serde(with = "hex")]
    pub spent_token: [u8; 32],
}

impl Enrolment {
    #[must_use]
    pub fn has_spent(&self, token: &RegistrationToken) -> bool {
        self.spent_token == token.hash()
    }
}

/// A connection's secret and how often it was rotated before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    pub epoch: u32,
    pub secret: Secret,
}

#[derive(Debug)]
pub struct AgentState {
    folder: Folder,
    /// Tasks of this process write one after another.
    writing: Mutex<()>,
    /// `None` where it is only read.
    lock: Option<FolderLock>,
}

impl AgentState {
    /// Claims the folder; a second agent on one state is refused.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let folder = Folder::open(path)?;
        let lock = folder.lock_patiently()?;
        Ok(Self { folder, writing: Mutex::new(()), lock: Some(lock) })
    }

    /// Opens the folder to be read alone: an agent that starts meanwhile finds it free.
    pub fn open_read_only(path: &Path) -> Result<Self, StateError> {
        Ok(Self { folder: Folder::open(path)?, writing: Mutex::new(()), lock: None })
    }

    /// Does as [`Self::open_read_only`], and makes no folder.
    #[must_use]
    pub fn open_if_made(path: &Path) -> Option<Self> {
        path.exists().then(|| Self::open_read_only(path).ok()).flatten()
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns this host's key pair, made and on disk before anything is asked with it.
    pub fn key_pair(&self) -> Result<Arc<KeyPair>, StateError> {
        let failed = |source| StateError::Identity { path: self.folder.path().join(KEY), source };
        if let Some(der) = self.folder.read(KEY)? {
            return KeyPair::from_pkcs8_der(&der).map(Arc::new).map_err(failed);
        }
        if self.lock.is_none() {
            return Err(failed(IdentityError::BadPrivateKey));
        }
        let key = KeyPair::generate().map_err(failed)?;
        self.folder.write(KEY, &key.to_pkcs8())?;
        Ok(Arc::new(key))
    }

    /// Returns the enrolment, `None` until the agent is enrolled.
    pub fn enrolment(&self) -> Result<Option<Enrolment>, StateError> {
        self.read(ENROLMENT)
    }

    /// Does as [`Self::enrolment`], for those who start only once there is one.
    pub fn enrolled(&self) -> Result<Enrolment, StateError> {
        self.enrolment()?.ok_or_else(|| StateError::NotEnrolled { path: self.folder.path().into() })
    }

    pub fn store_enrolment(&self, enrolment: &Enrolment) -> Result<(), StateError> {
        let _turn = self.turn();
        self.write(ENROLMENT, enrolment)
    }

    /// Replaces the leaf by a renewed one.
    pub fn store_leaf(&self, leaf: &[u8]) -> Result<(), StateError> {
        let _turn = self.turn();
        self.write(ENROLMENT, &Enrolment { leaf: leaf.to_vec(), ..self.enrolled()? })
    }

    /// Returns the enrolment as what TLS needs. A leaf over another key is damage.
    pub fn identity(&self, enrolment: &Enrolment) -> Result<(Identity, Trust), StateError> {
        let failed = |source| StateError::Identity { path: self.folder.path().join(ENROLMENT), source };
        let trust = Trust::new(&enrolment.ca, enrolment.trust_domain.clone()).map_err(failed)?;
        let identity = Identity::new(&enrolment.leaf, self.key_pair()?).map_err(failed)?;
        Ok((identity, trust))
    }

    /// Returns the fingerprint of this agent's key, where it has one.
    pub fn own_key(&self) -> Result<Option<KeyFingerprint>, StateError> {
        if self.folder.read(KEY)?.is_none() {
            return Ok(None);
        }
        self.key_pair().map(|key| Some(key.fingerprint()))
    }

    pub fn known_keys(&self) -> Result<KnownKeys, StateError> {
        self.read(KNOWN_KEYS).map(Option::unwrap_or_default)
    }

    /// Asks for the keys when it is this writer's turn: of two writers the later must not put back
    /// what it took before the earlier wrote.
    pub fn store_known_keys(&self, now: impl FnOnce() -> KnownKeys) -> Result<(), StateError> {
        let _turn = self.turn();
        self.write(KNOWN_KEYS, &now())
    }

    /// Reads the rules as said last; without any, nothing is allowed until the gateway says again what is.
    pub fn rule_book(&self) -> Result<RuleBook, StateError> {
        self.read_cache(RULES)
    }

    /// Asks for the rules when it is this writer's turn, as [`Self::store_known_keys`] does.
    pub fn store_rule_book(&self, now: impl FnOnce() -> Arc<RuleBook>) -> Result<(), StateError> {
        let _turn = self.turn();
        self.write(RULES, &*now())
    }

    /// Returns the secret of each connection that came last.
    pub fn secrets(&self) -> Result<BTreeMap<ConnectionId, StoredSecret>, StateError> {
        let last = |stored: Vec<StoredSecret>| stored.into_iter().next();
        let all = self.all_secrets()?.into_iter();
        Ok(all.filter_map(|(connection, stored)| last(stored).map(|stored| (connection, stored))).collect())
    }

    /// Returns the secrets kept of each connection, the one that came last before the others.
    pub fn all_secrets(&self) -> Result<BTreeMap<ConnectionId, Vec<StoredSecret>>, StateError> {
        let written: BTreeMap<ConnectionId, WrittenSecret> = self.read(SECRETS)?.unwrap_or_default();
        let stored = |epoch, secret: &str| {
            let secret = Secret::from_hex(secret).map_err(serde::de::Error::custom)?;
            Ok(StoredSecret { epoch, secret })
        };
        let read = |(connection, written): (_, WrittenSecret)| {
            let earlier = written.earlier.iter().map(|earlier| stored(earlier.epoch, &earlier.secret));
            let all: Result<_, serde_json::Error> =
                std::iter::once(stored(written.epoch, &written.secret)).chain(earlier).collect();
            Ok((connection, all?))
        };
        written
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(|source| self.damaged(SECRETS, source))
    }

    /// Stores the secret, on disk when this returns, beside the secrets of other connections and some that
    /// this connection had before.
    pub fn store_secret(&self, connection: ConnectionId, stored: &StoredSecret) -> Result<(), StateError> {
        let _turn = self.turn();
        let mut written: BTreeMap<ConnectionId, WrittenSecret> = self.read(SECRETS)?.unwrap_or_default();
        let secret = Zeroizing::new(stored.secret.reveal_hex());
        let mut earlier = Vec::new();
        if let Some(before) = written.remove(&connection) {
            earlier.push(EarlierSecret { epoch: before.epoch, secret: before.secret });
            earlier.extend(before.earlier);
            earlier.retain(|earlier| earlier.epoch != stored.epoch);
            earlier.truncate(SECRETS_KEPT_MAX - 1);
        }
        written.insert(connection, WrittenSecret { epoch: stored.epoch, secret, earlier });
        self.write(SECRETS, &written)
    }

    /// Returns how far gateway time was ahead of this host's clock when last heard.
    pub fn clock_offset_millis(&self) -> Result<i64, StateError> {
        self.read_cache(CLOCK)
    }

    pub fn store_clock_offset_millis(&self, offset: i64) -> Result<(), StateError> {
        let _turn = self.turn();
        self.write(CLOCK, &offset)
    }

    /// Returns where peers were last reachable, for a start without the gateway.
    pub fn peer_addresses(&self) -> Result<BTreeMap<ServerId, Vec<SocketAddr>>, StateError> {
        self.read_cache(ADDRESSES)
    }

    pub fn store_peer_addresses(
        &self,
        addresses: &BTreeMap<ServerId, Vec<SocketAddr>>,
    ) -> Result<(), StateError> {
        let _turn = self.turn();
        self.write(ADDRESSES, addresses)
    }

    /// Returns the UDP port used last, where the kernel chose it.
    pub fn udp_port(&self) -> Result<Option<u16>, StateError> {
        self.read_cache(UDP_PORT)
    }

    pub fn store_udp_port(&self, port: u16) -> Result<(), StateError> {
        let _turn = self.turn();
        self.write(UDP_PORT, &port)
    }

    /// Returns the HTTPS keys of managed Mirths that a person of this host trusts.
    pub fn mirth_keys(&self) -> Result<BTreeMap<ConnectionId, KeyFingerprint>, StateError> {
        self.read(MIRTH_KEYS).map(Option::unwrap_or_default)
    }

    pub fn trust_mirth_key(&self, connection: ConnectionId, key: KeyFingerprint) -> Result<(), StateError> {
        let _turn = self.turn();
        let mut keys: BTreeMap<ConnectionId, KeyFingerprint> = self.read(MIRTH_KEYS)?.unwrap_or_default();
        keys.insert(connection, key);
        self.write(MIRTH_KEYS, &keys)
    }

    /// Returns the certificate shown to people beside this agent.
    pub fn local_certificate(&self) -> Result<Option<LocalCertificate>, StateError> {
        let Some(written) = self.read::<WrittenCertificate>(LOCAL_CERTIFICATE)? else { return Ok(None) };
        let key = hex::decode(written.key.as_bytes()).map(Zeroizing::new);
        let key = key.map_err(|_| IdentityError::BadPrivateKey);
        key.and_then(|key| KeyPair::from_pkcs8_der(&key))
            .and_then(|key| LocalCertificate::from_parts(&written.certificate, key))
            .map(Some)
            .map_err(|source| self.bad_local_certificate(source))
    }

    /// Makes one and keeps it in the place of the one before.
    pub fn make_local_certificate(
        &self,
        names: &LocalNames,
        now: Timestamp,
    ) -> Result<LocalCertificate, StateError> {
        let _turn = self.turn();
        let made =
            LocalCertificate::generate(names, now).map_err(|source| self.bad_local_certificate(source))?;
        let key = Zeroizing::new(hex::encode(made.key().to_pkcs8()));
        self.write(
            LOCAL_CERTIFICATE,
            &WrittenCertificate { certificate: made.certificate_der().to_vec(), key },
        )?;
        Ok(made)
    }

    fn bad_local_certificate(&self, source: IdentityError) -> StateError {
        StateError::Identity { path: self.folder.path().join(LOCAL_CERTIFICATE), source }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.writing.lock()
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        debug_assert!(FILES.contains(&name), "{name} is not listed");
        let Some(bytes) = self.folder.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| self.damaged(name, source))
    }

    /// Reads what the agent learns again by itself: a damaged file counts as a missing one.
    fn read_cache<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, StateError> {
        match self.read(name) {
            Err(StateError::Damaged { .. }) => Ok(T::default()),
            read => read.map(Option::unwrap_or_default),
        }
    }

    /// Returns those that are damaged and that the agent makes again.
    #[must_use]
    pub fn damaged_caches(&self) -> Vec<PathBuf> {
        let read = [
            self.read::<i64>(CLOCK).map(drop),
            self.read::<BTreeMap<ServerId, Vec<SocketAddr>>>(ADDRESSES).map(drop),
            self.read::<Option<u16>>(UDP_PORT).map(drop),
            self.read::<RuleBook>(RULES).map(drop),
            self.local_certificate().map(drop),
        ];
        let damaged = read.into_iter().filter_map(|read| match read {
            Err(StateError::Damaged { path, .. } | StateError::Identity { path, .. }) => Some(path),
            _ => None,
        });
        damaged.collect()
    }

    /// Those whose loss stops some connections until people act, and lets none do more.
    #[must_use]
    pub fn damaged_losses(&self) -> Vec<StateError> {
        let read = [self.secrets().map(drop), self.mirth_keys().map(drop)];
        let damaged = read.into_iter().filter_map(Result::err);
        damaged.filter(|error| matches!(error, StateError::Damaged { .. })).collect()
    }

    /// Sets aside what is damaged and no reason not to start, and says so once.
    pub fn set_damaged_aside(&self) {
        for path in self.damaged_caches() {
            tracing::warn!(
                path = %path.display(),
                "a damaged file was set aside; what it held is learnt again, or made anew"
            );
            set_aside(&path);
        }
        for error in self.damaged_losses() {
            tracing::error!(%error, "what needs this file stays down, everything else goes on; the file was set aside");
            if let StateError::Damaged { path, .. } = error {
                set_aside(&path);
            }
        }
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(value).map(Zeroizing::new);
        let text = text.map_err(|source| self.damaged(name, source))?;
        Ok(self.folder.write(name, &text)?)
    }

    fn damaged(&self, name: &str, source: serde_json::Error) -> StateError {
        StateError::Damaged { path: self.folder.path().join(name), source }
    }
}

#[derive(Serialize, Deserialize)]
struct WrittenCertificate {
    /// DER.
    #[serde(with = "hex")]
    certificate: Vec<u8>,
    /// PKCS #8 in hex.
    key: Zeroizing<String>,
}

#[derive(Serialize, Deserialize)]
struct WrittenSecret {
    epoch: u32,
    secret: Zeroizing<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<EarlierSecret>,
}

#[derive(Serialize, Deserialize)]
struct EarlierSecret {
    epoch: u32,
    secret: Zeroizing<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, AgentState) {
        let parent = tempfile::tempdir().unwrap();
        let state = AgentState::open(&parent.path().join("state")).unwrap();
        (parent, state)
    }

    #[test]
    fn a_key_pair_is_made_only_once() {
        let (_parent, state) = state();
        let made = state.key_pair().unwrap().fingerprint();
        assert_eq!(state.key_pair().unwrap().fingerprint(), made);
    }

    #[test]
    fn what_an_agent_stored_survives_a_restart() {
        let (parent, state) = state();
        let connection = ConnectionId::from_bytes([1; 16]);
        let stored = StoredSecret { epoch: 3, secret: Secret::from_bytes([7; 32]) };
        let other = StoredSecret { epoch: 1, secret: Secret::from_bytes([8; 32]) };
        let secrets = BTreeMap::from([(connection, stored), (ConnectionId::from_bytes([2; 16]), other)]);
        for (connection, stored) in &secrets {
            state.store_secret(*connection, stored).unwrap();
        }
        state.store_clock_offset_millis(-259_200_000).unwrap();
        drop(state);

        let state = AgentState::open(&parent.path().join("state")).unwrap();
        assert_eq!(state.secrets().unwrap(), secrets);
        assert_eq!(state.clock_offset_millis().unwrap(), -259_200_000);
        assert_eq!(state.known_keys().unwrap(), KnownKeys::default());
        assert_eq!(state.enrolment().unwrap(), None);
    }

    #[test]
    fn the_last_secrets_of_a_connection_are_kept_with_the_newest_first() {
        let (_parent, state) = state();
        let connection = ConnectionId::from_bytes([1; 16]);
        let stored =
            |epoch: u8| StoredSecret { epoch: epoch.into(), secret: Secret::from_bytes([epoch; 32]) };
        for epoch in [1, 2, 3, 4, 5, 6, 4] {
            state.store_secret(connection, &stored(epoch)).unwrap();
        }
        assert_eq!(state.all_secrets().unwrap()[&connection], [4, 6, 5, 3].map(stored));
        assert_eq!(state.secrets().unwrap()[&connection], stored(4));
    }

    #[test]
    fn known_keys_are_those_of_the_moment_of_writing() {
        let (_parent, state) = state();
        let store = || {
            assert!(state.writing.try_lock().is_none(), "another writer could come in between");
            KnownKeys::default()
        };
        state.store_known_keys(store).unwrap();
    }

    #[test]
    fn a_second_agent_on_one_state_is_refused() {
        let (parent, _state) = state();
        let error = AgentState::open(&parent.path().join("state")).unwrap_err();
        assert!(matches!(error, StateError::Folder(FolderError::InUse { .. })));
    }

    #[test]
    fn who_only_looks_neither_claims_nor_writes() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        drop(AgentState::open(&path).unwrap());
        std::fs::remove_file(path.join("lock")).unwrap();
        let open_read_only = AgentState::open_read_only(&path).unwrap();
        open_read_only.folder.write(CLOCK, b"{").unwrap();
        assert_eq!(open_read_only.clock_offset_millis().unwrap(), 0);
        assert_eq!(std::fs::read(path.join(CLOCK)).unwrap(), b"{");
        assert!(open_read_only.key_pair().is_err());
        let mut names: Vec<_> =
            std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [CLOCK]);
        AgentState::open(&path).unwrap();
    }

    #[test]
    fn a_damaged_cache_is_a_missing_cache() {
        for text in ["", "{", "\0\0\0", "[[[", "\"x\""] {
            let (_parent, state) = state();
            let caches = [CLOCK, UDP_PORT, ADDRESSES, RULES, LOCAL_CERTIFICATE];
            for name in caches {
                state.folder.write(name, text.as_bytes()).unwrap();
            }
            assert_eq!(state.damaged_caches().len(), caches.len(), "{text:?}");
            assert_eq!(state.clock_offset_millis().unwrap(), 0, "{text:?}");
            state.set_damaged_aside();
            assert!(state.damaged_caches().is_empty(), "{text:?}");
            assert!(state.local_certificate().unwrap().is_none(), "{text:?}");
            assert_eq!(state.clock_offset_millis().unwrap(), 0, "{text:?}");
            assert_eq!(state.udp_port().unwrap(), None, "{text:?}");
            assert_eq!(state.peer_addresses().unwrap(), BTreeMap::new(), "{text:?}");
            assert_eq!(state.rule_book().unwrap(), RuleBook::default(), "{text:?}");
            state.store_udp_port(7).unwrap();
            assert_eq!(state.udp_port().unwrap(), Some(7), "{text:?}");
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_stops_no_start_that_could_go_on() {
        let (_parent, state) = state();
        let connection = ConnectionId::from_bytes([1; 16]);
        let key = KeyFingerprint::from_bytes([2; 32]);
        state
            .store_secret(connection, &StoredSecret { epoch: 1, secret: Secret::from_bytes([7; 32]) })
            .unwrap();
        state.trust_mirth_key(connection, key).unwrap();
        state.store_clock_offset_millis(-1_500).unwrap();
        let addresses =
            BTreeMap::from([(ServerId::from_bytes([1; 16]), vec!["192.0.2.7:4433".parse().unwrap()])]);
        state.store_peer_addresses(&addresses).unwrap();
        state.store_udp_port(4433).unwrap();
        let mut book = RuleBook::default();
        book.apply_snapshot(1, Vec::new(), vec![key]);
        state.store_rule_book(|| Arc::new(book.clone())).unwrap();
        let names = LocalNames { names: vec!["mirth.example.org".into()], addresses: Vec::new() };
        state.make_local_certificate(&names, Timestamp::from_millis(0)).unwrap();
        for name in [SECRETS, MIRTH_KEYS, CLOCK, ADDRESSES, UDP_PORT, RULES, LOCAL_CERTIFICATE] {
            let whole = state.folder.read(name).unwrap().unwrap();
            for cut in 0..whole.len() {
                state.folder.write(name, &whole[..cut]).unwrap();
                state.set_damaged_aside();
                let read = [
                    state.secrets().map(drop),
                    state.mirth_keys().map(drop),
                    state.rule_book().map(drop),
                    state.clock_offset_millis().map(drop),
                    state.peer_addresses().map(drop),
                    state.udp_port().map(drop),
                    state.local_certificate().map(drop),
                ];
                assert!(read.iter().all(Result::is_ok), "{name} cut at {cut}: {read:?}");
            }
            // Half of a number is one, and lies where it did.
            let aside = std::fs::read(state.path().join(format!("{name}{DAMAGED}")));
            assert!(aside.is_ok(), "{name} was set aside");
            state.folder.write(name, &whole).unwrap();
        }
        assert_eq!(state.rule_book().unwrap(), book);
    }

    #[test]
    fn fields_of_a_newer_build_cost_nothing() {
        let (_parent, state) = state();
        let connection = ConnectionId::from_bytes([1; 16]);
        state
            .store_secret(connection, &StoredSecret { epoch: 1, secret: Secret::from_bytes([7; 32]) })
            .unwrap();
        state
            .store_known_keys(|| {
                let mut keys = KnownKeys::default();
                keys.trust(connection, KeyFingerprint::from_bytes([2; 32]));
                keys
            })
            .unwrap();
        let (secrets, keys) = (state.all_secrets().unwrap(), state.known_keys().unwrap());
        for name in [SECRETS, KNOWN_KEYS] {
            let bytes = state.folder.read(name).unwrap().unwrap();
            let mut written: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            written[connection.to_string()]["newer"] = serde_json::json!({ "a": [1] });
            state.folder.write(name, written.to_string().as_bytes()).unwrap();
        }
        assert_eq!((state.all_secrets().unwrap(), state.known_keys().unwrap()), (secrets, keys));
    }

    #[test]
    fn the_advice_for_a_damaged_file_is_the_smallest_step() {
        let (_parent, state) = state();
        for name in [KNOWN_KEYS, SECRETS, MIRTH_KEYS, LOCAL_CERTIFICATE, ENROLMENT] {
            state.folder.write(name, b"").unwrap();
        }
        let advice = [
            state.known_keys().unwrap_err(),
            state.secrets().unwrap_err(),
            state.mirth_keys().unwrap_err(),
            state.local_certificate().map(|_| ()).unwrap_err(),
        ];
        for error in advice {
            assert!(!error.to_string().contains("enrol"), "{error}");
        }
        assert!(state.enrolment().unwrap_err().to_string().contains("enrol again"));
    }

    #[test]
    fn a_damaged_file_is_named_rather_than_taken_for_empty() {
        let (_parent, state) = state();
        for (name, text) in [(KNOWN_KEYS, "{"), (SECRETS, r#"{"x":1}"#), (ENROLMENT, "{}"), (KEY, "no key")] {
            state.folder.write(name, text.as_bytes()).unwrap();
        }
        assert!(matches!(state.known_keys(), Err(StateError::Damaged { .. })));
        assert!(matches!(state.secrets(), Err(StateError::Damaged { .. })));
        assert!(matches!(state.enrolment(), Err(StateError::Damaged { .. })));
        assert!(matches!(state.key_pair(), Err(StateError::Identity { .. })));
    }
}
