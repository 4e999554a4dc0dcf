//! Connects to the first of several addresses that completes, after RFC 8305 (Happy Eyeballs).
//!
//! Families take turns, attempts start 250 ms apart or as soon as one fails, and each has a limit of
//! its own: a silent address costs a moment, not the others' time. Knows no socket.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// RFC 8305 §5, Connection Attempt Delay.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The limit of one address.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the address and outcome of the first attempt that succeeds, or how each failed.
pub async fn first_of<T, E, F>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), Vec<(SocketAddr, E)>>
where
    T: Send + 'static,
    E: From<io::Error> + Display + Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    first_in_order(families_in_turn(addresses), ATTEMPT_TIMEOUT, |address| connect(*address)).await
}

/// Does the same for whatever is dialled, in the order given; `limit` is that of each attempt.
pub async fn first_in_order<A, T, E, F>(
    ordered: Vec<A>,
    limit: Duration,
    connect: impl Fn(&A) -> F,
) -> Result<(A, T), Vec<(A, E)>>
where
    A: Display + Send + 'static,
    T: Send + 'static,
    E: From<io::Error> + Display + Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut waiting = ordered.into_iter();
    let mut under_way = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            debug!(%address, others_waiting = waiting.len(), "an address is tried");
            let connecting = timeout(limit, connect(&address));
            under_way.spawn(async move {
                (address, connecting.await.unwrap_or_else(|_| Err(late(limit).into())))
            });
        }
        tokio::select! {
            ended = under_way.join_next() => match ended {
                Some(Ok((address, Ok(connected)))) => {
                    debug!(%address, abandoned = under_way.len(), "an address answered first");
                    return Ok((address, connected));
                }
                Some(Ok((address, Err(error)))) => {
                    debug!(%address, %error, "an address led nowhere");
                    failed.push((address, error));
                }
                Some(Err(_)) => {}
                None => return Err(failed),
            },
            () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
        }
    }
}

/// Returns what an address fails with that did not answer within its limit.
pub(super) fn late(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()))
}

/// Orders addresses after RFC 8305 §4: the resolver's order without repeats, but the families alternate from
/// the first one's.
#[must_use]
pub fn families_in_turn(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut rest: VecDeque<SocketAddr> = VecDeque::new();
    for address in addresses {
        if !rest.contains(&address) {
            rest.push_back(address);
        }
    }
    let mut ordered = Vec::with_capacity(rest.len());
    let mut wants_v6 = rest.front().is_some_and(SocketAddr::is_ipv6);
    while !rest.is_empty() {
        let next = rest.iter().position(|address| address.is_ipv6() == wants_v6).unwrap_or(0);
        ordered.extend(rest.remove(next));
        wants_v6 = !wants_v6;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    /// Connects. Ports tell what an address does: 1 is silent, 2 refuses at once, 3 answers after 10 ms, 4
    /// after 1 s.
    async fn connect(address: SocketAddr) -> io::Result<()> {
        match address.port() {
            1 => std::future::pending().await,
            2 => return Err(io::ErrorKind::ConnectionRefused.into()),
            3 => sleep(Duration::from_millis(10)).await,
            _ => sleep(Duration::from_secs(1)).await,
        }
        Ok(())
    }

    #[test]
    fn families_take_turns_from_the_first_ones() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::1]:1", "1.1.1.1:1", "[::3]:1", "2.2.2.2:1"]);
        let expected = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(families_in_turn(given), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_first_address_costs_a_quarter_of_a_second() {
        let start = Instant::now();
        let given = addresses(&["[::1]:1", "[::2]:1", "1.1.1.1:3"]);
        let (address, ()) = first_of(given, connect).await.unwrap();
        assert_eq!(address, "1.1.1.1:3".parse().unwrap());
        assert_eq!(start.elapsed(), Duration::from_millis(260));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_starts_the_next_at_once() {
        let start = Instant::now();
        let (address, ()) = first_of(addresses(&["[::1]:2", "1.1.1.1:3"]), connect).await.unwrap();
        assert_eq!(address, "1.1.1.1:3".parse().unwrap());
        assert_eq!(start.elapsed(), Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_wins_over_silent_ones_after_it() {
        let start = Instant::now();
        let given = addresses(&["1.1.1.1:4", "2.2.2.2:1", "3.3.3.3:1"]);
        assert_eq!(first_of(given, connect).await.unwrap().0, "1.1.1.1:4".parse().unwrap());
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_has_a_limit_of_its_own() {
        let start = Instant::now();
        let failed = first_of(addresses(&["1.1.1.1:1", "2.2.2.2:1"]), connect).await.unwrap_err();
        assert!(failed.iter().all(|(_, error)| error.kind() == io::ErrorKind::TimedOut));
        assert_eq!(failed.len(), 2);
        assert_eq!(start.elapsed(), ATTEMPT_DELAY + ATTEMPT_TIMEOUT);
    }

    #[tokio::test]
    async fn no_address_is_a_failure_of_none() {
        assert!(first_of([], connect).await.unwrap_err().is_empty());
    }
}
