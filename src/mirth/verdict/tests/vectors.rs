use bytes::BytesMut;

use super::super::super::http::{RequestPart, RequestReader};
use super::*;

const VECTORS: &str = include_str!("../../../../tests/it/data/read-only-vectors.tsv");

/// Returns the bytes of a vector: `\r`, `\n`, `\t`, `\xNN`, `\\`, `{{text*N}}`, and `{{PAUSE}}` for nothing.
fn bytes(escaped: &str) -> Vec<u8> {
    if let Some((before, rest)) = escaped.split_once("{{") {
        let (inner, after) = rest.split_once("}}").expect("ends");
        let middle = match inner.rsplit_once('*') {
            Some((text, count)) => bytes(text).repeat(count.parse().expect("is a count")),
            None => Vec::new(),
        };
        return [bytes(before), middle, bytes(after)].concat();
    }
    let mut found = Vec::new();
    let mut rest = escaped.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, length) = match (first, after) {
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', high, low, ..]) => (hex(*high) << 4 | hex(*low), 4),
            (other, _) => (*other, 1),
        };
        found.push(byte);
        rest = &rest[length..];
    }
    found
}

fn hex(digit: u8) -> u8 {
    u8::try_from(char::from(digit).to_digit(16).expect("is hex")).expect("is small")
}

/// Returns the verdict on every head that the parser lets through.
fn verdicts(wire: &[u8]) -> Vec<Verdict> {
    let (judge, mut reader, mut buffer) = (view_only(), RequestReader::new(), BytesMut::from(wire));
    let mut verdicts = Vec::new();
    while let Ok(Some(part)) = reader.read(&mut buffer) {
        if let RequestPart::Head(head) = part {
            verdicts.push(judge.judge(&head));
        }
    }
    verdicts
}

fn vectors() -> impl Iterator<Item = [&'static str; 4]> {
    VECTORS.lines().skip(1).map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        columns.try_into().expect("has four columns")
    })
}

/// Vectors whose head is fine and whose body is not, or ends too early: `body` and the agent see to them.
const BODY: [&str; 5] = ["M-052", "F-097", "X-043", "X-044", "X-048"];

#[test]
fn every_vector_to_deny_that_the_parser_passes_is_refused_or_has_a_body_to_be_refused() {
    for [id, wire, why, _] in vectors().filter(|vector| vector[3] == "deny") {
        let verdicts = verdicts(&bytes(wire));
        let strict = ["W-", "M-", "P-"].iter().any(|kind| id.starts_with(kind)) && !BODY.contains(&id);
        for verdict in &verdicts {
            let Some((target, body)) = verdict.forwarded() else { continue };
            // Smuggling vectors begin with something harmless, which may pass by itself.
            let harmless = target == "/api/channels/statuses" && body == BodyKind::None;
            assert!(!strict && (body != BodyKind::None || harmless), "{id} {why}: {verdict:?}");
        }
    }
}

#[test]
fn every_vector_to_allow_is_forwarded_as_it_came_with_its_kind_of_body() {
    let kinds = [
        ("L-004", BodyKind::Form),
        ("L-014", BodyKind::HeaderMap),
        ("L-017", BodyKind::UuidSet),
        ("L-022", BodyKind::MessageFilter),
        ("L-023", BodyKind::MessageFilter),
        ("L-025", BodyKind::MessageFilter),
        ("L-029", BodyKind::StringMap),
        ("L-033", BodyKind::UuidSet),
        ("L-035", BodyKind::EventFilter),
        ("L-038", BodyKind::IntMap),
    ];
    let mut count = 0;
    for [id, wire, why, _] in vectors().filter(|vector| vector[3] == "allow") {
        let expected = kinds.iter().find(|(known, _)| *known == id).map_or(BodyKind::None, |(_, kind)| *kind);
        let verdicts = verdicts(&bytes(wire));
        assert!(!verdicts.is_empty(), "{id} {why}");
        for verdict in &verdicts {
            let (target, body) = verdict.forwarded().unwrap_or_else(|| panic!("{id} {why}: {verdict:?}"));
            assert!(wire.contains(&format!(" {target} HTTP/1.1")), "{id}: {target}");
            assert_eq!(body, expected, "{id}");
        }
        count += 1;
    }
    assert_eq!(count, 29);
}
