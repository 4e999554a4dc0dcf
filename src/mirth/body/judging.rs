//! A large body, judged while it comes: only what goes on of it is kept.

use bytes::Bytes;

use super::schema::Root;
use super::xml::Rewriting;
use super::{Address, BodyKind, BodyRefusal, check_type};

/// One body, of a kind that is XML.
pub struct Judging {
    rewriting: Rewriting,
    /// How many bytes may still come.
    bytes_left: usize,
    bytes_max: usize,
}

impl Judging {
    /// Begins to judge; `None` for a kind that is judged whole.
    #[must_use]
    pub fn new(
        kind: BodyKind,
        content_type: Option<&[u8]>,
        address: Option<Address>,
    ) -> Option<Result<Self, BodyRefusal>> {
        let root = Root::of(kind).filter(|_| kind == BodyKind::ConnectorMessage)?;
        let bytes_max = kind.bytes_max();
        let rewriting = Rewriting::new(&root, 0, bytes_max, address);
        Some(check_type(kind, content_type).map(|()| Self { rewriting, bytes_left: bytes_max, bytes_max }))
    }

    /// Takes the next piece, cut anywhere. After a refusal nothing more may follow.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), BodyRefusal> {
        let left = self.bytes_left.checked_sub(piece.len());
        self.bytes_left = left.ok_or(BodyRefusal::TooLarge { bytes_max: self.bytes_max })?;
        self.rewriting.feed(piece)
    }

    /// Returns how many bytes are held so far.
    #[must_use]
    pub fn held(&self) -> usize {
        self.rewriting.held()
    }

    /// Returns what may be forwarded in place of the whole body.
    pub fn finish(self) -> Result<Bytes, BodyRefusal> {
        self.rewriting.finish()
    }
}
