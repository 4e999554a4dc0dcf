//! The first stream of a tunnel: both ends prove that they hold the connection's secret inside
//! this very TLS channel, source first. Until both did, nothing else is sent or read.
//!
//! Which connection may be opened by whom is the agent's decision; here are only the messages.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::timeout;
use tracing::trace;

use super::endpoint::{Connection, TransportError};
use adit_core::domain::limits;
use adit_core::protocol::open::{Open, OpenError, Proof, Reply};

/// The first stream of a tunnel, after the proofs.
#[derive(Debug)]
pub struct Opening {
    pub(super) send: quinn::SendStream,
    pub(super) receive: quinn::RecvStream,
    /// What was read beyond the proof.
    pub(super) rest: BytesMut,
}

/// The target's view of a source that has not been answered.
#[derive(Debug)]
pub struct Asked {
    pub open: Open,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    rest: BytesMut,
}

/// The source's side: sends `open`, gives the target's proof for the caller to verify.
pub async fn ask(connection: &Connection, open: &Open) -> Result<(Proof, Opening), TransportError> {
    in_time(async {
        let (mut send, mut receive) = connection.0.open_bi().await.map_err(TransportError::lost)?;
        let mut bytes = BytesMut::new();
        open.encode(&mut bytes);
        write(&mut send, &bytes).await?;
        let mut buffer = BytesMut::new();
        trace!(connection = %open.connection, version = open.version, "sent the opening with our proof");
        let reply = read(&mut receive, &mut buffer, Reply::decode).await?;
        trace!(connection = %open.connection, "received the target's proof");
        Ok((reply.proof, Opening { send, receive, rest: buffer }))
    })
    .await
}

/// Does the target's side: waits for the source to ask.
pub async fn receive(connection: &Connection) -> Result<Asked, TransportError> {
    in_time(async {
        let (send, mut receive) = connection.0.accept_bi().await.map_err(TransportError::lost)?;
        let mut rest = BytesMut::new();
        let open = read(&mut receive, &mut rest, Open::decode).await?;
        trace!(connection = %open.connection, version = open.version, "received an opening with the source's proof");
        Ok(Asked { open, send, receive, rest })
    })
    .await
}

impl Asked {
    /// Answers a source whose proof was verified with our own.
    pub async fn answer(mut self, proof: Proof) -> Result<Opening, TransportError> {
        let mut bytes = BytesMut::new();
        Reply { proof }.encode(&mut bytes);
        write(&mut self.send, &bytes).await?;
        Ok(Opening { send: self.send, receive: self.receive, rest: self.rest })
    }
}

async fn in_time<T>(exchange: impl Future<Output = Result<T, TransportError>>) -> Result<T, TransportError> {
    let after: Duration = limits::TUNNEL_OPEN_TIMEOUT;
    timeout(after, exchange).await.unwrap_or(Err(TransportError::Timeout { after }))
}

async fn write(send: &mut quinn::SendStream, bytes: &[u8]) -> Result<(), TransportError> {
    send.write_all(bytes).await.map_err(TransportError::of_write)
}

/// Reads until `decode` finds a whole message; what follows it stays in `buffer`.
async fn read<M>(
    receive: &mut quinn::RecvStream,
    buffer: &mut BytesMut,
    decode: impl Fn(&mut BytesMut) -> Result<Option<M>, OpenError>,
) -> Result<M, TransportError> {
    loop {
        match decode(buffer) {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => {}
            Err(error) => return Err(TransportError::Peer { what: error.to_string() }),
        }
        let chunk = receive.read_chunk(limits::TUNNEL_OPEN_BYTES_MAX, true).await;
        let chunk = chunk.map_err(TransportError::of_read)?.ok_or(TransportError::StreamClosed)?;
        buffer.extend_from_slice(&chunk.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::pair::{Pair, open, soon};
    use adit_core::protocol::frame::Code;

    async fn received(bytes: &[u8], finish: bool) -> Result<Asked, TransportError> {
        let pair = Pair::new();
        let (source, target) = pair.connected().await;
        let (mut send, _receive) = soon(source.0.open_bi()).await.unwrap();
        send.write_all(bytes).await.unwrap();
        if finish {
            send.finish().unwrap();
        } else {
            source.close(Code::Goodbye);
        }
        soon(receive(&target)).await
    }

    #[tokio::test]
    async fn an_opening_cut_short_malformed_or_oversized_is_refused() {
        let mut wire = BytesMut::new();
        open().encode(&mut wire);
        for cut in [0, 1, 2, wire.len() - 1] {
            let error = received(&wire[..cut], true).await.unwrap_err();
            assert!(matches!(error, TransportError::StreamClosed), "cut at byte {cut}: {error}");
        }
        assert!(matches!(
            received(&wire[..5], false).await,
            Err(TransportError::Closed { code: Code::Goodbye })
        ));
        for malformed in [&[0xff; 60][..], &[0, 3, 0, 1, 0]] {
            assert!(matches!(received(malformed, true).await, Err(TransportError::Peer { .. })));
        }
        assert_eq!(received(&wire, true).await.unwrap().open, open());
    }

    #[tokio::test]
    async fn a_refused_source_hears_the_code_alone() {
        let pair = Pair::new();
        let (source, target) = pair.connected().await;
        let refusing = async {
            receive(&target).await.unwrap();
            target.close(Code::Refused);
        };
        let open = open();
        let (asked, ()) = soon(async { tokio::join!(ask(&source, &open), refusing) }).await;
        assert_eq!(asked.unwrap_err().peer_code(), Some(Code::Refused));
    }
}
