//! Who is shown what, field by field: every endpoint that shows anything, asked by everybody, is as it is written in
//! `visibility.txt`. A change of that file is a change of what somebody learns.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

use super::described::{Operation, operations};
use super::region::{Region, Thing};
use super::site::Answer;
use super::world::{self, two_organizations};

#[tokio::test]
async fn everybody_is_shown_just_what_the_table_says() {
    let region = Region::new().await;
    let mut told = String::new();
    for operation in operations().into_iter().filter(|operation| operation.method == Method::GET) {
        if operation.has_path_parameter() {
            for thing in region.of_path(&operation.path) {
                tell(&mut told, &region, &operation, Some(&thing)).await;
            }
        } else {
            tell(&mut told, &region, &operation, None).await;
        }
    }
    tell_browsers(&mut told, &region).await;
    if std::env::var_os("ADIT_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/http/api/tests/visibility.txt");
        std::fs::write(path, &told).unwrap();
    }
    let written = include_str!("visibility.txt");
    assert!(told == written, "visibility.txt is not what is shown; it would have to be:\n{told}");
}

async fn tell(told: &mut String, region: &Region, operation: &Operation, thing: Option<&Thing>) {
    let of = thing.map_or_else(String::new, |thing| format!(" ({})", thing.called));
    writeln!(told, "{}{of}", operation.path).unwrap();
    let path = operation.path_of(thing.map_or("", |thing| &thing.id));
    let mut shown: Vec<(String, Vec<&str>)> = Vec::new();
    for (viewer, person) in region.viewers() {
        let answer = region.site.send(person, operation.request(&path, None)).await;
        let what = what_is_shown(&answer, operation.path != "/audit");
        match shown.iter_mut().find(|(other, _)| *other == what) {
            Some((_, viewers)) => viewers.push(viewer),
            None => shown.push((what, vec![viewer])),
        }
    }
    for (what, viewers) in shown {
        writeln!(told, "    {}: {what}", viewers.join(", ")).unwrap();
    }
}

/// Tells of what is one's own account's, which is shown to who has signed in with a browser alone.
async fn tell_browsers(told: &mut String, region: &Region) {
    let world = two_organizations().await;
    for operation in operations().into_iter().filter(|operation| operation.method == Method::GET) {
        let path = operation.path_of("");
        let program = region.site.send(Some(&region.st_mary), operation.request(&path, None)).await;
        if operation.has_path_parameter() || program.status != 401 {
            continue;
        }
        writeln!(told, "{} (in a browser)", operation.path).unwrap();
        let viewers = [
            ("owner", &world.one.owner),
            ("operator", &world.one.operator),
            ("auditor", &world.one.auditor),
            ("program", &world.one.program),
            ("another's owner", &world.other.owner),
        ];
        for (viewer, key) in viewers {
            let world::Answer { status, headers, bytes, .. } = world.ask(key, "GET", &path).await;
            let answer = Answer { status, headers, bytes: bytes.into() };
            writeln!(told, "    {viewer}: {}", what_is_shown(&answer, true)).unwrap();
        }
    }
}

/// Returns the fields that are shown, and of how many rows they are unless there are ever more.
fn what_is_shown(answer: &Answer, counts: bool) -> String {
    let kind = answer.headers.get(CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap());
    if !answer.status.is_success() {
        return answer.status.as_u16().to_string();
    }
    let mut keys = BTreeSet::new();
    match kind {
        "application/json" => {
            let json = answer.json();
            if let Some(rows) = json["rows"].as_array().filter(|_| counts) {
                keys.insert(format!("({} rows)", rows.len()));
            }
            collect("", &json, &mut keys);
        }
        "application/jsonl" => {
            let lines = answer.text();
            lines.lines().for_each(|line| collect("[]", &serde_json::from_str(line).unwrap(), &mut keys));
        }
        other => return format!("200 {other}"),
    }
    let keys: Vec<_> = keys.into_iter().collect();
    format!("200 {}", keys.join(" "))
}

/// Collects the places of all values; of a list, of all its rows.
fn collect(place: &str, value: &Value, keys: &mut BTreeSet<String>) {
    let join = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| collect(&join(key), value, keys)),
        Value::Array(rows) if rows.is_empty() => drop(keys.insert(format!("{place}[]"))),
        Value::Array(rows) => rows.iter().for_each(|row| collect(&format!("{place}[]"), row, keys)),
        _ => drop(keys.insert(place.to_owned())),
    }
}
