//! A host and a port as people write them. Resolving the host is not done here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `gateway.example.org:443`, `192.0.2.1:443` or `[2001:db8::1]:443`; the port is never 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostPort {
    /// A lower-case DNS name, or an address without brackets.
    host: String,
    port: u16,
}

impl HostPort {
    /// Returns a DNS name or an address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address, when the host is one and needs no look-up.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<HostPort> for String {
    fn from(value: HostPort) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for HostPort {
    type Error = InvalidHostPort;

    fn try_from(text: String) -> Result<Self, InvalidHostPort> {
        text.parse()
    }
}

impl FromStr for HostPort {
    type Err = InvalidHostPort;

    fn from_str(text: &str) -> Result<Self, InvalidHostPort> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidHostPort)?;
        let digits_only = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|&port| digits_only && port != 0).ok_or(InvalidHostPort)?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().map_err(|_| InvalidHostPort)?.to_string(),
            None if is_dns_name(host) => host.to_ascii_lowercase(),
            None => return Err(InvalidHostPort),
        };
        Ok(Self { host, port })
    }
}

/// Returns whether the name has only RFC 1123 §2.1 labels, and the underscore that container networks use. A
/// name whose last label is a number must be an IPv4 address (WHATWG URL §3.5), so `10.0.0.300` is no name.
fn is_dns_name(host: &str) -> bool {
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    let address_fits = !numeric || host.parse::<std::net::Ipv4Addr>().is_ok();
    host.len() <= 253 && host.split('.').all(label_fits) && address_fits
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a host and a port, such as gateway.example.org:443, 192.0.2.1:443 or [2001:db8::1]:443")]
pub struct InvalidHostPort;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_port_prints_reads_back() {
        for text in ["gateway.example.org:443", "192.0.2.1:6661", "[2001:db8::1]:443", "mirth_1:6661"] {
            assert_eq!(text.parse::<HostPort>().map(|read| read.to_string()), Ok(text.to_string()));
        }
    }

    #[test]
    fn only_an_address_is_known_without_a_look_up() {
        let check = |text: &str| text.parse::<HostPort>().expect("parses").address();
        assert_eq!(check("[::1]:443"), "[::1]:443".parse().ok());
        assert_eq!(check("127.0.0.1:443"), "127.0.0.1:443".parse().ok());
        assert_eq!(check("localhost:443"), None);
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        let long = format!("{}:1", "a".repeat(64));
        for text in [
            "",
            "host",
            "host:",
            ":443",
            "host:0",
            "host:+1",
            "host:65536",
            "::1:443",
            "[::1]",
            "[host]:1",
            "a b:1",
            "-a:1",
            "a-:1",
            "a..b:1",
            "10.0.0.300:1",
            "https://a:1",
            "a/b:1",
            long.as_str(),
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text:?} was accepted");
        }
    }
}
