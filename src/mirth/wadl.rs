//! Jersey's own list of what a server serves (`/api/application.wadl`), read to find the operations that
//! plug-ins and newer versions add and adit does not know.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use thiserror::Error;

use super::operation::OPERATIONS;

/// An operation as a WADL lists it: below the base, each parameter as `{name}`, or as `{+name}` where
/// its pattern is not the usual one and may take in several segments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedOperation {
    pub method: String,
    pub path: String,
    /// How many segments of the path are of the root resource, which Jersey chooses first and for good.
    pub root_segments: usize,
}

#[derive(Debug, Error)]
pub enum WadlError {
    #[error("the server's application.wadl is not well-formed XML")]
    Xml(#[source] quick_xml::Error),
    #[error("the server's application.wadl has an attribute that cannot be read")]
    Attribute,
    #[error("the server's application.wadl declares a document type")]
    DocType,
    #[error("the server's application.wadl ends in the middle")]
    Truncated,
    #[error(
        "the server's application.wadl nests resources deeper than 32, or lists more than 20,000 operations"
    )]
    TooLarge,
    #[error("the server's application.wadl lists an operation with characters that no path or method has")]
    Characters,
    #[error("the server's application.wadl lists nothing")]
    Empty,
}

/// Where a resource lists none: it may be each.
pub(super) const ANY_METHOD: &str = "*";
const DEPTH_MAX: usize = 32;
const OPERATIONS_MAX: usize = 20_000;

/// Reads a whole document, which the caller has bounded (8 MiB).
pub fn read(document: &str) -> Result<Vec<ListedOperation>, WadlError> {
    let mut reader = Reader::from_str(document);
    let mut listing = Listing::default();
    loop {
        match reader.read_event().map_err(WadlError::Xml)? {
            Event::Start(start) => listing.open(&start)?,
            Event::Empty(start) => {
                listing.open(&start)?;
                listing.close(start.local_name().as_ref())?;
            }
            Event::End(end) => listing.close(end.local_name().as_ref())?,
            Event::DocType(_) => return Err(WadlError::DocType),
            Event::Eof if listing.open > 0 => return Err(WadlError::Truncated),
            Event::Eof => break,
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
    }
    if listing.found.is_empty() { Err(WadlError::Empty) } else { Ok(listing.found.into_iter().collect()) }
}

/// Returns those that no table of ours has, in order; and those that have the path of a known one, but may be
/// run in its place by another class.
#[must_use]
pub fn unknown_operations(listed: &[ListedOperation]) -> Vec<ListedOperation> {
    let number = |listed: &ListedOperation| {
        let segments = segments(&listed.path);
        let shape = segments.iter().map(|segment| (!is_plain_parameter(segment)).then_some(*segment));
        OPERATIONS.of_shape(&listed.method, shape)
    };
    let is_known = |listed: &ListedOperation| number(listed).is_some() && !has_parameter_in_root(listed);
    let mut unknown: BTreeSet<_> = listed.iter().filter(|listed| !is_known(listed)).collect();
    // Two classes with the same operation: nobody can tell which one is Mirth's.
    let mut roots = BTreeMap::new();
    for listed in listed.iter().filter(|listed| is_known(listed)) {
        let first = *roots.entry(number(listed)).or_insert(listed);
        if first.root_segments != listed.root_segments {
            unknown.extend([first, listed]);
        }
    }
    unknown.into_iter().cloned().collect()
}

/// Returns whether it has one: no class of Mirth's has one.
fn has_parameter_in_root(listed: &ListedOperation) -> bool {
    segments(&listed.path).iter().take(listed.root_segments).any(|segment| segment.contains('{'))
}

/// Returns the segments of a template; a `/` inside braces belongs to a pattern.
pub(super) fn segments(template: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut between = |character: char| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == '/' && depth == 0
    };
    template.split(&mut between).filter(|segment| !segment.is_empty()).collect()
}

/// Recognises braces round a whole segment, and round no more than it: what else they stand for no table of
/// ours has.
fn is_plain_parameter(segment: &str) -> bool {
    let name = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// What was found so far, and the resources that are open.
#[derive(Default)]
struct Listing {
    /// Elements of any name.
    open: usize,
    paths: Vec<String>,
    /// The resource that was opened last has neither a method nor another resource.
    is_bare: bool,
    found: BTreeSet<ListedOperation>,
}

impl Listing {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), WadlError> {
        self.open += 1;
        match start.local_name().as_ref() {
            "resource" => {
                let path = attribute(start, "path")?.unwrap_or_default();
                self.paths.push(path);
                self.is_bare = true;
                if self.paths.len() > DEPTH_MAX { Err(WadlError::TooLarge) } else { Ok(()) }
            }
            "method" => {
                self.is_bare = false;
                self.add(attribute(start, "name")?)
            }
            _ => Ok(()),
        }
    }

    fn close(&mut self, name: &str) -> Result<(), WadlError> {
        self.open = self.open.saturating_sub(1);
        if name == "resource" {
            // Another object answers for it, and all below, by methods that are not listed.
            if std::mem::take(&mut self.is_bare) {
                self.paths.push("{: .*}".into());
                self.add(Some(ANY_METHOD.into()))?;
                self.paths.pop();
            }
            self.paths.pop();
        }
        Ok(())
    }

    /// Adds a method: Jersey answers OPTIONS for every resource, and lists its own document.
    fn add(&mut self, method: Option<String>) -> Result<(), WadlError> {
        let Some(method) = method.filter(|method| method != "OPTIONS") else { return Ok(()) };
        let path = self.path();
        if path == "/application.wadl" || path.starts_with("/application.wadl/") {
            return Ok(());
        }
        // Both are named in logs, in the audit and to the partner, where a line feed would begin a new line.
        if !method.bytes().all(|byte| byte.is_ascii_graphic()) || !path.bytes().all(is_printable) {
            return Err(WadlError::Characters);
        }
        let root_segments = self.paths.first().map_or(0, |path| segments(path).len());
        for path in spelt_out(path) {
            self.found.insert(ListedOperation { method: method.clone(), path, root_segments });
        }
        if self.found.len() > OPERATIONS_MAX { Err(WadlError::TooLarge) } else { Ok(()) }
    }

    fn path(&self) -> String {
        let segments = self.paths.iter().flat_map(|path| segments(path));
        segments.fold(String::new(), |path, segment| path + "/" + &plain(segment))
    }
}

/// Returns the paths of a template with a parameter that is one of a few words, such as
/// `/openapi.{type:json|yaml}` of Swagger: each spelt out. Any other stays as it is.
fn spelt_out(path: String) -> Vec<String> {
    let choice = path.find('{').and_then(|start| {
        let inner = &path[start + 1..];
        let (inner, after) = inner.split_once('}')?;
        let (name, words) = inner.split_once(':')?;
        let words: Vec<_> = words.trim().split('|').collect();
        let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_choice = !name.contains('{')
            && !after.contains(['{', '}'])
            && words.len() <= WORDS_MAX
            && words.iter().all(is_word);
        is_choice.then(|| words.iter().map(|word| format!("{}{word}{after}", &path[..start])).collect())
    });
    choice.unwrap_or_else(|| vec![path])
}

const WORDS_MAX: usize = 8;

/// Returns whether it can be printed: a pattern may hold blanks.
fn is_printable(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, WadlError> {
    let found = start.try_get_attribute(name).map_err(|_| WadlError::Attribute)?;
    let Some(found) = found else { return Ok(None) };
    found
        .normalized_value(XmlVersion::Implicit1_0)
        .map(|value| Some(value.into_owned()))
        .map_err(|_| WadlError::Attribute)
}

/// Patterns that surely end with the segment; what any other takes in is not known.
const ONE_SEGMENT: [&str; 6] = ["[^/]+", "[^/]+?", "\\d+", "-?\\d+", "[0-9]+", "-?[0-9]+"];

fn plain(segment: &str) -> String {
    let whole = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
    // `{a}-{b}` is two parameters, `{a: x{2}}` is one.
    let is_one = |inner: &&str| inner.contains(':') || !inner.contains('}');
    let Some(inner) = whole.filter(is_one) else { return segment.to_owned() };
    let (name, pattern) = inner.split_once(':').unwrap_or((inner, ONE_SEGMENT[0]));
    let plus = if ONE_SEGMENT.contains(&pattern.trim()) { "" } else { "+" };
    format!("{{{plus}{}}}", name.trim())
}

#[cfg(test)]
mod tests;
