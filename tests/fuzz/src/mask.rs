//! Targets of answers: whatever passes a mask passes the same however it is cut, has no credential left
//! in it for a second look, and keeps its shape.

use bytes::BytesMut;

use adit_mirth::mask::{Masker, Scope};

const SCOPES: [Scope; 4] = [Scope::Named, Scope::Properties, Scope::ConfigurationMap, Scope::Single];
const TYPES: [Option<&[u8]>; 3] = [Some(b"application/xml"), Some(b"application/json"), None];

/// A byte that chooses how, then an answer's body.
pub fn check(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let scope = SCOPES[usize::from(choice % 4)];
    let media_type = TYPES[usize::from(choice / 4 % 3)];
    let whole = masked(scope, media_type, std::iter::once(body));
    let cut = usize::from(*choice) % (body.len() + 1);
    let (before, after) = body.split_at(cut);
    assert_eq!(whole, masked(scope, media_type, [before, after].into_iter()), "cut at {cut}");
    assert_eq!(whole, masked(scope, media_type, body.chunks(1)), "byte by byte");
    // Where Mirth began an answer again, what stood before may be masked together with the mark of it.
    let begins_anew = memchr::memmem::find(body, b"<__|").is_some();
    if let Some(once) = whole.filter(|_| !begins_anew) {
        assert_eq!(masked(scope, media_type, std::iter::once(&once[..])), Some(once.clone()), "masked again");
    }
}

fn masked<'b>(
    scope: Scope,
    media_type: Option<&[u8]>,
    pieces: impl Iterator<Item = &'b [u8]>,
) -> Option<BytesMut> {
    let mut masker = Masker::new(scope, media_type, None).ok()?;
    let mut out = BytesMut::new();
    for piece in pieces {
        masker.mask(piece, &mut out).ok()?;
    }
    masker.finish(&mut out).ok()?;
    Some(out)
}
