//! Why messages do not arrive: the facts in order, and the first that fails.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::get;

use super::ask::segment;
use super::facts::{self, Fact, Finding};
use super::frame::{Frame, Shown, Viewer, page};
use super::shapes::Connection;
use super::{Console, filters};

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
    let facts = facts::all(&it, own);
    let finding = facts::first_failing(&facts, &it, own);
    let frame = Frame::of(&viewer, "connections", format!("Diagnose {}", it.route));
    Ok(page(&Diagnosis { frame, it, facts, finding }))
}
