//! What a view-only client is told at its login, so that it is not led into a dialog that saves.
//!
//! Nothing is saved and nothing is said to be: the question that makes the dialog is answered as for a user
//! who has been through it, and Mirth asks it again of those who may save.

use serde_json::{Value, json};

use super::super::http::{Header, ResponseFraming, ResponseHead};
use super::super::query::Query;

/// A preference that is answered in Mirth's place.
pub(super) struct Answered {
    pub(super) name: &'static str,
    pub(super) value: &'static str,
}

/// Those whose dialog cannot be left without saving. `showNotificationPopup`, `checkForNotifications` and
/// `archivedNotifications` of the same question open one that can.
pub(super) static ANSWERED: [Answered; 1] = [
    // Unset or true, the Administrator (3.4 to 4.6) opens a dialog that saves the user, and to close it ends the
    // login.
    Answered { name: "firstlogin", value: "false" },
];

const GRACE: &str = "SUCCESS_GRACE_PERIOD";

/// Returns a `java.util.Properties` of preferences, in XML or JSON, with those answered that the query asks
/// for; none if it is none.
pub(super) fn preferences(text: &str, query: &str) -> Option<String> {
    let parsed = Query::parse(query).ok()?;
    let asks = |name: &str| {
        let mut names = parsed.values("name").peekable();
        query.is_empty() || names.peek().is_none() || names.any(|one| one == name)
    };
    let mut wanted = ANSWERED.iter().filter(|one| asks(one.name));
    if text.trim_start().starts_with('<') {
        wanted.try_fold(text.to_owned(), |text, one| xml(&text, one))
    } else {
        let mut document: Value = serde_json::from_str(text).ok()?;
        wanted.try_for_each(|one| set_json(&mut document, one))?;
        Some(document.to_string())
    }
}

fn xml(text: &str, answered: &Answered) -> Option<String> {
    let Answered { name, value, .. } = answered;
    // As Mirth's own converter writes it, then as XStream's would.
    let text_of = (format!("<property name=\"{name}\">"), '<');
    let attribute_of = (format!("<property name=\"{name}\" value=\""), '"');
    for (before, after) in [text_of, attribute_of] {
        if let Some(at) = text.find(&before) {
            let start = at + before.len();
            let end = start + text[start..].find(after)?;
            return Some([&text[..start], value, &text[end..]].concat());
        }
    }
    let property = format!("<property name=\"{name}\">{value}</property>");
    if let Some(end) = text.rfind("</properties>") {
        return Some([&text[..end], &property, &text[end..]].concat());
    }
    let empty = text.find("<properties")?;
    let after = empty + "<properties".len();
    let end = after + text[after..].find("/>")?;
    let is_bare = text[after..end].trim().is_empty();
    is_bare.then(|| [&text[..after], ">", &property, "</properties>", &text[end + 2..]].concat())
}

/// Sets a preference as staxon writes it: one property is an object, several are a list, none is null.
fn set_json(document: &mut Value, answered: &Answered) -> Option<()> {
    let property = json!({ "@name": answered.name, "$": answered.value });
    let properties = document.as_object_mut()?.get_mut("properties")?;
    if properties.is_null() || properties.as_str().is_some_and(str::is_empty) {
        *properties = json!({ "property": property });
        return Some(());
    }
    let list = properties.as_object_mut()?.entry("property").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([list.take()]);
    }
    let list = list.as_array_mut()?;
    list.retain(|one| one.get("@name").and_then(Value::as_str) != Some(answered.name));
    list.push(property);
    Some(())
}

/// Returns one preference by its name. Mirth answers 204 while it is unset.
pub(super) fn preference(head: &mut ResponseHead, target: &str) -> Option<String> {
    let path = target.split('?').next().unwrap_or_default();
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    let answered = ANSWERED.iter().find(|one| one.name == name)?;
    if head.status == 204 {
        head.status = 200;
        head.reason = b"OK".to_vec();
        head.framing = ResponseFraming::Length(0);
        let header = Header { name: "Content-Type".into(), value: b"text/plain".to_vec() };
        head.headers.push(header);
    }
    Some(answered.value.to_owned())
}

/// Takes the grace out: in its grace period a password is right; the dialog that would change it cannot,
/// here. The message stays, and Mirth asks again over any other way.
pub(super) fn without_grace(text: &str) -> Option<String> {
    let at = text.find(GRACE)?;
    let (before, after) = (&text[..at], &text[at + GRACE.len()..]);
    let is_xml = before.ends_with("<status>") && after.starts_with("</status>");
    let is_json = after.starts_with('"')
        && before.strip_suffix('"').is_some_and(|before| {
            before
                .trim_end()
                .strip_suffix(':')
                .is_some_and(|before| before.trim_end().ends_with("\"status\""))
        });
    (is_xml || is_json).then(|| [before, "SUCCESS", after].concat())
}
