use super::*;

fn answered(status: u16, closes: bool, head_only: bool) -> String {
    let mut out = BytesMut::new();
    answer(status, "This session is view-only.", closes, head_only, &mut out);
    String::from_utf8(out.to_vec()).expect("is text")
}

#[test]
fn a_refusal_is_a_complete_answer_that_no_cache_keeps() {
    assert_eq!(
        answered(403, true, false),
        "HTTP/1.1 403 This session is view-only.\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 27\r\n\r\n\
         This session is view-only.\n"
    );
}

#[test]
fn an_answer_to_head_announces_a_body_it_does_not_have() {
    let answer = answered(403, false, true);
    assert!(answer.ends_with("Content-Length: 27\r\n\r\n"), "{answer}");
    assert!(!answer.contains("Connection"), "{answer}");
}

#[test]
fn no_content_has_neither_body_nor_length() {
    let mut out = BytesMut::new();
    answer(204, "", false, false, &mut out);
    assert_eq!(
        String::from_utf8(out.to_vec()).expect("is text"),
        "HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    );
}

#[test]
fn every_answer_of_ours_can_be_followed() {
    for status in [200, 204, 400, 403, 404, 413, 414, 415, 417, 431, 500, 501, 502, 503, 504, 505, 599] {
        for (closes, method) in [(true, "GET"), (false, "HEAD")] {
            let mut buffer = BytesMut::new();
            answer(status, "Why.", closes, method == "HEAD", &mut buffer);
            let mut reader = ResponseReader::new();
            reader.expect(method);
            let Ok(Some(ResponsePart::Head(head))) = reader.read(&mut buffer, false) else {
                panic!("{status} has a head");
            };
            assert_eq!((head.status, head.origin_closes), (status, closes));
            if !buffer.is_empty() {
                let body = ResponsePart::Data(Bytes::from_static(b"Why.\n"));
                assert_eq!(reader.read(&mut buffer, false), Ok(Some(body)));
            }
            let end = ResponsePart::End { origin_closes: closes };
            assert_eq!(reader.read(&mut buffer, false), Ok(Some(end)), "{status}");
        }
    }
}
