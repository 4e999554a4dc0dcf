//! An agent of the demo, on a thread and a runtime of its own.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use super::{DemoError, read};
use adit_agent::entries::Entries;
use adit_agent::paths::Paths;
use adit_agent::stats::count;
use adit_agent::{Agent, AgentError};
use adit_core::config::agent::AgentConfig;
use adit_core::domain::connection::Side;
use adit_core::domain::path::{PathKind, PathPreference};
use adit_net::transport::routes::{PathState, Routes};

/// An agent on a thread of its own, as its own process would run it.
#[derive(Debug)]
pub(super) struct AgentThread {
    agent: AgentView,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl AgentThread {
    pub(super) async fn start(name: &'static str, file: &Path) -> Result<Self, DemoError> {
        let text = read(file)?;
        let base = file.parent().unwrap_or(file).to_path_buf();
        let config = AgentConfig::parse(&text, &base).expect("the lab writes valid files");
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || run_agent(config, started, stopped))
            .map_err(|source| DemoError::Thread { name, source })?;
        let agent = starting.await.map_err(|_| DemoError::AgentGone { name })?;
        let agent = agent.map_err(|failed| match failed {
            NotStarted::Runtime(source) => DemoError::Thread { name, source },
            NotStarted::Agent(source) => DemoError::Agent { name, source },
        })?;
        Ok(Self { agent, stop, thread })
    }

    pub(super) fn port_open(&self) -> bool {
        let mut sources = self.agent.entries.all().filter(|entry| entry.side == Side::Source);
        sources.all(|entry| entry.status().port_open)
    }

    /// Allows only `choice` to every peer.
    pub(super) fn choose_path(&self, choice: PathPreference) {
        for entry in self.agent.entries.all() {
            self.agent.paths.choose(entry.config.peer, choice);
        }
    }

    /// Returns the path to the one peer that the demo has.
    pub(super) fn path_in_use(&self) -> Option<PathKind> {
        self.path_state()?.kind()
    }

    pub(super) fn path_changes(&self) -> u64 {
        self.path_state().map_or(0, |path_state| path_state.changes)
    }

    pub(super) fn streams_cut(&self) -> u64 {
        self.agent.entries.all().map(|entry| count(&entry.stats.streams_cut)).sum()
    }

    fn path_state(&self) -> Option<PathState> {
        let peer = self.agent.entries.all().next()?.config.peer;
        Some(*self.agent.routes.path_state(peer).borrow())
    }

    pub(super) async fn shutdown(self) {
        drop(self.agent);
        // An agent that is gone already needs no word.
        let _ = self.stop.send(());
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

/// What the demo looks at and turns.
#[derive(Debug)]
struct AgentView {
    entries: Arc<Entries>,
    paths: Arc<Paths>,
    routes: Routes,
}

impl AgentView {
    fn of(agent: &Agent) -> Self {
        let (entries, paths) = (Arc::clone(agent.entries()), Arc::clone(agent.paths()));
        Self { entries, paths, routes: agent.routes().clone() }
    }
}

enum NotStarted {
    Runtime(io::Error),
    Agent(AgentError),
}

fn run_agent(
    config: AgentConfig,
    started: oneshot::Sender<Result<AgentView, NotStarted>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(NotStarted::Runtime(error)));
            return;
        }
    };
    runtime.block_on(async {
        match Agent::start(config).await {
            Ok(agent) => {
                let _ = started.send(Ok(AgentView::of(&agent)));
                let _ = stopped.await;
                agent.shutdown().await;
            }
            Err(error) => {
                let _ = started.send(Err(NotStarted::Agent(error)));
            }
        }
    });
}
