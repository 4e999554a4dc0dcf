//! The entries of the agent's file while the agent runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tracing::Span;

use super::admin::managed::Managed;
use super::admin::sessions::AdminSessions;
use super::connection::status::{ConnectionStatus, StatusWriter};
use super::repeats::Repeats;
use super::stats::{Fault, Stats};
use super::tunnels::Admitted;
use adit_core::config::HostPort;
use adit_core::config::agent::{AdminManaged, AdminManaging, AgentConfig, Entry, LocalUser};
use adit_core::domain::connection::Side;
use adit_core::domain::id::ConnectionId;
use adit_core::protocol::control::PeerRefusal;
use adit_core::protocol::repeat_limiter::shown;
use adit_net::identity::time::{LearntClock, TimeSource};
use adit_observe::metrics::StreamMetrics;

/// Admitted tunnels that wait for their entry; it takes them at once.
const INCOMING_MAX: usize = 4;
/// Faults that wait for the task that shows them; more are left out, the last ones say the same.
const FAULTS_MAX: usize = 64;

/// A connection of the agent's file while the agent runs: its entry, what is counted, what is true now.
#[derive(Debug)]
pub struct LiveConnection {
    pub config: Entry,
    pub side: Side,
    /// `listen`, `forward_to` or `mirth`, as people wrote it.
    pub address: String,
    pub stats: Stats,
    pub repeats: Repeats,
    /// Counts what is seen in passing.
    pub metrics: StreamMetrics,
    /// Where admitted tunnels of a target go.
    pub incoming: mpsc::Sender<Admitted>,
    clock: Arc<LearntClock>,
    /// Written by the task of the connection alone.
    status: watch::Receiver<ConnectionStatus>,
    /// What others find wrong.
    faults: mpsc::Sender<Found>,
    /// Of a managed Mirth.
    pub managed: Option<Arc<Managed>>,
    /// Of an admin connection, at either end.
    pub(crate) sessions: Option<Arc<AdminSessions>>,
}

impl LiveConnection {
    /// Returns the span of a task that is for this connection.
    #[must_use]
    pub(crate) fn span(&self) -> Span {
        let Entry { name, id, peer, .. } = &self.config;
        tracing::debug_span!(parent: None, "connection", %name, %id, %peer)
    }

    /// Returns what is true of it now, to be read and let go.
    #[must_use]
    pub fn status(&self) -> watch::Ref<'_, ConnectionStatus> {
        self.status.borrow()
    }

    /// Notes what went wrong with it: the task of the connection remembers and logs it.
    pub(crate) fn note_fault(&self, what: &str) {
        tracing::trace!(connection = %self.config.name, what, "what keeps it from working");
        self.tell(Found::Fault(Fault { at: self.clock.now(), what: what.into() }));
    }

    /// Notes that its peer dialled and was refused.
    pub(crate) fn note_refused(&self, refusal: PeerRefusal) {
        self.tell(Found::Refused(refusal));
    }

    fn tell(&self, found: Found) {
        if self.faults.try_send(found).is_err() {
            tracing::debug!(connection = %self.config.name, "a fault is not shown: others wait to be");
        }
    }

    /// Says that its tunnel is there; a peer that comes and goes is summed up.
    pub fn log_up(&self) {
        const LINE: &str = "tunnel is up";
        if let Some(more) = self.repeats.note(LINE, Instant::now()) {
            tracing::info!(connection = %self.config.name, more = shown(more), "{LINE}");
        }
    }
}

/// What others than the task of a connection find of it.
#[derive(Debug)]
pub(crate) enum Found {
    Fault(Fault),
    Refused(PeerRefusal),
}

/// What runs an entry: its role, the queues of its admitted tunnels and of its faults, its status.
#[derive(Debug)]
pub struct EntryRun {
    pub entry: Arc<LiveConnection>,
    pub role: EntryRole,
    pub incoming: mpsc::Receiver<Admitted>,
    pub(crate) faults: mpsc::Receiver<Found>,
    pub(crate) status: StatusWriter,
}

#[derive(Debug, Clone)]
pub enum EntryRole {
    Source { listen: std::net::SocketAddr, allow_users: Option<Vec<LocalUser>> },
    Target { forward_to: HostPort, probe: bool },
    Managing(AdminManaging),
    Managed(AdminManaged),
}

/// All entries by connection, in the order of their ids.
#[derive(Debug, Default)]
pub struct Entries {
    by_connection: BTreeMap<ConnectionId, Arc<LiveConnection>>,
    in_order: Vec<Arc<LiveConnection>>,
}

impl Entries {
    #[must_use]
    pub fn from_config(config: &AgentConfig, clock: &Arc<LearntClock>) -> (Self, Vec<EntryRun>) {
        let sources = config.sources.iter().map(|source| {
            let role = EntryRole::Source { listen: source.listen, allow_users: source.allow_users.clone() };
            (&source.entry, Side::Source, source.listen.to_string(), role)
        });
        let targets = config.targets.iter().map(|target| {
            let role = EntryRole::Target { forward_to: target.forward_to.clone(), probe: target.probe };
            (&target.entry, Side::Target, target.forward_to.to_string(), role)
        });
        let managing = config.managing.iter().map(|managing| {
            (
                &managing.entry,
                Side::Source,
                managing.listen.to_string(),
                EntryRole::Managing(managing.clone()),
            )
        });
        let managed = config.managed.iter().map(|managed| {
            (&managed.entry, Side::Target, managed.mirth.to_string(), EntryRole::Managed(managed.clone()))
        });
        let mut entries = Self::default();
        let mut runs = Vec::new();
        for (config, side, address, role) in sources.chain(targets).chain(managing).chain(managed) {
            let (incoming, queue) = mpsc::channel(INCOMING_MAX);
            let (faults, fault_queue) = mpsc::channel(FAULTS_MAX);
            let status = StatusWriter::new(side);
            let managed = match &role {
                EntryRole::Managed(managed) => Some(Arc::new(Managed::new(managed.clone()))),
                EntryRole::Source { .. } | EntryRole::Target { .. } | EntryRole::Managing(_) => None,
            };
            let sessions = match (&role, &managed) {
                (EntryRole::Managing(_), _) => Some(Arc::default()),
                (_, managed) => managed.as_ref().map(|managed| Arc::clone(&managed.sessions)),
            };
            let entry = Arc::new(LiveConnection {
                config: config.clone(),
                side,
                address,
                stats: Stats::default(),
                repeats: Repeats::default(),
                metrics: StreamMetrics::new(config.name.as_str()),
                incoming,
                clock: Arc::clone(clock),
                status: status.subscribe(),
                faults,
                managed,
                sessions,
            });
            entries.by_connection.insert(entry.config.id, Arc::clone(&entry));
            entries.in_order.push(Arc::clone(&entry));
            runs.push(EntryRun { entry, role, incoming: queue, faults: fault_queue, status });
        }
        (entries, runs)
    }

    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<&Arc<LiveConnection>> {
        self.by_connection.get(&id)
    }

    /// Returns the entry of `id` if this agent is its target.
    #[must_use]
    pub fn target(&self, id: ConnectionId) -> Option<Arc<LiveConnection>> {
        self.get(id).filter(|entry| entry.side == Side::Target).cloned()
    }

    /// Returns all entries in the file's order: sources, targets, managing, managed.
    pub fn all(&self) -> impl Iterator<Item = &Arc<LiveConnection>> {
        self.in_order.iter()
    }
}
