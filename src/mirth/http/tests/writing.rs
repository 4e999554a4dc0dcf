use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

const PARTNER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));

fn written(head: &RequestHead) -> BytesMut {
    let mut out = BytesMut::new();
    head.write(&head.target, head.framing, PARTNER, &mut out);
    out
}

#[test]
fn a_request_is_written_canonically_with_only_what_is_passed_on() {
    let request = b"\r\nPOST /api/users/_login?a=%20 HTTP/1.1\r\nhOST:mirth:8443\r\nConnection: close\r\n\
        Content-Length:   011 \r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
        Proxy-Authorization: Basic x\r\nProxy: http://evil\r\nTE: trailers\r\nExpect: 100-continue\r\n\
        X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: evil\r\nx-forwarded-proto: http\r\n\
        Forwarded: for=127.0.0.1\r\nVia: 1.1 x\r\nX-Real-IP: 127.0.0.1\r\nX-Proxied-Https: on\r\n\
        Cookie:\ta=b\r\nCookie: c=d\r\nAccept: text/plain\r\nX-Forwarding: x\r\nX-Requested-With: OpenAPI\r\n\
        Content-Type: text/plain\r\n\r\n";
    let head = read([&request[..]]).heads()[0].clone();
    let expected = "POST /api/users/_login?a=%20 HTTP/1.1\r\nhOST:mirth:8443\r\nCookie:a=b\r\nCookie:c=d\r\n\
        Accept:text/plain\r\nX-Forwarding:x\r\nX-Requested-With:OpenAPI\r\nContent-Type:text/plain\r\n\
        X-Forwarded-For: 10.1.2.3\r\nConnection: close\r\nContent-Length: 11\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&written(&head)), expected);
}

#[test]
fn what_is_written_has_the_judged_target_in_the_judged_framing() {
    let head = read([&get("Host: m\r\n")[..]]).heads()[0].clone();
    for (framing, line) in [
        (Framing::None, ""),
        (Framing::Length(64), "Content-Length: 64\r\n"),
        (Framing::Chunked, "Transfer-Encoding: chunked\r\n"),
    ] {
        let mut out = BytesMut::new();
        head.write("/api/4.5.2/x", framing, IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), &mut out);
        let expected = format!("GET /api/4.5.2/x HTTP/1.1\r\nHost:m\r\nX-Forwarded-For: ::1\r\n{line}\r\n");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_what_was_read(request in requests()) {
        let outcome = read([&request[..]]);
        // A third is refused; that is not a reason to draw again.
        if outcome.refused.is_some() {
            return Ok(());
        }
        let head = outcome.heads()[0].clone();
        let again = read([&written(&head)[..]]);
        prop_assert_eq!(again.refused, None);
        let again = again.heads()[0].clone();
        let own = |header: &Header| {
            ["x-forwarded-for", "connection", "content-length", "transfer-encoding"].iter().any(|name| header.is(name))
        };
        let kept: Vec<_> = again.headers.iter().filter(|header| !own(header)).collect();
        prop_assert_eq!(kept, head.forwarded_headers().collect::<Vec<_>>());
        let own_count = 1 + usize::from(head.closes) + usize::from(head.framing != Framing::None);
        prop_assert_eq!(again.headers.iter().filter(|header| own(header)).count(), own_count);
        let partner = PARTNER.to_string();
        prop_assert_eq!(again.header("X-Forwarded-For"), Some(partner.as_bytes()));
        prop_assert_eq!((again.method, again.target, again.framing, again.closes),
            (head.method, head.target, head.framing, head.closes));
        prop_assert!(!again.expects_continue);
    }
}

/// Returns the requests of which most are well-formed, with names that have rules of their own and values of
/// any bytes.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        "[!#$%&'*+.^`|~0-9A-Za-z-]{1,12}",
        proptest::sample::select(vec![
            "Host",
            "Content-Length",
            "transfer-encoding",
            "Connection",
            "Expect",
            "Via",
            "Proxy-X",
            "Cookie",
            "X-Forwarded-For",
            "Content-Type",
            "TE",
        ])
        .prop_map(String::from),
    ];
    let value = prop_oneof![
        proptest::sample::select(vec![
            "5",
            "chunked",
            "close",
            "keep-alive",
            "100-continue",
            "m:1",
            "",
            "\t a \t"
        ])
        .prop_map(|value| value.as_bytes().to_vec()),
        proptest::collection::vec(
            any::<u8>().prop_filter("a value's byte", |byte| field::is_value_byte(*byte)),
            0..20
        ),
    ];
    let field = (name, value).prop_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\r\n"].concat());
    ("[A-Z-]{1,8}", "/[!$-.0-;=?-\\[\\]_a-z~]{0,20}", proptest::collection::vec(field, 0..6)).prop_map(
        |(method, target, fields)| {
            let start = format!("{method} {target} HTTP/1.1\r\nHost: mirth\r\n");
            [start.as_bytes(), &fields.concat(), b"\r\n"].concat()
        },
    )
}
