//! How values are written on pages.

#![expect(
    clippy::inline_always,
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    clippy::unused_self,
    unreachable_pub,
    reason = "the macro makes of each filter a type that is public, with one shape for all"
)]

use askama::Values;

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

/// Returns the class of a status.
#[askama::filter_fn]
pub(crate) fn tone(status: impl AsRef<str>, _: &dyn Values) -> askama::Result<&'static str> {
    Ok(match status.as_ref() {
        "Active" | "live" | "approved" | "accepted" | "connected" | "open" | "done" => "good",
        "Ready" | "Offered" | "Paused" | "Provisioning" | "requested" | "pending" | "downloaded"
        | "enrolled" => "warn",
        "Failed" | "denied" | "revoked" | "refused" | "alert" => "bad",
        _ => "",
    })
}

/// Writes "1 thing" or "2 things".
#[askama::filter_fn]
pub(crate) fn of(number: &u32, _: &dyn Values, one: &str) -> askama::Result<String> {
    Ok(if *number == 1 { format!("1 {one}") } else { format!("{number} {one}s") })
}
