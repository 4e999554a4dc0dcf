//! A control link on the wire: one bidirectional stream of length-prefixed messages.
//!
//! Both ends bound what they buffer; a peer that does not read is a lost peer. What the messages
//! mean is in `protocol::control`.

use std::time::Duration;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{debug, trace};

use super::endpoint::{Connection, TransportError};
use adit_core::domain::word::UnknownWord;
use adit_core::protocol::control::{Decoder, encode};
use adit_core::protocol::frame::Code;

/// A message that cannot be handed to the stream in this time means the peer does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the link's stream; its first message makes it visible to the gateway.
pub async fn open(connection: &Connection) -> Result<(LinkSender, LinkReceiver), TransportError> {
    let (send, receive) = connection.0.open_bi().await.map_err(TransportError::lost)?;
    Ok(ends(connection, send, receive))
}

/// Waits for the peer's stream.
pub async fn accept(connection: &Connection) -> Result<(LinkSender, LinkReceiver), TransportError> {
    let (send, receive) = connection.0.accept_bi().await.map_err(TransportError::lost)?;
    Ok(ends(connection, send, receive))
}

fn ends(
    connection: &Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
) -> (LinkSender, LinkReceiver) {
    let sender = LinkSender { connection: connection.clone(), stream: send };
    let receiver =
        LinkReceiver { connection: connection.clone(), stream: receive, decoder: Decoder::default() };
    (sender, receiver)
}

/// Sends messages in order.
#[derive(Debug)]
pub struct LinkSender {
    connection: Connection,
    stream: quinn::SendStream,
}

impl LinkSender {
    pub async fn send<M: Serialize>(&mut self, message: &M) -> Result<(), TransportError> {
        // The stream takes it as it is, and gives it back once it has arrived: a link at rest keeps nothing.
        let mut bytes = BytesMut::new();
        encode(message, &mut bytes).map_err(|error| TransportError::Peer { what: error.to_string() })?;
        trace!(bytes = bytes.len(), "a control message is sent");
        match tokio::time::timeout(SEND_TIMEOUT, self.stream.write_chunk(bytes.freeze())).await {
            Ok(sent) => sent.map_err(TransportError::of_write),
            Err(_) => Err(TransportError::Timeout { after: SEND_TIMEOUT }),
        }
    }

    /// Ends the link after what was sent has arrived, or after `limit`.
    pub async fn finish(mut self, limit: Duration) {
        if self.stream.finish().is_ok() {
            let _ = tokio::time::timeout(limit, self.stream.stopped()).await;
        }
        self.connection.close(Code::Goodbye);
    }
}

/// Receives messages in order.
#[derive(Debug)]
pub struct LinkReceiver {
    connection: Connection,
    stream: quinn::RecvStream,
    decoder: Decoder,
}

impl LinkReceiver {
    /// Returns what the last message called itself, for one that was unknown.
    #[must_use]
    pub fn tag(&self) -> UnknownWord {
        self.decoder.tag()
    }

    /// Receives the next message. Safe to drop while waiting: nothing read is lost.
    pub async fn receive<M: DeserializeOwned>(&mut self) -> Result<M, TransportError> {
        loop {
            match self.decoder.next_message() {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => {
                    debug!(%error, "a control message cannot be read, so the link is closed");
                    self.connection.close(Code::Protocol);
                    return Err(TransportError::Peer { what: error.to_string() });
                }
            }
            let chunk = self.stream.read_chunk(usize::MAX, true).await;
            let chunk = chunk.map_err(TransportError::of_read)?.ok_or(TransportError::StreamClosed)?;
            trace!(bytes = chunk.bytes.len(), "bytes of control messages came");
            self.decoder.extend(&chunk.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::pair::{Opened, Pair, soon};
    use adit_core::domain::limits::CONTROL_MESSAGE_BYTES_MAX;
    use adit_core::protocol::control::ToGateway;

    /// Returns both ends of a link; the first has said its first word.
    async fn linked() -> (Pair, (LinkSender, LinkReceiver), (LinkSender, LinkReceiver)) {
        let pair = Pair::new();
        let Opened { source: (source, asked), target: (target, answered) } = pair.opened(8).await;
        let ours = ends(&source, asked.send, asked.receive);
        let theirs = ends(&target, answered.send, answered.receive);
        (pair, ours, theirs)
    }

    #[tokio::test]
    async fn messages_arrive_in_order_even_to_one_who_stops_waiting_in_between() {
        let (_pair, (mut sender, _), (_, mut receiver)) = linked().await;
        let sending = async {
            for number in 0..100 {
                sender.send(&ToGateway::Heartbeat { number }).await.unwrap();
            }
        };
        let receiving = async {
            for expected in 0..100 {
                // Dropped while it waits, over and over.
                let message = loop {
                    tokio::select! {
                        biased;
                        message = receiver.receive::<ToGateway>() => break message.unwrap(),
                        () = tokio::task::yield_now() => {}
                    }
                };
                assert_eq!(message, ToGateway::Heartbeat { number: expected });
            }
        };
        soon(async { tokio::join!(sending, receiving) }).await;
    }

    #[tokio::test]
    async fn a_message_cut_short_oversized_or_malformed_ends_the_link() {
        let oversized = u32::try_from(CONTROL_MESSAGE_BYTES_MAX + 1).unwrap().to_be_bytes();
        for bytes in [&oversized[..], &[0, 0, 0, 2, b'{', b'x'], &[0, 0, 0, 2, b'{', b'}']] {
            let (_pair, (mut sender, mut back), (_answers, mut receiver)) = linked().await;
            sender.stream.write_all(bytes).await.unwrap();
            let outcome = soon(receiver.receive::<ToGateway>()).await;
            assert!(matches!(outcome, Err(TransportError::Peer { .. })), "{outcome:?}");
            let told = soon(back.receive::<ToGateway>()).await.unwrap_err();
            assert_eq!(told.peer_code(), Some(Code::Protocol));
        }
        let (_pair, (mut sender, _back), (_, mut receiver)) = linked().await;
        sender.stream.write_all(&[0, 0, 0, 9, b'{']).await.unwrap();
        sender.stream.finish().unwrap();
        let outcome = soon(receiver.receive::<ToGateway>()).await;
        assert!(matches!(outcome, Err(TransportError::StreamClosed)), "{outcome:?}");
    }
}
