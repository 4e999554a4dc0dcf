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
use super::lists::{MORE_ROWS, Pager};
use super::plot::spark;
use super::shapes::{Connection, Connections};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/connections", get(list))
}

/// Their rows weigh more than those of other lists.
const ROWS: &str = "15";

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
    connectivity: String,
    /// Whether it is narrowed to the offers that the viewer has to decide.
    #[serde(default)]
    waiting: String,
    /// Whose it is narrowed to, of the viewer's servers.
    #[serde(default)]
    server: String,
    #[serde(default)]
    ended: String,
    #[serde(default)]
    rows: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    done: String,
    #[serde(skip)]
    is_ended: bool,
}

impl Asked {
    fn is_filtered(&self) -> bool {
        ![&self.search, &self.kind, &self.status, &self.connectivity, &self.waiting, &self.server]
            .iter()
            .all(|it| it.is_empty())
    }

    fn filter(&self) -> Vec<(&str, &str)> {
        let ended = if self.is_ended { "true" } else { "" };
        vec![
            ("search", &*self.search),
            ("type", &*self.kind),
            ("status", &*self.status),
            ("connectivity", &*self.connectivity),
            ("waiting", &*self.waiting),
            ("server", &*self.server),
            ("ended", ended),
            ("rows", if self.rows == MORE_ROWS { MORE_ROWS } else { "" }),
        ]
    }

    /// Returns the same list with those that have ended, or without.
    fn with_ended(&self, are_shown: bool) -> String {
        let mut filter = self.filter();
        filter.retain(|(name, _)| *name != "ended");
        filter.push(("ended", if are_shown { "true" } else { "" }));
        with_query("/connections", &filter)
    }

    /// Returns how many rows a page has, and the same list with the other number of them.
    fn rows(&self) -> (&'static str, Other) {
        let (rows, other) = if self.rows == MORE_ROWS { (MORE_ROWS, "") } else { (ROWS, MORE_ROWS) };
        let mut filter = self.filter();
        filter.retain(|(name, _)| *name != "rows");
        filter.push(("rows", other));
        (
            rows,
            Other {
                path: with_query("/connections", &filter),
                rows: if other.is_empty() { ROWS } else { MORE_ROWS },
            },
        )
    }
}

/// What may be true of a connection now, as the filter has it and as people read it.
const CONNECTIVITIES: [(&str, &str); 4] = [
    ("Connected", "Connected"),
    ("Disconnected,Never connected", "Not connected"),
    ("Disconnected", "Disconnected"),
    ("Never connected", "Never connected"),
];

/// The same list with more or fewer rows a page.
#[derive(Debug)]
struct Other {
    path: String,
    rows: &'static str,
}

/// A connection as a row shows it.
#[derive(Debug)]
struct Row {
    connection: Connection,
    peer: String,
    lamps: Vec<Lamp>,
    /// What fails first of what is Active.
    failing: Option<String>,
    spark: String,
}

#[derive(Debug)]
struct Lamp {
    class: &'static str,
    name: &'static str,
    evidence: String,
}

impl Row {
    fn new(connection: Connection, own: &str) -> Self {
        let lamps: Vec<_> = lamps(&connection).iter().map(Lamp::new).collect();
        let failing = lamps.iter().find(|lamp| lamp.class == "down" && connection.status == "Active");
        let failing = failing.map(|lamp| format!("{}: {}", lamp.name, lamp.evidence));
        let (peer, spark) = (connection.peer(own).to_owned(), spark(&connection.last_hour));
        Self { connection, peer, lamps, failing, spark }
    }

    /// Returns whether what is sent over it is acknowledged in a way that is understood.
    fn is_acknowledged(&self) -> bool {
        self.connection.channel.as_ref().is_some_and(|channel| channel.protocol != "tcp")
    }

    /// Returns whether anything is said of what has passed.
    fn says_what_passed(&self) -> bool {
        !self.spark.is_empty() || self.connection.last_acknowledged_at.is_some() || self.is_acknowledged()
    }

    /// What the lamps show; what fails stands beside them in words.
    fn lamps_said(&self) -> String {
        let said: Vec<_> = self.lamps.iter().map(|lamp| format!("{} {}", lamp.name, lamp.word())).collect();
        said.join(", ")
    }
}

impl Lamp {
    fn new(fact: &Fact) -> Self {
        let name = match fact.name {
            "Source's agent and gateway" => "Source",
            "Target's agent and gateway" => "Target",
            "Tunnel between the agents" => "Tunnel",
            "Target's agent and Mirth" => "Mirth",
            name => name,
        };
        Self { class: fact.dot(), name, evidence: fact.evidence.clone() }
    }

    fn word(&self) -> &'static str {
        match self.class {
            "up" => "up",
            "down" => "down",
            _ => "not known",
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "connections.html")]
struct ConnectionsPage {
    frame: Frame,
    asked: Asked,
    connectivities: [(&'static str, &'static str); 4],
    rows: Vec<Row>,
    ended: u32,
    next: Option<String>,
    first: Option<String>,
    /// Where there is more than one page of them, or more on one.
    other: Option<Other>,
}

async fn list(viewer: Viewer, Query(mut asked): Query<Asked>) -> Result<Shown, Shown> {
    asked.is_ended = asked.ended == "true";
    let (filter, own) = (asked.filter(), &viewer.session.user.organization);
    let (count, other) = asked.rows();
    let rest = [("after", &*asked.after), ("count", count), ("last_hour", "true")];
    let recipient = [("recipient", if asked.waiting == "true" { own.as_str() } else { "" })];
    let is_asked = |(name, _): &&(&str, &str)| !matches!(*name, "rows" | "waiting");
    let wanted: Vec<_> = filter.iter().filter(is_asked).chain(&recipient).chain(&rest).copied().collect();
    let list: Connections = viewer.visit.get(&with_query("/connections", &wanted)).await?;
    let Pager { next, first } = Pager::new("/connections", &filter, &asked.after, list.next.as_deref());
    let other = Some(other).filter(|_| next.is_some() || first.is_some() || count == MORE_ROWS);
    let rows = list.rows.into_iter().map(|connection| Row::new(connection, own)).collect();
    let frame = Frame::of(&viewer, "connections", "Connections").done(&asked.done);
    Ok(page(&ConnectionsPage {
        frame,
        asked,
        connectivities: CONNECTIVITIES,
        rows,
        ended: list.ended,
        next,
        first,
        other,
    }))
}
