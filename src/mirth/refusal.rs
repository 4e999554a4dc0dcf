//! Why a request does not go on, in the words that a person reads in Mirth Administrator. Never a value
//! of the request.

use thiserror::Error;

use adit_core::domain::access::{Category, OptIn};

use super::path::PathFault;
use super::query::QueryFault;
use super::version::TooOld;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestRefusal {
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
        "view-only: adit does not know what this operation of the managed server does, so it is not passed \
         on ({template})"
    )]
    Unknown { template: String },
    #[error("view-only: the key that encrypts messages is never shown")]
    EncryptionKey,
    #[error("view-only: {template} needs a number where this request has none")]
    NoNumber { template: &'static str },
    #[error("view-only: the owner of the managed server does not show this (show = [\"{}\"])", .0.as_str())]
    NotShown(OptIn),
    #[error("view-only: the owner of the managed server hides this (hide = [\"{}\"])", .0.as_str())]
    Hidden(Category),
    #[error("view-only: this request may not have a body")]
    Body,
}

impl RequestRefusal {
    /// Returns the status, never 401: it would close the Administrator's session.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Path(_) | Self::Query(_) => 400,
            _ => 403,
        }
    }

    /// Returns which rule refused, for `adit explain`.
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

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "what is judged here is the source itself")]

    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::http::{REASON_PHRASE_BYTES_MAX, reason_phrase};
    use super::super::operation::OPERATIONS;
    use super::super::version::MirthVersion;
    use super::*;

    #[track_caller]
    fn fits(sentence: &str) {
        assert_eq!(reason_phrase(sentence), sentence, "shown whole in a status line");
    }

    #[test]
    fn every_refusal_fits_into_a_status_line() {
        for operation in OPERATIONS.all() {
            let (method, template) = (operation.method, operation.template);
            fits(&RequestRefusal::Changes { method, template }.to_string());
            fits(&RequestRefusal::NoNumber { template }.to_string());
        }
        for category in Category::ALL {
            fits(&RequestRefusal::Hidden(category).to_string());
        }
        for opt_in in OptIn::ALL {
            fits(&RequestRefusal::NotShown(opt_in).to_string());
        }
        let version: MirthVersion = "999999.999999.999999.999999".parse().unwrap();
        for refusal in [TooOld::Unknown, TooOld::Older(version)] {
            fits(&RequestRefusal::TooOld(refusal).to_string());
        }
    }

    #[test]
    fn a_plug_ins_long_template_is_cut_rather_than_the_sentence() {
        let refusal = RequestRefusal::Unknown { template: "/x".repeat(500) }.to_string();
        let phrase = reason_phrase(&refusal);
        assert_eq!(phrase.len(), REASON_PHRASE_BYTES_MAX);
        assert!(phrase.contains("so it is not passed on (/x"), "{phrase}");
    }

    /// All sentences of our own that begin as those to a client do, and every reason of a bad request.
    #[test]
    fn every_sentence_in_the_source_fits_into_a_status_line() {
        let mirth = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = 0;
        for file in [files(mirth), files(&mirth.join("../agent/admin"))].concat() {
            for sentence in sentences(&fs::read_to_string(file).unwrap()) {
                fits(&sentence);
                found += 1;
            }
        }
        assert!(found > 60, "{found}");
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
            .collect()
    }

    /// Returns the string literals that are written to a client, as the compiler joins their lines.
    fn sentences(source: &str) -> Vec<String> {
        let shown = source.split("#[cfg(test)]").next().unwrap_or_default();
        let literals = shown.split('"').collect::<Vec<_>>();
        let is_shown = |text: &str, before: &str| {
            ["adit: ", "view-only"].iter().any(|start| text.starts_with(start))
                || ["malformed(", "reason: ", "#[error(", "why: "]
                    .iter()
                    .any(|end| before.trim_end().ends_with(end.trim_end()))
        };
        let pairs = literals.windows(2).filter(|pair| is_shown(pair[1], pair[0]));
        pairs.map(|pair| pair[1].split("\\\n").map(str::trim_start).collect::<String>()).collect()
    }
}
