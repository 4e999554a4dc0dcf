use super::*;

const HOST: &str = "Host: mirth:8443\r\n";

#[track_caller]
fn check(request: &[u8], status: u16, why: &str) {
    let outcome = read_at_every_cut(request);
    let refused = outcome.refused.unwrap_or_else(|| panic!("{why}: {outcome:?}"));
    assert_eq!(refused.status, status, "{why}: {refused}");
    assert!(refused.reason.ends_with('.'), "{refused}");
    assert_eq!(reason_phrase(refused.reason), refused.reason, "fits into a status line whole");
    assert!(outcome.parts.is_empty(), "{why}: {outcome:?}");
}

#[test]
fn a_request_line_has_one_shape() {
    for (line, status, why) in [
        (&b"GET /api"[..], 400, "HTTP/0.9 has no framing at all"),
        (b"GET /api ", 400, "a version is missing"),
        (b"GET  /api HTTP/1.1", 400, "two spaces: the target may be read as empty"),
        (b"GET /api  HTTP/1.1", 400, "two spaces before the version"),
        (b"GET /api HTTP/1.1 ", 400, "a space after the version"),
        (b"GET /api\tHTTP/1.1", 400, "a tab for the space"),
        (b"GET\t/api HTTP/1.1", 400, "a tab for the space"),
        (b" GET /api HTTP/1.1", 400, "a space before the method"),
        (b"GET\xa0/api HTTP/1.1", 400, "Jetty takes a no-break space for a space"),
        (b"GET\x0c/api HTTP/1.1", 400, "a form feed for the space"),
        (b"GET\x0b/api HTTP/1.1", 400, "a vertical tab for the space"),
        (b"GET\x00 /api HTTP/1.1", 400, "NUL after the method"),
        (b"\xef\xbb\xbfGET /api HTTP/1.1", 400, "a byte order mark"),
        (b"GET /api\rX HTTP/1.1", 400, "a bare CR can end a line"),
        (b"GET /api HTTP/1.1\r", 400, "CR CR LF"),
        (b"get /api HTTP/1.1", 400, "Jetty 9.4 folds the letters of a method"),
        (b"DELETe /api HTTP/1.1", 400, "Jetty 9.4 folds the letters of a method"),
        (b"GET:DELETE /api HTTP/1.1", 400, "a colon is in no method"),
        (b"GET,DELETE /api HTTP/1.1", 400, "a comma is in no method"),
        (b"G\xc4\x95T /api HTTP/1.1", 400, "a letter that may be folded to ASCII"),
        (b"CONNECT mirth:8443 HTTP/1.1", 501, "what follows a CONNECT is no HTTP to a proxy"),
        (b"CONNECT /api HTTP/1.1", 501, "what follows a CONNECT is no HTTP to a proxy"),
        (b"TRACE /api HTTP/1.1", 501, "it echoes credentials"),
        (b"GET /api HTTP/1.0", 505, "keep-alive and chunked mean something else there"),
        (b"GET /api HTTP/1.2", 505, "no such version is known"),
        (b"GET /api HTTP/0.9", 505, "no such version has request lines like this"),
        (b"GET /api HTTP/2.0", 505, "version 2 has no request lines"),
        (b"GET /api http/1.1", 400, "the name is case-sensitive"),
        (b"GET /api HTTP/1.1.1", 400, "not a version"),
        (b"GET /api HTTP/11", 400, "not a version"),
        (b"GET /api HTTP/01.1", 400, "not a version"),
        (b"GET /api HTTP/1.1X", 400, "not a version"),
        (b"GET /api HTTP/1,1", 400, "not a version"),
        (b"GET /api XTTP/1.1", 400, "not HTTP"),
        (b"GET /api HTTP /1.1", 400, "a space in the version"),
        (b"PRI * HTTP/2.0", 400, "the preface of HTTP/2"),
    ] {
        check(&[line, b"\r\n", HOST.as_bytes(), b"\r\n"].concat(), status, why);
    }
}

#[test]
fn a_target_is_a_path_in_visible_ascii() {
    for (target, why) in [
        (&b"*"[..], "asterisk-form is for OPTIONS, which nobody here sends"),
        (b"api/channels", "no slash at the start"),
        (b"https://mirth:8443/api", "Jetty takes absolute-form, and its host over Host"),
        (b"mirth:8443", "authority-form"),
        (b"//evil/api", "two slashes can begin a host"),
        (b"?a=b", "no path"),
        (b"/api#x", "Jetty cuts a fragment off"),
        (b"/api\\x", "some take a backslash for a slash"),
        (b"/api\x7f", "a control character"),
        (b"/api\x01", "a control character"),
        (b"/api\x00", "NUL ends a string in some languages"),
        (b"/api\xc3\xa9", "not ASCII"),
        (b"/api\xa0x", "a no-break space in some encodings"),
        (b"/api?q=\"x\"", "not a URI"),
        (b"/api?q=<x>", "not a URI"),
        (b"/api?q={x}", "not a URI, but Jersey's templates"),
        (b"/api?q=a|b", "not a URI"),
        (b"/api?q=a^b", "not a URI"),
        (b"/api?q=a`b", "not a URI"),
    ] {
        check(&[b"GET ", target, b" HTTP/1.1\r\n", HOST.as_bytes(), b"\r\n"].concat(), 400, why);
    }
}

#[test]
fn a_head_has_one_kind_of_line() {
    for (head, why) in [
        (&b"\nGET / HTTP/1.1\r\nHost: m\r\n\r\n"[..], "Jetty skips any number of line ends before a request"),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: m\r\n\r\n", "two empty lines: one is tolerated"),
        (b"\rGET / HTTP/1.1\r\nHost: m\r\n\r\n", "a bare CR"),
        (b"\r\n\nGET / HTTP/1.1\r\nHost: m\r\n\r\n", "an empty line that ends in LF alone"),
        (b"GET / HTTP/1.1\nHost: m\r\n\r\n", "a request line that ends in LF alone"),
        (b"GET / HTTP/1.1\r\nHost: m\n\r\n", "a header that ends in LF alone"),
        (b"GET / HTTP/1.1\r\nHost: m\r\n\n", "a head that ends in LF alone"),
        (b"GET / HTTP/1.1\n\nGET / HTTP/1.1\r\nHost: m\r\n\r\n", "a head in LF alone, and another behind it"),
        (b"GET / HTTP/1.1\r\nHost: m\rX: y\r\n\r\n", "a bare CR that some take for a line end"),
        (b"GET / HTTP/1.1\r\n Host: m\r\n\r\n", "a folded line, or a header"),
        (b"GET / HTTP/1.1\r\nHost: m\r\nX: a\r\n b\r\n\r\n", "a folded line (RFC 9112 §5.2)"),
        (b"GET / HTTP/1.1\r\nHost: m\r\nX: a\r\n\tb\r\n\r\n", "a line folded by a tab"),
        (b"GET / HTTP/1.1\r\nHost: m\r\n \r\n\r\n", "a line of a space, or the end of the head"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS client, told at its first byte"),
        (b"\x0bMSH|^~\\&|A|B\r", "an MLLP client, told at its first byte"),
    ] {
        check(head, 400, why);
    }
}

#[test]
fn a_header_has_one_reading() {
    for (line, why) in [
        (&b"X y: z"[..], "a space in a name"),
        (b"X : z", "a space before the colon: other parsers drop the line or keep it"),
        (b"X\t: z", "a tab before the colon"),
        (b": z", "no name"),
        (b"X", "no colon"),
        (b"X(Y): z", "no token"),
        (b"X\x00: z", "NUL in a name"),
        (b"\xffX: z", "a high byte in a name"),
        (b"X\xc2\xa0: z", "a no-break space in a name"),
        (b"X;: z", "a semicolon in a name"),
        (b"Content_Length: 5", "gateways turn dashes into underscores"),
        (b"Transfer_Encoding: chunked", "gateways turn dashes into underscores"),
        (b"X_Y: z", "an underscore in a name"),
        (b"X: a\x00b", "NUL in a value"),
        (b"X: a\x0bb", "a vertical tab in a value"),
        (b"X: a\x7fb", "DEL in a value"),
        (b"X: a\rb", "a bare CR in a value"),
    ] {
        check(&[b"GET / HTTP/1.1\r\nHost: m\r\n", line, b"\r\n\r\n"].concat(), 400, why);
    }
}

#[test]
fn a_body_has_one_plain_framing() {
    for (lines, why) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "two framings (RFC 9112 §6.3)"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", "two framings, the other way round"),
        ("Content-Length: 5\r\nTransfer-Encoding: CHUNKED", "two framings in capitals"),
        ("Content-Length: 5\r\nContent-Length: 5", "the length twice, though equal"),
        ("Content-Length: 5\r\ncontent-length: 6", "two lengths"),
        ("Content-Length: 5, 5", "a list of lengths"),
        ("Content-Length: 0 0", "a space in the length"),
        ("Content-Length: +5", "a sign (CVE-2023-40167)"),
        ("Content-Length: -5", "a sign"),
        ("Content-Length: 0x5", "a prefix"),
        ("Content-Length: 5.0", "a fraction"),
        ("Content-Length: 5;x", "a parameter"),
        ("Content-Length: \"5\"", "quotes"),
        ("Content-Length:", "no length"),
        ("Content-Length: \t5", "a tab before the length"),
        ("Content-Length: ٥", "a digit that is not ASCII"),
        ("Content-Length: 18446744073709551616", "2^64 wraps to 0"),
        ("Content-Length: 9223372036854775808", "2^63 is negative to Jetty"),
        ("Content-Length: 00000000000000000005", "20 digits"),
        ("Transfer-Encoding:", "no coding"),
        ("Transfer-Encoding: \tchunked", "a tab before the coding"),
        ("Transfer-Encoding: chunked\t", "a tab after the coding"),
        ("Transfer-Encoding: identity", "a coding of old"),
        ("Transfer-Encoding: gzip", "a coding that we could not follow"),
        ("Transfer-Encoding: gzip, chunked", "two codings"),
        ("Transfer-Encoding: chunked, identity", "chunked is not last"),
        ("Transfer-Encoding: chunked, chunked", "chunked twice"),
        ("Transfer-Encoding: chunked,", "an empty coding"),
        ("Transfer-Encoding: chunked;q=1", "a parameter"),
        ("Transfer-Encoding: xchunked", "another coding that ends like it"),
        ("Transfer-Encoding: chunkedx", "another coding that begins like it"),
        ("Transfer-Encoding: \"chunked\"", "quotes"),
        ("Transfer-Encoding: chun\u{212a}ed", "a letter that folds to k"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "the coding twice"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "two codings in two lines"),
    ] {
        check(&post(&format!("{lines}\r\n"), "0\r\n\r\n"), 400, why);
    }
}

#[test]
fn a_request_names_one_plain_host() {
    for (lines, why) in [
        ("", "no Host (RFC 9112 §3.2)"),
        ("Host: m\r\nHost: m\r\n", "two Hosts, though equal"),
        ("Host: m\r\nhost: evil\r\n", "two Hosts"),
        ("Host:\r\n", "an empty Host"),
        ("Host: m/api\r\n", "a path"),
        ("Host: a@m\r\n", "a user"),
        ("Host: m:99999\r\n", "a port out of range"),
        ("Host: m:0\r\n", "a port that nobody listens on"),
        ("Host: m:\r\n", "an empty port"),
        ("Host: m:+80\r\n", "a sign"),
        ("Host: m:000443\r\n", "more digits than a port has"),
        ("Host: m:8443:8443\r\n", "two ports"),
        ("Host: :8443\r\n", "a port alone"),
        ("Host: m, evil\r\n", "a list"),
        ("Host: m evil\r\n", "a space"),
        ("Host: \tm\r\n", "a tab"),
        ("Host: m%2eevil\r\n", "an escape"),
        ("Host: ::1\r\n", "an address of version 6 without brackets"),
        ("Host: [::1\r\n", "a bracket left open"),
        ("Host: [m]\r\n", "a name in brackets"),
        ("Host: [fe80::1%25eth0]\r\n", "a zone"),
        ("Host: [::1]x\r\n", "something after the bracket"),
        ("Host: [::1]:\r\n", "an empty port after the bracket"),
        ("Host: m\u{e9}\r\n", "not ASCII"),
    ] {
        check(&get(lines), 400, why);
    }
}

#[test]
fn what_some_server_obeys_is_refused() {
    for (line, status, why) in [
        ("Connection: Content-Length", 400, "whoever strips it strips the frame"),
        ("Connection: keep-alive, Transfer-Encoding", 400, "whoever strips it strips the frame"),
        ("Connection: close, Cookie", 400, "whoever strips it strips the session"),
        ("Connection: X-Requested-With", 400, "whoever strips it changes the request"),
        ("Connection: TE", 400, "nobody here sends trailers"),
        ("Connection: close,", 400, "an empty option"),
        ("Connection:", 400, "an empty option"),
        ("Connection: Upgrade", 400, "no protocol is upgraded"),
        ("Connection: keep-alive, upgrade", 400, "no protocol is upgraded"),
        ("Upgrade: websocket", 400, "some servers honour it without Connection"),
        ("Upgrade: h2c", 400, "some servers honour it without Connection"),
        ("HTTP2-Settings: AAMAAABk", 400, "half of an upgrade to h2c"),
        ("Trailer: X-Y", 400, "no trailers are taken"),
        ("X-HTTP-Method: DELETE", 400, "another method"),
        ("X-HTTP-Method-Override: GET", 400, "another method, though a harmless one"),
        ("x-http-methodoverride: PUT", 400, "another method"),
        ("X-Method-Override: PUT", 400, "another method"),
        ("X-Original-URL: /api/users", 400, "another path"),
        ("X-Original-URI: /api/users", 400, "another path"),
        ("X-Rewrite-URL: /api/users", 400, "another path"),
        ("Expect: 200-ok", 417, "an expectation nobody knows"),
        ("Expect: 100-continue, x", 417, "a list of expectations"),
        ("Expect:", 417, "no expectation"),
        ("Expect: 100-continue\r\nExpect: 100-continue", 400, "an expectation twice"),
        ("Content-Type: text/xml\r\nContent-Type: text/plain", 400, "two types: Jetty and Jersey choose"),
        ("Content-Encoding: gzip", 415, "a body that cannot be judged"),
        ("Content-Encoding: identity, gzip", 415, "a body that cannot be judged"),
        ("Content-Encoding: identity\r\nContent-Encoding: gzip", 415, "a body that cannot be judged"),
        ("Content-Encoding:", 415, "an empty encoding"),
    ] {
        check(&get(&format!("{HOST}{line}\r\n")), status, why);
    }
}

#[test]
fn nobody_logs_in_as_the_local_user() {
    for (value, why) in [
        ("Basic YnlwYXNzOnNlY3JldA==", "bypass:secret"),
        ("basic YnlwYXNzOnNlY3JldA==", "the scheme in small letters"),
        ("BASIC QnlQYVNTOng=", "ByPaSS:x"),
        ("Basic YnlwYXNz", "bypass, without a password"),
        ("Basic IGJ5cGFzcyA6eA==", "the user with space around it"),
        ("Basic OmJ5cGFzczp4", ":bypass:x, whose first part old versions skip"),
        ("Basic  YnlwYXNzOng=", "two spaces"),
        ("Basic YnlwYXNzOng", "without its padding, which Mirth does not need"),
        ("Basic YnlwYXNzO-ng=", "a byte that Mirth skips or reads as of base64url"),
        ("Basic YnlwYXN6OnS=", "bits after the last byte"),
        ("Basic YWRt\tYW46", "a tab inside"),
        ("Basic YWRtaW46eA==YnlwYXNzOng=", "something after the padding"),
        ("Basic A===", "not base64"),
        ("Basic", "nothing"),
        ("YnlwYXNzOng=", "old versions decode a value without a scheme"),
        ("Bearer YnlwYXNzOng=", "old versions decode it whatever its scheme"),
        ("YnlwYXNz OnB3", "old versions skip the space"),
        ("", "nothing"),
    ] {
        check(&get(&format!("{HOST}Authorization: {value}\r\n")), 403, why);
    }
    let twice = "Authorization: Basic YWRtaW46eA==\r\n".repeat(2);
    check(&get(&format!("{HOST}{twice}")), 400, "two logins: one is judged, the other used");
}
