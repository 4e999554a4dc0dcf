//! Peering: requests to other organizations, and the agreements that they become.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::{get, post};
use serde_json::json;

use super::ask::{Change, Refused, segment, with_query};
use super::confirm::Confirm;
use super::fields::Fields;
use super::frame::{Frame, Shown, Viewer, go_to, page, page_refused};
use super::lists::{self, Pager, ROWS};
use super::shapes::{Peering, Rows};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/peering", get(list).post(request))
        .route("/peering/{id}/accept", post(accept))
        .route("/peering/{id}/decline", post(decline))
        .route("/peering/{id}/withdraw", post(withdraw))
        .route("/peering/{id}/end", get(ending).post(end))
}

#[derive(Debug)]
struct Row {
    peering: Peering,
    is_recipient: bool,
}

impl Row {
    fn may_decide(&self) -> bool {
        self.peering.status == "requested" && self.is_recipient
    }

    fn may_withdraw(&self) -> bool {
        self.peering.status == "requested" && !self.is_recipient
    }
}

#[derive(Debug, Template)]
#[template(path = "peering.html")]
struct PeeringPage {
    frame: Frame,
    /// Whether it has those alone that the viewer has to decide.
    is_waiting: bool,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
}

async fn list(viewer: Viewer, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "peering", "Peering").done(&asked.done);
    Ok(page(&peering_page(&viewer, frame, &asked).await?))
}

async fn peering_page(viewer: &Viewer, frame: Frame, asked: &lists::Asked) -> Result<PeeringPage, Refused> {
    let rest = [("decider", asked.decider(viewer)), ("after", &*asked.after), ("count", ROWS)];
    let list: Rows<Peering> = viewer.visit.get(&with_query("/peerings", &rest)).await?;
    let own = &viewer.session.user.organization;
    let Pager { next, first } =
        Pager::new("/peering", &[("waiting", &*asked.waiting)], &asked.after, list.next.as_deref());
    let rows =
        list.rows.into_iter().map(|peering| Row { is_recipient: peering.recipient.id == *own, peering });
    Ok(PeeringPage { frame, is_waiting: asked.waiting == "true", rows: rows.collect(), next, first })
}

/// Shows the list again, with why what was asked is not done.
async fn again(viewer: &Viewer, refused: &Refused, fields: &Fields) -> Result<Shown, Shown> {
    let frame = Frame::of(viewer, "peering", "Peering").again(refused, fields);
    Ok(page_refused(refused, &peering_page(viewer, frame, &lists::Asked::default()).await?))
}

async fn request(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let body = json!({ "name": fields.get("name").trim() });
    let change = Change::post("/peerings").sending(&body).once(fields.key()).proving(fields.csrf());
    match viewer.visit.change(change).await.and_then(|answer| answer.read::<Peering>()) {
        // Of oneself, and where the other has asked meanwhile.
        Ok(peering) if peering.status == "live" => Ok(go_to("/peering?done=accepted")),
        Ok(_) => Ok(go_to("/peering?done=sent")),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

async fn accept(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    decide(&viewer, &id, &fields, "accept", "accepted").await
}

async fn decline(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    decide(&viewer, &id, &fields, "decline", "declined").await
}

async fn withdraw(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    decide(&viewer, &id, &fields, "withdraw", "withdrawn").await
}

async fn decide(viewer: &Viewer, id: &str, fields: &Fields, word: &str, done: &str) -> Result<Shown, Shown> {
    let path = format!("/peerings/{}/{word}", segment(id));
    match viewer.visit.change(Change::post(&path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to(&format!("/peering?done={done}"))),
        Err(refused) => again(viewer, &refused, fields).await,
    }
}

async fn ending(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    Ok(page(&confirm_end(&viewer, &id).await?))
}

async fn confirm_end(viewer: &Viewer, id: &str) -> Result<Confirm, Refused> {
    let id = segment(id);
    let peering: Peering = viewer.visit.get(&format!("/peerings/{id}")).await?;
    let consequences = viewer.visit.get(&format!("/peerings/{id}/ending")).await?;
    Ok(Confirm::new(Frame::of(viewer, "peering", "End an agreement"), &peering.peer)
        .saying("Grants are revoked, offers end and tunnels are cut at once, on both sides.")
        .ending(consequences)
        .by(format!("/peering/{id}/end"), "End the agreement")
        .back("/peering".into()))
}

async fn end(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/peerings/{}/end", segment(&id));
    match viewer.visit.change(Change::post(&path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to("/peering?done=ended")),
        Err(refused) => Ok(confirm_end(&viewer, &id).await?.again(&refused, &fields)),
    }
}
