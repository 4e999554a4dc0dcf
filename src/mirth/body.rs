//! What a request of a view-only partner may carry: every operation names a kind of body, and every kind
//! says which content type, elements and values it may hold. Anything else is refused.
//!
//! Mirth reads bodies with `XStream`, which makes objects of what elements and attributes name. So a body
//! never goes on as it came: what was parsed is rewritten.

mod address;
mod characters;
mod form;
mod judging;
mod media_type;
mod schema;
#[cfg(test)]
mod tests;
mod xml;

use bytes::Bytes;

use schema::Root;

pub use address::Address;
pub use judging::Judging;

/// How the body of a request is treated; the words are those of `read-only-bodies.tsv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyKind {
    None,
    UuidSet,
    HeaderMap,
    IntMap,
    StringMap,
    MessageFilter,
    EventFilter,
    ConnectorMessage,
    Form,
    Text,
    MultipartSets,
    /// Read and thrown away: the request is answered here.
    Discard,
    /// The login form of the web dashboard. Not of the API, so the table has no row for it.
    WebLogin,
    /// Passed on as it comes, any size, never read: only where a partner has full control.
    Stream,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl BodyKind {
    pub const ALL: [Self; 14] = [
        Self::None,
        Self::UuidSet,
        Self::HeaderMap,
        Self::IntMap,
        Self::StringMap,
        Self::MessageFilter,
        Self::EventFilter,
        Self::ConnectorMessage,
        Self::Form,
        Self::Text,
        Self::MultipartSets,
        Self::Discard,
        Self::WebLogin,
        Self::Stream,
    ];

    /// Returns the word as written in the tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::UuidSet => "uuidset",
            Self::HeaderMap => "headermap",
            Self::IntMap => "intmap",
            Self::StringMap => "stringmap",
            Self::MessageFilter => "messagefilter",
            Self::EventFilter => "eventfilter",
            Self::ConnectorMessage => "connectormessage",
            Self::Form => "form",
            Self::Text => "text",
            Self::MultipartSets => "multipart-sets",
            Self::Discard => "discard",
            Self::WebLogin => "web-login",
            Self::Stream => "stream",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns how many bytes a body of this kind may have.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::None => 0,
            Self::Form | Self::WebLogin | Self::Text => 4 * KIB,
            // The message with its content goes back to the server for a DICOM view.
            Self::ConnectorMessage => 64 * MIB,
            Self::Stream => usize::MAX,
            _ => MIB,
        }
    }

    /// Returns what `Content-Type` must say; `None` where it does not matter.
    const fn media_type(self) -> Option<&'static str> {
        match self {
            Self::None | Self::MultipartSets | Self::Discard | Self::Stream => None,
            Self::Form | Self::WebLogin => Some("application/x-www-form-urlencoded"),
            Self::Text => Some("text/plain"),
            _ => Some("application/xml"),
        }
    }
}

/// Why a body was not passed on. Says nothing of what was in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    #[error("this request may carry no body in view-only access")]
    NotDue,
    #[error("the body is longer than the {bytes_max} bytes that this request may carry in view-only access")]
    TooLarge { bytes_max: usize },
    #[error("the body of this request must be {expected} in UTF-8, and its Content-Type must say so")]
    ContentType { expected: &'static str },
    #[error("the body is not plain UTF-8")]
    NotUtf8,
    #[error("the body is not one well-formed XML element")]
    Malformed,
    #[error("the body holds XML other than elements and text")]
    Markup,
    #[error("the body refers to something other than a character of XML")]
    Reference,
    #[error("the body holds a character that XML does not allow")]
    Character,
    #[error("the body holds an element that this request may not carry in view-only access")]
    Element,
    #[error("the body holds an attribute other than one plain class")]
    Attribute,
    #[error("the body names a class that this request may not carry in view-only access, or lacks one")]
    Class,
    #[error("the body holds a field twice")]
    Repeated,
    #[error("the body holds more elements than this request may carry in view-only access")]
    TooMany,
    #[error("the body holds a value that is not of its kind, or too long, or incomplete")]
    Value,
    #[error("the body names another channel than the path")]
    Channel,
    #[error("the body names another message than the path")]
    Message,
    #[error("the body goes deeper than this request may in view-only access")]
    TooDeep,
    #[error("the form must hold username and password, each once and properly encoded, and nothing else")]
    Form,
    #[error("the text holds control characters")]
    Text,
    #[error("forms of several parts are not passed on in view-only access; ask with GET instead")]
    Multipart,
    #[error("this body is passed on unread and is never judged")]
    Unread,
}

/// Returns what may be forwarded in place of `body`; a body as Mirth's own clients write it comes back
/// unchanged. `content_type` is the request's one header of that name.
pub fn judge(kind: BodyKind, content_type: Option<&[u8]>, body: &[u8]) -> Result<Bytes, BodyRefusal> {
    judge_for(kind, content_type, body, None)
}

/// Does as `judge`; and a body that names a channel or a message must name those of the request's path.
pub fn judge_for(
    kind: BodyKind,
    content_type: Option<&[u8]>,
    body: &[u8],
    address: Option<&Address>,
) -> Result<Bytes, BodyRefusal> {
    let bytes_max = kind.bytes_max();
    if body.len() > bytes_max {
        return Err(if bytes_max == 0 { BodyRefusal::NotDue } else { BodyRefusal::TooLarge { bytes_max } });
    }
    check_type(kind, content_type)?;
    match (kind, Root::of(kind)) {
        (_, Some(root)) => xml::rewrite(&root, body, bytes_max, address),
        (BodyKind::Form, _) => form::rewrite(form::LOGIN, body, bytes_max),
        (BodyKind::WebLogin, _) => form::rewrite(form::WEB_LOGIN, body, bytes_max),
        (BodyKind::Text, _) => plain_text(body),
        (BodyKind::MultipartSets, _) => Err(BodyRefusal::Multipart),
        (BodyKind::Stream, _) => Err(BodyRefusal::Unread),
        _ => Ok(Bytes::new()),
    }
}

fn check_type(kind: BodyKind, content_type: Option<&[u8]>) -> Result<(), BodyRefusal> {
    let Some(expected) = kind.media_type() else { return Ok(()) };
    let is_expected = content_type.is_some_and(|value| media_type::is(value, expected));
    is_expected.then_some(()).ok_or(BodyRefusal::ContentType { expected })
}

fn plain_text(body: &[u8]) -> Result<Bytes, BodyRefusal> {
    let text = std::str::from_utf8(body).map_err(|_| BodyRefusal::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(BodyRefusal::Text);
    }
    Ok(Bytes::copy_from_slice(body))
}
