//! Admin sessions: who manages or has managed a server, since when, and what was refused and changed.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde::Deserialize;

use super::ask::{Refused, with_query};
use super::filters::{ARROW, grouped, isolated};
use super::frame::{Frame, Shown, Viewer, page};
use super::lists::{Pager, ROWS};
use super::shapes::{AdminSession, Connection, Connections, Rows};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/admin-sessions", get(list))
}

const PATH: &str = "/admin-sessions";
/// How many a connection's own page shows.
const LATEST: &str = "5";
/// Stands for a figure that nobody told.
const UNTOLD: &str = "–";

/// What of the page is asked for.
#[derive(Debug, Default, Clone, Deserialize)]
struct Asked {
    /// The sessions of one connection alone.
    #[serde(default)]
    connection: String,
    /// `true` or `false`; all where it is empty.
    #[serde(default)]
    running: String,
    #[serde(default)]
    after: String,
    /// After which connection the list of who may goes on.
    #[serde(default)]
    may_after: String,
}

/// Which sessions may be asked for, and what each choice is called.
const CHOICES: [(&str, &str); 3] = [("", "All"), ("true", "Running"), ("false", "Not running")];

impl Asked {
    fn filter(&self) -> Vec<(&str, &str)> {
        vec![("connection", &*self.connection), ("running", &*self.running)]
    }

    /// Returns the same page with other sessions.
    fn with_running(&self, running: &str) -> String {
        with_query(PATH, &[("connection", &*self.connection), ("running", running)])
    }
}

#[derive(Debug, Template)]
#[template(path = "sessions.html")]
struct Sessions {
    frame: Frame,
    asked: Asked,
    choices: [(&'static str, &'static str); 3],
    /// None where the sessions of one connection are looked at.
    may: Option<May>,
    held: Vec<AdminSession>,
    next: Option<String>,
    first: Option<String>,
}

/// The admin connections, by whose leave sessions are held.
#[derive(Debug)]
struct May {
    connections: Vec<Connection>,
    next: Option<String>,
    first: Option<String>,
}

async fn list(viewer: Viewer, Query(asked): Query<Asked>) -> Result<Shown, Shown> {
    let may = if asked.connection.is_empty() { Some(may(&viewer, &asked.may_after).await?) } else { None };
    let rest = [asked.filter(), vec![("after", &*asked.after), ("count", ROWS)]].concat();
    let list: Rows<AdminSession> = viewer.visit.get(&with_query(PATH, &rest)).await?;
    let Pager { next, first } = Pager::new(PATH, &asked.filter(), &asked.after, list.next.as_deref());
    let frame = Frame::of(&viewer, "sessions", "Admin sessions");
    Ok(page(&Sessions { frame, asked, choices: CHOICES, may, held: list.rows, next, first }))
}

async fn may(viewer: &Viewer, after: &str) -> Result<May, Refused> {
    let rest = [("type", "Admin RW,Admin RO"), ("after", after), ("count", ROWS)];
    let list: Connections = viewer.visit.get(&with_query("/connections", &rest)).await?;
    let next = list.next.map(|next| with_query(PATH, &[("may_after", &*next)]));
    let first = (!after.is_empty()).then(|| PATH.to_owned());
    Ok(May { connections: list.rows, next, first })
}

/// Returns the latest sessions of one connection.
pub(super) async fn latest(viewer: &Viewer, connection: &str) -> Result<Vec<AdminSession>, Refused> {
    let path = with_query(PATH, &[("connection", connection), ("count", LATEST)]);
    let list: Rows<AdminSession> = viewer.visit.get(&path).await?;
    Ok(list.rows)
}

impl AdminSession {
    /// Returns the route of its connection, its names kept apart.
    pub(super) fn route(&self) -> String {
        [isolated(&self.managing.server), isolated(&self.managed.server)].join(ARROW)
    }

    /// Returns how many requests there were, by the managed side's word where it told.
    pub(super) fn requests(&self) -> String {
        let told = self.managed.requests.or(self.managing.requests);
        told.map_or_else(|| UNTOLD.to_owned(), grouped)
    }

    pub(super) fn refused(&self) -> String {
        self.managed.refused.map_or_else(|| UNTOLD.to_owned(), grouped)
    }

    pub(super) fn changed(&self) -> String {
        self.managed.changes.map_or_else(|| UNTOLD.to_owned(), grouped)
    }

    /// Returns how many records it has in Mirth's own audit, if there are any.
    pub(super) fn records(&self) -> Option<String> {
        self.managed.audits.filter(|audits| *audits > 0).map(grouped)
    }

    /// Returns who told, and what the managing side counted where that is something else.
    pub(super) fn told_by(&self) -> String {
        match (self.managing.requests, self.managed.requests) {
            (Some(passed), Some(judged)) if passed != judged => {
                format!("both sides; the managing one counts {} requests", grouped(passed))
            }
            (Some(_), Some(_)) => "both sides".to_owned(),
            (Some(_), None) => "the managing side alone, which counts requests only".to_owned(),
            (None, _) => "the managed side alone".to_owned(),
        }
    }
}
