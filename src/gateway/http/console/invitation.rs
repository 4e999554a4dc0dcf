//! The page that a link of an invitation leads to. Its token stands behind the `#`, where no server sees it.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::routing::get;
use serde_json::json;

use super::Console;
use super::ask::{Change, Visit};
use super::fields::Fields;
use super::frame::{Frame, Shown, go_to_with, page, page_refused};
use super::shapes::Session;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/invitation", get(form).post(accept))
}

#[derive(Debug, Template)]
#[template(path = "invitation.html")]
struct Invitation {
    frame: Frame,
}

async fn form() -> Shown {
    page(&Invitation { frame: Frame::outside("Set your password") })
}

async fn accept(visit: Visit, fields: Fields) -> Shown {
    let mut body = json!({ "token": fields.get("token").trim(), "password": fields.get("password") });
    if let Some(name) = fields.said("name") {
        body["name"] = name.into();
    }
    let tried = visit.change(Change::post("/invitations/accept").sending(&body)).await;
    let tried = tried.and_then(|answer| answer.read::<Session>().map(|session| (session, answer)));
    match tried {
        Ok((session, answer)) if session.stage == "whole" => go_to_with("/", &answer),
        Ok((_, answer)) => go_to_with("/sign-in/second-factor", &answer),
        Err(refused) => {
            let frame = Frame::outside("Set your password").again(&refused, &fields);
            page_refused(&refused, &Invitation { frame })
        }
    }
}
