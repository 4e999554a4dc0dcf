//! Walks one body beside the shape that its kind may have, and writes what it understood.
//!
//! `quick-xml` only cuts the bytes into tokens; it is laxer than XML. Which name, attribute or value may
//! stand where is decided here, and nothing but tags, plain text and references is known. No tree is
//! built: a body of 64 MiB costs its own size once more.

use bytes::Bytes;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::BodyRefusal;
use super::characters::{escaped, first, normalise_line_ends, plain_bytes};
use super::schema::value::Value;
use super::schema::{Content, Element, Root};

/// Far above what fits into 1 MiB of anything real; the largest kind could hold millions.
const ELEMENTS_MAX: usize = 100_000;

/// Ends with what may be sent to Mirth instead of `body`: the same, if a client of Mirth wrote it.
pub(super) fn rewrite(
    root: &Root,
    body: &[u8],
    bytes_max: usize,
    channel: Option<&str>,
) -> Result<Bytes, BodyRefusal> {
    let text = std::str::from_utf8(body).map_err(|_| BodyRefusal::NotUtf8)?;
    // The tokenizer would skip it.
    if text.starts_with('\u{feff}') {
        return Err(BodyRefusal::NotUtf8);
    }
    let mut walk = Walk::new(root, text.len(), bytes_max, channel);
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event().map_err(|_| BodyRefusal::Malformed)? {
            Event::Start(tag) => {
                walk.open(&tag, ">")?;
                if let Some(value) = walk.open_value() {
                    walk.value(value, take_text(&mut reader, text)?)?;
                }
            }
            Event::Empty(tag) => {
                walk.open(&tag, "/>")?;
                walk.close()?;
            }
            Event::End(tag) => walk.end(&tag)?,
            Event::Text(text) => walk.blank(&text)?,
            // Those in values were read with the value.
            Event::GeneralRef(_) => return Err(BodyRefusal::Value),
            Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                return Err(BodyRefusal::Markup);
            }
            Event::Eof => return walk.finish(),
        }
    }
}

/// The text from here to the next tag, past which the reader goes on. An event for each reference in it would
/// cost more than all else.
fn take_text<'a>(reader: &mut Reader<&'a [u8]>, whole: &'a str) -> Result<&'a str, BodyRefusal> {
    let rest = *reader.get_ref();
    let bytes = memchr::memchr(b'<', rest).ok_or(BodyRefusal::Malformed)?;
    *reader.get_mut() = &rest[bytes..];
    let start = whole.len() - rest.len();
    Ok(&whole[start..start + bytes])
}

/// One open element.
struct Frame {
    name: &'static str,
    content: &'static Content,
    /// Which of its fields came, a bit each.
    seen: u64,
    /// How many children came.
    count: u32,
}

struct Walk<'a> {
    roots: &'static [Element],
    is_rooted: bool,
    open: Vec<Frame>,
    elements: usize,
    /// The text so far of the open value; of a free one only its length is kept.
    value: String,
    value_bytes: usize,
    /// What all values may still have.
    text_bytes_left: usize,
    /// Text, as it is made of nothing else.
    out: Vec<u8>,
    bytes_max: usize,
    /// The only one that the body may name.
    channel: Option<&'a str>,
}

impl<'a> Walk<'a> {
    fn new(root: &Root, capacity: usize, bytes_max: usize, channel: Option<&'a str>) -> Self {
        Self {
            roots: root.elements,
            is_rooted: false,
            open: Vec::new(),
            elements: 0,
            value: String::new(),
            value_bytes: 0,
            text_bytes_left: root.text_bytes_max,
            out: Vec::with_capacity(capacity),
            bytes_max,
            channel,
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>, end: &str) -> Result<(), BodyRefusal> {
        let (name, class) = parts(tag)?;
        let element = self.child(name)?;
        let content = element.content(class).ok_or(BodyRefusal::Class)?;
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            return Err(BodyRefusal::TooMany);
        }
        self.put("<")?;
        self.put(element.name)?;
        if let Some(class) = class {
            self.put(" class=\"")?;
            self.put(class)?;
            self.put("\"")?;
        }
        self.put(end)?;
        self.value.clear();
        self.value_bytes = 0;
        self.open.push(Frame { name: element.name, content, seen: 0, count: 0 });
        Ok(())
    }

    /// The element that may stand here under this name.
    fn child(&mut self, name: &str) -> Result<&'static Element, BodyRefusal> {
        let Some(parent) = self.open.last_mut() else {
            if std::mem::replace(&mut self.is_rooted, true) {
                return Err(BodyRefusal::Malformed);
            }
            return self.roots.iter().find(|root| root.name == name).ok_or(BodyRefusal::Element);
        };
        parent.child(name)
    }

    fn end(&mut self, name: &str) -> Result<(), BodyRefusal> {
        let frame = self.open.last().ok_or(BodyRefusal::Malformed)?;
        if frame.name != name {
            return Err(BodyRefusal::Malformed);
        }
        let opened = frame.name;
        self.close()?;
        self.put("</")?;
        self.put(opened)?;
        self.put(">")
    }

    fn close(&mut self) -> Result<(), BodyRefusal> {
        let frame = self.open.pop().ok_or(BodyRefusal::Malformed)?;
        let is_whole = match frame.content {
            // Mirth believes the body, so what the path was judged by must be what it says.
            Content::Value(Value::Channel) if self.channel.is_some_and(|channel| channel != self.value) => {
                return Err(BodyRefusal::Channel);
            }
            Content::Value(value) => value.is_free() || value.accepts(&self.value),
            Content::Sequence(elements) => frame.count as usize == elements.len(),
            Content::Fields(_) | Content::Items { .. } => true,
        };
        if is_whole { Ok(()) } else { Err(BodyRefusal::Value) }
    }

    /// Between elements stands what a pretty printer puts there.
    fn blank(&mut self, text: &str) -> Result<(), BodyRefusal> {
        let is_blank = text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        if is_blank { self.put(text) } else { Err(BodyRefusal::Value) }
    }

    fn open_value(&self) -> Option<Value> {
        match self.open.last()?.content {
            Content::Value(value) => Some(*value),
            _ => None,
        }
    }

    /// Takes all text of a value, as it stands between its tags.
    fn value(&mut self, value: Value, text: &str) -> Result<(), BodyRefusal> {
        let mut rest = text;
        loop {
            let plain = plain_bytes(rest);
            if plain > 0 {
                self.plain(value, &rest[..plain])?;
                rest = &rest[plain..];
            }
            if rest.is_empty() {
                return Ok(());
            }
            let (char, bytes) = first(rest)?;
            let mut buffer = [0; 4];
            let text: &str = char.encode_utf8(&mut buffer);
            self.count(value, text)?;
            self.put(escaped(char)?.unwrap_or(text))?;
            rest = &rest[bytes..];
        }
    }

    fn plain(&mut self, value: Value, text: &str) -> Result<(), BodyRefusal> {
        self.count(value, text)?;
        let start = self.out.len();
        self.put(text)?;
        normalise_line_ends(&mut self.out, start);
        Ok(())
    }

    /// Holds a value to its length, by what its characters stand for.
    #[inline]
    fn count(&mut self, value: Value, text: &str) -> Result<(), BodyRefusal> {
        self.value_bytes += text.len();
        if self.value_bytes > value.bytes_max() || text.len() > self.text_bytes_left {
            return Err(BodyRefusal::Value);
        }
        self.text_bytes_left -= text.len();
        if !value.is_free() {
            self.value.push_str(text);
        }
        Ok(())
    }

    /// Escapes make text longer, so the limit holds for what is written too.
    #[inline]
    fn put(&mut self, text: &str) -> Result<(), BodyRefusal> {
        if text.len() > self.bytes_max - self.out.len() {
            return Err(BodyRefusal::TooLarge { bytes_max: self.bytes_max });
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn finish(self) -> Result<Bytes, BodyRefusal> {
        if !self.is_rooted || !self.open.is_empty() {
            return Err(BodyRefusal::Malformed);
        }
        Ok(Bytes::from(self.out))
    }
}

impl Frame {
    fn child(&mut self, name: &str) -> Result<&'static Element, BodyRefusal> {
        self.count += 1;
        match self.content {
            Content::Value(_) => Err(BodyRefusal::Element),
            Content::Items { of, count_max } => {
                let element = (of.name == name).then_some(*of).ok_or(BodyRefusal::Element)?;
                if self.count > *count_max { Err(BodyRefusal::TooMany) } else { Ok(element) }
            }
            Content::Sequence(elements) => {
                let due = elements.get(self.count as usize - 1);
                due.filter(|element| element.name == name).ok_or(BodyRefusal::Element)
            }
            Content::Fields(fields) => {
                let index = fields.iter().position(|field| field.name == name).ok_or(BodyRefusal::Element)?;
                let bit = 1 << index;
                if self.seen & bit != 0 {
                    return Err(BodyRefusal::Repeated);
                }
                self.seen |= bit;
                Ok(&fields[index])
            }
        }
    }
}

/// The name of a tag, and its `class` where it has one; nothing else may stand in it.
fn parts(tag: &str) -> Result<(&str, Option<&str>), BodyRefusal> {
    let tag = tag.trim_end_matches(BLANKS);
    let Some((name, attributes)) = tag.split_once(BLANKS) else { return Ok((tag, None)) };
    let value = attributes.trim_start_matches(BLANKS).strip_prefix("class=\"");
    let value = value.and_then(|value| value.strip_suffix('"')).ok_or(BodyRefusal::Attribute)?;
    // A second attribute, or a reference that would be read before it is compared.
    if value.contains(['"', '<', '&']) {
        return Err(BodyRefusal::Attribute);
    }
    Ok((name, Some(value)))
}

/// White space of XML 1.0 §2.3.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];
