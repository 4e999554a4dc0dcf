//! What each header of a request may be: which frame the body, which may come once, which are refused
//! because some server somewhere obeys them, and which are not passed on.

use super::field::{Field, decimal, elements};
use super::{BadRequest, Framing, Header, authorization, host};

/// What the headers of one head have said so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Those that may come once, and have come.
    singles: Vec<Kind>,
    framing: Option<Framing>,
    pub(super) closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    ContentType,
    ContentEncoding,
    Authorization,
    Refused(&'static str),
    /// Speaks of this hop alone, or claims what only we may say; not passed on.
    Dropped,
}

/// In ISO-8859-1.
const NO_BREAK_SPACE: u8 = 0xa0;
const UPGRADE: &str = "Protocols are not upgraded here: leave out Upgrade and HTTP2-Settings.";
const TRAILER: &str = "Trailers are not taken here: leave out the Trailer header.";
const OVERRIDE: &str = "Headers that replace the method or the path are refused: send the real ones.";

/// Longer than every name below.
const NAME_BYTES_KNOWN: usize = 24;

/// Returns how a header is treated in a way of its own; all others pass as they are.
fn kind(name: &str) -> Option<Kind> {
    let mut start = [0; NAME_BYTES_KNOWN];
    let known = name.len().min(NAME_BYTES_KNOWN);
    let start = &mut start[..known];
    start.copy_from_slice(&name.as_bytes()[..known]);
    start.make_ascii_lowercase();
    let kind = match &*start {
        b"host" => Kind::Host,
        b"content-length" => Kind::ContentLength,
        b"transfer-encoding" => Kind::TransferEncoding,
        b"connection" => Kind::Connection,
        b"expect" => Kind::Expect,
        b"content-type" => Kind::ContentType,
        b"content-encoding" => Kind::ContentEncoding,
        b"authorization" => Kind::Authorization,
        b"upgrade" | b"http2-settings" => Kind::Refused(UPGRADE),
        b"trailer" => Kind::Refused(TRAILER),
        b"x-method-override" | b"x-original-method" | b"x-original-host" | b"x-original-url"
        | b"x-original-uri" | b"x-rewrite-url" | b"x-rewrite-uri" => Kind::Refused(OVERRIDE),
        // The last, with X-Forwarded-* and Proxy-*, is what Jetty's ForwardedRequestCustomizer believes.
        b"keep-alive" | b"te" | b"forwarded" | b"via" | b"proxy" | b"x-real-ip" | b"x-client-ip"
        | b"x-forwarded" | b"x-proxied-https" => Kind::Dropped,
        start if start.starts_with(b"x-http-method") => Kind::Refused(OVERRIDE),
        start if start.starts_with(b"x-forwarded-") || start.starts_with(b"proxy-") => Kind::Dropped,
        _ => return None,
    };
    Some(kind)
}

/// Returns whether `header` goes on to Mirth as it came. The framing headers do not: we write our own.
pub(super) fn is_forwarded(header: &Header) -> bool {
    match kind(&header.name) {
        None | Some(Kind::Host | Kind::ContentType | Kind::ContentEncoding | Kind::Authorization) => true,
        Some(
            Kind::ContentLength
            | Kind::TransferEncoding
            | Kind::Connection
            | Kind::Expect
            | Kind::Refused(_)
            | Kind::Dropped,
        ) => false,
    }
}

impl Findings {
    pub(super) fn take(&mut self, field: &Field<'_>) -> Result<(), BadRequest> {
        if field.name.contains('_') {
            return Err(BadRequest::malformed("A header's name may not hold an underscore."));
        }
        // To Jetty's memory of headers it is a space; see `write`.
        if field.value().first() == Some(&NO_BREAK_SPACE) {
            return Err(BadRequest::malformed("A header's value may not begin with a no-break space."));
        }
        match kind(field.name) {
            None | Some(Kind::Dropped) => Ok(()),
            Some(Kind::Refused(reason)) => Err(BadRequest::malformed(reason)),
            Some(Kind::Host) => self.take_host(field.strict_value()),
            Some(Kind::ContentLength) => self.take_length(field.strict_value()),
            Some(Kind::TransferEncoding) => self.take_coding(field.strict_value()),
            Some(Kind::Connection) => self.take_connection(field.value()),
            Some(Kind::Expect) => self.take_expectation(field.value()),
            Some(Kind::ContentType) => self.once(Kind::ContentType, "Content-Type may be sent only once."),
            Some(Kind::ContentEncoding) => check_content_encoding(field.value()),
            Some(Kind::Authorization) => self.take_authorization(field.value()),
        }
    }

    /// Returns where the body ends and whether its sender waits for a `100 Continue`, once all headers are
    /// in.
    pub(super) fn end(&self) -> Result<(Framing, bool), BadRequest> {
        if !self.singles.contains(&Kind::Host) {
            return Err(BadRequest::malformed("A request must name its host in a Host header."));
        }
        let framing = self.framing.unwrap_or(Framing::None);
        let has_body = !matches!(framing, Framing::None | Framing::Length(0));
        Ok((framing, has_body && self.singles.contains(&Kind::Expect)))
    }

    fn take_host(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        self.once(Kind::Host, "Host may be sent only once.")?;
        if host::is_valid(value) {
            return Ok(());
        }
        Err(BadRequest::malformed("The Host header must be a name or an address, and perhaps a port."))
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        let length = decimal(value)
            .ok_or(BadRequest::malformed("Content-Length must be one number of at most 63 bits."))?;
        self.frame(Framing::Length(length))
    }

    /// Takes a coding: `chunked` alone is a coding that every HTTP/1.1 recipient knows (RFC 9112 §6.1).
    fn take_coding(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(BadRequest::malformed("Transfer-Encoding must be chunked and nothing else."));
        }
        self.frame(Framing::Chunked)
    }

    /// Frames the body: RFC 9112 §6.3 lets a recipient choose between two framings; two recipients may choose
    /// differently.
    fn frame(&mut self, framing: Framing) -> Result<(), BadRequest> {
        if self.framing.replace(framing).is_some() {
            return Err(BadRequest::malformed("A request must say the length of its body only once."));
        }
        Ok(())
    }

    /// Takes a Connection header: one who strips what Connection names (RFC 9110 §7.6.1) can be made to strip
    /// a framing header.
    fn take_connection(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        for option in elements(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                return Err(BadRequest::malformed(UPGRADE));
            } else if !option.eq_ignore_ascii_case(b"keep-alive") {
                return Err(BadRequest::malformed(
                    "Connection may say close or keep-alive and name no header.",
                ));
            }
        }
        Ok(())
    }

    fn take_expectation(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(BadRequest { status: 417, reason: "Only 100-continue can be expected here." });
        }
        self.once(Kind::Expect, "Expect may be sent only once.")
    }

    fn take_authorization(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        self.once(Kind::Authorization, "Authorization may be sent only once.")?;
        if authorization::is_harmless(value) {
            return Ok(());
        }
        let reason = "Authorization may only be Basic, for a user who may log in from elsewhere.";
        Err(BadRequest { status: 403, reason })
    }

    fn once(&mut self, kind: Kind, reason: &'static str) -> Result<(), BadRequest> {
        if self.singles.contains(&kind) {
            return Err(BadRequest::malformed(reason));
        }
        self.singles.push(kind);
        Ok(())
    }
}

/// Checks that it is not packed: a body that is packed cannot be judged, and Mirth's clients never pack one.
fn check_content_encoding(value: &[u8]) -> Result<(), BadRequest> {
    if value.eq_ignore_ascii_case(b"identity") {
        return Ok(());
    }
    Err(BadRequest { status: 415, reason: "Send the body as it is, without a Content-Encoding." })
}
