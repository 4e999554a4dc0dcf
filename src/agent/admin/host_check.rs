//! The Host of a client's first request, looked for in the bytes as they come: a page from elsewhere
//! whose name was made to lead to this host must not reach the partner's Mirth with its reader's
//! rights. A browser keeps one name to a connection, so the first request speaks for all; what the
//! requests mean is judged on the managed side.

use std::net::SocketAddr;

use memchr::memchr;

use adit_core::domain::limits::{ADMIN_HEAD_BYTES_MAX, ADMIN_HEADERS_MAX};

/// Names by which one listener may be asked for, each with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hosts(Vec<String>);

/// What is known of a first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// More bytes must come.
    NotYet,
    Ours,
    /// Another name, more than one, or none.
    Foreign,
}

impl Hosts {
    /// Makes the check. Loopback has three names; `names` are the file's own, with a port where it is not the
    /// listener's: a forwarded one. Where `listen` is every address of the host, `reached` is the one that
    /// the client used: no page can make a browser ask for an address that it does not go to.
    #[must_use]
    pub(super) fn new(listen: SocketAddr, reached: SocketAddr, names: &[String]) -> Self {
        let port = listen.port();
        let reached = SocketAddr::new(reached.ip().to_canonical(), port);
        let listen = if listen.ip().is_unspecified() { reached } else { listen };
        let loopback = if listen.ip().is_loopback() {
            vec![format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")]
        } else {
            Vec::new()
        };
        let chosen =
            names.iter().map(|name| if name.contains(':') { name.clone() } else { format!("{name}:{port}") });
        Self(std::iter::once(listen.to_string()).chain(loopback).chain(chosen).collect())
    }

    fn has(&self, value: &[u8]) -> bool {
        let value = value.trim_ascii().to_ascii_lowercase();
        // A port of 443 is not written.
        self.0.iter().any(|host| {
            host.as_bytes() == value || host.strip_suffix(":443").is_some_and(|bare| bare.as_bytes() == value)
        })
    }
}

/// Reads along until the first head ends, each byte once.
#[derive(Debug, Default)]
pub(super) struct HostScan {
    /// Where the line begins that has no end yet, and how far it was looked through.
    line: usize,
    looked: usize,
    lines: usize,
    found: Option<bool>,
}

impl HostScan {
    /// Judges the head that begins `bytes`, of which only the end is new: at its end, so that a second
    /// Host cannot follow.
    pub(super) fn check(&mut self, hosts: &Hosts, bytes: &[u8]) -> Host {
        while let Some(end) = memchr(b'\n', &bytes[self.looked..]) {
            let end = self.looked + end;
            let line = &bytes[self.line..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.line = end + 1;
            self.looked = end + 1;
            if line.is_empty() && self.lines == 0 {
                continue;
            }
            if line.is_empty() {
                return if self.found == Some(true) { Host::Ours } else { Host::Foreign };
            }
            self.lines += 1;
            if let Some(value) = host_value(line)
                && self.found.replace(hosts.has(value)).is_some()
            {
                return Host::Foreign;
            }
        }
        self.looked = bytes.len();
        let is_too_much = bytes.len() > ADMIN_HEAD_BYTES_MAX || self.lines > ADMIN_HEADERS_MAX + 1;
        if is_too_much { Host::Foreign } else { Host::NotYet }
    }
}

fn host_value(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr(b':', line)?;
    line[..colon].trim_ascii().eq_ignore_ascii_case(b"host").then(|| &line[colon + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        hosts_of("127.0.0.1:8443", "127.0.0.1:8443", &["mirth.partner".into()])
    }

    fn hosts_of(listen: &str, reached: &str, names: &[String]) -> Hosts {
        Hosts::new(listen.parse().unwrap(), reached.parse().unwrap(), names)
    }

    #[track_caller]
    fn check(head: &str, expected: Host) {
        assert_eq!(HostScan::default().check(&hosts(), head.as_bytes()), expected, "{head:?}");
        let mut scan = HostScan::default();
        let mut byte_by_byte = (1..=head.len()).map(|end| scan.check(&hosts(), &head.as_bytes()[..end]));
        let first = byte_by_byte.find(|host| *host != Host::NotYet).unwrap_or(Host::NotYet);
        assert_eq!(first, expected, "{head:?} byte by byte");
    }

    #[test]
    fn a_head_that_never_ends_is_foreign_at_its_bound() {
        let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(count));
        check(&lines(ADMIN_HEADERS_MAX), Host::NotYet);
        check(&lines(ADMIN_HEADERS_MAX + 1), Host::Foreign);
        let one = |bytes: usize| HostScan::default().check(&hosts(), &vec![b'x'; bytes]);
        assert_eq!((one(ADMIN_HEAD_BYTES_MAX), one(ADMIN_HEAD_BYTES_MAX + 1)), (Host::NotYet, Host::Foreign));
    }

    #[test]
    fn only_the_names_of_the_listener_are_served() {
        for host in ["127.0.0.1:8443", "localhost:8443", "LOCALHOST:8443", "[::1]:8443", "mirth.partner:8443"]
        {
            check(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), Host::Ours);
        }
        for host in [
            "evil.example:8443",
            "127.0.0.1",
            "localhost:8444",
            "127.0.0.1:8443.evil",
            "",
            "a@localhost:8443",
        ] {
            check(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), Host::Foreign);
        }
        let usual = hosts_of("10.1.2.3:443", "10.1.2.3:443", &[]);
        let check = |head: &[u8]| HostScan::default().check(&usual, head);
        assert_eq!(check(b"GET / HTTP/1.1\r\nHost: 10.1.2.3\r\n\r\n"), Host::Ours);
        assert_eq!(check(b"GET / HTTP/1.1\r\nHost: localhost:443\r\n\r\n"), Host::Foreign);
    }

    #[test]
    fn a_forwarded_port_is_served_where_the_file_names_it() {
        let names = ["mirth.partner:443".into(), "other.partner".into()];
        let hosts = hosts_of("0.0.0.0:9443", "172.17.0.2:9443", &names);
        let check = |host: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            HostScan::default().check(&hosts, head.as_bytes())
        };
        for host in ["mirth.partner", "mirth.partner:443", "other.partner:9443", "172.17.0.2:9443"] {
            assert_eq!(check(host), Host::Ours, "{host}");
        }
        for host in ["mirth.partner:9443", "other.partner", "other.partner:443", "evil.example:443"] {
            assert_eq!(check(host), Host::Foreign, "{host}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_for_the_one_it_was_reached_at() {
        let at = |reached: &str, host: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            HostScan::default().check(&hosts_of("[::]:8443", reached, &[]), head.as_bytes())
        };
        assert_eq!(at("[::ffff:10.1.2.3]:8443", "10.1.2.3:8443"), Host::Ours);
        assert_eq!(at("[::1]:8443", "localhost:8443"), Host::Ours);
        assert_eq!(at("[::ffff:10.1.2.3]:8443", "localhost:8443"), Host::Foreign);
        assert_eq!(at("[::ffff:10.1.2.3]:8443", "evil.example:8443"), Host::Foreign);
    }

    #[test]
    fn only_a_whole_head_with_one_host_is_ours() {
        check("GET / HTTP/1.1\r\n\r\n", Host::Foreign);
        check("GET / HTTP/1.1\r\nHost: localhost:8443\r\nhost : evil:1\r\n\r\n", Host::Foreign);
        check("GET / HTTP/1.1\r\nHost: localhost:8443\r\nX: y\r\n", Host::NotYet);
        check("\r\n\nGET / HTTP/1.1\nHost: localhost:8443\n\n", Host::Ours);
        check("", Host::NotYet);
    }
}
