//! Absolute addresses of Mirth, in headers and pages: which are its own, and what they become.

use std::net::IpAddr;

use super::super::http::ResponseHead;

/// By which address a client reaches the managed Mirth, and what else Mirth may call itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The client's `Host`: a name or an address, and a port unless it is 443.
    asked: String,
    /// Of the owner's file.
    own_name: String,
    /// Mirth's `http.contextpath` without a slash at its end.
    context: String,
}

const HTTPS_PORT: u16 = 443;

/// An absolute address, cut up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address<'a> {
    is_https: bool,
    name: &'a str,
    port: u16,
    /// Path, query and fragment.
    rest: &'a str,
}

impl<'a> Address<'a> {
    /// Parses an address; none for what is no absolute address of HTTP, or has room for a second reading.
    fn parse(text: &'a str) -> Option<Self> {
        let (is_https, rest) = match (after(text, "https://"), after(text, "http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (name, port) = split_port(authority)?;
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        let port = port.unwrap_or(if is_https { HTTPS_PORT } else { 80 });
        (!name.is_empty() && name.bytes().all(is_of_name)).then_some(Self { is_https, name, port, rest })
    }
}

impl Addresses {
    /// Makes it; `asked` is a valid `Host`, `context` is `/` or such as `/mirth`.
    #[must_use]
    pub fn new(asked: &str, own_name: &str, context: &str) -> Self {
        let context = context.trim_end_matches('/').to_owned();
        Self { asked: asked.to_owned(), own_name: own_name.to_owned(), context }
    }

    pub(super) fn port(&self) -> u16 {
        split_port(&self.asked).and_then(|(_, port)| port).unwrap_or(HTTPS_PORT)
    }

    /// Returns where the whole of Mirth is, written as `written` if that says the same already.
    pub(super) fn server(&self, written: &str) -> Option<String> {
        let address = Address::parse(written)?;
        let is_below = address.rest.trim_end_matches('/') == self.context;
        let path = if is_below { address.rest } else { &self.context };
        Some(if is_below && self.is_asked(&address) {
            written.into()
        } else {
            format!("https://{}{path}", self.asked)
        })
    }

    /// Returns an address of Mirth's own as the client must have it; none for any other.
    pub(super) fn own(&self, written: &str) -> Option<String> {
        let address = Address::parse(written).filter(|address| self.is_own(address))?;
        Some(if self.is_asked(&address) {
            written.into()
        } else {
            format!("https://{}{}", self.asked, address.rest)
        })
    }

    /// Returns this address at the one that was asked for, whatever it names.
    pub(super) fn asked(&self, written: &str) -> Option<String> {
        let address = Address::parse(written)?;
        Some(if self.is_asked(&address) {
            written.into()
        } else {
            format!("https://{}{}", self.asked, address.rest)
        })
    }

    fn is_asked(&self, address: &Address<'_>) -> bool {
        let asked = split_port(&self.asked).map_or(self.asked.as_str(), |(name, _)| name);
        address.is_https && address.port == self.port() && is_same(address.name, asked)
    }

    /// Recognises the name it was asked by, its own, any of a host's own, and wherever it has its pages.
    fn is_own(&self, address: &Address<'_>) -> bool {
        let asked = split_port(&self.asked).map_or(self.asked.as_str(), |(name, _)| name);
        let has_page = |page: &str| {
            let below =
                address.rest.strip_prefix(self.context.as_str()).and_then(|rest| rest.strip_prefix(page));
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.', '?', '#']))
        };
        is_same(address.name, asked)
            || is_same(address.name, &self.own_name)
            || is_of_every_host(address.name)
            || ["/webstart", "/webadmin"].into_iter().any(has_page)
    }

    /// Sets right the headers that lead a client on.
    pub fn amend(&self, head: &mut ResponseHead) {
        for header in &mut head.headers {
            let is_refresh = header.is("refresh");
            if !is_refresh && !header.is("location") && !header.is("content-location") {
                continue;
            }
            let Ok(value) = std::str::from_utf8(&header.value) else { continue };
            let start = if is_refresh { url_in_refresh(value) } else { Some(0) };
            let Some((before, address)) = start.and_then(|start| value.split_at_checked(start)) else {
                continue;
            };
            if let Some(own) = self.own(address) {
                header.value = [before, &own].concat().into_bytes();
            }
        }
    }
}

/// Finds the URL in `0; url=…`
fn url_in_refresh(value: &str) -> Option<usize> {
    let at = value.to_ascii_lowercase().find("url=")? + "url=".len();
    let quotes = value[at..].bytes().take_while(|byte| matches!(byte, b'\'' | b'"' | b' ')).count();
    Some(at + quotes)
}

fn after<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Returns the name, an IPv6 one in its brackets, and the port if there is one; none if it is no port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let colon = match authority.rfind(']') {
        Some(end) => authority[end..].find(':').map(|at| end + at),
        None => authority.find(':'),
    };
    let Some(colon) = colon else { return Some((authority, None)) };
    let digits = &authority[colon + 1..];
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty();
    let port = is_number.then(|| digits.parse().ok()).flatten()?;
    Some((&authority[..colon], Some(port)))
}

fn is_same(name: &str, other: &str) -> bool {
    let plain = |name: &str| name.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    match (plain(name).parse::<IpAddr>(), plain(other).parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one.to_canonical() == other.to_canonical(),
        _ => plain(name) == plain(other),
    }
}

/// Returns whether it is of every host: to its reader it is the reader's own host.
fn is_of_every_host(name: &str) -> bool {
    let bare = name.trim_matches(['[', ']']);
    let is_such =
        |address: IpAddr| address.to_canonical().is_loopback() || address.to_canonical().is_unspecified();
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(is_such)
}
