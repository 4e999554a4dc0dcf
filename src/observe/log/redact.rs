//! The second line of defence: masks what must never have been logged. The first is not to log it.

use std::borrow::Cow;

use adit_core::config::LogFormat;

const MASK: &str = "[masked]";
/// Our secrets and tokens, and any key of their size, are this many hexadecimal digits or more.
const SECRET_DIGITS: usize = 64;
/// Public, and the only long hexadecimal text that people need to see.
const FINGERPRINT: &str = "sha256:";
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// Returns one line as it may be written. Long hexadecimal texts that are no fingerprints are masked; from
/// the first HL7 segment or private key on, so is the rest of the line, or of the JSON text.
pub(super) fn redact(line: &str, format: LogFormat) -> Cow<'_, str> {
    let masked = redact_content(line, format);
    match redact_digits(&masked) {
        Some(text) => Cow::Owned(text),
        None => masked,
    }
}

fn redact_content(line: &str, format: LogFormat) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = line;
    while let Some(start) = content_start(rest) {
        let end = match format {
            LogFormat::Text => rest.trim_end_matches('\n').len(),
            LogFormat::Json => start + json_text_end(&rest[start..]),
        };
        masked.push_str(&rest[..start]);
        masked.push_str(MASK);
        rest = &rest[end.max(start)..];
    }
    if masked.is_empty() && rest.len() == line.len() {
        return Cow::Borrowed(line);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Returns where patient data or a private key begins: at a segment's name and its field separator (HL7
/// v2.5.1 §2.5), such as `PID|`, or at the header of PEM.
fn content_start(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let segment = memchr::memchr_iter(b'|', bytes).find_map(|bar| {
        let start = bar.checked_sub(3)?;
        let named = bytes[start].is_ascii_uppercase()
            && bytes[start + 1..bar].iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        named.then_some(start)
    });
    [segment, text.find(PRIVATE_KEY)].into_iter().flatten().min()
}

/// Returns the length up to the quote that ends a JSON text, whose inner quotes follow a backslash.
fn json_text_end(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.unwrap_or(text.trim_end_matches('\n').len())
}

fn redact_digits(line: &str) -> Option<String> {
    let mut masked = String::new();
    let mut copied = 0;
    let mut start = 0;
    for (end, byte) in line.bytes().chain([b' ']).enumerate() {
        if byte.is_ascii_hexdigit() {
            continue;
        }
        if end - start >= SECRET_DIGITS && !line[..start].ends_with(FINGERPRINT) {
            masked.push_str(&line[copied..start]);
            masked.push_str(MASK);
            copied = end;
        }
        start = end + 1;
    }
    if copied == 0 {
        return None;
    }
    masked.push_str(&line[copied..]);
    Some(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: LogFormat, line: &str, expected: &str) {
        assert_eq!(redact(line, format), expected);
    }

    #[test]
    fn ordinary_lines_pass_unchanged() {
        let fingerprint = format!("key=sha256:{}", "ab".repeat(32));
        for line in ["INFO enrolled\n", "a | b |\n", "ID|x", "Pid|", "ADT^A01 AA 4 ms", "", "|", &fingerprint]
        {
            assert!(matches!(redact(line, LogFormat::Text), Cow::Borrowed(_)), "{line}");
            check(LogFormat::Text, line, line);
        }
    }

    #[test]
    fn a_long_hexadecimal_text_is_masked_unless_it_is_a_fingerprint() {
        let digits = "5A".repeat(32);
        check(LogFormat::Text, &format!("a={digits} b={digits}!\n"), "a=[masked] b=[masked]!\n");
        check(LogFormat::Text, &digits, "[masked]");
        check(LogFormat::Text, &format!("{digits}00"), "[masked]");
        check(LogFormat::Text, &digits[1..], &digits[1..]);
    }

    #[test]
    fn from_a_segment_on_the_rest_of_a_text_line_is_masked() {
        check(LogFormat::Text, "got MSH|^~\\&|LAB\rPID|1\r \"a\" b=1\n", "got [masked]\n");
        check(LogFormat::Text, "ZX1|a\nPV1|b\n", "[masked]\n");
        check(LogFormat::Text, "-----BEGIN EC PRIVATE KEY-----\nMHc", "-----BEGIN EC [masked]");
    }

    #[test]
    fn within_json_only_text_that_holds_a_segment_is_masked() {
        check(
            LogFormat::Json,
            r#"{"a":"x PID|1\"Doe\"\\","b":"OBX|2","c":3}"#,
            r#"{"a":"x [masked]","b":"[masked]","c":3}"#,
        );
    }

    #[test]
    fn any_line_is_masked_without_panic() {
        use proptest::prelude::{any, proptest};
        proptest!(|(line in "([A-Z|\"\\\\0-9a-fä\n]|PID\\|){0,200}", json in any::<bool>())| {
            let format = if json { LogFormat::Json } else { LogFormat::Text };
            let masked = redact(&line, format).into_owned();
            assert_eq!(content_start(&masked), None, "{masked}");
        });
    }
}
