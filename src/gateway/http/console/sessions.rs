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
    fn filter(&self) -> [(&str, &str); 2] {
        [("connection", &*self.connection), ("running", &*self.running)]
    }

    /// Returns where on the page the list of who may is, which is not there for one connection alone.
    fn may_place(&self) -> [(&str, &str); 1] {
        [("may_after", if self.connection.is_empty() { &*self.may_after } else { "" })]
    }

    /// Returns the same page with other sessions.
    fn with_running(&self, running: &str) -> String {
        let filter = [("connection", &*self.connection), ("running", running)];
        with_query(PATH, &[&filter[..], &self.may_place()].concat())
    }

    /// Returns where to go from its sessions; the list of who may stays where it is.
    fn sessions_pager(&self, next: Option<&str>) -> Pager {
        Pager::new(PATH, &[&self.filter()[..], &self.may_place()].concat(), &self.after, next)
    }

    /// Returns the address of the page with who may from there on; its sessions stay where they are.
    fn with_may_after(&self, may_after: &str) -> String {
        let rest = [("after", &*self.after), ("may_after", may_after)];
        with_query(PATH, &[&self.filter()[..], &rest].concat())
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
    let may = if asked.connection.is_empty() { Some(may(&viewer, &asked).await?) } else { None };
    let rest = [&asked.filter()[..], &[("after", &*asked.after), ("count", ROWS)]].concat();
    let list: Rows<AdminSession> = viewer.visit.get(&with_query(PATH, &rest)).await?;
    let Pager { next, first } = asked.sessions_pager(list.next.as_deref());
    let frame = Frame::of(&viewer, "sessions", "Admin sessions");
    Ok(page(&Sessions { frame, asked, choices: CHOICES, may, held: list.rows, next, first }))
}

async fn may(viewer: &Viewer, asked: &Asked) -> Result<May, Refused> {
    let after = &*asked.may_after;
    let rest = [("type", "Admin RW,Admin RO"), ("after", after), ("count", ROWS)];
    let list: Connections = viewer.visit.get(&with_query("/connections", &rest)).await?;
    let next = list.next.map(|next| asked.with_may_after(&next));
    let first = (!after.is_empty()).then(|| asked.with_may_after(""));
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

    pub(super) fn requests(&self) -> String {
        grouped(self.requests)
    }

    pub(super) fn refused(&self) -> String {
        grouped(self.refused)
    }

    pub(super) fn changed(&self) -> String {
        grouped(self.changes)
    }

    /// Returns how many records it has in Mirth's own audit, if there are any.
    pub(super) fn records(&self) -> Option<String> {
        Some(self.audits).filter(|audits| *audits > 0).map(grouped)
    }
}
