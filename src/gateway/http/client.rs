//! Where a request comes from: the other end of its connection or, behind a trusted proxy, whom that names.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;

/// The list to which each proxy appends whom it was asked by.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where a request comes from: the front door tells with each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
}

/// Whose word is taken for where a request comes from.
#[derive(Debug, Clone)]
pub(crate) enum Whence {
    /// The connection's.
    Peer(IpAddr),
    /// That of the proxy at the other end.
    Proxy { proxy: IpAddr, trusted: Arc<[IpAddr]> },
}

impl Whence {
    /// Returns who asks, whatever a client writes into the header by which proxies tell.
    pub(super) fn client(&self, headers: &HeaderMap) -> Client {
        match self {
            Self::Peer(address) => Client { address: *address },
            Self::Proxy { proxy, trusted } => {
                Client { address: forwarded_for(headers, trusted).unwrap_or(*proxy) }
            }
        }
    }
}

/// Returns the last hop that is no proxy of ours: those before it are its own say.
fn forwarded_for(headers: &HeaderMap, trusted: &[IpAddr]) -> Option<IpAddr> {
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).into_iter().collect();
    for value in values.into_iter().rev() {
        for hop in value.to_str().ok()?.rsplit(',') {
            let hop = hop.trim().parse::<IpAddr>().ok()?.to_canonical();
            if !trusted.contains(&hop) {
                return Some(hop);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(whence: &Whence, lines: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        whence.client(&headers).address.to_string()
    }

    #[test]
    fn a_header_of_whoever_comes_directly_says_nothing() {
        let direct = Whence::Peer("192.0.2.1".parse().unwrap());
        assert_eq!(client(&direct, &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn behind_a_proxy_the_last_hop_that_is_none_of_ours_asks() {
        let proxy: IpAddr = "127.0.0.1".parse().unwrap();
        let trusted = Arc::from([proxy, "10.0.0.9".parse().unwrap()]);
        let whence = Whence::Proxy { proxy, trusted };
        for (lines, expected) in [
            (&["198.51.100.7"] as &[_], "198.51.100.7"),
            (&["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
            (&["1.1.1.1, 198.51.100.7, 10.0.0.9"], "198.51.100.7"),
            (&["1.1.1.1", "198.51.100.7", "10.0.0.9"], "198.51.100.7"),
            (&["::ffff:198.51.100.7"], "198.51.100.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            // What no proxy writes names nobody.
            (&["198.51.100.7, unknown"], "127.0.0.1"),
            (&["198.51.100.7:1234"], "127.0.0.1"),
            (&[], "127.0.0.1"),
        ] {
            assert_eq!(client(&whence, lines), expected, "{lines:?}");
        }
    }
}
