use proptest::prelude::*;

use super::*;

/// Heads, joined bodies and ends of the answers to `methods`, or why they cannot be followed.
fn follow<'a>(
    methods: &[&str],
    pieces: impl IntoIterator<Item = &'a [u8]>,
    at_end: bool,
) -> Result<Vec<ResponsePart>, BadResponse> {
    let mut reader = ResponseReader::new();
    let mut methods = methods.iter();
    if let Some(method) = methods.next() {
        reader.expect(method);
    }
    let mut buffer = BytesMut::new();
    let mut parts: Vec<ResponsePart> = Vec::new();
    let mut pieces = pieces.into_iter().peekable();
    while let Some(piece) = pieces.next() {
        buffer.extend_from_slice(piece);
        while let Some(part) = reader.read(&mut buffer, at_end && pieces.peek().is_none())? {
            if let (ResponsePart::End { .. }, Some(method)) = (&part, methods.clone().next()) {
                methods.next();
                reader.expect(method);
            }
            match (&part, parts.last_mut()) {
                (ResponsePart::Data(more), Some(ResponsePart::Data(data))) => {
                    *data = Bytes::from([&data[..], more].concat());
                }
                _ => parts.push(part),
            }
        }
    }
    Ok(parts)
}

#[track_caller]
fn follow_at_every_cut(
    methods: &[&str],
    bytes: &[u8],
    at_end: bool,
) -> Result<Vec<ResponsePart>, BadResponse> {
    let whole = follow(methods, [bytes], at_end);
    for step in 1..12 {
        assert_eq!(follow(methods, bytes.chunks(step), at_end), whole, "in steps of {step}");
    }
    whole
}

/// Checks one answer: framing, body on the wire and whether Mirth closes.
#[track_caller]
fn check(method: &str, answer: &str, at_end: bool, expected: (ResponseFraming, &str, bool)) {
    let parts = follow_at_every_cut(&[method], answer.as_bytes(), at_end).expect(answer);
    let mut parts = parts.into_iter();
    let Some(ResponsePart::Head(head)) = parts.next() else {
        panic!("{answer:?} begins with a head");
    };
    let mut body = Bytes::new();
    let mut end = parts.next();
    if let Some(ResponsePart::Data(data)) = end {
        body = data;
        end = parts.next();
    }
    let (framing, expected_body, origin_closes) = expected;
    assert_eq!((head.framing, &body[..]), (framing, expected_body.as_bytes()), "{answer:?}");
    assert_eq!(end, Some(ResponsePart::End { origin_closes }), "{answer:?}");
    assert_eq!((head.origin_closes, parts.next()), (origin_closes, None), "{answer:?}");
}

#[test]
fn an_answer_ends_where_its_head_says() {
    use ResponseFraming::{Chunked, Length, None, UntilClose};
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let closing = "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n";
    check("GET", &format!("{sized}hello"), false, (Length(5), "hello", false));
    check("GET", &format!("{sized}hello"), true, (Length(5), "hello", false));
    check("GET", closing, false, (Length(0), "", true));
    let body = "5\r\nhello\r\n0\r\n\r\n";
    check("POST", &format!("{chunked}{body}"), false, (Chunked, body, false));
    check("GET", "HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello", true, (UntilClose, "hello", true));
    check("GET", "HTTP/1.1 200 \r\n\r\n", true, (UntilClose, "", true));
    check("HEAD", sized, false, (None, "", false));
    check("HEAD", chunked, false, (None, "", false));
    check("PUT", "HTTP/1.1 204 No Content\r\n\r\n", false, (None, "", false));
    check("PUT", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false, (None, "", false));
    check("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, (None, "", false));
    check("GET", "HTTP/1.1 401\r\nContent-Length: 5\r\n\r\nhello", false, (Length(5), "hello", false));
}

#[test]
fn answers_follow_one_another() {
    let answers = [
        &b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..],
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ];
    let parts = follow(&["HEAD", "GET"], answers, false).expect("can be followed");
    let names: Vec<_> = parts
        .iter()
        .map(|part| match part {
            ResponsePart::Interim => "interim",
            ResponsePart::Head(_) => "head",
            ResponsePart::Data(_) => "data",
            ResponsePart::End { origin_closes: false } => "end",
            ResponsePart::End { origin_closes: true } => "last",
        })
        .collect();
    assert_eq!(names, ["interim", "head", "end", "interim", "head", "data", "end"]);
}

#[test]
fn bytes_beyond_an_answer_end_the_use_of_its_connection() {
    let mut reader = ResponseReader::new();
    reader.expect("GET");
    let mut buffer = BytesMut::from(&b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n"[..]);
    assert!(matches!(reader.read(&mut buffer, false), Ok(Some(ResponsePart::Head(_)))));
    assert_eq!(reader.read(&mut buffer, false), Ok(Some(ResponsePart::End { origin_closes: true })));
    assert!(reader.read(&mut buffer, false).is_err());
}

#[test]
fn an_answer_that_cannot_be_followed_ends_the_connection() {
    for (answer, why) in [
        ("HTTP/1.0 200 OK\r\n\r\n", "another version"),
        ("HTTP/1.1 20 OK\r\n\r\n", "no status"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "no status"),
        ("HTTP/1.1 099 OK\r\n\r\n", "no class of status"),
        ("HTTP/1.1 600 OK\r\n\r\n", "no class of status"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "a changed protocol"),
        ("HTTP/1.1 200 O\u{1}K\r\n\r\n", "a control character"),
        ("HTTP/1.1 200 OK\nX: y\r\n\r\n", "LF alone"),
        ("HTTP/1.1 200 OK\r\nX: y\n\r\n", "LF alone"),
        ("HTTP/1.1 200 OK\r\n X: y\r\n\r\n", "a folded line"),
        ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "a space before the colon"),
        ("HTTP/1.1 200 OK\r\nX: a\u{0}b\r\n\r\n", "NUL"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "two framings"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "two lengths"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "two lengths"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "another coding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "no chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0;x\r\n\r\n", "an extension"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", "a trailer"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "an empty line first"),
        ("HTTP/1.1 204 No Content\r\n\r\nx", "more than was asked for"),
    ] {
        assert!(follow_at_every_cut(&["GET"], answer.as_bytes(), false).is_err(), "{why}: {answer:?}");
    }
    assert!(follow(&[], [&b"HTTP/1.1 408 Request Timeout\r\n\r\n"[..]], false).is_err(), "unasked");
}

#[test]
fn a_connection_that_ends_within_an_answer_has_failed() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        assert!(follow(&["GET"], [answer.as_bytes()], true).is_err(), "{answer:?}");
        assert!(follow(&["GET"], [answer.as_bytes()], false).is_ok(), "{answer:?} may go on");
    }
    assert_eq!(follow(&[], [&b""[..]], true), Ok(Vec::new()), "nothing was asked");
}

#[test]
fn a_failed_reader_stays_failed() {
    let mut reader = ResponseReader::new();
    reader.expect("GET");
    reader.expect("GET");
    let failed = reader.read(&mut BytesMut::new(), false).expect_err("two requests were open");
    reader.expect("GET");
    let mut answer = BytesMut::from(&b"HTTP/1.1 204 No Content\r\n\r\n"[..]);
    assert_eq!(reader.read(&mut answer, false), Err(failed));
}

#[test]
fn a_head_is_bounded() {
    let with = |line: &str, count: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", line.repeat(count))
    };
    for (line, count, is_ok) in [("X: y\r\n", 99, true), ("X: y\r\n", 100, false)] {
        assert_eq!(follow(&["GET"], [with(line, count).as_bytes()], false).is_ok(), is_ok, "{count} lines");
    }
    let rest = with("X: \r\n", 1).len();
    for (length, is_ok) in [(32_768, true), (32_769, false)] {
        let line = format!("X: {}\r\n", "y".repeat(length - rest));
        let answer = with(&line, 1);
        assert_eq!(follow_at_every_cut(&["GET"], answer.as_bytes(), false).is_ok(), is_ok, "{length} bytes");
    }
}

#[test]
fn a_head_goes_on_without_what_speaks_of_the_hop() {
    for (method, answer, closes, expected) in [
        (
            "GET",
            "HTTP/1.1 302 Found\r\nLocation: https://mirth:8443/x\r\nSet-Cookie: JSESSIONID=a;Path=/api\r\n\
             Set-Cookie: JSESSIONID=b;Path=/webadmin\r\nconnection: keep-alive\r\nKeep-Alive: 5\r\n\
             Content-length: 05\r\nX-Caf\u{e9}: no\r\n",
            false,
            "",
        ),
        (
            "GET",
            "HTTP/1.1 302 Found\r\nLocation: https://mirth:8443/x\r\nSet-Cookie: JSESSIONID=a;Path=/api\r\n\
             Set-Cookie: JSESSIONID=b;Path=/webadmin\r\nconnection: keep-alive\r\nKeep-Alive: 5\r\n\
             Content-length: 05\r\nX: caf\u{e9}\r\n",
            false,
            "HTTP/1.1 302 Found\r\nLocation: https://mirth:8443/x\r\nSet-Cookie: JSESSIONID=a;Path=/api\r\n\
             Set-Cookie: JSESSIONID=b;Path=/webadmin\r\nX: caf\u{e9}\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nTrailer: X\r\n",
            true,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 200 OK\r\n", false, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\n", false, "HTTP/1.1 200 OK\r\n\r\n"),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            false,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ),
        ("PUT", "HTTP/1.1 204 \r\nContent-Length: 5\r\n", false, "HTTP/1.1 204 \r\n\r\n"),
    ] {
        let mut reader = ResponseReader::new();
        reader.expect(method);
        let mut buffer = BytesMut::from(format!("{answer}\r\n").as_bytes());
        let mut out = BytesMut::new();
        if let Ok(Some(ResponsePart::Head(head))) = reader.read(&mut buffer, false) {
            head.write(closes, &mut out);
        }
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        start in proptest::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
        bytes in proptest::collection::vec(any::<u8>(), 1..200),
        at_end in any::<bool>(),
    ) {
        let bytes = [start.as_bytes(), &bytes].concat();
        prop_assert_eq!(follow(&["GET"], bytes.chunks(1), at_end).is_ok(), follow(&["GET"], [&bytes[..]], at_end).is_ok());
    }
}
