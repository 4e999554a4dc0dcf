//! What a Host header may say: a name or an address, and perhaps a port (RFC 9110 §7.2). Mirth builds
//! its redirects and the Administrator's launch file from it.

use std::net::Ipv6Addr;
use std::num::NonZeroU16;

pub(super) fn is_valid(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    is_name(name) && port.is_none_or(is_port)
}

/// Recognises names of hosts as they occur; the sub-delimiters and escapes of RFC 3986 §3.2.2 do not.
fn is_name(name: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !name.is_empty() && name.bytes().all(is_name_byte)
}

fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<NonZeroU16>().is_ok()
}
