//! Changes to a request: of one part of its grammar, or of its bytes once it is written. Some leave it
//! what it was, some make it another, most make it none.

use adit_lab::messages::Draws;

use super::draft::{Chunks, Draft, Wire, index};

/// Headers that a filter or a server may treat in a way of its own.
const HEADERS: [(&str, &str); 44] = [
    ("Accept", "application/xml"),
    ("Accept", "application/json;q=0.9, */*"),
    ("Accept-Encoding", "gzip"),
    ("Authorization", "Basic cGFydG5lcjp4"),
    ("Authorization", "Basic YnlwYXNzOng="),
    ("Authorization", "Bearer x"),
    ("Cache-Control", "no-cache"),
    ("Connection", "keep-alive"),
    ("Connection", "Keep-Alive"),
    ("Connection", "close"),
    ("Connection", "close, X-Requested-With"),
    ("Connection", "Upgrade"),
    ("Content-Encoding", "identity"),
    ("Content-Encoding", "gzip"),
    ("Content-Length", "0"),
    ("Content-Length", "5"),
    ("Content-Type", "APPLICATION/XML"),
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Cookie", "JSESSIONID=node0a.node0; JSESSIONID=b"),
    ("Cookie", "a=\"b; c\"; $Path=/"),
    ("Expect", "100-continue"),
    ("Forwarded", "for=127.0.0.1;host=evil"),
    ("Host", "evil.example"),
    ("If-Modified-Since", "Thu, 26 Nov 2026 10:00:00 GMT"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Range", "bytes=0-1"),
    ("Referer", "https://[::1]:8443/"),
    ("TE", "trailers"),
    ("Trailer", "X"),
    ("Transfer-Encoding", "chunked"),
    ("Transfer-Encoding", "identity"),
    ("Transfer-Encoding", "gzip, chunked"),
    ("Upgrade", "h2c"),
    ("User-Agent", "Apache-HttpClient/4.5.13 (Java/17)"),
    ("Via", "1.1 x"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Host", "evil"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Mirth-Server-Url", "https://mirth:8443"),
    ("X-Original-URL", "/api/server/encryption"),
    ("X_Under", "1"),
    ("X-Data", "1"),
    ("x-data", ""),
];

/// Headers whose values Jetty remembers from request to request.
const REMEMBERED: [&str; 6] =
    ["Accept", "Accept-Charset", "Accept-Language", "Cache-Control", "Cookie", "User-Agent"];
const METHODS: [&str; 16] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "GETX",
    "G\u{e4}T", "GET ", " GET", "", "SEARCH",
];
const VERSIONS: [&str; 8] =
    ["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 ", "", "HTTP/11"];
const SEGMENTS: [&str; 20] = [
    "/",
    "/.",
    "/..",
    "/%2e%2e",
    "/;x",
    ";x=y",
    "/..;/",
    "//",
    "%2f",
    "%5c",
    "\\",
    "%3b",
    "%25",
    "%00",
    "%0a",
    "%c3%a4",
    "#x",
    "/_removeChannels",
    "/api",
    "/4.5.2",
];
const PARAMETERS: [&str; 16] = [
    "a=b",
    "&",
    "=",
    "a=b;c=d",
    "a=%26",
    "a=%C3%A4",
    "_method=DELETE",
    "metaDataSearch=T%20=%201",
    "metaDataSearch=T)--",
    "m%65taDataSearch=x%20y",
    "a+b=c+d",
    "?",
    "a=%",
    "a=%0d%0a",
    "a=/../",
    "a[]={}",
];
const WORDS: [&str; 18] = [
    "<!DOCTYPE a>",
    "<?a b?>",
    "<!-- a -->",
    "<![CDATA[a]]>",
    "&amp;",
    "&#65;",
    "&a;",
    " class=\"a\"",
    "<a/>",
    "\n",
    " ",
    "\t",
    "</set>",
    "<string>x</string>",
    "\u{e4}",
    "\0",
    "&username=x",
    "%zz",
];
const BYTES: [u8; 20] = [
    0, 1, b'\t', b'\n', 0x0b, 0x0c, b'\r', b' ', b'"', b'#', b'%', b',', b':', b';', b'\\', b'_', 0x7f, 0x80,
    0xa0, 0xff,
];
const EXTENSIONS: [&[u8]; 5] = [b";", b";a=b", b";a=\"\r\n\"", b" ", b"\t"];
const TRAILERS: [&[u8]; 3] = [b"X: y\r\n", b"Content-Length: 3\r\n", b"X: y\n"];

/// The bytes of a client's whole connection: one request or several, each changed a few times or not.
pub(super) fn connection(draws: &mut Draws, host: &str) -> Vec<u8> {
    let requests = if draws.below(8) == 0 { 2 + draws.below(3) } else { 1 };
    let mut bytes = Vec::new();
    for _ in 0..requests {
        let mut draft = Draft::allowed(draws, host);
        for _ in 0..draws.below(3) {
            harmless(&mut draft, draws);
        }
        for _ in 0..[0, 0, 0, 1, 1, 1, 2, 3][index(draws, 8)] {
            change(&mut draft, draws);
        }
        let mut written = draft.write();
        if draws.below(12) == 0 {
            change_bytes(&mut written, draws);
        }
        bytes.extend(written);
    }
    bytes
}

/// Cuts bytes where a network may.
pub(super) fn cut<'a>(draws: &mut Draws, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let most = draws.pick(&[1, 2, 7, 40, 300, 100_000]);
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + index(draws, most)));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Leaves the request what it is.
fn harmless(draft: &mut Draft, draws: &mut Draws) {
    match draws.below(6) {
        0 => swap_headers(draft, draws),
        1 => respell(draft, draws),
        2 => {
            let space = draws.pick(&[&b"  "[..], b"\t", b"", b" \t "]);
            let at = index(draws, draft.headers.len());
            let (_, value) = &mut draft.headers[at];
            let bare = value.trim_ascii().to_vec();
            *value = [space, &bare, space].concat();
        }
        3 => {
            let name = draws.pick(&["X-Data", "X-Trace-Id", "Accept-Language"]);
            let value = (0..draws.below(40)).map(|_| visible(draws)).collect();
            draft.headers.push((name.into(), value));
        }
        4 => draft.headers.push((draws.pick(&REMEMBERED).into(), remembered(draws))),
        _ => {
            if let Wire::Chunked(chunks) = &mut draft.framing {
                *chunks = Chunks { size: 1 + index(draws, 32), zeros: index(draws, 4), ..chunks.clone() };
                chunks.is_upper = draws.below(2) == 0;
            }
        }
    }
}

/// What Jetty has in its memory is soon met again, in another case or with bit 7 set.
fn remembered(draws: &mut Draws) -> Vec<u8> {
    let letters = (0..=draws.below(4)).map(|_| draws.pick(b"aA\xe1\xc1b"));
    [&b" "[..], &letters.collect::<Vec<_>>()].concat()
}

fn visible(draws: &mut Draws) -> u8 {
    let wide = u8::try_from(draws.below(256)).unwrap();
    if wide.is_ascii_graphic() || wide >= 0x80 || wide == b' ' { wide } else { b'~' }
}

fn swap_headers(draft: &mut Draft, draws: &mut Draws) {
    let count = draft.headers.len();
    if count > 1 {
        draft.headers.swap(index(draws, count), index(draws, count));
    }
}

fn respell(draft: &mut Draft, draws: &mut Draws) {
    if draft.headers.is_empty() {
        return;
    }
    let at = index(draws, draft.headers.len());
    for letter in &mut draft.headers[at].0 {
        if draws.below(2) == 0 {
            *letter = if letter.is_ascii_lowercase() {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            };
        }
    }
}

/// May make the request another, or none.
fn change(draft: &mut Draft, draws: &mut Draws) {
    match draws.below(14) {
        0 => draft.method = latin(draws.pick(&METHODS)),
        1 => insert(&mut draft.path, draws.pick(&SEGMENTS).as_bytes(), draws),
        2 => escape(&mut draft.path, draws),
        3 => draft.path.extend(draws.pick(&SEGMENTS).as_bytes()),
        4 => {
            let query = draft.query.get_or_insert_default();
            if !query.is_empty() {
                query.push(b'&');
            }
            query.extend(draws.pick(&PARAMETERS).as_bytes());
        }
        5 => {
            if let Some(query) = &mut draft.query {
                escape(query, draws);
            }
        }
        6 => {
            let (name, value) = draws.pick(&HEADERS);
            let at = index(draws, draft.headers.len() + 1);
            draft.headers.insert(at, (name.into(), format!(" {value}").into_bytes()));
        }
        7 => change_header(draft, draws),
        8 => draft.framing = framing(draws),
        9 => change_chunks(draft, draws),
        10 => insert(&mut draft.body, draws.pick(&WORDS).as_bytes(), draws),
        11 => change_bytes(&mut draft.body, draws),
        12 => draft.body.extend(Draft::allowed(draws, "x").body),
        _ => match draws.below(3) {
            0 => draft.line_end = b"\n",
            1 => draft.version = draws.pick(&VERSIONS).into(),
            _ => draft.method.splice(0..0, *b"\r\n").for_each(drop),
        },
    }
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect()
}

fn framing(draws: &mut Draws) -> Wire {
    let chunks = Chunks::of(1 + index(draws, 32));
    match draws.below(5) {
        0 => Wire::None,
        1 => Wire::Length { off_by: 0 },
        2 => Wire::Length { off_by: draws.pick(&[-2, -1, 1, 2]) },
        3 => Wire::Chunked(chunks),
        _ => Wire::Both(chunks),
    }
}

fn change_chunks(draft: &mut Draft, draws: &mut Draws) {
    let mut chunks = Chunks::of(1 + index(draws, 32));
    match draws.below(4) {
        0 => chunks.extension = draws.pick(&EXTENSIONS),
        1 => chunks.trailer = draws.pick(&TRAILERS),
        2 => chunks.line_end = draws.pick(&[&b"\n"[..], b"\r", b"\r\r\n"]),
        _ => chunks.zeros = draws.pick(&[1, 14, 15, 16, 17]),
    }
    draft.framing = Wire::Chunked(chunks);
}

fn change_header(draft: &mut Draft, draws: &mut Draws) {
    if draft.headers.is_empty() {
        return;
    }
    let at = index(draws, draft.headers.len());
    let again = draft.headers[at].clone();
    let (name, value) = &mut draft.headers[at];
    match draws.below(6) {
        0 => name.push(draws.pick(&BYTES)),
        1 => name.insert(0, draws.pick(&BYTES)),
        2 => change_bytes(value, draws),
        3 => insert(value, b"\r\n ", draws),
        4 => draft.headers.push(again),
        _ => drop(draft.headers.remove(at)),
    }
}

fn insert(into: &mut Vec<u8>, what: &[u8], draws: &mut Draws) {
    let at = index(draws, into.len() + 1);
    into.splice(at..at, what.iter().copied());
}

/// Spells one byte as an escape: its own, or another's.
fn escape(text: &mut Vec<u8>, draws: &mut Draws) {
    if text.is_empty() {
        return;
    }
    let at = index(draws, text.len());
    let byte = if draws.below(2) == 0 { text[at] } else { u8::try_from(draws.below(256)).unwrap() };
    let escaped = if draws.below(2) == 0 { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
    text.splice(at..=at, escaped.into_bytes());
}

fn change_bytes(bytes: &mut Vec<u8>, draws: &mut Draws) {
    if bytes.is_empty() {
        return;
    }
    let at = index(draws, bytes.len());
    let byte = if draws.below(2) == 0 { draws.pick(&BYTES) } else { u8::try_from(draws.below(256)).unwrap() };
    match draws.below(4) {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
}
