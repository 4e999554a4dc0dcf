//! The list of connections: what was decided, what is true now, and what has flowed in the last hour.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde::Deserialize;

use super::ask::with_query;
use super::facts::{Fact, lamps};
use super::frame::{Frame, Shown, Viewer, page};
use super::lists::{Pager, ROWS};
use super::plot::spark;
use super::shapes::{Connection, Connections};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/connections", get(list))
}

/// What of the list is asked for.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    search: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    ended: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    done: String,
    #[serde(skip)]
    is_ended: bool,
}

impl Asked {
    fn is_filtered(&self) -> bool {
        !(self.search.is_empty() && self.kind.is_empty() && self.status.is_empty())
    }

    fn filter(&self) -> Vec<(&str, &str)> {
        let ended = if self.is_ended { "true" } else { "" };
        vec![("search", &*self.search), ("type", &*self.kind), ("status", &*self.status), ("ended", ended)]
    }
}

/// A connection as a row shows it.
#[derive(Debug)]
struct Row {
    connection: Connection,
    peer: String,
    lamps: Vec<Lamp>,
    spark: String,
}

#[derive(Debug)]
struct Lamp {
    class: &'static str,
    said: String,
}

impl Row {
    fn new(connection: Connection, own: &str) -> Self {
        let lamps = lamps(&connection).iter().map(Lamp::new).collect();
        let (peer, spark) = (connection.peer(own).to_owned(), spark(&connection.last_hour));
        Self { connection, peer, lamps, spark }
    }

    fn lamps_said(&self) -> String {
        let said: Vec<_> = self.lamps.iter().map(|lamp| lamp.said.as_str()).collect();
        said.join("; ")
    }
}

impl Lamp {
    fn new(fact: &Fact) -> Self {
        Self { class: fact.dot(), said: fact.said() }
    }
}

#[derive(Debug, Template)]
#[template(path = "connections.html")]
struct ConnectionsPage {
    frame: Frame,
    asked: Asked,
    rows: Vec<Row>,
    ended: u32,
    next: Option<String>,
    first: Option<String>,
}

async fn list(viewer: Viewer, Query(mut asked): Query<Asked>) -> Result<Shown, Shown> {
    asked.is_ended = asked.ended == "true";
    let (filter, own) = (asked.filter(), &viewer.session.user.organization);
    let rest = [("after", &*asked.after), ("count", ROWS), ("last_hour", "true")];
    let list: Connections =
        viewer.visit.get(&with_query("/connections", &[&filter[..], &rest].concat())).await?;
    let Pager { next, first } = Pager::new("/connections", &filter, &asked.after, list.next.as_deref());
    let rows = list.rows.into_iter().map(|connection| Row::new(connection, own)).collect();
    let frame = Frame::of(&viewer, "connections", "Connections").done(&asked.done);
    Ok(page(&ConnectionsPage { frame, asked, rows, ended: list.ended, next, first }))
}
