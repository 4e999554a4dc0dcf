use super::*;

const VECTORS: &str = include_str!("../../../../tests/it/data/read-only-vectors.tsv");

/// Refused for what they ask, not for how it is spelled: the tables and the body filter decide.
const LEFT_TO_THE_FILTER: [&str; 22] = [
    "M-006", "M-008", "M-010", "M-011", "M-012", "M-013", "M-014", "M-016", "M-021", "M-049", "M-050",
    "M-052", "M-053", "F-048", "F-082", "F-094", "F-097", "X-043", "X-044", "X-048", "X-049", "X-050",
];

#[test]
fn malformed_vectors_are_refused_by_the_reader_alone() {
    let mut refused_count = 0;
    for (id, request) in vectors() {
        let outcome = read_at_every_cut(&request);
        let is_of_form = ["F-", "M-", "X-"].iter().any(|kind| id.starts_with(kind));
        if is_of_form && !LEFT_TO_THE_FILTER.contains(&id) {
            assert!(outcome.refused.is_some(), "{id} is read as {outcome:?}");
            refused_count += 1;
        }
        if LEFT_TO_THE_FILTER.contains(&id) {
            assert!(outcome.refused.is_none(), "{id} need not be left: {:?}", outcome.refused);
        }
    }
    assert!(refused_count > 80, "only {refused_count} were refused");
}

#[test]
fn vectors_that_must_pass_are_read_whole() {
    let allowed: Vec<_> = vectors().into_iter().filter(|(id, _)| id.starts_with("L-")).collect();
    assert!(allowed.len() > 25);
    for (id, request) in allowed {
        let outcome = read_at_every_cut(&request);
        assert!(outcome.has_ended(), "{id}: {outcome:?}");
        assert_eq!(outcome.heads().len(), if id == "L-045" { 2 } else { 1 }, "{id}");
    }
}

/// Returns id and bytes of every vector. A pause is a cut, and all cuts are tried.
fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let rows = VECTORS.lines().skip(1).filter_map(|row| row.split_once('\t'));
    rows.map(|(id, rest)| (id, unescape(&expand(rest.split('\t').next().unwrap_or_default())))).collect()
}

/// Expands: `{{x*3}}` stands for `xxx`, `{{PAUSE}}` for time that passes.
fn expand(mut text: &str) -> String {
    let mut expanded = String::new();
    while let Some((before, rest)) = text.split_once("{{") {
        let (inner, after) = rest.split_once("}}").expect("braces are closed");
        expanded.push_str(before);
        if let Some((repeated, times)) = inner.rsplit_once('*') {
            expanded.push_str(&repeated.repeat(times.parse().expect("a number")));
        }
        text = after;
    }
    expanded + text
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (_, true) => match rest.next().expect("something is escaped") {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                    let digits = std::str::from_utf8(&digits).expect("two digits");
                    u8::from_str_radix(digits, 16).expect("hex")
                }
                other => other,
            },
            (byte, false) => byte,
        });
    }
    bytes
}
