//! How every stand-in takes connections: until it is told to stop, as many at a time as are allowed.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Hands each connection with its number to `take`, with those that run; when `stopped` says so, ends them.
pub(crate) async fn until_stopped(
    listener: TcpListener,
    mut stopped: watch::Receiver<()>,
    mut take: impl FnMut(u64, TcpStream, &mut JoinSet<()>),
) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let accepted = tokio::select! {
            biased;
            _ = stopped.changed() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        // A connection that died before it was accepted is the client's affair.
        let Ok((tcp, _)) = accepted else { continue };
        take(number, tcp, &mut connections);
    }
    connections.shutdown().await;
}
