//! The signals that a running agent or gateway hears.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Other programs mean by them to open their log anew, or to tell how they fare.
    user: [Signal; 2],
}

impl Signals {
    /// Watches the signals: from now on none of them ends the process by itself.
    pub(super) fn watch() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?,
            user: [
                signal(SignalKind::user_defined1()).context("cannot watch for SIGUSR1")?,
                signal(SignalKind::user_defined2()).context("cannot watch for SIGUSR2")?,
            ],
        })
    }

    /// Waits for the signal to stop, and returns its name. A terminal that is gone, or a script that
    /// wants a reload, must not end the service.
    pub(super) async fn stop(&mut self) -> &'static str {
        loop {
            let [first, second] = &mut self.user;
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::warn!(
                    "SIGHUP is ignored: the file is read at the start only; restart the service to use a \
                     changed one"
                ),
                _ = first.recv() => tracing::warn!("SIGUSR1 is ignored: it means nothing to adit"),
                _ = second.recv() => tracing::warn!("SIGUSR2 is ignored: it means nothing to adit"),
            }
        }
    }
}
