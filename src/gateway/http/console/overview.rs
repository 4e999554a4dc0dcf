//! The start page: what needs its viewer, what flows, and the way to the first message.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::routing::get;

use super::frame::{Frame, Shown, Viewer, page};
use super::lists;
use super::needs::{Waiting, waiting};
use super::plot::spark;
use super::shapes::{Connection, Overview};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/", get(overview))
}

/// A connection that is Active and connected.
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
struct OverviewPage {
    frame: Frame,
    steps: Vec<Step>,
    waiting: Vec<Waiting>,
    /// How many things wait, shown or not.
    waits: u32,
    flows: Vec<Flow>,
    active: u32,
    connected: u32,
}

impl OverviewPage {
    /// How many connections flow that are not shown.
    fn more_flows(&self) -> usize {
        (self.connected as usize).saturating_sub(self.flows.len())
    }
}

async fn overview(viewer: Viewer, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    let read: Overview = viewer.visit.get("/overview").await?;
    let steps = steps(&read);
    let waiting = waiting(read.needs, &viewer.session.user.organization);
    let flows = read.flows.rows.into_iter();
    let flows = flows.map(|it| Flow { spark: spark(&it.last_hour), connection: it }).collect();
    Ok(page(&OverviewPage {
        frame: Frame::of(&viewer, "overview", "Overview").done(&asked.done),
        steps,
        waits: waiting.iter().map(|group| group.count).sum(),
        waiting,
        flows,
        active: read.connections.active,
        connected: read.connections.connected,
    }))
}

/// Returns the way to the first message, until one was acknowledged.
fn steps(read: &Overview) -> Vec<Step> {
    let connections = &read.connections;
    // Nobody acknowledges what is neither HL7v2 nor DICOM: there it is enough that it is connected.
    let is_other = |it: &Connection| it.channel.as_ref().is_some_and(|channel| channel.protocol == "tcp");
    let is_flowing = |it: &Connection| is_other(it) && it.connectivity == "Connected";
    if connections.acknowledged || read.flows.rows.iter().any(is_flowing) {
        return Vec::new();
    }
    let done = [
        read.servers.all > 0,
        read.servers.online > 0,
        read.peers > 0,
        read.channels > 0 || connections.p2p > 0,
        connections.p2p > 0,
        connections.p2p_active > 0,
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
