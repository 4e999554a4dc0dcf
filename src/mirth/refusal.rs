//! Why a request does not go on, in the words that a person reads in Mirth Administrator. Never a value
//! of the request.

use thiserror::Error;

use crate::domain::access::{Category, OptIn};

use super::path::PathFault;
use super::query::QueryFault;
use super::version::TooOld;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("adit: {0}")]
    Path(PathFault),
    #[error("adit: {0}")]
    Query(QueryFault),
    #[error("adit: CONNECT is not passed on")]
    Connect,
    #[error("{0}")]
    TooOld(TooOld),
    #[error("view-only: this connection may not change anything on the managed server ({method} {template})")]
    Changes { method: &'static str, template: &'static str },
    #[error("view-only: only GET, POST and PUT requests that are known to change nothing are passed on")]
    Method,
    #[error("view-only: adit knows no such operation of Mirth, so it is not passed on")]
    Unlisted,
    #[error(
        "view-only: adit does not know what this operation of the managed server does ({template}), so it \
         is not passed on"
    )]
    Unknown { template: String },
    #[error("view-only: the key that encrypts messages is never shown")]
    EncryptionKey,
    #[error("view-only: {template} needs a number where this request has none")]
    NoNumber { template: &'static str },
    #[error("view-only: the owner of the managed server does not show this (show = [\"{}\"])", .0.word())]
    NotShown(OptIn),
    #[error("view-only: the owner of the managed server hides this (hide = [\"{}\"])", .0.word())]
    Hidden(Category),
    #[error("view-only: this request may not have a body")]
    Body,
}

impl Refusal {
    /// Never 401: it would close the Administrator's session.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Path(_) | Self::Query(_) => 400,
            _ => 403,
        }
    }

    /// Which rule refused, for `adit explain`.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Path(_) => "the path must be written in the one way that all readers read alike",
            Self::Query(_) => "the query must be written in the one way that all readers read alike",
            Self::Connect => "no request may turn the connection into something else",
            Self::TooOld(_) => "view-only needs a known server of version 4.4.1 or newer",
            Self::Changes { .. } => "the operation is listed as a write",
            Self::Method => "view-only serves GET, listed POST and two PUT; HEAD only of files",
            Self::Unlisted => "what no rule allows is refused",
            Self::Unknown { .. } => "the server's own list has an operation here that adit does not know",
            Self::EncryptionKey => "the key is refused whatever the owner shows",
            Self::NoNumber { .. } => "ids of messages, events and users are numbers",
            Self::NotShown(_) => "shown only if the owner says so in `show`",
            Self::Hidden(_) => "the owner's `hide`",
            Self::Body => "a request whose operation takes no body carries none",
        }
    }
}
