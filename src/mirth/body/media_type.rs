//! What a `Content-Type` says. One that leaves room for a second reading counts as another type.

/// Returns whether the header names exactly this type, and UTF-8 if it names a character set.
pub(super) fn is(value: &[u8], expected: &str) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let mut parts = value.split(';').map(|part| part.trim_matches([' ', '\t']));
    let is_type = parts.next().is_some_and(|found| found.eq_ignore_ascii_case(expected));
    let is_utf8 = parts.next().is_none_or(is_utf8);
    is_type && is_utf8 && parts.next().is_none()
}

fn is_utf8(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let quoted = value.strip_prefix('"').map(|value| value.strip_suffix('"'));
    let value = quoted.unwrap_or(Some(value));
    name.eq_ignore_ascii_case("charset") && value.is_some_and(|value| value.eq_ignore_ascii_case("utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_type_itself_with_utf_8_or_nothing_is_that_type() {
        let good = [
            "application/xml",
            "Application/XML",
            "application/xml;charset=utf-8",
            "application/xml; charset=UTF-8",
            "application/xml ; Charset=\"utf-8\"",
        ];
        for value in good {
            assert!(is(value.as_bytes(), "application/xml"), "{value}");
        }
        let bad: [&[u8]; 18] = [
            b"",
            b"application/xml;",
            b"application/xml; charset=UTF-7",
            b"application/xml; charset=utf-16",
            b"application/xml; charset=utf8",
            b"application/xml; charset=\"utf-8",
            b"application/xml; charset=utf-8\"",
            b"application/xml; charset=utf-8; charset=utf-16",
            b"application/xml; charset = utf-8",
            b"application/xml; version=1",
            b"application/xml, application/json",
            b"application/json",
            b"application/xml-dtd",
            b"application/xmlx",
            b"text/xml",
            b"application/x-java-serialized-object",
            b"multipart/form-data; boundary=x",
            b"application/xml; charset=utf-8\xa0",
        ];
        for value in bad {
            assert!(!is(value, "application/xml"), "{}", value.escape_ascii());
        }
    }
}
