use proptest::prelude::*;

use super::*;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn chunks_give_their_bytes() {
    for (body, expected) in [
        ("0\r\n\r\n", ""),
        ("0000000000000000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("2\r\n\r\n\r\n1\r\n0\r\n0\r\n\r\n", "\r\n0"),
        ("0000000000000001\r\nx\r\n00\r\n\r\n", "x"),
    ] {
        let outcome = read_at_every_cut(&post(CHUNKED, body));
        assert!(outcome.has_ended(), "{body:?}: {outcome:?}");
        assert_eq!(outcome.body(), expected.as_bytes(), "{body:?}");
    }
}

#[test]
fn chunks_have_one_reading() {
    for (body, why) in [
        ("5;x\r\nhello\r\n0\r\n\r\n", "an extension"),
        ("5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n", "quotes in an extension (CVE-2026-2332)"),
        ("0;\n\r\n", "an extension that ends in LF alone"),
        ("2;\nxx\r\n0\r\n\r\n", "an extension that ends in LF alone"),
        ("5\nhello\r\n0\r\n\r\n", "a size that ends in LF alone"),
        ("5\r\rhello\r\n0\r\n\r\n", "a size that ends in CR alone"),
        ("5 \r\nhello\r\n0\r\n\r\n", "a space after the size"),
        ("5\t\r\nhello\r\n0\r\n\r\n", "a tab after the size"),
        (" 5\r\nhello\r\n0\r\n\r\n", "a space before the size"),
        ("0x5\r\nhello\r\n0\r\n\r\n", "a prefix"),
        ("+5\r\nhello\r\n0\r\n\r\n", "a sign"),
        ("-5\r\nhello\r\n0\r\n\r\n", "a sign"),
        ("5_\r\nhello\r\n0\r\n\r\n", "no hex digit"),
        ("g\r\nhello\r\n0\r\n\r\n", "no hex digit"),
        ("\r\nhello\r\n0\r\n\r\n", "no size"),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", "2^64 + 5 wraps to 5"),
        ("8000000000000000\r\nhello\r\n0\r\n\r\n", "2^63 is negative to Jetty"),
        ("00000000000000005\r\nhello\r\n0\r\n\r\n", "17 digits"),
        ("5\r\nhelloXX0\r\n\r\n", "other bytes after the chunk"),
        ("5\r\nhello0\r\n\r\n", "nothing after the chunk"),
        ("5\r\nhello\n0\r\n\r\n", "LF alone after the chunk"),
        ("5\r\nhello\r0\r\n\r\n", "CR alone after the chunk"),
        ("4\r\nhello\r\n0\r\n\r\n", "a chunk longer than its size"),
        ("0\r\n\n", "a last line of LF alone"),
        ("0\r\r\n", "CR CR LF"),
        ("0\r\nX: y\r\n\r\n", "a trailer"),
        ("0\r\n X: y\r\n\r\n", "a folded trailer"),
        ("0\r\nContent-Length: 50\r\n\r\n", "a framing header in a trailer"),
    ] {
        let outcome = read_at_every_cut(&post(CHUNKED, body));
        let refused = outcome.refused.unwrap_or_else(|| panic!("{why}: {outcome:?}"));
        assert_eq!(refused.status, 400, "{why}");
        assert_eq!(outcome.heads().len(), 1, "{why}");
        assert!(!outcome.parts.contains(&RequestPart::End), "{why}");
    }
}

#[test]
fn the_largest_size_is_a_size() {
    let outcome = read_at_every_cut(&post(CHUNKED, "7fffffffffffffff\r\nhello"));
    assert_eq!((outcome.refused, outcome.body()), (None, b"hello".to_vec()));
}

#[test]
fn a_body_that_stops_short_has_no_end() {
    for (lines, body) in [
        ("Content-Length: 6\r\n", "hello"),
        (CHUNKED, "5\r\nhello"),
        (CHUNKED, "5\r\nhello\r\n0\r\n"),
        (CHUNKED, ""),
    ] {
        let outcome = read_at_every_cut(&post(lines, body));
        assert_eq!(outcome.refused, None);
        assert!(!outcome.parts.contains(&RequestPart::End), "{outcome:?}");
        assert!(!outcome.is_idle);
    }
}

#[test]
fn bytes_of_a_body_are_handed_out_without_a_copy() {
    let mut buffer = BytesMut::from(&post("Content-Length: 3000000000\r\n", "")[..]);
    let mut reader = RequestReader::new();
    assert!(matches!(reader.read(&mut buffer), Ok(Some(RequestPart::Head(_)))));
    buffer.resize(65_536, 7);
    let at = buffer.as_ptr();
    let Ok(Some(RequestPart::Data(data))) = reader.read(&mut buffer) else {
        panic!("the bytes at hand are given at once");
    };
    assert_eq!((data.as_ptr(), data.len(), buffer.len()), (at, 65_536, 0));
    assert_eq!(reader.read(&mut buffer), Ok(None));
}

proptest! {
    #[test]
    fn what_a_body_writer_frames_is_read_back(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
        step in 1_usize..50,
    ) {
        let whole = pieces.concat();
        for framing in [Framing::Chunked, Framing::Length(whole.len() as u64)] {
            let lines = match framing {
                Framing::Chunked => CHUNKED.to_owned(),
                Framing::None | Framing::Length(_) => format!("Content-Length: {}\r\n", whole.len()),
            };
            let mut out = BytesMut::from(&post(&lines, "")[..]);
            let mut writer = BodyWriter::new(framing);
            for piece in &pieces {
                let piece = Bytes::from(piece.clone());
                writer.data(&piece, &mut out);
                out.extend_from_slice(&piece);
            }
            writer.end(&mut out);
            let outcome = read(out.chunks(step));
            prop_assert!(outcome.has_ended(), "{:?}", outcome);
            prop_assert_eq!(outcome.body(), &whole[..]);
        }
    }
}
