//! Writes to the state folder while the agent runs: none of them delays a packet.

use std::sync::Arc;

use super::state::{AgentState, StateError};

#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<AgentState>);

impl Disk {
    #[must_use]
    pub(crate) const fn new(state: Arc<AgentState>) -> Self {
        Self(state)
    }

    /// Runs a write beside the thread that carries packets; it is on disk when this returns.
    pub(crate) async fn write(
        &self,
        write: impl FnOnce(&AgentState) -> Result<(), StateError> + Send + 'static,
    ) -> Result<(), StateError> {
        let state = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || write(&state)).await;
        // A write is lost unfinished only when the runtime ends, and the agent with it.
        written.unwrap_or(Ok(()))
    }
}
