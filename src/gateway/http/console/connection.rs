//! One connection: what it is, what is true, what its viewer may do and why not, and what was measured.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::get;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::acts::{self, Act};
use super::ask::{Change, Refused, segment, with_query};
use super::confirm::Confirm;
use super::facts::{self, Fact};
use super::fields::Fields;
use super::frame::{Frame, Shown, Viewer, go_to, page, page_refused};
use super::moments::now_ms;
use super::plot::{Axis, Plot, Table, plots, table};
use super::sessions::latest;
use super::shapes::{AdminSession, Connection, Measurements, Server};
use super::{Console, filters};
use adit_core::domain::time::Timestamp;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/connections/{id}", get(one))
        .route("/connections/{id}/figures", get(figures))
        .route("/connections/{id}/do/{command}", get(back).post(command))
        .route("/connections/{id}/terminate", get(termination).post(terminate))
        .route("/connections/{id}/view-secret", get(viewing).post(view_secret))
        .route("/connections/{id}/rotate-secrets", get(rotation).post(rotate))
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    span: String,
    #[serde(default)]
    done: String,
}

#[derive(Debug, Template)]
#[template(path = "connection.html")]
struct ConnectionPage {
    frame: Frame,
    it: Connection,
    lamps: Vec<Fact>,
    acts: Vec<Act>,
    entries: Vec<Entry>,
    keys: Vec<Key>,
    span: &'static Span,
    spans: &'static [Span],
    plots: Vec<Plot>,
    /// The latest; none of what carries channel data.
    sessions: Vec<AdminSession>,
}

/// What belongs into the agent's file at one of the viewer's sides.
#[derive(Debug)]
struct Entry {
    side: &'static str,
    /// By which that host's commands know it.
    name: String,
    text: String,
}

/// The key of the agent at one of them.
#[derive(Debug)]
struct Key {
    side: &'static str,
    server: String,
    shown: String,
}

/// How much is shown, and in which steps: so many that a plot can show them.
#[derive(Debug)]
struct Span {
    word: &'static str,
    name: &'static str,
    length_ms: i64,
    step: &'static str,
    every: &'static str,
    step_ms: i64,
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const SPANS: [Span; 4] = [
    Span { word: "1h", name: "1 hour", length_ms: HOUR_MS, step: "minute", every: "1", step_ms: MINUTE_MS },
    Span {
        word: "24h",
        name: "24 hours",
        length_ms: DAY_MS,
        step: "minute",
        every: "15",
        step_ms: 15 * MINUTE_MS,
    },
    Span {
        word: "7d",
        name: "7 days",
        length_ms: 7 * DAY_MS,
        step: "hour",
        every: "2",
        step_ms: 2 * HOUR_MS,
    },
    Span { word: "90d", name: "90 days", length_ms: 90 * DAY_MS, step: "hour", every: "24", step_ms: DAY_MS },
];

async fn one(viewer: Viewer, Path(id): Path<String>, Query(asked): Query<Asked>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "connections", "Connection").done(&asked.done);
    Ok(page(&connection_page(&viewer, frame, &id, &asked.span).await?))
}

async fn connection_page(
    viewer: &Viewer,
    frame: Frame,
    id: &str,
    span: &str,
) -> Result<ConnectionPage, Refused> {
    let it: Connection = viewer.visit.get(&format!("/connections/{}", segment(id))).await?;
    let span = Span::of(span);
    let axis = axis(span);
    let measured = measured(viewer, &it, span, axis).await?;
    let own = &viewer.session.user.organization;
    Ok(ConnectionPage {
        frame: Frame { title: it.route(), ..frame },
        lamps: facts::lamps(&it),
        acts: acts::acts(&it, &viewer.session),
        entries: entries(viewer, &it, own).await,
        keys: keys(viewer, &it, own).await,
        span,
        spans: &SPANS,
        plots: plots(&measured, axis, it.is_admin()),
        sessions: if it.is_admin() { latest(viewer, &it.id).await? } else { Vec::new() },
        it,
    })
}

async fn measured(
    viewer: &Viewer,
    it: &Connection,
    span: &Span,
    axis: Axis,
) -> Result<Measurements, Refused> {
    let time = |at_ms| Timestamp::from_millis(at_ms).to_string();
    let (from, to) = (time(axis.from_ms), time(axis.to_ms));
    let path = format!("/connections/{}/measurements", it.id);
    let asked = [("span", span.step), ("every", span.every), ("from", &from), ("to", &to)];
    viewer.visit.get(&with_query(&path, &asked)).await
}

#[derive(Debug, Template)]
#[template(path = "figures.html")]
struct FiguresPage {
    frame: Frame,
    id: String,
    span: &'static Span,
    table: Table,
}

/// Shows what the plots show as a table.
async fn figures(viewer: Viewer, Path(id): Path<String>, Query(asked): Query<Asked>) -> Result<Shown, Shown> {
    let it: Connection = viewer.visit.get(&format!("/connections/{}", segment(&id))).await?;
    let span = Span::of(&asked.span);
    let table = table(&measured(&viewer, &it, span, axis(span)).await?, it.is_admin());
    let frame = Frame::of(&viewer, "connections", format!("Figures of {}", it.route()));
    Ok(page(&FiguresPage { frame, id: it.id, span, table }))
}

impl Span {
    /// Returns the one with this word; the shortest where there is none.
    fn of(word: &str) -> &'static Self {
        SPANS.iter().find(|known| known.word == word).unwrap_or(&SPANS[0])
    }
}

/// Returns the span up to the last step that is over: one that runs would look like a fall.
fn axis(span: &Span) -> Axis {
    let now_ms = now_ms();
    let to_ms = now_ms - now_ms % span.step_ms;
    Axis { from_ms: to_ms - span.length_ms, to_ms, step_ms: span.step_ms }
}

/// Returns the entries of the viewer's own sides. There are none before an offer is accepted, or once it has ended.
async fn entries(viewer: &Viewer, it: &Connection, own: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    if it.has_ended() {
        return entries;
    }
    for (side, is_own) in [("source", it.is_source(own)), ("target", it.is_target(own))] {
        if is_own {
            let path = with_query(&format!("/connections/{}/entry", it.id), &[("side", side)]);
            let text = viewer.visit.text(&path).await.ok();
            // Its name is its first value.
            let name = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
            entries.extend(text.map(|text| Entry { side, name: name(&text), text }));
        }
    }
    entries
}

/// Returns the keys of the viewer's own agents. The peer's come from the peer alone: who trusted the gateway's word
/// for it would compare nothing.
async fn keys(viewer: &Viewer, it: &Connection, own: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    for (side, end, is_own) in
        [("source", &it.source, it.is_source(own)), ("target", &it.target, it.is_target(own))]
    {
        if let Some(server) = end.server.as_ref().filter(|_| is_own && !it.has_ended()) {
            let server: Option<Server> = viewer.visit.get(&format!("/servers/{}", server.id)).await.ok();
            keys.extend(server.and_then(|it| Some(Key { side, server: it.name, shown: it.key? })));
        }
    }
    keys
}

/// Leads to the connection from the address of a command, which a page keeps that says why it was refused.
async fn back(Path((id, _)): Path<(String, String)>) -> Shown {
    go_to(&format!("/connections/{}", segment(&id)))
}

/// Does what needs no second question.
async fn command(
    viewer: Viewer,
    Path((id, command)): Path<(String, String)>,
    fields: Fields,
) -> Result<Shown, Shown> {
    let id = segment(&id);
    let (path, done) = match command.as_str() {
        "activate" => (format!("/connections/{id}/activate"), "activated"),
        "pause" => (format!("/connections/{id}/pause"), "paused"),
        "resume" => (format!("/connections/{id}/resume"), "resumed"),
        "disconnect" => (format!("/connections/{id}/disconnect"), "disconnected"),
        "retry" => (format!("/connections/{id}/retry"), "retried"),
        "decline" => (format!("/offers/{id}/decline"), "declined"),
        "withdraw" => (format!("/offers/{id}/withdraw"), "withdrawn"),
        _ => return Ok(go_to(&format!("/connections/{id}"))),
    };
    match viewer.visit.change(Change::post(&path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to(&format!("/connections/{id}?done={done}"))),
        Err(refused) => {
            let frame = Frame::of(&viewer, "connections", "Connection").again(&refused, &fields);
            Ok(page_refused(&refused, &connection_page(&viewer, frame, id, "").await?))
        }
    }
}

/// Asks once more about one of its commands.
async fn confirm(
    viewer: &Viewer,
    id: &str,
    title: &'static str,
    text: &'static str,
    (command, button): (&'static str, &'static str),
) -> Result<Confirm, Refused> {
    let it: Connection = viewer.visit.get(&format!("/connections/{}", segment(id))).await?;
    Ok(Confirm::new(Frame::of(viewer, "connections", title), it.route())
        .saying(text)
        .by(format!("/connections/{}/{command}", it.id), button)
        .back(format!("/connections/{}", it.id)))
}

const TERMINATION: &str = "Tunnels are cut at once, on both sides, and it never comes back: a new connection needs a \
                           new grant or offer. Messages that the sender's Mirth waits to send stay there.";
const VIEWING: &str = "Your organization may view it once. It is deleted from the gateway when both sides have viewed \
                       it, so copy it only if you write it into the agent's file; the agents fetch it by themselves.";
const ADMIN_VIEWING: &str =
    "As owner of the managed server your organization may view it at most 5 times an hour.";
const ROTATION: &str = "The old secret is dead for new handshakes at once; live tunnels continue until they reconnect. \
                        Both agents fetch the new one by themselves, and whoever may view a secret may view the new one.";

async fn termination(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm(&viewer, &id, "Terminate a connection", TERMINATION, ("terminate", "Terminate")).await?))
}

async fn terminate(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/connections/{}/terminate", segment(&id));
    match viewer.visit.change(Change::post(&path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to(&format!("/connections/{}?done=terminated", segment(&id)))),
        Err(refused) => {
            let asked = ("terminate", "Terminate");
            Ok(confirm(&viewer, &id, "Terminate a connection", TERMINATION, asked)
                .await?
                .again(&refused, &fields))
        }
    }
}

async fn rotation(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm(&viewer, &id, "Rotate Secrets", ROTATION, ("rotate-secrets", "Rotate Secrets")).await?))
}

async fn rotate(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/connections/{}/rotate-secrets", segment(&id));
    match viewer.visit.change(Change::post(&path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to(&format!("/connections/{}?done=rotated", segment(&id)))),
        Err(refused) => {
            let asked = ("rotate-secrets", "Rotate Secrets");
            Ok(confirm(&viewer, &id, "Rotate Secrets", ROTATION, asked).await?.again(&refused, &fields))
        }
    }
}

async fn viewing(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm_viewing(&viewer, &id).await?))
}

async fn confirm_viewing(viewer: &Viewer, id: &str) -> Result<Confirm, Refused> {
    let it: Connection = viewer.visit.get(&format!("/connections/{}", segment(id))).await?;
    let text = if it.is_admin() { ADMIN_VIEWING } else { VIEWING };
    let asked = confirm(viewer, id, "View Secret", text, ("view-secret", "View Secret")).await?;
    Ok(asked.unless(acts::viewing_over(&it)))
}

/// Shows a secret once. Deliberately without `Debug`.
#[derive(Template)]
#[template(path = "secret.html")]
struct SecretPage {
    frame: Frame,
    route: String,
    text: &'static str,
    epoch: u32,
    secret: Zeroizing<String>,
    back: String,
}

async fn view_secret(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    #[derive(Deserialize)]
    struct Viewed {
        epoch: u32,
        secret: Zeroizing<String>,
    }
    let it: Connection = viewer.visit.get(&format!("/connections/{}", segment(&id))).await?;
    let path = format!("/connections/{}/view-secret", it.id);
    let secret = viewer.visit.change(Change::post(&path).proving(fields.csrf())).await;
    match secret.and_then(|answer| answer.read::<Viewed>()) {
        Ok(Viewed { epoch, secret }) => {
            let text =
                if it.is_admin() { "Shown to you now" } else { "Shown to your organization once: now" };
            let back = format!("/connections/{}", it.id);
            let frame = Frame::of(&viewer, "connections", "Secret");
            Ok(page(&SecretPage { frame, route: it.route(), text, epoch, secret, back }))
        }
        Err(refused) => Ok(confirm_viewing(&viewer, &id).await?.again(&refused, &fields)),
    }
}
