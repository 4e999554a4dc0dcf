//! Bodies of view-only requests: whatever passes, passes again unchanged, and names nothing that the
//! table of bodies does not name.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use adit_mirth::body::{Address, BodyKind, BodyRefusal, Judging, judge, judge_for};

static TABLE: &str = include_str!("../../../src/mirth/data/read-only-bodies.tsv");

/// Every word of the table; names of elements and classes are among them.
static WORDS: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let is_separator = |char: char| !char.is_ascii_alphanumeric() && !"._-$".contains(char);
    TABLE.split(is_separator).map(|word| word.trim_end_matches('.')).collect()
});

/// That of the path, for requests whose body names one too.
const CHANNEL: &str = "a-1";

/// The first byte says which kind; the rest is the body.
pub fn check(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let kind = BodyKind::ALL[usize::from(*first) % BodyKind::ALL.len()];
    let media_type = media_type(kind);
    let judged = judge(kind, Some(media_type), body);
    if let Some(judging) = Judging::new(kind, Some(media_type), None) {
        assert_eq!(in_pieces(judging, body).as_ref().ok(), judged.as_ref().ok(), "cut anywhere");
    }
    let Ok(out) = judged else { return };
    assert_eq!(judge(kind, Some(media_type), &out).as_ref(), Ok(&out), "passes again unchanged");
    assert!(out.len() <= kind.bytes_max());
    let address = Address { channel: CHANNEL.into(), message: None };
    let of_channel = judge_for(kind, Some(media_type), body, Some(&address));
    let fits = kind != BodyKind::ConnectorMessage || names_no_other_channel(&out);
    assert_eq!(of_channel.ok().as_ref(), Some(&out).filter(|_| fits), "{kind:?}");
    let text = std::str::from_utf8(&out).expect("is UTF-8");
    match media_type {
        b"application/xml" => check_xml(text),
        b"application/x-www-form-urlencoded" => check_form(kind, text),
        b"text/plain" => assert_eq!(&out, body),
        _ => assert!(out.is_empty(), "{kind:?} is never passed on"),
    }
}

/// Of one byte, two, three and so on.
fn in_pieces(judging: Result<Judging, BodyRefusal>, body: &[u8]) -> Result<bytes::Bytes, BodyRefusal> {
    let mut judging = judging?;
    let (mut rest, mut length) = (body, 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        judging.feed(piece)?;
        (rest, length) = (after, length + 1);
    }
    judging.finish()
}

fn names_no_other_channel(out: &[u8]) -> bool {
    let text = std::str::from_utf8(out).expect("is UTF-8");
    let is_own = |rest: &str| rest.strip_prefix(CHANNEL).is_some_and(|rest| rest.starts_with("</"));
    // Only tags hold a raw `<`.
    text.split("<channelId>").skip(1).all(is_own) && !text.contains("<channelId/>")
}

fn media_type(kind: BodyKind) -> &'static [u8] {
    // The dashboard's login has no row of its own.
    let word = if kind == BodyKind::WebLogin { BodyKind::Form.as_str() } else { kind.as_str() };
    let row = TABLE.lines().find(|line| line.split('\t').next() == Some(word));
    let columns = row.map(|row| row.split('\t').collect::<Vec<_>>());
    columns.map_or("-", |columns| columns[1]).as_bytes()
}

fn check_xml(text: &str) {
    let mut depth = 0_usize;
    let mut elements = 0_usize;
    let mut pieces = text.split('<');
    assert_blank(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (tag, rest) = piece.split_once('>').expect("a tag ends");
        assert!(!rest.contains(['>', '"', '\'', '\r']) || rest.trim_ascii().is_empty(), "text is escaped");
        if let Some(name) = tag.strip_prefix('/') {
            assert_name(name);
            depth = depth.checked_sub(1).expect("was open");
        } else {
            elements += 1;
            depth += usize::from(!tag.ends_with('/'));
            check_tag(tag.trim_end_matches('/'));
        }
        assert!(depth <= 8 && (depth > 0 || rest.trim_ascii().is_empty()));
        check_references(rest);
    }
    assert!(depth == 0 && elements > 0);
}

fn check_tag(tag: &str) {
    let Some((name, attributes)) = tag.split_once(' ') else { return assert_name(tag) };
    assert_name(name);
    let class = attributes.strip_prefix("class=\"").and_then(|rest| rest.strip_suffix('"'));
    let class = class.expect("one class and no other attribute");
    assert!(!class.contains(['"', '&', '<', '>', ' ']));
    assert_name(class.strip_suffix("-array").unwrap_or(class));
    for danger in ["Queue", "proxy", "sorted", "javax", "java.lang", "sun.", "Handler"] {
        assert!(!class.contains(danger));
    }
}

fn assert_name(name: &str) {
    assert!(WORDS.contains(name), "{name} is not in the table");
}

fn assert_blank(text: &str) {
    assert!(text.chars().all(|char| " \t\r\n".contains(char)));
}

fn check_references(text: &str) {
    for reference in text.split('&').skip(1) {
        let (name, _) = reference.split_once(';').expect("a reference ends");
        let is_known = ["amp", "lt", "gt", "quot", "apos", "#xd"].contains(&name);
        assert!(is_known || (name.starts_with("#x") && name.len() == 4), "&{name}; was written");
    }
    assert!(!text.chars().any(|char| char.is_control() && !"\t\n\r".contains(char)));
}

fn check_form(kind: BodyKind, text: &str) {
    let pairs = text.split('&').map(|pair| pair.split_once('=').expect("a pair"));
    let mut names: Vec<_> = pairs.map(|(name, _)| name).collect();
    assert_eq!(text.matches('=').count(), names.len());
    if kind == BodyKind::WebLogin {
        names.retain(|name| {
            !matches!(*name, "op" | "version") && !name.to_ascii_lowercase().ends_with("nonce")
        });
    }
    assert!(names == ["username", "password"] || names == ["password", "username"]);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"&=%+-._~*!'()".contains(&byte);
    assert!(text.bytes().all(is_plain));
}
