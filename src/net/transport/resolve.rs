//! From the names in files to addresses, and to a connection with whichever of them answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::happy_eyeballs::{ATTEMPT_TIMEOUT, first_of, late};
use super::port;
use adit_core::config::HostPort;
use adit_core::protocol::text::listed;

/// Name resolution, for each name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// An address and the name in the file that led to it.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub name: HostPort,
    pub address: SocketAddr,
}

/// Returns all addresses of `name`, at least one.
pub async fn resolve(name: &HostPort) -> io::Result<Vec<SocketAddr>> {
    // An address needs no resolver, whose threads would cost every stream a wake-up.
    if let Some(address) = name.address() {
        return Ok(vec![address]);
    }
    let looked_up = timeout(RESOLVE_TIMEOUT, lookup_host((name.host(), name.port()))).await;
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the name service does not answer");
    let looked_up = looked_up.unwrap_or_else(|_| Err(late()));
    let looked_up = looked_up.inspect_err(|error| debug!(%name, %error, "a name could not be resolved"));
    let addresses: Vec<_> = looked_up?.collect();
    debug!(%name, addresses = %listed(&addresses), "a name was resolved");
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Resolves all names beside each other, in their order; returns which led nowhere, and why.
pub async fn resolve_all(names: &[HostPort]) -> (Vec<Candidate>, Vec<(HostPort, io::Error)>) {
    let mut resolving = JoinSet::new();
    for (place, name) in names.iter().cloned().enumerate() {
        resolving.spawn(async move {
            let resolved = resolve(&name).await;
            (place, name, resolved)
        });
    }
    let mut resolved = resolving.join_all().await;
    resolved.sort_by_key(|(place, ..)| *place);
    let (mut candidates, mut failed) = (Vec::new(), Vec::new());
    for (_, name, resolved) in resolved {
        match resolved {
            Ok(addresses) => candidates
                .extend(addresses.into_iter().map(|address| Candidate { name: name.clone(), address })),
            Err(error) => failed.push((name, error)),
        }
    }
    (candidates, failed)
}

/// Dials the local Mirth at any of its host's addresses; the socket is set up to be cut rather than ended.
pub async fn dial(name: &HostPort) -> io::Result<TcpStream> {
    first_connected(resolve(name).await?, port::dial).await
}

/// Returns the first connection that `connect` gets, or its last failure.
pub async fn first_connected<T, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    // One address needs no race, whose task would cost every stream a wake-up.
    if let [address] = addresses[..] {
        return timeout(ATTEMPT_TIMEOUT, connect(address))
            .await
            .unwrap_or_else(|_| Err(late(ATTEMPT_TIMEOUT)));
    }
    let raced = first_of(addresses, connect).await;
    raced.map(|(_, connected)| connected).map_err(|mut failed| {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        failed.pop().map_or_else(none, |(_, error)| error)
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;
    use crate::transport::happy_eyeballs::ATTEMPT_DELAY;

    #[tokio::test(start_paused = true)]
    async fn a_silent_first_address_costs_a_moment_whoever_dials() {
        let start = Instant::now();
        let addresses = ["[2001:db8::1]:1", "192.0.2.1:2"].map(|address| address.parse().unwrap());
        let connect = async |address: SocketAddr| {
            if address.port() == 1 { pending().await } else { Ok(address.port()) }
        };
        assert_eq!(first_connected(addresses.to_vec(), connect).await.unwrap(), 2);
        assert_eq!(start.elapsed(), ATTEMPT_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn an_only_address_has_the_same_limit() {
        let start = Instant::now();
        let silent = first_connected(vec!["192.0.2.1:1".parse().unwrap()], |_| pending::<io::Result<()>>());
        assert_eq!(silent.await.unwrap_err().to_string(), "no answer within 5 s");
        assert_eq!(start.elapsed(), ATTEMPT_TIMEOUT);
    }
}
