mod generated;
mod json;
mod reference;
mod types;
mod xml;

use bytes::BytesMut;

use super::{Masker, Scope, Unmaskable};

const XML: &[u8] = b"application/xml";
const JSON: &[u8] = b"application/json";

/// Returns the body in these pieces, masked.
fn masked(scope: Scope, media_type: &[u8], pieces: &[&[u8]]) -> Result<String, Unmaskable> {
    let mut masker = Masker::new(scope, Some(media_type), None)?;
    let mut out = BytesMut::new();
    for piece in pieces {
        masker.mask(piece, &mut out)?;
    }
    masker.finish(&mut out)?;
    Ok(String::from_utf8(out.to_vec()).expect("stays text"))
}

/// Checks the whole body, cut at every byte and byte by byte: every time the same.
#[track_caller]
fn check_as(scope: Scope, media_type: &[u8], body: &str, expected: Result<&str, Unmaskable>) {
    let body = body.as_bytes();
    let expected = expected.map(String::from);
    assert_eq!(masked(scope, media_type, &[body]), expected);
    for cut in 0..=body.len() {
        let (before, after) = body.split_at(cut);
        assert_eq!(masked(scope, media_type, &[before, after]), expected, "cut at byte {cut}");
    }
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(masked(scope, media_type, &bytes), expected, "byte by byte");
}
