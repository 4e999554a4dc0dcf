//! A request's query: its parameters as Jersey will decode them, and the one spelling it goes on in.
//!
//! Three parameters of the message searches reach SQL as column names, unescaped (MIRTH §3.4); they
//! pass only as names of columns.

use std::borrow::Cow;
use std::fmt::Write;

use thiserror::Error;

use super::path::{escaped, table};

/// Parameters in order, and their text in canonical spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    canonical: String,
    parameters: Vec<Parameter<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

/// Never quotes the query: it may name a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QueryFault {
    #[error("the query holds a broken percent escape")]
    BrokenEscape,
    #[error("the query is not UTF-8")]
    NotUtf8,
    #[error("the query holds a control character")]
    Control,
    #[error("the query holds a # or a character outside ASCII that is not percent-encoded")]
    Character,
    #[error("the query has more than 200 parameters")]
    TooMany,
    #[error("the query names another method (_method)")]
    OtherMethod,
    #[error("the query names a column that is not 1 to 30 letters, digits and _")]
    Column,
    #[error("the query holds a parameter that this page does not take")]
    NotTaken,
}

/// More channels than this the clients ask for in a body.
const PARAMETERS_MAX: usize = 200;
/// The longest name of a column that Mirth lets anyone define.
const COLUMN_BYTES_MAX: usize = 30;
/// The parameter that is the name of a column and nothing more.
const COLUMN_ONLY: &str = "textSearchMetaDataColumn";

const UNRESERVED: [bool; 256] = table(b"-._~");
/// What stands in a query as it is (RFC 3986 §3.4).
const PLAIN: [bool; 256] = table(b"-._~!$'()*+,;=:@/?");

impl<'a> Query<'a> {
    /// Parses the query; `raw`: the target after its `?`.
    pub(crate) fn parse(raw: &'a str) -> Result<Self, QueryFault> {
        let mut query = Self { canonical: String::with_capacity(raw.len()), parameters: Vec::new() };
        for (count, piece) in raw.split('&').enumerate() {
            if count == PARAMETERS_MAX {
                return Err(QueryFault::TooMany);
            }
            if count > 0 {
                query.canonical.push('&');
            }
            canonicalise(piece, &mut query.canonical)?;
            query.parameters.push(Parameter::decode(piece)?);
        }
        // Jersey does not split at `;`, but one who does must find nothing either.
        let names = query.parameters.iter().map(|parameter| parameter.name.as_ref());
        let inner = inner_names(raw)?;
        if names.chain(inner.iter().map(AsRef::as_ref)).any(|name| is_spelt_like(name, "_method")) {
            return Err(QueryFault::OtherMethod);
        }
        query.parameters.extend(inner.into_iter().map(|name| Parameter { name, value: Cow::default() }));
        Ok(query)
    }

    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.canonical
    }

    /// Returns the values of the parameters of that name, in order.
    pub(crate) fn values<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.parameters.iter().filter(move |one| one.name == name).map(|one| one.value.as_ref())
    }

    /// Refuses what is no column in the parameters named, and names that differ from theirs in case only.
    pub(crate) fn check_columns(&self, guarded: &[&str]) -> Result<(), QueryFault> {
        for Parameter { name, value } in &self.parameters {
            let Some(guard) = guarded.iter().find(|guard| is_spelt_like(name, guard)) else { continue };
            if name != guard || !names_column(guard, value) {
                return Err(QueryFault::Column);
            }
        }
        Ok(())
    }

    /// Returns the values of the parameter of this name, and of any that a reader might take for it.
    pub(super) fn values_spelt_like(&self, known: &str) -> impl Iterator<Item = &str> {
        let like = self.parameters.iter().filter(move |parameter| is_spelt_like(&parameter.name, known));
        like.map(|parameter| parameter.value.as_ref())
    }

    /// Refuses any parameter but those named.
    pub(crate) fn check_names(&self, taken: &[&str]) -> Result<(), QueryFault> {
        let strange = |parameter: &Parameter| !taken.contains(&parameter.name.as_ref());
        let empty = self.canonical.is_empty();
        if !empty && self.parameters.iter().any(strange) { Err(QueryFault::NotTaken) } else { Ok(()) }
    }
}

impl<'a> Parameter<'a> {
    fn decode(piece: &'a str) -> Result<Self, QueryFault> {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        Ok(Self { name: decode(name)?, value: decode(value)? })
    }
}

fn is_spelt_like(name: &str, known: &str) -> bool {
    name.trim().eq_ignore_ascii_case(known)
}

/// Recognises `column operator value` after one space, or for [`COLUMN_ONLY`] the column alone.
fn names_column(parameter: &str, value: &str) -> bool {
    if parameter == COLUMN_ONLY {
        return is_column(value);
    }
    value.split_once(' ').is_some_and(|(column, rest)| is_column(column) && !rest.starts_with(' '))
}

fn is_column(text: &str) -> bool {
    (1..=COLUMN_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns the names of parameters that a reader who splits at `;` too would find besides.
fn inner_names(raw: &str) -> Result<Vec<Cow<'_, str>>, QueryFault> {
    if !raw.contains(';') {
        return Ok(Vec::new());
    }
    let inner = raw.split('&').flat_map(|piece| piece.split(';').skip(1));
    inner.map(|piece| decode(piece.split('=').next().unwrap_or_default())).collect()
}

/// Decodes as a form is decoded: `+` is a space.
fn decode(text: &str) -> Result<Cow<'_, str>, QueryFault> {
    if text.bytes().all(|byte| PLAIN[usize::from(byte)] && byte != b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => escaped(bytes.next(), bytes.next()).ok_or(QueryFault::BrokenEscape)?,
            b'+' => b' ',
            other => other,
        });
    }
    let decoded = String::from_utf8(decoded).map_err(|_| QueryFault::NotUtf8)?;
    if decoded.chars().any(char::is_control) { Err(QueryFault::Control) } else { Ok(Cow::Owned(decoded)) }
}

/// Normalises after RFC 3986 §6.2.2: unreserved characters stand as themselves, escapes in capitals, reserved
/// characters as they came.
fn canonicalise(piece: &str, canonical: &mut String) -> Result<(), QueryFault> {
    if piece.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        canonical.push_str(piece);
        return Ok(());
    }
    let mut bytes = piece.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, plain) = match byte {
            b'%' => {
                let byte = escaped(bytes.next(), bytes.next()).ok_or(QueryFault::BrokenEscape)?;
                (byte, UNRESERVED[usize::from(byte)])
            }
            b'#' | 0x80.. => return Err(QueryFault::Character),
            0..=0x20 | 0x7f => return Err(QueryFault::Control),
            other => (other, PLAIN[usize::from(other)]),
        };
        if plain {
            canonical.push(char::from(byte));
        } else {
            // Writing into a String does not fail.
            let _ = write!(canonical, "%{byte:02X}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
