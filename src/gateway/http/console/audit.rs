//! The audit log of one's own organization, and its export.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, RawQuery};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use url::form_urlencoded;

use super::ask::with_query;
use super::frame::{Frame, Shown, Viewer, page};
use super::lists::{Pager, ROWS};
use super::shapes::{AuditEntry, Rows};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/audit", get(list)).route("/audit/export", get(export))
}

#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    action: String,
    #[serde(default)]
    actor: String,
    #[serde(default)]
    object: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    after: String,
}

impl Asked {
    fn filter(&self) -> [(&str, &str); 6] {
        [
            ("action", self.action.trim()),
            ("actor", self.actor.trim()),
            ("object", self.object.trim()),
            ("outcome", &self.outcome),
            ("from", &self.from),
            ("until", &self.until),
        ]
    }
}

/// Returns a point in time for the API from what browsers send of a `datetime-local` field.
fn moment(typed: &str) -> String {
    match typed.len() {
        16 => format!("{typed}:00Z"),
        19 => format!("{typed}Z"),
        _ => typed.to_owned(),
    }
}

#[derive(Debug, Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    asked: Asked,
    list: Rows<AuditEntry>,
    csv: String,
    json: String,
    next: Option<String>,
    first: Option<String>,
}

async fn list(viewer: Viewer, Query(asked): Query<Asked>) -> Result<Shown, Shown> {
    let (from, until) = (moment(&asked.from), moment(&asked.until));
    let wanted = asked.filter().map(|(name, value)| match name {
        "from" => (name, from.as_str()),
        "until" => (name, until.as_str()),
        _ => (name, value),
    });
    let rest = [("after", &*asked.after), ("count", ROWS)];
    let list =
        viewer.visit.get::<Rows<AuditEntry>>(&with_query("/audit", &[&wanted[..], &rest].concat())).await;
    let (list, refused) = match list {
        Ok(list) => (list, None),
        // Something in a filter is no value: the form stays, and says so.
        Err(refused) if refused.is("invalid") => (Rows::default(), Some(refused)),
        Err(refused) => return Err(refused.into()),
    };
    let Pager { next, first } = Pager::new("/audit", &asked.filter(), &asked.after, list.next.as_deref());
    let export = |format| with_query("/audit/export", &[&wanted[..], &[("format", format)]].concat());
    let (csv, json) = (export("csv"), export("jsonl"));
    let frame = Frame::of(&viewer, "audit", "Audit").refused(refused);
    Ok(page(&Audit { frame, asked, list, csv, json, next, first }))
}

/// Streams the API's export on.
async fn export(viewer: Viewer, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    viewer.visit.response(&with_query("/audit/export", &pairs)).await
}
