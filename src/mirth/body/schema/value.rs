//! What an element without children may say.

/// One plain value. All but the last three are short and have an alphabet of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    /// `-?[0-9]{1,19}`: a long of Java or less.
    Integer,
    /// Digits, a point, a small exponent: `1E999999999` would fill the memory of the one who writes it out.
    Decimal,
    Boolean,
    /// A channel, alert, library, template or server id: `[A-Za-z0-9-]{1,64}`.
    Id,
    Timezone,
    /// The name of a metadata column, which Mirth puts into SQL as it is: `[A-Za-z0-9_]{1,30}`.
    Column,
    /// The constants of a Java enum.
    Word(&'static [&'static str]),
    /// The channel that the body is for: free text too, but held against the request's path.
    Channel,
    /// The id of the message that the body is for: an integer, and held against the request's path.
    Message,
    /// Free text, up to 64 KiB.
    Text,
    /// Free text as long as the body may be: the content of a message.
    Content,
}

const INTEGER_DIGITS_MAX: usize = 19;
/// `NUMERIC` columns of Mirth have 31 digits.
const DECIMAL_DIGITS_MAX: usize = 40;
const EXPONENT_DIGITS_MAX: usize = 2;
const ID_BYTES_MAX: usize = 64;
const COLUMN_BYTES_MAX: usize = 30;
const TIMEZONE_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 64 * 1024;

impl Value {
    /// Returns the limit: longer is refused before it is looked at; the longest word of an enum is shorter.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::Channel | Self::Text => TEXT_BYTES_MAX,
            Self::Content => usize::MAX,
            _ => ID_BYTES_MAX,
        }
    }

    /// Returns whether any text will do, so that nobody need keep it to look at it.
    pub(crate) const fn is_free(self) -> bool {
        matches!(self, Self::Text | Self::Content)
    }

    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Integer => is_digits(text.strip_prefix('-').unwrap_or(text), INTEGER_DIGITS_MAX),
            // To XStream a number that begins with 0 is octal.
            Self::Message => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                is_digits(digits, INTEGER_DIGITS_MAX) && (digits == "0" || !digits.starts_with('0'))
            }
            Self::Decimal => is_decimal(text.strip_prefix('-').unwrap_or(text)),
            Self::Boolean => matches!(text, "true" | "false"),
            Self::Id => is_made_of(text, ID_BYTES_MAX, |byte| byte == b'-'),
            Self::Column => is_made_of(text, COLUMN_BYTES_MAX, |byte| byte == b'_'),
            Self::Timezone => {
                is_made_of(text, TIMEZONE_BYTES_MAX, |byte| matches!(byte, b'_' | b'/' | b'+' | b'-' | b':'))
            }
            Self::Word(words) => words.contains(&text),
            Self::Channel | Self::Text | Self::Content => text.len() <= self.bytes_max(),
        }
    }
}

fn is_made_of(text: &str, bytes_max: usize, also: impl Fn(u8) -> bool) -> bool {
    (1..=bytes_max).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also(byte))
}

fn is_digits(text: &str, count_max: usize) -> bool {
    (1..=count_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let (number, exponent) = text.split_once(['E', 'e']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    is_digits(whole, DECIMAL_DIGITS_MAX)
        && is_digits(fraction, DECIMAL_DIGITS_MAX)
        && is_digits(exponent, EXPONENT_DIGITS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: Value, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(value.accepts(text), "{value:?} should accept {text:?}");
        }
        for text in bad {
            assert!(!value.accepts(text), "{value:?} should refuse {text:?}");
        }
    }

    #[test]
    fn each_value_accepts_exactly_its_own_alphabet_up_to_its_limit() {
        check(
            Value::Integer,
            &["0", "-1", "9223372036854775807"],
            &["", "-", "+1", "1 ", " 1", "0x1", "1.0", "--1", "12345678901234567890", "\u{661}"],
        );
        check(
            Value::Decimal,
            &["0", "-1.50", "1E+3", "1e-2"],
            &["", ".", "1.", ".5", "1E999", "NaN", "1E", "1.2.3"],
        );
        check(Value::Boolean, &["true", "false"], &["", "TRUE", "1", "yes", "true "]);
        let id = "a".repeat(65);
        check(
            Value::Id,
            &["3f2504e0-4f89-41d3-9a0c-0305e82c3301", &id[..64]],
            &["", "a b", "a/b", "a_b", "é", &id],
        );
        check(
            Value::Column,
            &["SOURCE", "a_1", &id[..30]],
            &["", "a b", "a)--", "a;", "a'", "a-b", &id[..31]],
        );
        check(
            Value::Timezone,
            &["Etc/UTC", "America/Port-au-Prince", "GMT+05:30"],
            &["", "a b", "${x}", &id],
        );
        check(Value::Word(&["SENT"]), &["SENT"], &["", "sent", "SENT ", "SEN"]);
        let text = "x".repeat(64 * 1024 + 1);
        check(Value::Text, &["", "any thing", &text[1..]], &[&text]);
        check(Value::Content, &["", &text], &[]);
    }
}
