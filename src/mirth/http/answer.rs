//! Answers of our own: a status and one sentence, complete, and kept by nobody on the way.
//!
//! Of an answer that is no success the Administrator, the command line and the client library show the
//! status line alone (MIRTH §3.7a), so the sentence stands in its reason phrase too.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::write::{put, put_line};

/// Tells a client that waits with its body to send it.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a reason phrase may have: clients put it into one line of a dialog.
pub const REASON_PHRASE_BYTES_MAX: usize = 200;

/// Appends a complete answer. `head_only`: it answers HEAD, so its body is only announced.
pub fn answer(status: u16, reason: &str, closes: bool, head_only: bool, out: &mut BytesMut) {
    let phrase = if reason.is_empty() { Cow::Borrowed(phrase(status)) } else { reason_phrase(reason) };
    put(format_args!("HTTP/1.1 {status} {phrase}\r\n"), out);
    out.put_slice(b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if closes {
        put_line("Connection", "close", out);
    }
    // No content, so no length either (RFC 9110 §8.6).
    if status == 204 {
        out.put_slice(b"\r\n");
        return;
    }
    put_line("Content-Type", "text/plain; charset=utf-8", out);
    put_line("Content-Length", reason.len() + 1, out);
    out.put_slice(b"\r\n");
    if !head_only {
        put(format_args!("{reason}\n"), out);
    }
}

/// Returns the sentence as it may stand in a status line: one line of printable ASCII (RFC 9112 §4 takes
/// more, but some clients do not). Our own sentences pass as they are.
#[must_use]
pub fn reason_phrase(sentence: &str) -> Cow<'_, str> {
    let is_plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if sentence.len() <= REASON_PHRASE_BYTES_MAX && is_plain(sentence) {
        return Cow::Borrowed(sentence);
    }
    let plain = sentence.chars().map(|letter| match letter {
        ' '..='~' => letter,
        letter if letter.is_whitespace() => ' ',
        _ => '?',
    });
    Cow::Owned(plain.take(REASON_PHRASE_BYTES_MAX).collect())
}

/// Returns the phrase of RFC 9110 §15; for answers without a sentence.
const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_line(status: u16, reason: &str, head_only: bool) -> String {
        let mut out = BytesMut::new();
        answer(status, reason, false, head_only, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        text.split("\r\n").next().unwrap().to_owned()
    }

    #[test]
    fn the_sentence_stands_in_the_status_line() {
        let sentence = "view-only: this request may not have a body";
        for head_only in [false, true] {
            assert_eq!(status_line(403, sentence, head_only), format!("HTTP/1.1 403 {sentence}"));
        }
        assert_eq!(status_line(503, "adit: x", false), "HTTP/1.1 503 adit: x");
    }

    #[test]
    fn an_answer_without_a_sentence_has_the_usual_phrase() {
        assert_eq!(status_line(204, "", false), "HTTP/1.1 204 No Content");
        assert_eq!(status_line(429, "", false), "HTTP/1.1 429 Too Many Requests");
    }

    #[test]
    fn a_reason_phrase_is_one_short_line_of_printable_ascii_whatever_the_sentence() {
        let long = "x".repeat(REASON_PHRASE_BYTES_MAX + 1);
        for (sentence, expected) in [
            ("a\r\nSet-Cookie: b", "a  Set-Cookie: b"),
            ("tab\there", "tab here"),
            ("\u{1b}[31m \u{7f}\0", "?[31m ??"),
            ("caf\u{e9} \u{202e}\u{2028}", "caf? ? "),
            (long.as_str(), &long[1..]),
            (&long[1..], &long[1..]),
        ] {
            assert_eq!(reason_phrase(sentence), expected, "{sentence:?}");
        }
    }
}
