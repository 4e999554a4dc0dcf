//! A page of Mirth with its own addresses set right, in pieces as it comes.
//!
//! They stand in scripts, as `'https://' + window.location.hostname + ':8443/webstart.jnlp'` (the launch
//! button: the port is the one that the page's session began with, or a constant), and may stand in
//! attributes. Text that people read, such as a channel's name, is not touched.

use bytes::{BufMut, BytesMut};
use memchr::memchr2;

use super::address::Addresses;

/// No address that is looked for is longer.
const LOOK_BYTES: usize = 512;

#[derive(Debug, Default)]
pub struct PageWriter {
    /// What has not been passed on: an address may end in the next piece.
    held: Vec<u8>,
    /// The byte before it.
    last: u8,
}

impl PageWriter {
    pub fn data(&mut self, bytes: &[u8], addresses: &Addresses, out: &mut BytesMut) {
        self.held.extend_from_slice(bytes);
        self.pass(self.held.len().saturating_sub(LOOK_BYTES), addresses, out);
    }

    /// Passes on what is left.
    pub fn end(&mut self, addresses: &Addresses, out: &mut BytesMut) {
        self.pass(self.held.len(), addresses, out);
    }

    /// Passes on all that begins before `until`.
    fn pass(&mut self, until: usize, addresses: &Addresses, out: &mut BytesMut) {
        let mut done = 0;
        let mut at = 0;
        while let Some(found) = self.held.get(at..until).and_then(|rest| memchr2(b'h', b'l', rest)) {
            let start = at + found;
            let before = if start == 0 { self.last } else { self.held[start - 1] };
            let window = &self.held[start..self.held.len().min(start + LOOK_BYTES)];
            at = start + 1;
            if let Some((taken, new)) = replaced(before, window, addresses) {
                out.put_slice(&self.held[done..start]);
                out.put_slice(&new);
                at = start + taken;
                done = at;
            }
        }
        let end = until.max(done);
        out.put_slice(&self.held[done..end]);
        self.last = end.checked_sub(1).map_or(self.last, |last| self.held[last]);
        self.held.drain(..end);
    }
}

/// Returns how much of the window's beginning becomes what.
fn replaced(before: u8, window: &[u8], addresses: &Addresses) -> Option<(usize, Vec<u8>)> {
    let text = ascii(window);
    if text.starts_with("location.host") {
        let (taken, port) = port_after(text, false)?;
        return Some((taken, with_port(&text[..taken], port, addresses)));
    }
    let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme))?;
    if !matches!(before, b'"' | b'\'' | b'=' | b'(') {
        return None;
    }
    let rest = &text[scheme.len()..];
    if rest.starts_with(['"', '\'']) {
        let (taken, port) = port_after(rest, true)?;
        let new = ["https://".as_bytes(), &with_port(&rest[..taken], port, addresses)].concat();
        return Some((scheme.len() + taken, new));
    }
    let is_end = |letter: char| letter.is_ascii_whitespace() || "\"'<>)\\".contains(letter);
    let end = text.find(is_end).unwrap_or(text.len());
    addresses.own(&text[..end]).map(|own| (end, own.into_bytes()))
}

/// Returns the text as far as it is ASCII: addresses are.
fn ascii(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

/// What stands where the port of the script's address belongs.
#[derive(Clone, Copy)]
enum Port {
    /// `location.host` has it already.
    Given,
    /// So many bytes at the end are its digits.
    Digits(usize),
    /// None: the address would lead to the usual one.
    Missing,
}

/// Reads `'…' + window.location.hostname + ':8443` up to its port. With `from_quote` it begins at the quote that
/// ends the scheme.
fn port_after(text: &str, from_quote: bool) -> Option<(usize, Port)> {
    let mut rest = text;
    if from_quote {
        rest = plus(rest[1..].trim_start())?;
        while let Some(object) =
            ["window.", "document.", "self.", "top.", "parent."].into_iter().find(|o| rest.starts_with(o))
        {
            rest = &rest[object.len()..];
        }
    }
    rest = rest.strip_prefix("location.host")?;
    let Some(after) = rest.strip_prefix("name") else {
        return from_quote.then_some((text.len() - rest.len(), Port::Given));
    };
    let quoted = plus(after.trim_start()).and_then(|rest| rest.strip_prefix(['"', '\'']));
    match quoted {
        Some(quoted) if quoted.starts_with(':') => {
            let digits = quoted[1..].bytes().take_while(u8::is_ascii_digit).count();
            (digits > 0).then(|| (text.len() - quoted.len() + 1 + digits, Port::Digits(digits)))
        }
        Some(quoted) if from_quote && quoted.starts_with('/') => {
            Some((text.len() - quoted.len(), Port::Missing))
        }
        _ => None,
    }
}

fn plus(text: &str) -> Option<&str> {
    text.strip_prefix('+').map(str::trim_start)
}

fn with_port(text: &str, port: Port, addresses: &Addresses) -> Vec<u8> {
    match port {
        Port::Given => text.into(),
        Port::Digits(digits) => format!("{}{}", &text[..text.len() - digits], addresses.port()).into_bytes(),
        Port::Missing => format!("{text}:{}", addresses.port()).into_bytes(),
    }
}
