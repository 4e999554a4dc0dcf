//! The HTTP proxy between this host and its gateway, as people write it. Whether one is used for a given host
//! is decided where it is dialled.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::HostPort;
use crate::domain::limits::NO_PROXY_CHARS_MAX;

/// What a file says of proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// Absent: the environment's.
    pub proxy: Option<ProxyUrl>,
    /// Which hosts are dialled without it; absent: those of the environment, where the proxy is from there.
    pub no_proxy: Option<Vec<Unproxied>>,
}

/// `http://proxy.example.org:3128`, or with a user and a password, each percent-encoded, before an `@`.
///
/// Neither `Debug` nor `Display` shows the user or the password; dropping wipes them.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    at: HostPort,
    /// As written, percent-encoded.
    user: Option<Zeroizing<String>>,
}

impl ProxyUrl {
    #[must_use]
    pub const fn at(&self) -> &HostPort {
        &self.at
    }

    /// Returns whether it holds a password, or a user at least.
    #[must_use]
    pub const fn holds_secret(&self) -> bool {
        self.user.is_some()
    }

    /// Returns the whole URL, for whom dials the proxy.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let at = &self.at;
        Zeroizing::new(match &self.user {
            Some(user) => format!("http://{}@{at}", **user),
            None => format!("http://{at}"),
        })
    }
}

impl FromStr for ProxyUrl {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(InvalidProxy::Scheme),
            // As many environments have it.
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, at) = match rest.rsplit_once('@') {
            Some((user, at)) => (Some(user), at),
            None => (None, rest),
        };
        if !user.is_none_or(is_user) {
            return Err(InvalidProxy::User);
        }
        let at = at.parse().map_err(|_| InvalidProxy::Host)?;
        Ok(Self { at, user: user.map(|user| Zeroizing::new(user.into())) })
    }
}

/// Returns whether this is the user and password of a URL (RFC 3986 §3.2.1).
fn is_user(text: &str) -> bool {
    let mut pieces = text.split('%');
    let is_plain = |piece: &str| {
        piece.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(&byte))
    };
    let is_encoded = |piece: &str| {
        piece.len() >= 2 && piece.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()) && is_plain(piece)
    };
    !text.is_empty() && pieces.next().is_some_and(is_plain) && pieces.all(is_encoded)
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.user.is_some() { "[secret]@" } else { "" };
        write!(f, "http://{user}{}", self.at)
    }
}

/// Not a proxy that can be used. Deliberately without the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    #[error(
        "expected an HTTP proxy, such as http://proxy.example.org:3128: it is asked in clear, and carries TLS; no other \
         kind of proxy is spoken"
    )]
    Scheme,
    #[error("expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
    Host,
    #[error(
        "expected the user and the password of the proxy percent-encoded, as in http://user:p%40ss@proxy.example.org:3128 \
         for p@ss"
    )]
    User,
}

/// A host, the hosts below a domain, an address, a network, or `*` for all: dialled without the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproxied(String);

impl Unproxied {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Unproxied {
    type Err = InvalidUnproxied;

    fn from_str(text: &str) -> Result<Self, InvalidUnproxied> {
        let is_name = |text: &str| {
            let name = text.strip_prefix('.').unwrap_or(text);
            (1..=NO_PROXY_CHARS_MAX).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_good =
            text == "*" || is_name(text) || text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
        if is_good { Ok(Self(text.into())) } else { Err(InvalidUnproxied) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a host such as gateway.example.org, .example.org for those below it, an address, a network, or *"
)]
pub struct InvalidUnproxied;

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Result<ProxyUrl, InvalidProxy> {
        text.parse()
    }

    #[test]
    fn a_proxy_reads_with_and_without_a_user() {
        for (text, revealed) in [
            ("http://proxy.example.org:3128", "http://proxy.example.org:3128"),
            ("HTTP://192.0.2.1:8080/", "http://192.0.2.1:8080"),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
            ("proxy.example.org:3128", "http://proxy.example.org:3128"),
            ("http://mirth:pa%40ss@proxy:3128", "http://mirth:pa%40ss@proxy:3128"),
            ("http://mirth@proxy:3128", "http://mirth@proxy:3128"),
        ] {
            let read = proxy(text).unwrap();
            assert_eq!(&**read.reveal(), revealed);
            assert_eq!(read.holds_secret(), text.contains('@'));
        }
    }

    #[test]
    fn a_host_that_goes_without_is_no_longer_than_a_name_may_be() {
        assert!("a".repeat(NO_PROXY_CHARS_MAX).parse::<Unproxied>().is_ok());
        assert!("a".repeat(NO_PROXY_CHARS_MAX + 1).parse::<Unproxied>().is_err());
    }

    #[test]
    fn no_user_or_password_is_ever_printed() {
        let read = proxy("http://mirth:hunter2@proxy:3128").unwrap();
        assert_eq!(read.to_string(), "proxy:3128");
        assert_eq!(format!("{read:?}"), "http://[secret]@proxy:3128");
        let settings = ProxySettings { proxy: Some(read), no_proxy: None };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_and_never_quoted() {
        for (text, expected) in [
            ("https://proxy:3128", InvalidProxy::Scheme),
            ("socks5://hunter2@proxy:1080", InvalidProxy::Scheme),
            ("http://proxy", InvalidProxy::Host),
            ("http://proxy:3128/hunter2", InvalidProxy::Host),
            ("", InvalidProxy::Host),
            ("http://mirth:hunter2@", InvalidProxy::Host),
            ("http://mirth:hunter@2@proxy:3128", InvalidProxy::User),
            ("http://mirth:hunter%2@proxy:3128", InvalidProxy::User),
            ("http://mirth:hunter%zz@proxy:3128", InvalidProxy::User),
            ("http://mirth:hunter 2@proxy:3128", InvalidProxy::User),
            ("http://@proxy:3128", InvalidProxy::User),
        ] {
            let error = proxy(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter"));
        }
    }

    #[test]
    fn only_hosts_domains_addresses_networks_and_all_go_without_a_proxy() {
        for text in
            ["gateway.example.org", ".example.org", "192.0.2.1", "10.0.0.0/8", "2001:db8::/32", "::1", "*"]
        {
            assert_eq!(text.parse::<Unproxied>().map(|read| read.as_str().to_owned()).as_deref(), Ok(text));
        }
        for text in ["", ".", "a,b", "a b", "*.example.org", "gateway:443", "http://gateway", "10.0.0.0/33"] {
            assert_eq!(text.parse::<Unproxied>(), Err(InvalidUnproxied), "{text}");
        }
    }
}
