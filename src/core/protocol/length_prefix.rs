//! What goes over a stream behind its length.

use bytes::{Buf, BytesMut};

/// The length announced was more than anything has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong {
    pub length: usize,
}

/// Takes what stands behind a big-endian length of `N` bytes at the front of `buffer`, once it is whole. The
/// length is judged before the rest is waited for, so nothing longer is ever buffered.
pub(super) fn take<const N: usize>(
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Result<Option<BytesMut>, TooLong> {
    let Some(prefix) = buffer.first_chunk::<N>() else { return Ok(None) };
    let length = prefix.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
    if length > bytes_max {
        return Err(TooLong { length });
    }
    if buffer.len() - N < length {
        return Ok(None);
    }
    buffer.advance(N);
    Ok(Some(buffer.split_to(length)))
}
