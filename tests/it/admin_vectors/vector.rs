//! Raw requests as the two tables of vectors write them, and how one is cut when it is sent.

use std::fmt;
use std::path::Path;

/// What must happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpectedVerdict {
    /// Mirth is reached once, or once for each of the pipelined requests.
    Allow,
    /// Not one byte reaches Mirth.
    Deny,
    /// Only the first of several requests may reach Mirth.
    First,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// The sender waits for an interim answer, a little while.
    Pause,
}

#[derive(Debug, Clone)]
pub(super) struct Vector {
    pub id: String,
    pub why: String,
    pub verdict: ExpectedVerdict,
    pub pieces: Vec<Piece>,
}

/// How the same bytes are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunking {
    Whole,
    /// A TLS record for each byte.
    Bytes,
    /// A TLS record for each line.
    Lines,
}

impl Chunking {
    pub(super) const ALL: [Self; 3] = [Self::Whole, Self::Bytes, Self::Lines];
    /// Beyond this a vector is about sheer size, and sent in one piece.
    const BYTES_SINGLY_MAX: usize = 12_000;

    pub(super) fn cut(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Whole => vec![bytes],
            Self::Bytes => {
                let (singly, rest) = bytes.split_at(bytes.len().min(Self::BYTES_SINGLY_MAX));
                singly.chunks(1).chain((!rest.is_empty()).then_some(rest)).collect()
            }
            Self::Lines => bytes.split_inclusive(|byte| *byte == b'\n').collect(),
        }
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.why)
    }
}

impl Vector {
    /// All of a table; the Host of its requests, `mirth:8443`, is replaced by one as long.
    pub(super) fn all(table: &str, host: &str) -> Vec<Self> {
        assert_eq!(host.len(), MIRTH.len(), "lengths of bodies that hold requests must stay true");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/data").join(table);
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().skip(1).map(|line| Self::read(line, host)).collect()
    }

    fn read(line: &str, host: &str) -> Self {
        let cells: Vec<_> = line.split('\t').collect();
        let [id, raw, why, verdict] = cells[..] else { panic!("four cells: {line}") };
        let verdict = match verdict {
            // These two begin with a whole request that is allowed.
            "deny" if ["F-081", "F-082"].contains(&id) => ExpectedVerdict::First,
            "deny" => ExpectedVerdict::Deny,
            "allow" => ExpectedVerdict::Allow,
            "first" => ExpectedVerdict::First,
            other => panic!("no verdict: {other}"),
        };
        let raw = raw.replace(&format!("Host: {MIRTH}\\r\\n"), &format!("Host: {host}\\r\\n"));
        Self { id: id.into(), why: why.into(), verdict, pieces: pieces(&raw) }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let bytes = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Bytes(bytes) => Some(bytes.as_slice()),
            Piece::Pause => None,
        });
        bytes.collect::<Vec<_>>().concat()
    }
}

const MIRTH: &str = "mirth:8443";
const PAUSE: &str = "PAUSE";

/// `{{…}}` holds `PAUSE`, or what is repeated, `*` and how often.
fn pieces(raw: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = raw;
    while let Some((before, (inner, after))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        bytes.extend(unescaped(before));
        if inner == PAUSE {
            pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
            pieces.push(Piece::Pause);
        } else {
            let (what, times) = inner.rsplit_once('*').expect("a count");
            bytes.extend(unescaped(what).repeat(times.parse().unwrap()));
        }
        rest = after;
    }
    bytes.extend(unescaped(rest));
    pieces.push(Piece::Bytes(bytes));
    pieces
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first().expect("what is escaped");
        rest = after;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            other => panic!("no escape: {}", char::from(other)),
        });
    }
    bytes
}

#[test]
fn every_notation_in_a_vector_is_read() {
    let line = "Z-1\tA\\x00\\\\\\r\\n{{b\\n*3}}Host: mirth:8443\\r\\n{{PAUSE}}c\twhy\tfirst";
    let vector = Vector::read(line, "[::1]:8443");
    assert_eq!((vector.to_string().as_str(), vector.verdict), ("Z-1 (why)", ExpectedVerdict::First));
    let first = b"A\0\\\r\nb\nb\nb\nHost: [::1]:8443\r\n".to_vec();
    assert_eq!(vector.pieces, [Piece::Bytes(first), Piece::Pause, Piece::Bytes(b"c".to_vec())]);
    assert!(
        Chunking::ALL.map(|chunking| chunking.cut(b"a\nbc").concat()).iter().all(|whole| whole == b"a\nbc")
    );
    assert_eq!(Chunking::ALL.map(|chunking| chunking.cut(b"a\nbc").len()), [1, 4, 2]);
}
