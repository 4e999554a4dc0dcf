use bytes::BytesMut;

use super::super::{Masker, Scope, Unmaskable, unmaskable};
use adit_core::domain::limits;

fn masked(content_type: Option<&str>, body: &[u8]) -> Result<Vec<u8>, Unmaskable> {
    let mut masker = Masker::new(Scope::Named, content_type.map(str::as_bytes), None)?;
    let mut out = BytesMut::new();
    for byte in body {
        masker.mask(&[*byte], &mut out)?;
    }
    masker.finish(&mut out)?;
    Ok(out.to_vec())
}

const WIDE: Unmaskable = unmaskable("Mirth's answer is in a charset that is not read here.");

#[test]
fn an_answer_is_read_by_its_type_or_else_by_its_first_character() {
    let (xml, json) = ("<password>x</password>", "{\"password\":\"x\"}");
    let masks = |content_type: Option<&str>, body: &str| {
        masked(content_type, body.as_bytes()).map(|out| out.windows(8).any(|stars| stars == b"********"))
    };
    for xml_type in
        ["application/xml", "text/xml", "Application/XML ; charset=\"UTF-8\"", "application/atom+xml"]
    {
        assert_eq!(masks(Some(xml_type), xml), Ok(true), "{xml_type}");
        assert!(masks(Some(xml_type), json).is_err(), "{xml_type}");
    }
    for json_type in ["application/json", "application/json;charset=iso-8859-1", "application/hal+json"] {
        assert_eq!(masks(Some(json_type), json), Ok(true), "{json_type}");
        assert!(masks(Some(json_type), xml).is_err(), "{json_type}");
    }
    for other in [None, Some("text/plain"), Some("application/octet-stream"), Some("nonsense"), Some("")] {
        for body in [xml, json, "  <password>x</password>", "\u{feff}<password>x</password>"] {
            assert_eq!(masks(other, body), Ok(true), "{other:?} {body}");
        }
        for plain in ["", "a", "4.5.2", "password=x", "   ", " \n\n\n\n5"] {
            assert_eq!(masked(other, plain.as_bytes()), Ok(plain.into()), "{other:?} {plain}");
        }
    }
    assert_eq!(masks(Some("text/html"), "<html><p>"), Ok(false), "a page of an error");
}

#[test]
fn what_an_answer_of_no_type_is_taken_for_does_not_depend_on_how_it_is_cut() {
    let secret = "<password>x</password>";
    for lead in [
        "",
        "\t",
        "\t\t\t\t",
        "     ",
        "\u{feff}",
        "\u{feff} \u{feff}",
        " \u{feff}",
        "\0",
        "\t\t\t\t\0",
        "a",
        "  a",
    ] {
        let body = format!("{lead}{secret}");
        let body = body.as_bytes();
        let bytewise = masked(None, body);
        for cut in 0..=body.len() {
            let mut masker = Masker::new(Scope::Named, None, None).unwrap();
            let mut out = BytesMut::new();
            let (before, after) = body.split_at(cut);
            let passed = masker.mask(before, &mut out).and_then(|()| masker.mask(after, &mut out));
            let passed = passed.and_then(|()| masker.finish(&mut out)).map(|()| out.to_vec());
            assert_eq!(passed, bytewise, "{lead:?} cut at {cut}");
        }
    }
}

#[test]
fn wide_characters_do_not_hide_behind_space() {
    for wide in [&b"    \0<\0a"[..], b"\n\0<\0a\0", b"\0\n\0<\0a", b"  \xfe\xff\0<"] {
        assert_eq!(masked(None, wide), Err(WIDE), "{wide:?}");
    }
}

#[test]
fn what_is_compressed_or_in_another_charset_does_not_pass() {
    for charset in ["utf-16", "UTF-16LE", "utf-7", "ebcdic-cp-us", "shift_jis"] {
        assert_eq!(
            masked(Some(&format!("application/xml;charset={charset}")), b"<a/>"),
            Err(WIDE),
            "{charset}"
        );
    }
    for wide in [&b"\xfe\xff\0<\0a"[..], b"\xff\xfe<\0a\0", b"\0<\0a", b"{\0\"\0"] {
        assert_eq!(masked(None, wide), Err(WIDE));
        assert!(masked(Some("application/xml"), wide).is_err());
    }
    let gzip = Masker::new(Scope::Named, Some(b"application/xml"), Some(b"gzip"));
    assert_eq!(gzip.err(), Some(unmaskable("Mirth's answer is compressed.")));
    assert!(Masker::new(Scope::Named, None, Some(b"Identity")).is_ok());
}

#[test]
fn a_single_value_is_masked_whole_within_its_bound() {
    let masked = |body: &[u8]| {
        let mut masker = Masker::new(Scope::Single, Some(b"text/plain"), None)?;
        let mut out = BytesMut::new();
        for piece in body.chunks(7) {
            masker.mask(piece, &mut out)?;
        }
        masker.finish(&mut out)?;
        Ok::<_, Unmaskable>(out.to_vec())
    };
    assert_eq!(masked(b"a secret value").unwrap(), b"********");
    assert_eq!(masked(b"<a>secret</a>").unwrap(), b"********");
    for kept in [&b""[..], b"true"] {
        assert_eq!(masked(kept).unwrap(), kept);
    }
    assert!(masked(&vec![b'x'; limits::MASK_VALUE_BYTES_MAX]).is_ok());
    assert!(masked(&vec![b'x'; limits::MASK_VALUE_BYTES_MAX + 1]).is_err());
}
