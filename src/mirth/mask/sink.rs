//! What of a piece passes: runs of bytes as they are, others left out or replaced. Runs are copied whole.

use bytes::BytesMut;

pub(super) struct Sink<'a> {
    input: &'a [u8],
    /// So much of the input has been dealt with.
    done: usize,
    out: &'a mut BytesMut,
}

impl<'a> Sink<'a> {
    pub(super) fn new(input: &'a [u8], out: &'a mut BytesMut) -> Self {
        Self { input, done: 0, out }
    }

    /// Passes the input up to `at` as it is.
    pub(super) fn pass_to(&mut self, at: usize) {
        self.out.extend_from_slice(self.input.get(self.done..at).unwrap_or_default());
        self.done = self.done.max(at);
    }

    /// Leaves the input out from `from` to `to`.
    pub(super) fn leave_out(&mut self, from: usize, to: usize) {
        self.pass_to(from);
        self.done = self.done.max(to);
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn replace(&mut self, from: usize, to: usize, by: &[u8]) {
        self.leave_out(from, to);
        self.put(by);
    }
}
