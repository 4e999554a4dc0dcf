//! Messages for the gateway that wait for the control link. What does not fit is dropped and counted: facts are
//! sent again.

use tokio::sync::mpsc;

use adit_core::protocol::control::ToGateway;
use adit_observe::metrics::CONTROL_DROPPED;

/// Messages that wait at a time.
const OUTBOX_MAX: usize = 256;

#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<ToGateway>);

impl Outbox {
    /// Returns the outbox, and its end at the control link.
    #[must_use]
    pub(crate) fn new() -> (Self, mpsc::Receiver<ToGateway>) {
        let (outbox, queue) = mpsc::channel(OUTBOX_MAX);
        (Self(outbox), queue)
    }

    /// Queues a message for the gateway.
    pub(crate) fn notify(&self, message: ToGateway) {
        if self.0.try_send(message).is_err() {
            metrics::counter!(CONTROL_DROPPED).increment(1);
            tracing::debug!("a message for the gateway was dropped: the link is away");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_while_the_link_is_away_is_kept_up_to_the_bound() {
        let (outbox, mut queue) = Outbox::new();
        for _ in 0..=OUTBOX_MAX {
            outbox.notify(ToGateway::Missing { connections: Vec::new() });
        }
        let mut kept = 0;
        while queue.try_recv().is_ok() {
            kept += 1;
        }
        assert_eq!(kept, OUTBOX_MAX);
    }
}
