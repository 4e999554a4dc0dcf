//! The connections of the agent's file, each run by a task of its own: one can be started, stopped and
//! replaced while the others go on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::admin::listener::AdminListener;
use super::admin::parts::AdminParts;
use super::connection::downstream::{Clients, Downstream};
use super::connection::upstream::{LocalMirth, ManagedMirth, Streams, Upstream};
use super::connection::{ConnectionDriver, ConnectionParts, End};
use super::entries::{EntryRole, EntryRun, LiveConnection};
use super::local_users::LocalUsers;
use adit_core::domain::id::ConnectionId;
use adit_net::task::named;
use adit_net::transport::tls::LocalTls;

/// All that run.
#[derive(Debug)]
pub(crate) struct Connections {
    parts: ConnectionParts,
    /// What people beside this agent see; there for a file that has admin entries.
    tls: Option<LocalTls>,
    tasks: JoinSet<()>,
    running: BTreeMap<ConnectionId, Running>,
}

#[derive(Debug)]
struct Running {
    task: Id,
    stop: CancellationToken,
}

impl Connections {
    #[must_use]
    pub(crate) fn new(parts: ConnectionParts, tls: Option<LocalTls>) -> Self {
        Self { parts, tls, tasks: JoinSet::new(), running: BTreeMap::new() }
    }

    /// Starts one that does not run.
    pub(crate) fn start(&mut self, run: EntryRun) {
        let (id, span, stop) = (run.entry.config.id, run.entry.span(), CancellationToken::new());
        let served = serve(self.parts.clone(), run, self.tls.clone(), stop.clone());
        let task = self.tasks.spawn(named("connection", served).instrument(span)).id();
        self.running.insert(id, Running { task, stop });
    }

    /// Stops one alone, in order: its port closes at once, and what is under way may end within its limit.
    /// Returns whether it ran.
    #[cfg_attr(not(test), expect(dead_code, reason = "reload, which diffs the file's entries, is to come"))]
    pub(crate) async fn stop(&mut self, id: ConnectionId) -> bool {
        let Some(running) = self.running.remove(&id) else { return false };
        running.stop.cancel();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
            if task == running.task {
                return true;
            }
            self.forget(task);
        }
        true
    }

    /// Resolves when one ends that nobody stopped; pending while none is there.
    pub(crate) async fn failed(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.forget(ended.map_or_else(|error| error.id(), |(task, ())| task)),
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self, task: Id) {
        self.running.retain(|_, running| running.task != task);
    }

    /// Ends all at once.
    pub(crate) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// Runs one until it was told to stop and has.
async fn serve(parts: ConnectionParts, run: EntryRun, tls: Option<LocalTls>, stop: CancellationToken) {
    let EntryRun { entry, role, incoming, faults, status } = run;
    let target =
        |upstream| End::Target { upstream, streams: Streams::new(entry.config.streams_max), incoming };
    let end = match role {
        EntryRole::Source { listen, allow_users } => {
            let users = allow_users.as_deref().map(LocalUsers::new);
            source(&parts, &entry, listen, (Clients::Mirth, users))
        }
        EntryRole::Target { forward_to, probe } => {
            target(Upstream::Channel(Arc::new(LocalMirth::new(forward_to, probe, Arc::clone(&parts.clock)))))
        }
        EntryRole::Managing(managing) => {
            let (listen, users) = (managing.listen, managing.allow_users.as_deref().map(LocalUsers::new));
            let tls = tls.expect("made for a file that has such entries");
            let sessions = entry.sessions.clone().expect("made with its entry");
            let listener = Arc::new(AdminListener::new(
                managing,
                tls,
                (sessions, Arc::clone(&parts.admin)),
                entry.config.streams_max,
            ));
            source(&parts, &entry, listen, (Clients::Admin(listener), users))
        }
        EntryRole::Managed(_) => {
            let managed = entry.managed.clone().expect("made with its entry");
            let (parts, trust) = (Arc::clone(&parts.admin), Arc::clone(&parts.admission.trust));
            target(Upstream::Managed(ManagedMirth { managed, parts, trust }))
        }
    };
    let keeping = keep_sessions(Arc::clone(&parts.admin), Arc::clone(&entry));
    let driver = ConnectionDriver::new(parts, entry, end, (status, faults), stop);
    tokio::select! {
        () = driver.run() => {}
        () = keeping => {}
    }
}

fn source(
    parts: &ConnectionParts,
    entry: &Arc<LiveConnection>,
    listen: SocketAddr,
    clients: (Clients, Option<LocalUsers>),
) -> End {
    let noted = (Arc::clone(&parts.clock), Arc::clone(&parts.admission.audit));
    let downstream = Downstream::new(noted, Arc::clone(entry), listen, clients);
    End::Source(Box::new(downstream))
}

/// Keeps the sessions of an admin connection, at either end.
async fn keep_sessions(parts: Arc<AdminParts>, entry: Arc<LiveConnection>) {
    match entry.sessions.clone() {
        Some(sessions) => sessions.keep(parts, entry).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
