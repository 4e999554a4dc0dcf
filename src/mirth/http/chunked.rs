//! Follows a body in chunks (RFC 9112 §7.1): sizes in hex, CR LF, nothing else. No extensions and no
//! trailers: nobody here sends them, and Jetty's own reading of them can be used against it (MIRTH §3.1).

/// Sixteen digits hold every size; more could only be zeros or wrap.
const SIZE_DIGITS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At a chunk's size.
    Size,
    /// So many bytes of the chunk are left.
    Data(u64),
    /// At the CR LF after a chunk's bytes.
    DataEnd,
    /// At the CR LF after the last chunk's size, where trailers would be.
    LastEnd,
}

/// What the buffer begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes that say where chunks end.
    Framing(usize),
    Data(usize),
    /// So many bytes of framing, the body's last.
    End(usize),
    Incomplete,
}

const SIZE: &str = "A chunk's size must be 1 to 16 hex digits and CR LF, without an extension.";
const DATA_END: &str = "A chunk's bytes must be followed by CR LF.";
const TRAILER: &str = "A body may not end in trailers.";

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { state: State::Size }
    }

    /// Names the next piece at the front of `buffer`, which the caller takes away before it asks again. The
    /// reason in the error is for the sender of the body.
    pub(super) fn next(&mut self, buffer: &[u8]) -> Result<Piece, &'static str> {
        match self.state {
            State::Size => self.size(buffer),
            State::Data(left) => Ok(self.data(left, buffer.len())),
            State::DataEnd => {
                let is_whole = begins_with_line_end(buffer).ok_or(DATA_END)?;
                Ok(if is_whole { self.pass(Piece::Framing(2), State::Size) } else { Piece::Incomplete })
            }
            State::LastEnd => {
                let is_whole = begins_with_line_end(buffer).ok_or(TRAILER)?;
                Ok(if is_whole { Piece::End(2) } else { Piece::Incomplete })
            }
        }
    }

    fn size(&mut self, buffer: &[u8]) -> Result<Piece, &'static str> {
        let digits =
            buffer.iter().take(SIZE_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, rest) = buffer.split_at(digits);
        if digits.len() > SIZE_DIGITS_MAX || (digits.is_empty() && !rest.is_empty()) {
            return Err(SIZE);
        }
        if !begins_with_line_end(rest).ok_or(SIZE)? {
            return Ok(Piece::Incomplete);
        }
        let size = std::str::from_utf8(digits).ok().and_then(|digits| i64::from_str_radix(digits, 16).ok());
        let size = size.and_then(|size| u64::try_from(size).ok()).ok_or(SIZE)?;
        let next = if size == 0 { State::LastEnd } else { State::Data(size) };
        Ok(self.pass(Piece::Framing(digits.len() + 2), next))
    }

    fn data(&mut self, left: u64, at_hand: usize) -> Piece {
        let (taken, left) = split_off(left, at_hand);
        if taken == 0 {
            return Piece::Incomplete;
        }
        self.pass(Piece::Data(taken), if left == 0 { State::DataEnd } else { State::Data(left) })
    }

    const fn pass(&mut self, piece: Piece, next: State) -> Piece {
        self.state = next;
        piece
    }
}

/// Returns how much of `left` the `at_hand` bytes give, and what is left then.
pub(super) fn split_off(left: u64, at_hand: usize) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(at_hand, |left| left.min(at_hand));
    (taken, left - taken as u64)
}

/// Returns whether CR LF is there whole; none if it cannot be.
fn begins_with_line_end(buffer: &[u8]) -> Option<bool> {
    match buffer {
        [b'\r', b'\n', ..] => Some(true),
        [] | [b'\r'] => Some(false),
        _ => None,
    }
}
