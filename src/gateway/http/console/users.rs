//! Users and their roles, and the links by which they set a password.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::http::Method;
use axum::routing::{get, post};
use serde_json::json;

use super::ask::{Change, Refused, segment, with_query};
use super::fields::Fields;
use super::frame::{Frame, Shown, Viewer, go_to, page, page_of_made, page_refused};
use super::lists::{self, Pager, ROWS};
use super::shapes::{Invitation, IssuedInvitation, Rows, User};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/users", get(list))
        .route("/users/invite", post(invite))
        .route("/users/{id}", get(one).post(change))
        .route("/users/{id}/link", post(link))
        .route("/invitations/{id}/revoke", post(revoke))
}

/// The roles there are, as they are chosen.
pub(super) const ROLES: [&str; 3] = ["owner", "operator", "auditor"];
const LIVES: [&str; 3] = ["1h", "24h", "7d"];

#[derive(Debug, Template)]
#[template(path = "users.html")]
struct Users {
    frame: Frame,
    list: Rows<User>,
    invitations: Vec<Invitation>,
    /// A link that was made now, shown once.
    made: Option<IssuedInvitation>,
    own: String,
    next: Option<String>,
    first: Option<String>,
}

async fn list(viewer: Viewer, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "users", "Users and roles").done(&asked.done);
    Ok(page(&users_page(&viewer, frame, &asked.after, None).await?))
}

async fn users_page(
    viewer: &Viewer,
    frame: Frame,
    after: &str,
    made: Option<IssuedInvitation>,
) -> Result<Users, Refused> {
    let list: Rows<User> =
        viewer.visit.get(&with_query("/users", &[("after", after), ("count", ROWS)])).await?;
    let invitations = open_invitations(viewer).await?;
    let Pager { next, first } = Pager::new("/users", &[], after, list.next.as_deref());
    Ok(Users { frame, list, invitations, made, own: viewer.session.user.id.clone(), next, first })
}

/// Returns the invitations that nobody has used yet; those that were are kept for a while, and stand among them.
async fn open_invitations(viewer: &Viewer) -> Result<Vec<Invitation>, Refused> {
    let (mut open, mut after) = (Vec::new(), String::new());
    loop {
        let path = with_query("/invitations", &[("count", "500"), ("after", &after)]);
        let list = match viewer.visit.get::<Rows<Invitation>>(&path).await {
            Ok(list) => list,
            // They are the owners' to see.
            Err(refused) if refused.is("role") => return Ok(Vec::new()),
            Err(refused) => return Err(refused),
        };
        open.extend(list.rows.into_iter().filter(|it| it.status == "open"));
        match list.next {
            Some(next) => after = next,
            None => return Ok(open),
        }
    }
}

async fn again(viewer: &Viewer, refused: &Refused, fields: &Fields) -> Result<Shown, Shown> {
    let frame = Frame::of(viewer, "users", "Users and roles").again(refused, fields);
    Ok(page_refused(refused, &users_page(viewer, frame, "", None).await?))
}

/// Shows a link that was made now; the answer to the form itself, for it is shown once.
async fn show_link(
    viewer: &Viewer,
    made: Result<IssuedInvitation, Refused>,
    fields: &Fields,
) -> Result<Shown, Shown> {
    match made {
        Ok(made) => {
            let frame = Frame::of(viewer, "users", "Users and roles").done("invited");
            Ok(match users_page(viewer, frame, "", Some(made.clone())).await {
                Ok(shown) => page(&shown),
                Err(_) => page_of_made(made.link.as_deref(), "/users"),
            })
        }
        Err(refused) => again(viewer, &refused, fields).await,
    }
}

async fn invite(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let (role, life) = match (fields.one_of("role", &ROLES), fields.one_of("life", &LIVES)) {
        (Ok(role), Ok(life)) => (role, life),
        (Err(refused), _) | (_, Err(refused)) => return again(&viewer, &refused, &fields).await,
    };
    let body = json!({ "email": fields.get("email").trim(), "role": role, "life": life });
    let made = viewer
        .visit
        .change(Change::post("/invitations").sending(&body).once(fields.key()).proving(fields.csrf()))
        .await;
    show_link(&viewer, made.and_then(|answer| answer.read()), &fields).await
}

async fn link(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/users/{}/sign-in-link", segment(&id));
    let made = viewer
        .visit
        .change(Change::post(&path).sending(&json!({})).once(fields.key()).proving(fields.csrf()))
        .await;
    show_link(&viewer, made.and_then(|answer| answer.read()), &fields).await
}

async fn revoke(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/invitations/{}", segment(&id));
    match viewer.visit.change(Change::new(Method::DELETE, &path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to("/users?done=revoked")),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

#[derive(Debug, Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    user: User,
}

async fn one(viewer: Viewer, Path(id): Path<String>) -> Result<Shown, Shown> {
    let user: User = viewer.visit.get(&format!("/users/{}", segment(&id))).await?;
    Ok(page(&UserPage { frame: Frame::of(&viewer, "users", user.name.clone()), user }))
}

async fn change(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/users/{}", segment(&id));
    let body = match (fields.said("role"), fields.said("disabled")) {
        (Some(role), _) => json!({ "role": role }),
        (None, disabled) => json!({ "disabled": disabled == Some("true") }),
    };
    let change = Change::new(Method::PATCH, &path).sending(&body).proving(fields.csrf());
    match viewer.visit.change(change).await {
        Ok(_) => Ok(go_to("/users?done=saved")),
        Err(refused) => {
            let user: User = viewer.visit.get(&path).await?;
            let frame = Frame::of(&viewer, "users", user.name.clone()).again(&refused, &fields);
            Ok(page_refused(&refused, &UserPage { frame, user }))
        }
    }
}
