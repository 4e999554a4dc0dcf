//! One TOML value at a time: from what is written to what is meant, or what was expected instead.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::de::DeValue;

use super::{DatabaseSetting, DatabaseUrl, HostPort};

/// What to write instead, beginning with "expected".
pub(super) struct Expected(pub(super) String);

/// Keys whose value is never shown, wherever they stand.
const SECRET_KEYS: [&str; 4] = ["secret", "token", "proxy", "database"];
const SHOWN_CHARS_MAX: usize = 80;

/// Returns a value as a problem quotes it.
pub(super) fn shown(key: &str, value: &DeValue<'_>) -> String {
    if SECRET_KEYS.contains(&key) {
        return "[secret]".into();
    }
    match value {
        // A secret in the wrong place is still one.
        DeValue::String(text) if text.len() >= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{} hexadecimal digits", text.len())
        }
        DeValue::String(text) if text.contains('@') && text.contains(':') => "an address with a user".into(),
        DeValue::String(text) => {
            let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            let ellipsis = if cut.len() < text.len() { "…" } else { "" };
            format!("{cut:?}{ellipsis}")
        }
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(answer) => answer.to_string(),
        DeValue::Array(elements) if elements.len() == 1 => "a list of 1 element".into(),
        DeValue::Array(elements) => format!("a list of {} elements", elements.len()),
        DeValue::Table(_) => "a table".into(),
        DeValue::Datetime(_) => "a date or time without quotes".into(),
        DeValue::Float(_) => "a number with a point".into(),
    }
}

/// Reads a value that reads from a text and says what it expected.
pub(super) fn text<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Result<T, Expected> {
    string(value)?.parse().map_err(|error: T::Err| Expected(error.to_string()))
}

pub(super) fn string<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Expected> {
    value.as_str().ok_or_else(|| Expected("expected a text in double quotes".into()))
}

/// Reads one of a few words.
pub(super) fn word<T: Copy>(words: &[(&str, T)], value: &DeValue<'_>) -> Result<T, Expected> {
    let found = value.as_str();
    words.iter().find(|(word, _)| found == Some(word)).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let all = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
        Expected(format!("expected {all}"))
    })
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Expected> {
    value.as_bool().ok_or_else(|| Expected("expected true or false, without quotes".into()))
}

pub(super) fn number(range: RangeInclusive<u32>, value: &DeValue<'_>) -> Result<u32, Expected> {
    let found =
        value.as_integer().and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
    found.filter(|number| range.contains(number)).ok_or_else(|| {
        Expected(format!("expected a whole number from {} to {}, without quotes", range.start(), range.end()))
    })
}

/// Reads a path; relative ones start at the folder of the file they are written in.
pub(super) fn path(base: &Path, value: &DeValue<'_>) -> Result<PathBuf, Expected> {
    match string(value)? {
        "" => Err(Expected("expected a path".into())),
        path => Ok(base.join(path)),
    }
}

/// Reads the URL of a database, or the path of the file that holds one.
pub(super) fn database(base: &Path, value: &DeValue<'_>) -> Result<DatabaseSetting, Expected> {
    if value.as_str().is_some_and(DatabaseUrl::is_meant_by) {
        return text(value).map(DatabaseSetting::Url);
    }
    let file = path(base, value).map_err(|_| {
        Expected("expected postgres://USER@HOST/DATABASE, or the path of a file that holds such a URL".into())
    });
    file.map(DatabaseSetting::File)
}

pub(super) fn address(value: &DeValue<'_>) -> Result<SocketAddr, Expected> {
    let expected = || Expected("expected an address and a port, such as 127.0.0.1:6661 or [::1]:6661".into());
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(expected)
}

/// Reads an address whose port others must know beforehand.
pub(super) fn fixed_address(value: &DeValue<'_>) -> Result<SocketAddr, Expected> {
    let found = address(value)?;
    if found.port() == 0 {
        return Err(Expected("expected a port other than 0: others must know it beforehand".into()));
    }
    Ok(found)
}

/// Reads an address that only this host reaches, and where metrics are served.
pub(super) fn loopback_address(value: &DeValue<'_>) -> Result<SocketAddr, Expected> {
    let why = "127.0.0.1:9464: metrics are served without authentication; let a collector on this host pass them on";
    loopback(why, value)
}

/// Reads an address that only this host reaches; `why` begins with one.
pub(super) fn loopback(why: &str, value: &DeValue<'_>) -> Result<SocketAddr, Expected> {
    let found = fixed_address(value)?;
    if !found.ip().is_loopback() {
        return Err(Expected(format!("expected a loopback address such as {why}")));
    }
    Ok(found)
}

/// Reads the address of a host.
pub(super) fn host_address(value: &DeValue<'_>) -> Result<IpAddr, Expected> {
    let expected = || Expected("expected an address without a port, such as 127.0.0.1 or ::1".into());
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(expected)
}

/// Reads what people type into a browser: a host, and a port unless it is 443.
pub(super) fn web_name(value: &DeValue<'_>) -> Result<HostPort, Expected> {
    let written = string(value)?;
    written.parse().or_else(|_| format!("{written}:443").parse()).map_err(|_| {
        Expected("expected a name and, unless it is 443, a port, such as console.example.org".into())
    })
}

/// Reads the address of something that another host serves over HTTPS; `wanted` names it, with an example.
pub(super) fn https_url(wanted: &str, value: &DeValue<'_>) -> Result<String, Expected> {
    // A place that is no host and port would be left out without a word where only these count.
    let is_host = |rest: &str| {
        let place = rest.split('/').next().unwrap_or_default();
        let has_port = place.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let place = if has_port { place.to_owned() } else { format!("{place}:443") };
        place.parse::<HostPort>().is_ok()
            && !rest.contains(|char: char| char.is_whitespace() || "@?#\\".contains(char))
    };
    let text = string(value)?;
    if text.strip_prefix("https://").is_some_and(is_host) {
        return Ok(text.to_owned());
    }
    Err(Expected(format!("expected {wanted}")))
}

/// Reads a list within bounds, each element read alike; all that are wrong are named, counted from 1.
pub(super) fn list<T>(
    count: RangeInclusive<usize>,
    value: &DeValue<'_>,
    read: impl Fn(&DeValue<'_>) -> Result<T, Expected>,
) -> Result<Vec<T>, Expected> {
    let (min, max) = (count.start(), count.end());
    let Some(elements) = value.as_array() else {
        let example = "as in key = [\"value\"]";
        return Err(Expected(format!("expected a list in brackets with {min} to {max} elements, {example}")));
    };
    if !count.contains(&elements.len()) {
        return Err(Expected(format!("expected a list in brackets with {min} to {max} elements")));
    }
    let mut wrong = Vec::new();
    let mut all = Vec::with_capacity(elements.len());
    for (element, number) in elements.iter().zip(1..) {
        match read(element.get_ref()) {
            Ok(read) => all.push(read),
            Err(Expected(why)) => {
                wrong.push(format!("element {number}, {}: {why}", shown("", element.get_ref())));
            }
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(Expected(wrong.join("; "))) }
}
