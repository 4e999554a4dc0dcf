mod channel;
mod dicom_view;
mod hostile;
mod laws;
mod limits;
mod samples;
mod shapes;

use super::{BodyKind, BodyRefusal, judge};

/// Returns the content type that clients of Mirth send with this kind.
fn sent_type(kind: BodyKind) -> Option<&'static [u8]> {
    kind.media_type().map(str::as_bytes)
}

fn refusal(kind: BodyKind, body: &[u8]) -> Option<BodyRefusal> {
    judge(kind, sent_type(kind), body).err()
}

#[track_caller]
fn check_unchanged(kind: BodyKind, body: &str) {
    let found = judge(kind, sent_type(kind), body.as_bytes());
    assert_eq!(found.as_deref(), Ok(body.as_bytes()), "{kind:?}: {}", &body[..body.len().min(300)]);
}

#[track_caller]
fn check_rewritten(kind: BodyKind, body: &str, expected: &str) {
    let found = judge(kind, sent_type(kind), body.as_bytes());
    assert_eq!(found.as_deref(), Ok(expected.as_bytes()), "{kind:?}: {body}");
}
