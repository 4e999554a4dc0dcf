//! A carrier's WebSocket (RFC 6455), at either end, once its opening handshake is done: binary messages of
//! bounded length, and nothing else.
//!
//! Buffers are small, because a gateway has one of these for every agent without UDP: what is read is read
//! in pieces, what is written goes out at once, and the length of a message is judged before there is memory
//! for it. Pings are answered. What the messages hold is not looked at here.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use adit_core::domain::limits::CARRIER_MESSAGE_BYTES_MAX;

/// What is read of the stream at a time, and kept for it while nothing comes.
const READ_BYTES: usize = 8 * 1024;
/// Room behind a whole message for its header and the answers to pings.
const WRITE_BYTES_MAX: usize = CARRIER_MESSAGE_BYTES_MAX + 1_024;
/// How long the other end has to take our last word.
const CLOSE_WITHIN: Duration = Duration::from_millis(250);

/// Why a carrier ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the other end closed it")]
    Closed,
    #[error("its connection broke off")]
    Broken(#[source] io::Error),
    #[error("the other end sent what no carrier's end sends: {what}")]
    Misbehaved { what: String },
}

/// Returns the `Sec-WebSocket-Accept` that answers a client's `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    handshake::derive_accept_key(key)
}

/// Returns a client's `Sec-WebSocket-Key`, drawn anew (RFC 6455 §4.1).
#[must_use]
pub fn fresh_key() -> String {
    handshake::client::generate_key()
}

/// A stream on which the opening handshake is done.
#[derive(Debug)]
pub struct WebSocket<S>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes the end that asked; `read` is what came behind the answer.
    pub async fn client(stream: S, read: Bytes) -> Self {
        Self::new(stream, read, Role::Client).await
    }

    /// Takes the end that was asked; `read` is what came behind the question.
    pub async fn server(stream: S, read: Bytes) -> Self {
        Self::new(stream, read, Role::Server).await
    }

    async fn new(stream: S, read: Bytes, role: Role) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BYTES_MAX)
            .max_message_size(Some(CARRIER_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(CARRIER_MESSAGE_BYTES_MAX));
        Self(WebSocketStream::from_partially_read(stream, read.into(), role, Some(config)).await)
    }

    /// Returns both directions, to be driven by one task.
    pub fn split(self) -> (Outgoing<S>, Incoming<S>) {
        let (sink, stream) = self.0.split();
        (Outgoing(sink), Incoming(stream))
    }
}

/// The messages to the other end.
#[derive(Debug)]
pub struct Outgoing<S>(SplitSink<WebSocketStream<S>, Message>);

impl<S: AsyncRead + AsyncWrite + Unpin> Outgoing<S> {
    /// Writes a message, once the one before is written; it is sure to be on its way after [`Self::flush`].
    pub async fn feed(&mut self, message: Bytes) -> Result<(), Ended> {
        self.0.feed(Message::Binary(message)).await.map_err(ended)
    }

    /// Writes `first` and what there is beside it, and sees it on its way.
    pub async fn send_all(
        &mut self,
        first: Bytes,
        mut next: impl FnMut() -> Option<Bytes>,
    ) -> Result<(), Ended> {
        self.feed(first).await?;
        while let Some(message) = next() {
            self.feed(message).await?;
        }
        self.flush().await
    }

    pub async fn flush(&mut self) -> Result<(), Ended> {
        self.0.flush().await.map_err(ended)
    }

    /// Says goodbye, or answers the other end's; waits for it a moment, and for no answer.
    pub async fn close(&mut self) {
        if !matches!(timeout(CLOSE_WITHIN, self.0.close()).await, Ok(Ok(()))) {
            tracing::debug!("the other end did not take the end of the carrier");
        }
    }
}

/// The messages of the other end.
#[derive(Debug)]
pub struct Incoming<S>(SplitStream<WebSocketStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    /// Waits for the next message; loses none when it is dropped before.
    pub async fn next(&mut self) -> Result<Bytes, Ended> {
        loop {
            match self.0.next().await.transpose().map_err(ended)? {
                Some(Message::Binary(message)) => return Ok(message),
                // Answered while the next message is waited for.
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                Some(Message::Close(_)) | None => return Err(Ended::Closed),
                Some(Message::Text(_) | Message::Frame(_)) => {
                    return Err(Ended::Misbehaved { what: "a message of text".into() });
                }
            }
        }
    }
}

fn ended(error: Error) -> Ended {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ended::Closed,
        // Said in few words: whoever broke it off did not say goodbye in TLS either.
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ended::Broken(io::ErrorKind::UnexpectedEof.into())
        }
        Error::Io(error) => Ended::Broken(error),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Ended::Broken(io::ErrorKind::UnexpectedEof.into())
        }
        other => Ended::Misbehaved { what: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Returns both ends, and between them a pipe that holds `bytes`.
    async fn pair(bytes: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
        let (near, far) = duplex(bytes);
        (WebSocket::client(near, Bytes::new()).await, WebSocket::server(far, Bytes::new()).await)
    }

    /// Returns what the end that was asked says of the bytes that come.
    async fn received(bytes: &[u8]) -> Result<Bytes, Ended> {
        let (mut near, far) = duplex(1_024);
        let (_outgoing, mut incoming) = WebSocket::server(far, Bytes::new()).await.split();
        near.write_all(bytes).await.unwrap();
        drop(near);
        incoming.next().await
    }

    #[track_caller]
    fn check_misbehaved(received: &Result<Bytes, Ended>, expected: &str) {
        let error = received.as_ref().unwrap_err();
        assert!(matches!(error, Ended::Misbehaved { what } if what.contains(expected)), "{error}");
    }

    #[tokio::test]
    async fn messages_arrive_whole_and_in_order_both_ways() {
        let (client, server) = pair(1_000).await;
        let (mut to_server, mut from_server) = client.split();
        let (mut to_client, mut from_client) = server.split();
        let long = Bytes::from(vec![7; CARRIER_MESSAGE_BYTES_MAX]);
        let send = async {
            for message in [Bytes::from_static(b"1"), long.clone(), Bytes::from_static(b"3")] {
                to_server.feed(message).await.unwrap();
            }
            to_server.flush().await.unwrap();
            assert_eq!(from_server.next().await.unwrap(), "4");
        };
        let receive = async {
            assert_eq!(from_client.next().await.unwrap(), "1");
            assert_eq!(from_client.next().await.unwrap(), long);
            assert_eq!(from_client.next().await.unwrap(), "3");
            to_client.feed("4".into()).await.unwrap();
            to_client.flush().await.unwrap();
        };
        tokio::join!(send, receive);
    }

    #[tokio::test]
    async fn what_came_behind_the_opening_handshake_is_the_first_message() {
        let (near, far) = duplex(1_024);
        let read = Bytes::from_static(&[0x82, 2, b'a', b'b']);
        let (_outgoing, mut incoming) = WebSocket::client(near, read).await.split();
        assert_eq!(incoming.next().await.unwrap(), "ab");
        drop(far);
        assert!(matches!(incoming.next().await, Err(Ended::Broken(_))));
    }

    #[tokio::test]
    async fn a_message_beyond_the_bound_is_refused_by_its_header() {
        let one_more = u64::try_from(CARRIER_MESSAGE_BYTES_MAX + 1).unwrap().to_be_bytes();
        check_misbehaved(&received(&[&[0x82, 0xff][..], &one_more, &[0; 4]].concat()).await, "too long");
    }

    #[tokio::test]
    async fn a_message_in_pieces_has_the_same_bound() {
        let half = u64::try_from(CARRIER_MESSAGE_BYTES_MAX / 2 + 1).unwrap().to_be_bytes();
        let (mut near, far) = duplex(4 * CARRIER_MESSAGE_BYTES_MAX);
        let (_outgoing, mut incoming) = WebSocket::server(far, Bytes::new()).await.split();
        for first_byte in [0x02, 0x80] {
            near.write_all(&[first_byte, 0xff]).await.unwrap();
            near.write_all(&half).await.unwrap();
            near.write_all(&vec![0; 4 + CARRIER_MESSAGE_BYTES_MAX / 2 + 1]).await.unwrap();
        }
        check_misbehaved(&incoming.next().await, "too long");
    }

    #[tokio::test]
    async fn text_and_what_is_not_masked_are_refused() {
        check_misbehaved(&received(&[0x81, 0x81, 0, 0, 0, 0, b'a']).await, "text");
        check_misbehaved(&received(&[0x82, 0x01, b'a']).await, "");
        check_misbehaved(&received(b"GET / HTTP/1.1\r\n\r\n").await, "");
    }

    #[tokio::test]
    async fn a_ping_is_answered_while_the_next_message_is_waited_for() {
        let (mut near, far) = duplex(1_024);
        let (_outgoing, mut incoming) = WebSocket::server(far, Bytes::new()).await.split();
        near.write_all(&[0x89, 0x81, 0, 0, 0, 0, b'?']).await.unwrap();
        let mut pong = [0; 3];
        tokio::select! {
            read = near.read_exact(&mut pong) => assert_eq!(read.unwrap(), 3),
            message = incoming.next() => panic!("{message:?}"),
        }
        assert_eq!(pong, [0x8a, 1, b'?']);
    }

    #[tokio::test]
    async fn an_end_is_told_to_the_other_and_answered() {
        let (client, server) = pair(1_000).await;
        let (mut to_server, mut from_server) = client.split();
        let (mut to_client, mut from_client) = server.split();
        to_server.close().await;
        assert!(matches!(from_client.next().await, Err(Ended::Closed)));
        to_client.close().await;
        assert!(matches!(from_server.next().await, Err(Ended::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_for_nobody_for_long() {
        let (client, _server) = pair(16).await;
        let (mut outgoing, _incoming) = client.split();
        let fed = timeout(CLOSE_WITHIN, outgoing.feed(vec![0; 64].into())).await;
        assert!(fed.is_ok(), "the first is taken into the buffer");
        let start = tokio::time::Instant::now();
        outgoing.close().await;
        assert_eq!(start.elapsed(), CLOSE_WITHIN);
    }

    #[test]
    fn the_answer_to_a_key_is_the_standards() {
        // RFC 6455 §1.3
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_ne!(fresh_key(), fresh_key());
    }
}
