//! How values are written on pages.

#![expect(
    clippy::inline_always,
    clippy::unnecessary_wraps,
    clippy::unused_self,
    unreachable_pub,
    reason = "the macro makes of each filter a type that is public, with one shape for all"
)]

use std::borrow::Cow;

use askama::Values;

/// Stands between the source and the target of a route.
pub(super) const ARROW: &str = " → ";
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes a point in time (RFC 3339, UTC) for people; the script says it in the viewer's zone.
#[askama::filter_fn]
pub(crate) fn moment(at: impl AsRef<str>, _: &dyn Values) -> askama::Result<String> {
    let at = at.as_ref();
    Ok(spelled(at).unwrap_or_else(|| at.to_owned()))
}

fn spelled(at: &str) -> Option<String> {
    let (date, time) = at.split_once('T')?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    Some(format!("{} {month} {year}, {} UTC", day.trim_start_matches('0'), time.get(..5)?))
}

/// Writes a number with narrow spaces between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Returns a name that changes the order of nothing around it, wherever it is read from (UAX 9: FIRST STRONG ISOLATE).
/// For texts alone: in a page an element does it.
pub(super) fn isolated(name: &str) -> Cow<'_, str> {
    if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(format!("\u{2068}{name}\u{2069}")) }
}

/// Writes what was noted of names, as in "a → b": on both sides of an arrow they are kept apart.
#[askama::filter_fn]
pub(crate) fn told(text: impl AsRef<str>, _: &dyn Values) -> askama::Result<String> {
    Ok(apart(text.as_ref()))
}

fn apart(text: &str) -> String {
    if !text.contains(ARROW) {
        return text.to_owned();
    }
    let sides: Vec<_> = text.split(ARROW).map(isolated).collect();
    sides.join(ARROW)
}

/// Returns the class of a status.
#[askama::filter_fn]
pub(crate) fn tone(status: impl AsRef<str>, _: &dyn Values) -> askama::Result<&'static str> {
    Ok(match status.as_ref() {
        "Active" | "live" | "approved" | "accepted" | "connected" | "open" | "done" | "running" => "good",
        "Ready" | "Offered" | "Paused" | "Provisioning" | "requested" | "pending" | "downloaded"
        | "enrolled" => "warn",
        "Failed" | "denied" | "revoked" | "refused" | "alert" => "bad",
        _ => "",
    })
}

/// Returns "1 thing" or "2 things".
pub(super) fn counted(number: u32, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_both_sides_of_an_arrow_are_kept_apart() {
        assert_eq!(apart("Admin RO א → ب"), "\u{2068}Admin RO א\u{2069} → \u{2068}ب\u{2069}");
        for plain in ["a → b", "called א", ""] {
            assert_eq!(apart(plain), plain);
        }
    }
}
