//! Keeps the user `bypass` out: Mirth honours it from local addresses, and the agent makes every
//! partner local (MIRTH §3.9).
//!
//! Mirth decodes leniently (it skips what is no base64), and old versions decode any scheme and
//! none. So a value passes only if it is `Basic` with base64 as RFC 4648 §4 writes it.

const BYPASS: &[u8] = b"bypass";

/// Returns whether `value` surely names another user.
pub(super) fn is_harmless(value: &[u8]) -> bool {
    let Some((scheme, encoded)) = value.split_at_checked(6) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Basic ") && decode(encoded).is_some_and(|login| !is_bypass(&login))
}

/// Recognises it: old versions split at colons and skip empty parts, so `:bypass:…` names the user too.
fn is_bypass(login: &[u8]) -> bool {
    let mut parts = login.split(|byte| *byte == b':').filter(|part| !part.is_empty());
    parts.next().is_some_and(|user| user.trim_ascii().eq_ignore_ascii_case(BYPASS))
}

/// Decodes padded base64 without anything else in it.
fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    if !encoded.len().is_multiple_of(4) {
        return None;
    }
    let digits = encoded.strip_suffix(b"==").or_else(|| encoded.strip_suffix(b"=")).unwrap_or(encoded);
    let mut decoded = Vec::with_capacity(encoded.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | sextet(*digit)?;
        }
        let [_, bytes @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        // Bits beyond the last whole byte must be none: two spellings of one login are one too many.
        let (whole, spare) = bytes.split_at(group.len() * 6 / 8);
        if spare.iter().any(|byte| *byte != 0) {
            return None;
        }
        decoded.extend_from_slice(whole);
    }
    Some(decoded)
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}
