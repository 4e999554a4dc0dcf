//! XML as XStream writes it, masked in one pass: markup is looked at, text between it is skipped. What is
//! being looked at across two pieces is carried over, in bounded memory. A document type, and whatever
//! breaks the syntax, ends it.

mod context;
mod nested;
mod tag;

use bytes::BytesMut;
use memchr::{memchr, memchr2};

use super::meaning::Text;
use super::plan::Scope;
use super::sink::Sink;
use super::value::MASK;
use super::{BYTE_ORDER_MARK, Unmaskable, unmaskable};
use adit_core::domain::limits;

use self::context::Context;
use self::tag::{Attribute, Read, Tag};

#[derive(Debug)]
pub struct XmlMasker {
    context: Context,
    state: State,
    /// Markup that began in an earlier piece.
    carry: Vec<u8>,
    attributes: Vec<Attribute>,
    /// Nothing but space and a declaration came.
    is_empty: bool,
    /// Bytes of a byte order mark that came.
    marked: usize,
}

/// Where the next byte lies. The bytes are the last ones of the piece before, as the end may lie across
/// two.
#[derive(Debug, Clone, Copy)]
enum State {
    Text,
    Comment([u8; 2]),
    Cdata([u8; 2]),
    Instruction([u8; 2]),
}

const COMMENT: &[u8] = b"<!--";
const CDATA: &[u8] = b"<![CDATA[";
/// What Mirth writes when an object turns out to have references in the middle of its XML: what came before
/// counts for nothing, and it begins again.
const INVALID_END: &[u8] = b"<__|";
/// What it writes before that, in the place of the end of the tag that it was writing.
const INVALID_BEGIN: &[u8] = b"|__>";
pub(super) const BROKEN: Unmaskable = unmaskable("Mirth's answer is not well-formed XML.");
pub(super) const UNFINISHED: Unmaskable = unmaskable("Mirth's XML ends before it is complete.");

impl XmlMasker {
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self {
            context: Context::new(scope),
            state: State::Text,
            carry: Vec::new(),
            attributes: Vec::new(),
            is_empty: true,
            marked: 0,
        }
    }

    pub fn mask(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Unmaskable> {
        let rest = self.complete(piece, out)?;
        let mut sink = Sink::new(rest, out);
        self.walk(rest, &mut sink)?;
        sink.pass_to(rest.len());
        Ok(())
    }

    pub fn finish(mut self, out: &mut BytesMut) -> Result<(), Unmaskable> {
        self.context.end_text(out);
        let is_whole =
            self.carry.is_empty() && matches!(self.state, State::Text) && self.context.depth() == 0;
        if is_whole { Ok(()) } else { Err(UNFINISHED) }
    }

    /// Deals with the markup that began before, and gives the rest of the piece.
    fn complete<'p>(&mut self, piece: &'p [u8], out: &mut BytesMut) -> Result<&'p [u8], Unmaskable> {
        let mut rest = piece;
        while !self.carry.is_empty() && !rest.is_empty() {
            // Byte by byte until its kind is known, then from one end of a tag to the next.
            let more = match memchr(b'>', rest) {
                _ if self.carry.len() < CDATA.len() => 1,
                Some(end) => end + 1,
                None => rest.len(),
            };
            let (more, after) = rest.split_at(more);
            rest = after;
            self.carry.extend_from_slice(more);
            let markup = std::mem::take(&mut self.carry);
            let mut sink = Sink::new(&markup, out);
            self.walk(&markup, &mut sink)?;
            sink.pass_to(markup.len());
        }
        Ok(rest)
    }

    fn walk(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        let mut at = 0;
        while let Some(left) = input.get(at..).filter(|left| !left.is_empty()) {
            match self.state {
                State::Text => {
                    let end = memchr(b'<', left).map_or(input.len(), |found| at + found);
                    if end > at {
                        self.text(input, at, end, sink)?;
                    }
                    at = end;
                    let Some(markup) = input.get(end..).filter(|markup| !markup.is_empty()) else { break };
                    if let Some(length) = self.plain_leaf(markup) {
                        at += length;
                        continue;
                    }
                    match self.markup(markup, at, sink)? {
                        Some(length) => at += length,
                        None => return self.carry_over(markup, at, input.len(), sink),
                    }
                }
                State::Comment(last) => {
                    let (end, next) = end_of(input, at, last, *b"--", State::Comment);
                    self.state = next;
                    at = end;
                }
                State::Cdata(last) => at = self.cdata(last, input, at, sink),
                State::Instruction(last) => {
                    let (end, next) = end_of(input, at, last, [0, b'?'], State::Instruction);
                    self.state = next;
                    at = end;
                }
            }
        }
        Ok(())
    }

    /// Returns the length of a whole element without attributes or children that means nothing here: nearly
    /// everything that Mirth sends.
    #[inline]
    fn plain_leaf(&self, markup: &[u8]) -> Option<usize> {
        let name = tag::plain_name(markup)?;
        if !self.context.passes_leaf(name) {
            return None;
        }
        let start = name.len() + 2;
        let end = start + memchr(b'<', &markup[start..])?;
        let after = markup[end..].strip_prefix(b"</")?.strip_prefix(name)?;
        (after.first() == Some(&b'>')).then_some(end + start + 1)
    }

    fn carry_over(
        &mut self,
        markup: &[u8],
        at: usize,
        end: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unmaskable> {
        if markup.len() > limits::MASK_TOKEN_BYTES_MAX {
            return Err(unmaskable("A tag of Mirth's answer is longer than is read here."));
        }
        self.carry.extend_from_slice(markup);
        sink.leave_out(at, end);
        Ok(())
    }

    #[inline]
    fn text(&mut self, input: &[u8], from: usize, to: usize, sink: &mut Sink<'_>) -> Result<(), Unmaskable> {
        let text = &input[from..to];
        if self.context.depth() == 0 {
            return self.outside(text);
        }
        match self.context.text() {
            Text::Passes => {}
            Text::IsKey => self.context.add_to_key(text),
            Text::Masked(_) => {
                self.context.hold(text);
                sink.leave_out(from, to);
            }
        }
        Ok(())
    }

    /// Reads what stands outside: only space may stand outside the document's element, and a byte order mark
    /// before it.
    fn outside(&mut self, text: &[u8]) -> Result<(), Unmaskable> {
        let mut text = text;
        while self.is_empty
            && self.marked < BYTE_ORDER_MARK.len()
            && text.first() == Some(&BYTE_ORDER_MARK[self.marked])
        {
            self.marked += 1;
            text = &text[1..];
        }
        if !text.is_empty() {
            // A mark that does not come first is none, wherever the answer is cut.
            self.marked = BYTE_ORDER_MARK.len();
        }
        if text.trim_ascii().is_empty() { Ok(()) } else { Err(BROKEN) }
    }

    /// Deals with the markup that `markup` begins with and gives its length; none if it is not whole.
    #[inline]
    fn markup(&mut self, markup: &[u8], at: usize, sink: &mut Sink<'_>) -> Result<Option<usize>, Unmaskable> {
        match markup.get(1) {
            None => Ok(None),
            Some(b'/') => {
                let Some(end) = memchr2(b'>', b'<', &markup[1..]).map(|found| found + 1) else {
                    return Ok(None);
                };
                if markup[end] == b'<' {
                    return Err(BROKEN);
                }
                self.end_text(at, sink);
                self.context.close().ok_or(BROKEN)?;
                Ok(Some(end + 1))
            }
            Some(b'!' | b'?') => self.special(markup, at, sink),
            Some(_) => self.start_tag(markup, at, sink),
        }
    }

    fn start_tag(
        &mut self,
        markup: &[u8],
        at: usize,
        sink: &mut Sink<'_>,
    ) -> Result<Option<usize>, Unmaskable> {
        let tag = match tag::read(markup, &mut self.attributes) {
            Read::Tag(tag) => tag,
            Read::Incomplete => return Ok(None),
            Read::Broken | Read::BrokenOff(_) if markup.starts_with(INVALID_END) => {
                self.context.begin_anew();
                self.is_empty = true;
                return Ok(Some(INVALID_END.len()));
            }
            Read::BrokenOff(end) => return self.broken_off(markup, end, at, sink),
            Read::Broken => return Err(BROKEN),
        };
        if self.context.depth() == 0 && !std::mem::take(&mut self.is_empty) {
            return Err(BROKEN);
        }
        self.end_text(at, sink);
        self.context.open(&tag, markup, &self.attributes)?;
        for attribute in &self.attributes {
            if self.context.masks(attribute, markup) {
                sink.replace(at + attribute.value.start, at + attribute.value.end, MASK);
            }
        }
        let Tag { length, is_closed, .. } = tag;
        if is_closed {
            self.context.close().ok_or(BROKEN)?;
        }
        Ok(Some(length))
    }

    /// Finds where it broke off: XStream ends a start tag with what it writes next; where it began again,
    /// that never came.
    fn broken_off(
        &mut self,
        markup: &[u8],
        end: usize,
        at: usize,
        sink: &mut Sink<'_>,
    ) -> Result<Option<usize>, Unmaskable> {
        let mark = &markup[end..];
        if !mark.starts_with(INVALID_BEGIN) {
            return if INVALID_BEGIN.starts_with(mark) { Ok(None) } else { Err(BROKEN) };
        }
        if self.attributes.iter().any(|attribute| self.context.masks(attribute, markup)) {
            return Err(BROKEN);
        }
        self.end_text(at, sink);
        Ok(Some(end + INVALID_BEGIN.len()))
    }

    fn special(
        &mut self,
        markup: &[u8],
        at: usize,
        sink: &mut Sink<'_>,
    ) -> Result<Option<usize>, Unmaskable> {
        let is_masked = matches!(self.context.text(), Text::Masked(_));
        // XStream writes neither in the place of a value.
        if is_masked && self.context.depth() > 0 && (markup.starts_with(b"<?") || markup.starts_with(COMMENT))
        {
            return Err(unmaskable("Mirth's XML has a comment in the place of a value."));
        }
        if markup.starts_with(b"<?") {
            self.state = State::Instruction([0; 2]);
            return Ok(Some(2));
        }
        if markup.starts_with(COMMENT) {
            self.state = State::Comment([0; 2]);
            return Ok(Some(COMMENT.len()));
        }
        if markup.starts_with(CDATA) && self.context.depth() > 0 {
            if is_masked {
                self.context.hold(CDATA);
                sink.leave_out(at, at + CDATA.len());
            }
            self.state = State::Cdata([0; 2]);
            return Ok(Some(CDATA.len()));
        }
        let is_begun = COMMENT.starts_with(markup) || CDATA.starts_with(markup);
        if is_begun { Ok(None) } else { Err(BROKEN) }
    }

    fn cdata(&mut self, last: [u8; 2], input: &[u8], from: usize, sink: &mut Sink<'_>) -> usize {
        let (end, next) = end_of(input, from, last, *b"]]", State::Cdata);
        self.state = next;
        match self.context.text() {
            Text::Passes => {}
            Text::IsKey => self.context.add_to_key(&input[from..end]),
            Text::Masked(_) => {
                self.context.hold(&input[from..end]);
                sink.leave_out(from, end);
            }
        }
        end
    }

    fn end_text(&mut self, at: usize, sink: &mut Sink<'_>) {
        if self.context.holds() {
            sink.pass_to(at);
            self.context.end_text_into(|bytes| sink.put(bytes));
        }
    }
}

/// Returns where `>` after `before` ends what was begun, and what state comes then. A zero in `before` stands
/// for any byte. `last` are the bytes before `from`.
fn end_of(
    input: &[u8],
    from: usize,
    last: [u8; 2],
    before: [u8; 2],
    on: fn([u8; 2]) -> State,
) -> (usize, State) {
    let byte = |at: usize, back: usize| match at.checked_sub(back) {
        Some(at) if at >= from => input[at],
        _ => last[2 - (from + back - at)],
    };
    let mut at = from;
    while let Some(found) = memchr(b'>', &input[at..]) {
        at += found;
        if byte(at, 1) == before[1] && (before[0] == 0 || byte(at, 2) == before[0]) {
            return (at + 1, State::Text);
        }
        at += 1;
    }
    let end = input.len();
    (end, on([byte(end, 2), byte(end, 1)]))
}
