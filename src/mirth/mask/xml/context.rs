//! What the open elements say of the text between them: whether it passes, names what follows it, or is
//! masked.

use bytes::{BufMut, BytesMut};

use super::nested;
use super::tag::{Attribute, Tag};
use crate::mask::meaning::{Kind, Region, Rule, Setting, Text};
use crate::mask::names::is_credential;
use crate::mask::plan::Scope;
use crate::mask::value::{Held, Literals, MASK, stays};
use crate::mask::{Unmaskable, unmaskable};
use adit_core::domain::limits;

/// An open element below which something else holds.
#[derive(Debug)]
struct Frame {
    depth: usize,
    before: Setting,
    kind: Kind,
}

/// Of a key only the end matters.
const KEY_BYTES_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Context {
    first: Setting,
    now: Setting,
    depth: usize,
    frames: Vec<Frame>,
    key: Vec<u8>,
    held: Held,
}

impl Context {
    pub(super) fn new(scope: Scope) -> Self {
        let first = Setting::of(scope);
        Self { first, now: first, depth: 0, frames: Vec::new(), key: Vec::new(), held: Held::default() }
    }

    #[inline]
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    #[inline]
    pub(super) const fn text(&self) -> Text {
        self.now.text
    }

    /// Begins again: what was read before counts for nothing.
    pub(super) fn begin_anew(&mut self) {
        self.now = self.first;
        self.depth = 0;
        self.frames.clear();
    }

    /// Returns whether an element of that name, without attributes, passes here with its text.
    #[inline]
    pub(super) fn passes_leaf(&self, name: &[u8]) -> bool {
        self.now.text == Text::Passes
            && (1..limits::MASK_DEPTH_MAX).contains(&self.depth)
            && self.frames.last().is_none_or(|frame| frame.depth != self.depth)
            && self.now.entered(name, None) == (self.now, Kind::Other)
    }

    /// Opens the element of `tag`.
    #[inline]
    pub(super) fn open(
        &mut self,
        tag: &Tag,
        markup: &[u8],
        attributes: &[Attribute],
    ) -> Result<(), Unmaskable> {
        if self.depth == limits::MASK_DEPTH_MAX {
            return Err(unmaskable("Mirth's XML is nested deeper than is read here."));
        }
        let parent = self.frames.last().filter(|frame| frame.depth == self.depth).map(|frame| frame.kind);
        self.depth += 1;
        let before = self.now;
        let name = &markup[tag.name.clone()];
        let item = if attributes.is_empty() { None } else { item(markup, attributes) };
        let (now, kind) = match parent {
            Some(Kind::Unnamed) => {
                self.key.clear();
                (before.key(), Kind::Key)
            }
            Some(Kind::Row { is_credential: false }) => {
                let entered = before.entered(name, item);
                if matches!(entered.0.text, Text::Masked(_)) {
                    entered
                } else {
                    self.key.clear();
                    (before.key(), Kind::Key)
                }
            }
            Some(Kind::Named { is_credential: true } | Kind::Row { is_credential: true }) => {
                (Setting::credential_value(name), Kind::Other)
            }
            Some(Kind::Named { .. }) => before.value(name, item),
            Some(Kind::Other) if before.region == Region::MapValue && name == b"comment" => {
                (Setting::passing(), Kind::Other)
            }
            Some(Kind::Other | Kind::Key | Kind::Custom) | None => before.entered(name, item),
        };
        let kind = match (kind, parent) {
            (Kind::Other, _) if matches!(now.text, Text::Masked(_)) => Kind::Other,
            (Kind::Other, Some(Kind::Custom)) => Kind::Row { is_credential: false },
            (Kind::Other, _) if writes_itself(markup, attributes) => Kind::Custom,
            _ => kind,
        };
        if kind != Kind::Other || now != before {
            self.now = now;
            self.frames.push(Frame { depth: self.depth, before, kind });
        }
        Ok(())
    }

    /// Returns whether the value of an attribute of the element opened last is masked.
    pub(super) fn masks(&self, attribute: &Attribute, markup: &[u8]) -> bool {
        let name = &markup[attribute.name.clone()];
        let literals = match self.now.text {
            Text::Masked(rule) if name == b"value" => rule.literals,
            _ if is_credential(name) => Literals::Booleans,
            _ => return false,
        };
        !stays(&markup[attribute.value.clone()], literals)
    }

    /// Closes the element that was opened last; none if there is none.
    #[inline]
    pub(super) fn close(&mut self) -> Option<()> {
        let is_frame = self.frames.last().is_some_and(|frame| frame.depth == self.depth);
        self.depth = self.depth.checked_sub(1)?;
        if is_frame && let Some(frame) = self.frames.pop() {
            self.now = frame.before;
            let depth = self.depth;
            if let Some(parent) = self.frames.last_mut().filter(|parent| parent.depth == depth) {
                match (frame.kind, parent.kind) {
                    (Kind::Key, Kind::Row { .. }) => {
                        parent.kind = Kind::Row { is_credential: is_key_of_credential(&self.key) };
                    }
                    (Kind::Key, _) => {
                        parent.kind = Kind::Named { is_credential: is_key_of_credential(&self.key) };
                    }
                    (_, Kind::Row { .. }) => parent.kind = Kind::Row { is_credential: false },
                    _ => {}
                }
            }
        }
        Some(())
    }

    pub(super) fn add_to_key(&mut self, text: &[u8]) {
        let text = &text[text.len().saturating_sub(KEY_BYTES_MAX)..];
        self.key.extend_from_slice(text);
        if self.key.len() > 2 * KEY_BYTES_MAX {
            self.key.drain(..self.key.len() - KEY_BYTES_MAX);
        }
    }

    pub(super) fn hold(&mut self, text: &[u8]) {
        self.held.push(text);
    }

    #[inline]
    pub(super) const fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Appends what was held, as it is or masked.
    pub(super) fn end_text(&mut self, out: &mut BytesMut) {
        self.end_text_into(|bytes| out.put_slice(bytes));
    }

    pub(super) fn end_text_into(&mut self, put: impl FnOnce(&[u8])) {
        if !self.holds() {
            return;
        }
        match (self.held.whole(), self.now.text) {
            (Some(text), Text::Masked(rule)) if stays(&without_cdata(text), rule.literals) => put(text),
            (Some(text), Text::Masked(Rule { looks_inside: true, .. })) => {
                put(nested::masked(text).as_deref().unwrap_or(MASK));
            }
            (_, Text::Masked(Rule { is_number: true, .. })) => put(b"0"),
            _ => put(MASK),
        }
        self.held.clear();
    }
}

/// Returns whether the element is an object that wrote itself, class by class (XStream's
/// `serialization="custom"`).
fn writes_itself(markup: &[u8], attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        markup[attribute.name.clone()] == *b"serialization" && markup[attribute.value.clone()] == *b"custom"
    })
}

/// Returns what the element is called by its attributes, as in `<property name="…">`.
fn item<'m>(markup: &'m [u8], attributes: &[Attribute]) -> Option<&'m [u8]> {
    let named = |attribute: &&Attribute| matches!(&markup[attribute.name.clone()], b"name" | b"key");
    attributes.iter().find(named).map(|attribute| &markup[attribute.value.clone()])
}

fn is_key_of_credential(key: &[u8]) -> bool {
    if memchr::memchr2(b'&', b']', key).is_none() {
        return is_credential(key.trim_ascii());
    }
    let key = without_cdata(key);
    is_credential(nested::unescaped(&key).unwrap_or(key).trim_ascii())
}

fn without_cdata(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        rest = if let Some(after) = rest.strip_prefix(super::CDATA).or_else(|| rest.strip_prefix(b"]]>")) {
            after
        } else {
            kept.push(*first);
            &rest[1..]
        };
    }
    kept
}
