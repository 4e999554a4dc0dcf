//! Why messages do not arrive: the facts in order, and the first that fails.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::get;

use super::ask::{segment, with_query};
use super::facts::{self, Beside, Enrolment, Fact, Finding, How, Recent};
use super::frame::{Frame, Shown, Viewer, page};
use super::moments::now_ms;
use super::shapes::{Connection, End, Measurements};
use super::{Console, filters};
use adit_core::domain::time::Timestamp;

/// How far back messages are looked at.
const MINUTES: u32 = 15;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/connections/{id}/diagnose", get(diagnose))
}

#[derive(Debug, Template)]
#[template(path = "diagnose.html")]
struct Diagnosis {
    frame: Frame,
    it: Connection,
    facts: Vec<Fact>,
    finding: Option<Finding>,
}

async fn diagnose(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    let it: Connection = viewer.visit.get(&format!("/connections/{}", segment(&id))).await?;
    let own = &viewer.session.user.organization;
    let beside = Beside {
        now_ms: now_ms(),
        recent: recent(&viewer, &it).await,
        source: enrolment(&viewer, &it.source).await,
        target: enrolment(&viewer, &it.target).await,
    };
    let facts = facts::all(&it, &beside);
    let finding = facts::first_failing(&facts, &it, own);
    let frame = Frame::of(&viewer, "connections", format!("Diagnose {}", it.route()));
    Ok(page(&Diagnosis { frame, it, facts, finding }))
}

/// Returns what was measured of late; nothing where that cannot be had, for the other facts tell all the same.
async fn recent(viewer: &Viewer, it: &Connection) -> Option<Recent> {
    if it.is_admin() {
        return None;
    }
    let now_ms = now_ms();
    let from = Timestamp::from_millis(now_ms.saturating_sub(i64::from(MINUTES) * 60_000)).to_string();
    let path = format!("/connections/{}/measurements", it.id);
    let measured: Measurements =
        viewer.visit.get(&with_query(&path, &[("span", "minute"), ("from", &from)])).await.ok()?;
    Some(Recent::of(&measured, MINUTES, from))
}

/// Returns how the agent of an end without a link has enrolled, where the end is the viewer's own.
async fn enrolment(viewer: &Viewer, end: &End) -> Option<Enrolment> {
    let server = end.server.as_ref().filter(|_| !end.link.is_up())?;
    if end.organization.id != viewer.session.user.organization {
        return None;
    }
    let path = format!("/servers/{}", segment(&server.id));
    let progress = viewer.visit.get(&format!("{path}/connector")).await.ok()?;
    Some(Enrolment { server: viewer.visit.get(&path).await.ok()?, progress })
}
