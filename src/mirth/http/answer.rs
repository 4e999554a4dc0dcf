//! Answers of our own: a status and one sentence, complete, and kept by nobody on the way.

use bytes::{BufMut, BytesMut};

use super::write::{put, put_line};

/// Tells a client that waits with its body to send it.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends a complete answer. `head_only`: it answers HEAD, so its body is only announced.
pub fn answer(status: u16, reason: &str, closes: bool, head_only: bool, out: &mut BytesMut) {
    put(format_args!("HTTP/1.1 {status} {}\r\n", phrase(status)), out);
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

/// RFC 9110 §15; the phrase says nothing that the number does not.
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
