//! Carries messages between a carrier's WebSocket and its queues, both ways at once, until one of them ends.

use tokio::io::{AsyncRead, AsyncWrite};

use super::queues::CarrierEnd;
use super::websocket::{Ended, WebSocket};

/// Carries until the WebSocket ends, and returns why; `None` after `until` has, or once the socket is gone.
///
/// What has been taken from the queue may be lost with the carrier, as packets may in any network. Each
/// direction waits for itself alone; a slow one holds back no other.
pub async fn pump<S>(websocket: WebSocket<S>, end: &CarrierEnd, until: impl Future) -> Option<Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut outgoing, mut incoming) = websocket.split();
    let send = async {
        loop {
            outgoing.send_all(end.next().await, || end.try_next()).await?;
        }
    };
    let receive = async {
        while end.deliver(incoming.next().await?).await {}
        Ok(())
    };
    let ended = tokio::select! {
        ended = send => ended,
        ended = receive => ended,
        () = end.misframed() => Err(Ended::Misbehaved { what: "a message that holds no packets as they are framed".into() }),
        _ = until => Ok(()),
    };
    if !matches!(ended, Err(Ended::Broken(_))) {
        outgoing.close().await;
    }
    ended.err()
}
