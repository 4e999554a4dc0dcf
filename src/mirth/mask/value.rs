//! One value that may have to be masked: held back until it is known what it is, in bounded memory.

use adit_core::domain::limits;

/// What stands in the place of a value.
pub(super) const MASK: &[u8] = b"********";

/// What stays as it is, because it keeps no secret and a view reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literals {
    None,
    /// `true` and `false`: `<usePassword>` is a switch.
    Booleans,
    /// And whole numbers.
    Numbers,
}

/// Whole numbers that a program may read have no more digits.
const DIGITS_MAX: usize = 10;

/// Returns whether a value is none, or one of those that stay.
pub(super) fn stays(value: &[u8], literals: Literals) -> bool {
    let value = value.trim_ascii();
    value.is_empty()
        || match literals {
            Literals::None => false,
            Literals::Booleans => is_boolean(value),
            Literals::Numbers => is_boolean(value) || is_number(value),
        }
}

fn is_boolean(value: &[u8]) -> bool {
    matches!(value, b"true" | b"false")
}

fn is_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    (1..=DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

/// The beginning of a value whose end has not been seen.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// It was longer than is held.
    is_long: bool,
}

impl Held {
    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.is_long || self.bytes.len() + piece.len() > limits::MASK_VALUE_BYTES_MAX {
            self.is_long = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Returns whether nothing was pushed since it was taken.
    pub(super) const fn is_empty(&self) -> bool {
        !self.is_long && self.bytes.is_empty()
    }

    /// Returns all of it; none when it was too long to be held.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (!self.is_long).then_some(self.bytes.as_slice())
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_long = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_no_secret_stays() {
        for (value, stays_without, stays_switch, stays_number) in [
            ("", true, true, true),
            (" \n\t", true, true, true),
            ("true", false, true, true),
            (" false ", false, true, true),
            ("True", false, false, false),
            ("0", false, false, true),
            ("-3600000", false, false, true),
            ("12345678901", false, false, false),
            ("1.5", false, false, false),
            ("-", false, false, false),
            ("secret", false, false, false),
        ] {
            let found =
                [Literals::None, Literals::Booleans, Literals::Numbers].map(|it| stays(value.as_bytes(), it));
            assert_eq!(found, [stays_without, stays_switch, stays_number], "{value:?}");
        }
    }

    #[test]
    fn a_value_longer_than_is_held_is_let_go_of() {
        let mut held = Held::default();
        held.push(&vec![b' '; limits::MASK_VALUE_BYTES_MAX]);
        assert_eq!(held.whole().map(<[u8]>::len), Some(limits::MASK_VALUE_BYTES_MAX));
        held.push(b" ");
        assert_eq!(held.whole(), None);
        assert!(!held.is_empty());
        held.clear();
        assert!(held.is_empty());
    }
}
