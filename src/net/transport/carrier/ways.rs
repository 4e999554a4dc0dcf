//! The ways to a gateway's TCP port: each address of its names, or the proxy that leads to a name, which
//! resolves it by itself.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tracing::debug;

use adit_core::config::HostPort;
use adit_core::protocol::text::listed;

use super::proxy::{Proxies, Proxy, ProxyError};
use crate::transport::happy_eyeballs::{families_in_turn, first_in_order};
use crate::transport::resolve::resolve_all;

/// One way to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// As the connector file has it.
    pub gateway: HostPort,
    through: Through,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Through {
    Address(SocketAddr),
    Proxy(Proxy),
}

/// Why a way does not lead there.
#[derive(Debug, thiserror::Error)]
pub enum WayError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Tcp(#[from] io::Error),
}

impl Way {
    /// Connects; what is spoken then is not looked at here.
    pub async fn connect(&self) -> Result<TcpStream, WayError> {
        match &self.through {
            Through::Address(address) => Ok(TcpStream::connect(address).await?),
            Through::Proxy(proxy) => Ok(proxy.connect(&self.gateway).await?),
        }
    }

    /// Returns the proxy that it goes through.
    #[must_use]
    pub const fn proxy(&self) -> Option<&Proxy> {
        match &self.through {
            Through::Proxy(proxy) => Some(proxy),
            Through::Address(_) => None,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.through {
            Through::Address(address) => address.fmt(f),
            Through::Proxy(proxy) => write!(f, "{} through the proxy {}", self.gateway, proxy.at()),
        }
    }
}

/// Returns the ways to a gateway's names in the order to try them, and the names that none leads to.
pub async fn ways(gateway: &[HostPort], proxies: &Proxies) -> (Vec<Way>, Vec<(HostPort, WayError)>) {
    let (mut direct, mut by_proxy, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for name in gateway {
        match proxies.to(name) {
            Ok(None) => direct.push(name.clone()),
            Ok(Some(proxy)) => by_proxy.push(Way { gateway: name.clone(), through: Through::Proxy(proxy) }),
            Err(error) => failed.push((name.clone(), error.into())),
        }
    }
    let (candidates, nameless) = resolve_all(&direct).await;
    failed.extend(nameless.into_iter().map(|(name, error)| (name, error.into())));
    let ordered = families_in_turn(candidates.iter().map(|candidate| candidate.address));
    let by_address = ordered.into_iter().filter_map(|address| {
        let known = candidates.iter().find(|candidate| candidate.address == address)?;
        Some(Way { gateway: known.name.clone(), through: Through::Address(address) })
    });
    let ways: Vec<_> = by_address.chain(by_proxy).collect();
    debug!(ways = %listed(&ways), "the ways to the gateway's TCP port");
    (ways, failed)
}

/// Returns the first way on which `connect` comes to something within its `limit`, or how each failed.
pub async fn first_way<T, E, F>(
    ways: Vec<Way>,
    limit: Duration,
    connect: impl Fn(Way) -> F,
) -> Result<(Way, T), Vec<(Way, E)>>
where
    T: Send + 'static,
    E: From<io::Error> + fmt::Display + Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    first_in_order(ways, limit, |way| connect(way.clone())).await
}
