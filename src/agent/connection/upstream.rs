//! What the streams of a target's tunnel lead to: the Mirth that receives channel data, or the managed one
//! behind the access filter. Each is watched, whoever asks for it.

mod local_mirth;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument;

pub(crate) use self::local_mirth::LocalMirth;

use crate::admin::managed::Managed;
use crate::admin::parts::AdminParts;
use crate::entries::LiveConnection;
use crate::trust_store::TrustStore;
use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::limits;
use adit_core::protocol::control::ConfigMismatch;
use adit_core::protocol::frame::Code;
use adit_net::task::named;
use adit_net::transport::endpoint::Connection;
use adit_net::transport::splice;
use adit_net::transport::tunnel::DataStream;
use adit_observe::metrics;

/// The Mirth beside the target.
#[derive(Clone)]
pub(crate) enum Upstream {
    Channel(Arc<LocalMirth>),
    Managed(ManagedMirth),
}

/// The managed Mirth, and what its sessions need of the agent.
#[derive(Clone)]
pub(crate) struct ManagedMirth {
    pub(crate) managed: Arc<Managed>,
    pub(crate) parts: Arc<AdminParts>,
    pub(crate) trust: Arc<TrustStore>,
}

/// What is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamState {
    /// Whether it answers.
    pub answers: Option<bool>,
    /// Whether the peer may send: a managed Mirth that answers may still not be judged.
    pub serves: Option<bool>,
    /// What was found there, beyond the rule, that forbids the connection for good.
    pub config_mismatch: Option<ConfigMismatch>,
    pub version: Option<String>,
    /// The key that an untrusted one showed last.
    pub key_shown: Option<KeyFingerprint>,
    /// Operations that adit does not know, as `METHOD path`; the first few.
    pub unknown_operations: Vec<String>,
}

impl Upstream {
    /// Returns what is known of it, as it changes.
    #[must_use]
    pub(crate) fn state(&self) -> watch::Receiver<UpstreamState> {
        match self {
            Self::Channel(mirth) => mirth.state(),
            Self::Managed(mirth) => mirth.managed.state(),
        }
    }

    /// Keeps that known; runs until dropped.
    pub(crate) async fn watch(self, entry: Arc<LiveConnection>) {
        match self {
            Self::Channel(mirth) => mirth.keep_probed(&entry).await,
            Self::Managed(ManagedMirth { managed, parts, trust }) => {
                managed.keep_discovered(&parts.policies, &trust, &entry).await;
            }
        }
    }

    /// Serves one stream, whose header was read.
    async fn carry(self, entry: Arc<LiveConnection>, stream: DataStream, connection: Connection) {
        match self {
            Self::Channel(mirth) => mirth.carry(entry, stream, connection).await,
            Self::Managed(ManagedMirth { managed, parts, .. }) => {
                // Apart: the filter's state is many times that of a channel's stream, and would be each one's.
                Box::pin(managed.carry(parts, entry, stream, connection)).await;
            }
        }
    }
}

/// The streams of one tunnel, a task each.
pub(crate) struct Streams {
    tasks: JoinSet<()>,
    places: Arc<Semaphore>,
}

impl Streams {
    #[must_use]
    pub(crate) fn new(streams_max: u32) -> Self {
        Self { tasks: JoinSet::new(), places: Arc::new(Semaphore::new(streams_max as usize)) }
    }

    pub(crate) fn start(
        &mut self,
        upstream: &Upstream,
        entry: &Arc<LiveConnection>,
        (stream, connection): (DataStream, Connection),
    ) {
        let (upstream, entry) = (upstream.clone(), Arc::clone(entry));
        let span = tracing::debug_span!("stream", number = stream.number());
        let carrying = carry(upstream, entry, (stream, connection), Arc::clone(&self.places));
        self.tasks.spawn(named("stream", carrying).instrument(span));
    }

    /// Waits for the next that ends; `None` while there is none.
    pub(crate) async fn next_ended(&mut self) -> Option<()> {
        self.tasks.join_next().await.map(|_| ())
    }
}

async fn carry(
    upstream: Upstream,
    entry: Arc<LiveConnection>,
    (mut stream, connection): (DataStream, Connection),
    places: Arc<Semaphore>,
) {
    let Some(_place) = take_place(places, &stream).await else {
        entry.stats.limit_reached.fetch_add(1, Ordering::Relaxed);
        metrics::refused_stream(entry.config.name.as_str(), "full");
        let limit = entry.config.streams_max;
        let what = format!(
            "the peer's agent opens more TCP connections at a time than `streams_max` = {limit} here; raise it here, or lower it there"
        );
        entry.note_fault(&what);
        return stream.refuse(Code::Full);
    };
    // The far side cut before it said anything.
    if !splice::read_header(&mut stream).await {
        tracing::debug!("the far side gave the stream up before it said anything");
        metrics::refused_stream(entry.config.name.as_str(), "no header");
        return stream.refuse(Code::Cut);
    }
    upstream.carry(entry, stream, connection).await;
}

/// Takes a place for a stream. The peer counts as well: streams of its that are too many have at most not yet
/// ended here, so one waits a little. What its sender cut meanwhile is given no place: nobody waits for its
/// delivery.
async fn take_place(places: Arc<Semaphore>, stream: &DataStream) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
        return Some(place);
    }
    let place = timeout(limits::PLACE_WAIT_MAX, places.acquire_owned()).await.ok()?.ok()?;
    (!stream.is_cut()).then_some(place)
}
