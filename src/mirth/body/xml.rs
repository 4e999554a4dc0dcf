//! Holds one body of XML against the shape that its kind may have, piece by piece as it comes, and keeps
//! what may go on.
//!
//! Nothing but tags, plain text and references is known. No tree is built and no piece is kept: a body costs
//! what goes on of it, and what of it has no end yet.

mod left_out;
mod tokens;
mod walk;

use bytes::Bytes;

use super::BodyRefusal;
use super::address::Address;
use super::schema::Root;
use tokens::Token;
use walk::Walk;

/// A body that is judged while it comes.
pub(super) struct Rewriting {
    walk: Walk,
    /// What came last and cannot be told apart yet: a tag, a reference or a character without its end.
    rest: Vec<u8>,
    is_begun: bool,
}

/// Ends with what may be sent to Mirth instead of `body`: the same, if a client of Mirth wrote it.
pub(super) fn rewrite(
    root: &Root,
    body: &[u8],
    bytes_max: usize,
    address: Option<&Address>,
) -> Result<Bytes, BodyRefusal> {
    let mut rewriting = Rewriting::new(root, body.len(), bytes_max, address.cloned());
    rewriting.feed(body)?;
    rewriting.finish()
}

impl Rewriting {
    /// Makes a writer; `capacity` is how much will come, where that is known.
    pub(super) fn new(root: &Root, capacity: usize, bytes_max: usize, address: Option<Address>) -> Self {
        Self { walk: Walk::new(root, capacity, bytes_max, address), rest: Vec::new(), is_begun: false }
    }

    /// Takes the next piece, cut anywhere.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<(), BodyRefusal> {
        if self.rest.is_empty() {
            let taken = self.take(piece)?;
            self.rest.extend_from_slice(&piece[taken..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(piece);
        let taken = self.take(&joined)?;
        joined.drain(..taken);
        self.rest = joined;
        Ok(())
    }

    /// Takes what has an end, and returns how much that was.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, BodyRefusal> {
        let text = tokens::whole_characters(bytes)?;
        if !self.is_begun && !text.is_empty() {
            // Not all that read XML skip it.
            if text.starts_with('\u{feff}') {
                return Err(BodyRefusal::NotUtf8);
            }
            self.is_begun = true;
        }
        let mut taken = 0;
        while let Some((token, length)) = tokens::first(&text[taken..])? {
            match token {
                Token::Text(text) => self.walk.text(text)?,
                Token::Open(tag) => self.walk.open(tag, false)?,
                Token::Empty(tag) => self.walk.open(tag, true)?,
                Token::Close(name) => self.walk.end(name)?,
            }
            taken += length;
        }
        Ok(taken)
    }

    pub(super) const fn held(&self) -> usize {
        self.walk.written() + self.rest.len()
    }

    pub(super) fn finish(mut self) -> Result<Bytes, BodyRefusal> {
        // A line end, or a blank, may have waited for what follows it.
        let rest = std::mem::take(&mut self.rest);
        let text = std::str::from_utf8(&rest).map_err(|_| BodyRefusal::NotUtf8)?;
        if text.starts_with('<') {
            return Err(BodyRefusal::Malformed);
        }
        self.walk.text(text)?;
        self.walk.finish()
    }
}
