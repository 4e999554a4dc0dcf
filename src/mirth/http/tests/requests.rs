use proptest::prelude::*;

use super::*;
use adit_core::domain::limits::{
    ADMIN_HEAD_BYTES_MAX, ADMIN_HEADERS_MAX, ADMIN_METHOD_BYTES_MAX, ADMIN_TARGET_BYTES_MAX,
};

#[test]
fn what_the_administrator_sends_is_read() {
    let outcome = read_at_every_cut(
        b"POST /api/4.5.2/users/_login HTTP/1.1\r\nHost: mirth:8443\r\nAccept: application/xml\r\n\
          Accept:text/plain \t\r\nX-Mirth-Server-Url: https://mirth:8443\r\nX-Requested-With: OpenAPI\r\n\
          Transfer-Encoding:   Chunked  \r\nConnection: Keep-Alive\r\nX-Empty:\r\nX-Text: caf\xe9\tbar\r\n\r\n\
          b\r\nusername=me\r\n00\r\n\r\n",
    );
    assert!(outcome.has_ended(), "{outcome:?}");
    assert_eq!(outcome.body(), b"username=me");
    let head = outcome.heads()[0];
    assert_eq!((head.method.as_str(), head.target.as_str()), ("POST", "/api/4.5.2/users/_login"));
    assert_eq!((head.framing, head.closes, head.expects_continue), (Framing::Chunked, false, false));
    assert_eq!(head.host(), "mirth:8443");
    assert_eq!(head.headers_named("accept").collect::<Vec<_>>(), [&b"application/xml"[..], b"text/plain"]);
    assert_eq!(head.header("x-empty"), Some(&b""[..]));
    assert_eq!(head.header("X-TEXT"), Some(&b"caf\xe9\tbar"[..]));
    assert_eq!(head.header("cookie"), None);
    assert_eq!(head.headers[4].name, "X-Requested-With");
}

#[test]
fn one_empty_line_may_stand_between_requests() {
    let requests = [
        get("Host: a\r\n"),
        b"\r\n".to_vec(),
        post("Content-Length: 3\r\n", "abc"),
        b"\r\n".to_vec(),
        post("Content-Length: 0\r\nConnection: close\r\n", ""),
    ];
    let outcome = read_at_every_cut(&requests.concat());
    assert!(outcome.has_ended(), "{outcome:?}");
    assert_eq!(outcome.heads().len(), 3);
    assert_eq!(outcome.body(), b"abc");
    let framings: Vec<_> = outcome.heads().iter().map(|head| (head.framing, head.closes)).collect();
    assert_eq!(framings, [(Framing::None, false), (Framing::Length(3), false), (Framing::Length(0), true)]);
}

#[test]
fn every_plain_host_or_login_passes() {
    for host in ["m", "mirth.lakeside.example:1", "10.0.0.7:65535", "[::1]", "[2001:db8::1]:8443", "a_b-c."] {
        let outcome = read_at_every_cut(&get(&format!("Host: {host}\r\n")));
        assert_eq!(outcome.heads()[0].host(), host);
    }
    for login in
        ["Basic YWRtaW46YWRtaW4=", "Basic YWRtaW4z", "basic YnlwYXNzZTp4", "Basic YWRtaW46YnlwYXNzOg=="]
    {
        let outcome = read_at_every_cut(&get(&format!("Host: m\r\nAuthorization: {login}\r\n")));
        assert!(outcome.has_ended(), "{login}: {outcome:?}");
    }
}

#[test]
fn a_body_is_waited_for_only_where_one_comes() {
    for (lines, expected) in [
        ("Expect: 100-continue\r\nContent-Length: 3\r\n", true),
        ("Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", true),
        ("Expect: 100-continue\r\nContent-Length: 0\r\n", false),
        ("Expect: 100-continue\r\n", false),
        ("Content-Length: 3\r\n", false),
    ] {
        let outcome = read([&post(lines, "")[..]]);
        assert_eq!(outcome.heads()[0].expects_continue, expected, "{lines}");
    }
}

#[test]
fn a_connection_is_idle_only_between_requests() {
    let mut reader = RequestReader::new();
    let mut buffer = BytesMut::new();
    let mut idle = |bytes: &[u8]| {
        buffer.extend_from_slice(bytes);
        while let Ok(Some(_)) = reader.read(&mut buffer) {}
        reader.is_idle()
    };
    for (bytes, expected) in [
        (&b""[..], true),
        (b"\r", false),
        (b"\n", true),
        (b"G", false),
        (b"ET / HTTP/1.1\r\n", false),
        (b"Host: m\r\n", false),
        (b"Content-Length: 1\r\n\r\n", false),
        (b"x", true),
        (b"!", false),
    ] {
        assert_eq!(idle(bytes), expected, "after {}", bytes.escape_ascii());
    }
}

#[test]
fn a_head_passes_exactly_up_to_each_bound() {
    let method = |length| ["M".repeat(length).as_bytes(), b" / HTTP/1.1\r\nHost: m\r\n\r\n"].concat();
    check_bound(&method, ADMIN_METHOD_BYTES_MAX, 400);
    let target = |length| format!("GET /{} HTTP/1.1\r\nHost: m\r\n\r\n", "a".repeat(length - 1)).into_bytes();
    check_bound(&target, ADMIN_TARGET_BYTES_MAX, 414);
    let longest = |length| {
        let method = "M".repeat(ADMIN_METHOD_BYTES_MAX);
        format!("{method} /{} HTTP/1.1\r\nHost: m\r\n\r\n", "a".repeat(length - 1)).into_bytes()
    };
    check_bound(&longest, ADMIN_TARGET_BYTES_MAX, 414);
    let headers = |count| get(&format!("Host: m\r\n{}", "X: y\r\n".repeat(count - 1)));
    check_bound(&headers, ADMIN_HEADERS_MAX, 431);
    let head = |length| {
        let rest = get("Host: m\r\nX: \r\n").len();
        get(&format!("Host: m\r\nX: {}\r\n", "y".repeat(length - rest)))
    };
    check_bound(&head, ADMIN_HEAD_BYTES_MAX, 431);
    let lengths = |digits| post(&format!("Content-Length: {}\r\n", "0".repeat(digits)), "");
    check_bound(&lengths, 19, 400);
}

#[track_caller]
fn check_bound(request: &dyn Fn(usize) -> Vec<u8>, limit: usize, status: u16) {
    let at_limit = read_at_every_cut(&request(limit));
    assert!(at_limit.has_ended(), "at {limit}: {:?}", at_limit.refused);
    let beyond = read_at_every_cut(&request(limit + 1));
    assert_eq!(beyond.refused.map(|refused| refused.status), Some(status), "at {limit} and one more");
}

#[test]
fn a_line_without_an_end_is_refused_for_what_it_holds() {
    for (line, status) in [
        ("A".repeat(9_000), 400),
        (format!("GET /{}", "a".repeat(9_000)), 414),
        (format!("GET / {}", "H".repeat(9_000)), 400),
        (format!("GET /a\u{7f} {}", "H".repeat(9_000)), 400),
        (format!("GET / HTTP/1.1\r\nHost: {}", "m".repeat(33_000)), 431),
    ] {
        let refused = read_at_every_cut(line.as_bytes()).refused.expect("refused without its end");
        assert_eq!(refused.status, status, "{refused}");
        let ended = read_at_every_cut(format!("{line}\n").as_bytes());
        assert_eq!(ended.refused, Some(refused), "an end changes nothing");
    }
}

proptest! {
    #[test]
    fn random_bytes_read_the_same_however_they_are_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert_eq!(read(bytes.chunks(1)), read([&bytes[..]]));
    }

    #[test]
    fn a_damaged_request_reads_the_same_at_every_cut(
        at in 0_usize..180, byte in any::<u8>(), insert in any::<bool>(), step in 1_usize..40,
    ) {
        let body = "5\r\nhello\r\n0\r\n\r\n";
        let mut bytes = post("X-Y: z\r\nCookie: a=b\r\nTransfer-Encoding: chunked\r\n", body);
        bytes.extend_from_slice(&get("Host: m\r\n"));
        let at = at.min(bytes.len() - 1);
        if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        prop_assert_eq!(read(bytes.chunks(step)), read([&bytes[..]]));
    }
}

#[test]
fn a_header_prints_without_its_value() {
    let outcome = read([&get("Host: m\r\nCookie: JSESSIONID=secret\r\n")[..]]);
    let printed = format!("{:?}", outcome.heads()[0]);
    assert!(printed.contains("Cookie: [17 bytes]") && !printed.contains("secret"), "{printed}");
}
