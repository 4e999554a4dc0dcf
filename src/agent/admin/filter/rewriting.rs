//! Mirth's answer on its way to the client where something of it is rewritten: held whole, or in pieces as it
//! comes.

use bytes::{Bytes, BytesMut};

use adit_mirth::http::{BodyWriter, Framing, ResponseFraming, ResponseHead, Unchunked};
use adit_mirth::mask::{self, Scope};
use adit_mirth::rewrite::{Addresses, PageWriter, Rewrite, Unwritable};

pub(super) struct Rewriting {
    addresses: Addresses,
    rewrite: Option<Rewrite>,
    /// How far credentials in the answer are masked, if they are.
    mask: Option<Scope>,
    /// Of the request, as it was judged.
    target: String,
    is_head: bool,
    state: State,
}

enum State {
    /// Passed on as it comes.
    Untouched,
    Whole(BufferedAnswer),
    Page {
        page: PageWriter,
        plain: Unchunked,
        writer: BodyWriter,
    },
}

/// An answer that waits for its end.
struct BufferedAnswer {
    head: ResponseHead,
    closes: bool,
    plain: Unchunked,
    body: Vec<u8>,
    bytes_max: usize,
}

impl Rewriting {
    pub(super) fn new(
        addresses: Addresses,
        rewrite: Option<Rewrite>,
        mask: Option<Scope>,
        target: &str,
        is_head: bool,
    ) -> Self {
        Self { addresses, rewrite, mask, target: target.to_owned(), is_head, state: State::Untouched }
    }

    /// Returns whether something of the body may be rewritten.
    pub(super) const fn is_due(&self) -> bool {
        self.rewrite.is_some() || self.mask.is_some()
    }

    /// Returns how far this answer is masked as it passes. One that is held whole is masked at its end.
    pub(super) fn masks(&self, head: &ResponseHead) -> Option<Scope> {
        self.mask.filter(|_| self.rewrite.is_none_or(|rewrite| !rewrite.applies_to(head)))
    }

    /// Returns the head with Mirth's own addresses as those that the client can reach.
    pub(super) fn amended(&self, mut head: ResponseHead) -> ResponseHead {
        self.addresses.amend(&mut head);
        head
    }

    /// Returns what goes to the client now; nothing while the answer is held.
    pub(super) fn head(&mut self, head: ResponseHead, closes: bool) -> Bytes {
        let mut head = self.amended(head);
        let Some(rewrite) = self.rewrite.filter(|rewrite| rewrite.applies_to(&head)) else {
            return written(&head, closes);
        };
        if self.is_head {
            // How long the body would be is not known without it (RFC 9110 §8.6 lets it be left out).
            head.declared = ResponseFraming::None;
            return written(&head, closes);
        }
        let plain = Unchunked::new(head.framing);
        if let Some(bytes_max) = rewrite.bytes_max() {
            self.state = State::Whole(BufferedAnswer { head, closes, plain, body: Vec::new(), bytes_max });
            return Bytes::new();
        }
        if head.framing == ResponseFraming::None {
            return written(&head, closes);
        }
        let writer = BodyWriter::new(Framing::Chunked);
        self.state = State::Page { page: PageWriter::default(), plain, writer };
        let closes = closes || head.framing == ResponseFraming::UntilClose;
        (head.framing, head.declared) = (ResponseFraming::Chunked, ResponseFraming::Chunked);
        written(&head, closes)
    }

    pub(super) fn data(&mut self, bytes: Bytes) -> Result<Bytes, Unwritable> {
        match &mut self.state {
            State::Untouched => Ok(bytes),
            State::Whole(buffered) => {
                buffered.plain.data(&bytes, |bytes| buffered.body.extend_from_slice(bytes));
                if buffered.body.len() > buffered.bytes_max {
                    Err(Unwritable::TooLong)
                } else {
                    Ok(Bytes::new())
                }
            }
            State::Page { page, plain, writer } => {
                let mut piece = BytesMut::new();
                plain.data(&bytes, |bytes| page.data(bytes, &self.addresses, &mut piece));
                let mut out = BytesMut::new();
                put(writer, piece, &mut out);
                Ok(out.freeze())
            }
        }
    }

    /// Returns what is left to say.
    pub(super) fn end(&mut self) -> Result<Bytes, Unwritable> {
        match std::mem::replace(&mut self.state, State::Untouched) {
            State::Untouched => Ok(Bytes::new()),
            State::Whole(buffered) => self.whole(buffered),
            State::Page { mut page, mut writer, .. } => {
                let (mut piece, mut out) = (BytesMut::new(), BytesMut::new());
                page.end(&self.addresses, &mut piece);
                put(&mut writer, piece, &mut out);
                writer.end(&mut out);
                Ok(out.freeze())
            }
        }
    }

    fn whole(&self, buffered: BufferedAnswer) -> Result<Bytes, Unwritable> {
        let BufferedAnswer { mut head, closes, body, .. } = buffered;
        let new = match self.rewrite {
            Some(rewrite) => rewrite.whole(&mut head, &body, &self.addresses, &self.target)?,
            None => None,
        };
        if new.is_some() {
            head.headers.retain(|header| !["content-md5", "digest"].iter().any(|name| header.is(name)));
        }
        let mut body = new.unwrap_or(body);
        if let Some(scope) = self.mask {
            let (media, coding) = (head.header("content-type"), head.header("content-encoding"));
            body = mask::whole(scope, media, coding, &body)?;
        }
        if head.framing != ResponseFraming::None {
            let length = ResponseFraming::Length(body.len() as u64);
            let closes = closes || head.framing == ResponseFraming::UntilClose;
            (head.framing, head.declared) = (length, length);
            return Ok([written(&head, closes), Bytes::from(body)].concat().into());
        }
        Ok(written(&head, closes))
    }
}

/// Appends a piece of a body, unless it is none.
fn put(writer: &mut BodyWriter, piece: BytesMut, out: &mut BytesMut) {
    if !piece.is_empty() {
        let piece = piece.freeze();
        writer.data(&piece, out);
        out.extend_from_slice(&piece);
    }
}

fn written(head: &ResponseHead, closes: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    head.write(closes, &mut out);
    out.freeze()
}
