//! `METHOD SP target SP HTTP/1.1`, and nothing that only resembles it. Jetty takes other blanks for
//! the space, folds a method's letters, and reads absolute targets and fragments (MIRTH §3.1).

use memchr::memchr;

use super::BadRequest;
use super::field::{is_token, is_token_byte};
use adit_core::domain::limits::{ADMIN_METHOD_BYTES_MAX, ADMIN_TARGET_BYTES_MAX};

const VERSION: &[u8] = b"HTTP/1.1";
/// The longest line that can be one, with its CR LF.
pub(super) const BYTES_MAX: usize =
    ADMIN_METHOD_BYTES_MAX + 1 + ADMIN_TARGET_BYTES_MAX + 1 + VERSION.len() + 2;

const METHOD: BadRequest =
    BadRequest::malformed("A request must begin with a method in capital letters, such as GET.");
const SHAPE: BadRequest =
    BadRequest::malformed("A request line must read METHOD, one space, target, one space, HTTP/1.1.");

const TOO_LONG: BadRequest =
    BadRequest { status: 414, reason: "The request's target is longer than 8 KiB; ask for less at a time." };

/// Parses method and target.
pub(super) fn parse(line: &[u8]) -> Result<(&str, &str), BadRequest> {
    let window = &line[..line.len().min(ADMIN_METHOD_BYTES_MAX + 1)];
    let method_end = memchr(b' ', window).ok_or(METHOD)?;
    let method = method(&line[..method_end])?;
    let rest = &line[method_end + 1..];
    let window = &rest[..rest.len().min(ADMIN_TARGET_BYTES_MAX + 1)];
    let Some(target_end) = memchr(b' ', window) else {
        return Err(if rest.len() > ADMIN_TARGET_BYTES_MAX { TOO_LONG } else { SHAPE });
    };
    let target = target(&rest[..target_end])?;
    version(&rest[target_end + 1..])?;
    Ok((method, target))
}

/// Returns what is wrong with a line of more than [`BYTES_MAX`] bytes. Its first bytes tell, so the fault is
/// the same however much of the line is there.
pub(super) fn overlong(line: &[u8]) -> BadRequest {
    parse(&line[..line.len().min(BYTES_MAX)]).err().unwrap_or(SHAPE)
}

/// Checks whether a request may begin with `byte`; a TLS or MLLP client is told at once.
pub(super) fn check_first_byte(byte: u8) -> Result<(), BadRequest> {
    if is_token_byte(byte) { Ok(()) } else { Err(METHOD) }
}

/// Reads the method: methods are case-sensitive (RFC 9110 §9.1), but Jetty 9.4 takes `delete` for DELETE.
fn method(method: &[u8]) -> Result<&str, BadRequest> {
    if !is_token(method) || method.iter().any(u8::is_ascii_lowercase) {
        return Err(METHOD);
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(BadRequest { status: 501, reason: "CONNECT and TRACE are not served here." });
    }
    std::str::from_utf8(method).map_err(|_| METHOD)
}

/// Reads the target: origin-form alone (RFC 9112 §3.2.1). Two slashes at the start can be read as the name of
/// a host.
fn target(target: &[u8]) -> Result<&str, BadRequest> {
    if !target.starts_with(b"/") {
        return Err(BadRequest::malformed("The request's target must be a path that begins with a slash."));
    }
    if target.starts_with(b"//") {
        return Err(BadRequest::malformed("The request's target may not begin with two slashes."));
    }
    let text = target.iter().copied().all(is_target_byte).then_some(target);
    text.and_then(|text| std::str::from_utf8(text).ok())
        .ok_or(BadRequest::malformed("The request's target holds a character that must be percent-encoded."))
}

/// Recognises visible ASCII but for what RFC 3986 allows nowhere in a URI, and `#`: a fragment is never sent.
const fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn version(version: &[u8]) -> Result<(), BadRequest> {
    match version {
        VERSION => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(BadRequest { status: 505, reason: "Only HTTP/1.1 is spoken here." })
        }
        _ => Err(SHAPE),
    }
}
