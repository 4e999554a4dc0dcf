//! The word to stop, as every part of the gateway hears it.

use tokio::sync::watch;

#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(super) const fn new(word: watch::Receiver<bool>) -> Self {
        Self(word)
    }

    /// Resolves once the gateway stops, whether it was told to or its owner is gone.
    pub(super) async fn said(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
