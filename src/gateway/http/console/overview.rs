//! The start page: what needs its viewer, what flows, and the way to the first message.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::routing::get;

use super::ask::{Refused, with_query};
use super::facts::{self, Beside};
use super::frame::{Frame, Shown, Viewer, page};
use super::lists::{self, ROWS};
use super::plot::spark;
use super::shapes::{Channel, Connection, Connections, Grant, Peering, Rows, Server};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/", get(overview))
}

/// Something that waits for the viewer.
#[derive(Debug)]
struct Need {
    kind: &'static str,
    tone: &'static str,
    title: String,
    text: String,
    until: Option<String>,
    path: String,
    button: &'static str,
}

/// A connection that is Active.
#[derive(Debug)]
struct Flow {
    connection: Connection,
    spark: String,
}

/// A step of the way to the first message.
#[derive(Debug)]
struct Step {
    title: &'static str,
    text: &'static str,
    path: &'static str,
    button: &'static str,
    is_done: bool,
    is_next: bool,
}

impl Step {
    fn class(&self) -> &'static str {
        match (self.is_done, self.is_next) {
            (true, _) => "done",
            (false, true) => "next",
            (false, false) => "",
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    steps: Vec<Step>,
    needs: Vec<Need>,
    flows: Vec<Flow>,
    active: usize,
    connected: usize,
}

/// What the page is made of.
struct Read {
    servers: Vec<Server>,
    channels: Vec<Channel>,
    peerings: Vec<Peering>,
    grants: Vec<Grant>,
    connections: Vec<Connection>,
}

async fn overview(viewer: Viewer, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    let read = read(&viewer).await?;
    let own = viewer.session.user.organization.as_str();
    let (needs, steps) = (needs(&read, own), steps(&read));
    let flows: Vec<_> = read.connections.into_iter().filter(|it| it.status == "Active").collect();
    let connected = flows.iter().filter(|it| it.connectivity == "Connected").count();
    let flows: Vec<_> =
        flows.into_iter().map(|it| Flow { spark: spark(&it.last_hour), connection: it }).collect();
    let frame = Frame::of(&viewer, "overview", "Overview").done(&asked.done);
    Ok(page(&Overview { frame, steps, needs, active: flows.len(), connected, flows }))
}

async fn read(viewer: &Viewer) -> Result<Read, Refused> {
    let visit = &viewer.visit;
    let some = |path: &str, more: &[(&str, &str)]| with_query(path, &[&[("count", ROWS)], more].concat());
    let servers: Rows<Server> = visit.get(&some("/servers", &[])).await?;
    let channels: Rows<Channel> = visit.get(&some("/channels", &[("own", "true")])).await?;
    let peerings: Rows<Peering> = visit.get(&some("/peerings", &[("status", "requested,live")])).await?;
    let grants: Rows<Grant> = visit.get(&some("/grants", &[("status", "pending")])).await?;
    let connections: Connections = visit.get(&some("/connections", &[("last_hour", "true")])).await?;
    Ok(Read {
        servers: servers.rows,
        channels: channels.rows,
        peerings: peerings.rows,
        grants: grants.rows,
        connections: connections.rows,
    })
}

fn needs(read: &Read, own: &str) -> Vec<Need> {
    let mut needs: Vec<_> = read.connections.iter().filter_map(|it| of_connection(it, own)).collect();
    let asked = read.peerings.iter().filter(|it| it.status == "requested" && it.recipient.id == own);
    needs.extend(asked.map(|it| Need {
        kind: "Peering",
        tone: "warn",
        title: it.requester.name.clone(),
        text: "asks for an agreement with you".into(),
        until: None,
        path: "/peering".into(),
        button: "Decide",
    }));
    let pending = read.grants.iter().filter(|it| it.decider.as_deref() == Some(own));
    needs.extend(pending.map(|it| {
        let channel = it.channel.name.as_deref().unwrap_or("a channel");
        let (title, text) = if it.owner.id == own {
            (&it.holder.name, format!("asks to send to {channel}"))
        } else {
            (&it.owner.name, format!("offers you its channel {channel}"))
        };
        let (title, path) = (title.clone(), "/grants".into());
        Need { kind: "Grant", tone: "warn", title, text, until: None, path, button: "Decide" }
    }));
    needs
}

fn of_connection(it: &Connection, own: &str) -> Option<Need> {
    let need = |kind, tone, text, path, button| Need {
        kind,
        tone,
        title: it.route.clone(),
        text,
        until: None,
        path,
        button,
    };
    let page = format!("/connections/{}", it.id);
    match it.status.as_str() {
        "Offered" if it.is_source(own) => {
            let admin = it.administration.as_ref()?;
            let text = format!("{} offers you {}", admin.offered_by, it.kind);
            Some(Need { until: admin.expires_at.clone(), ..need("Offer", "warn", text, page, "Decide") })
        }
        "Failed" => {
            let why = it.failure.clone().unwrap_or_else(|| "no reason is known".into());
            Some(need("Failed", "bad", why, format!("{page}/diagnose"), "Diagnose"))
        }
        "Ready" => Some(need("Ready", "warn", "is set up and waits to be activated".into(), page, "Open")),
        "Active" => {
            let finding = facts::first_failing(&facts::all(it, &Beside::default()), it, own)?;
            let finding = Some(finding).filter(|finding| finding.is_broken)?;
            let text = format!("{} ({}): {}", finding.title, finding.side, finding.evidence);
            Some(need("Broken", "bad", text, format!("{page}/diagnose"), "Diagnose"))
        }
        _ => None,
    }
}

/// Returns the way to the first message, until one was acknowledged.
fn steps(read: &Read) -> Vec<Step> {
    let is_flowing = read.connections.iter().any(|it| it.last_acknowledged_at.is_some());
    if is_flowing {
        return Vec::new();
    }
    let is_p2p = |it: &&Connection| !it.is_admin();
    let done = [
        !read.servers.is_empty(),
        read.servers.iter().any(|it| it.online),
        read.peerings.iter().any(|it| it.status == "live"),
        !read.channels.is_empty() || read.connections.iter().any(|it| !it.is_admin()),
        read.connections.iter().any(|it| !it.is_admin()),
        read.connections.iter().filter(is_p2p).any(|it| it.status == "Active"),
        false,
    ];
    let next = done.iter().position(|is_done| !is_done);
    let texts = [
        ("Add your server", "The Mirth that sends or receives.", "/servers/new", "Add a server"),
        (
            "Enrol its agent",
            "Make a connector configuration on the server's page and take it there.",
            "/servers",
            "To your servers",
        ),
        (
            "Agree with your peer",
            "Ask the organization on the other side; it accepts.",
            "/peering",
            "Ask an organization",
        ),
        (
            "Publish a channel, or find your peer's",
            "Who receives publishes a channel; who sends asks for it.",
            "/channels",
            "To the channels",
        ),
        (
            "Grant it",
            "One side asks or offers, the other approves; that makes the connection.",
            "/grants",
            "To the grants",
        ),
        (
            "Activate the connection",
            "Either party switches it on; each copies its entry into its agent's file.",
            "/connections",
            "To the connections",
        ),
        (
            "Send a message",
            "From Mirth to the agent's port at the source. It shows here once it is acknowledged.",
            "/connections",
            "To the connections",
        ),
    ];
    let steps = texts.into_iter().zip(done).enumerate();
    steps
        .map(|(index, ((title, text, path, button), is_done))| Step {
            title,
            text,
            path,
            button,
            is_done,
            is_next: next == Some(index),
        })
        .collect()
}
