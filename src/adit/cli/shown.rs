//! What came from elsewhere, made fit for a terminal: every text in it shows all that it has.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use adit_agent::status::{Answer, Request, StatusError, ask};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::{visible, visible_json};
use adit_observe::print;

/// Asks the agent whose state is at `state`; its answer is fit for a terminal.
pub(super) async fn ask_shown(state: &Path, request: &Request) -> Result<Answer, StatusError> {
    let answer = ask(state, request).await?;
    shown(&answer).map_err(|_| StatusError::Nonsense { path: state.into() })
}

/// Returns the same value, all of its texts made visible.
pub(super) fn shown<T: Serialize + DeserializeOwned>(value: &T) -> serde_json::Result<T> {
    let mut value = serde_json::to_value(value)?;
    show(&mut value);
    serde_json::from_value(value)
}

/// Prints a value as JSON that a terminal shows as it is, its times as RFC 3339.
pub(super) fn print_json(value: &impl Serialize, pretty: bool) -> anyhow::Result<()> {
    Ok(print::line(json_text(value, pretty)?)?)
}

/// Returns what [`print_json`] prints.
pub(super) fn json_text(value: &impl Serialize, pretty: bool) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(value).context("cannot write JSON")?;
    write_times(&mut value);
    let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
    Ok(visible_json(&text.context("cannot write JSON")?).into_owned())
}

/// Writes times for people: between programs of adit a time is a number; here people and other programs read
/// it.
fn write_times(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(write_times),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_i64().filter(|_| is_time(key)) {
                    Some(millis) => *value = Timestamp::from_millis(millis).to_string().into(),
                    None => write_times(value),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_time(key: &str) -> bool {
    let last = key.rsplit('_').next().unwrap_or(key);
    ["at", "since", "expires"].contains(&last) || key == "last_ack"
}

fn show(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(seen) = visible(text) {
                *text = seen;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(show),
        Value::Object(fields) => fields.values_mut().for_each(show),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn among_numbers_only_times_are_written_for_people() {
        let mut value = serde_json::json!({
            "leaf_expires": 0, "streams": 3, "rows": [{ "since": null, "at": 1_000, "enrolled_at": 61_000 }],
            "last_ack": 2_000, "gateway_database_away_since": 3_000
        });
        write_times(&mut value);
        let expected = serde_json::json!({
            "leaf_expires": "1970-01-01T00:00:00Z", "streams": 3,
            "rows": [{ "since": null, "at": "1970-01-01T00:00:01Z", "enrolled_at": "1970-01-01T00:01:01Z" }],
            "last_ack": "1970-01-01T00:00:02Z", "gateway_database_away_since": "1970-01-01T00:00:03Z"
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn every_text_of_an_answer_is_made_visible() {
        let answer = Answer::Failed { what: "a\u{1b}]0;x\u{7}\nb\u{202e}".into() };
        let Answer::Failed { what } = shown(&answer).unwrap() else { panic!("another answer") };
        assert_eq!(what, "a\\u{1b}]0;x\\u{7}\\nb\\u{202e}");
    }
}
