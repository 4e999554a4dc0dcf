//! The organization itself: its name, its tier, how its users sign in, and which programs act for it.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::http::Method;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::ask::{Change, Refused, segment, with_query};
use super::confirm::Confirm;
use super::fields::Fields;
use super::frame::{Frame, Shown, Viewer, go_to, page, page_refused};
use super::lists::{self, Pager, ROWS};
use super::shapes::{IdentityProvider, Organization, Rows, UsersApiToken};
use super::{Console, filters};

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/organization", get(show))
        .route("/organization/name", post(rename))
        .route("/organization/tier", post(set_tier))
        .route("/organization/second-factor", post(require_second_factor))
        .route("/organization/single-sign-on", post(set_provider))
        .route("/organization/single-sign-on/remove", get(removal).post(remove_provider))
        .route("/organization/api-tokens/{id}/revoke", post(revoke_token))
}

#[derive(Debug, Template)]
#[template(path = "organization.html")]
struct OrganizationPage {
    frame: Frame,
    organization: Organization,
    tag: String,
    has_provider: bool,
    provider: IdentityProvider,
    /// The API tokens of its users.
    list: Rows<UsersApiToken>,
    next: Option<String>,
    first: Option<String>,
}

async fn show(viewer: Viewer, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "organization", "Organization").done(&asked.done);
    Ok(page(&organization_page(&viewer, frame, &asked.after).await?))
}

async fn organization_page(viewer: &Viewer, frame: Frame, after: &str) -> Result<OrganizationPage, Refused> {
    let (organization, tag) = viewer.visit.get_tagged("/organization").await?;
    let provider = match viewer.visit.get::<IdentityProvider>("/organization/identity-provider").await {
        Ok(provider) => Some(provider),
        Err(refused) if refused.is("not-found") || refused.is("role") => None,
        Err(refused) => return Err(refused),
    };
    let has_provider = provider.is_some();
    let provider = provider.unwrap_or_default();
    let tokens = with_query("/organization/api-tokens", &[("after", after), ("count", ROWS)]);
    let list: Rows<UsersApiToken> = viewer.visit.get(&tokens).await?;
    let Pager { next, first } =
        Pager::new("/organization", &[], after, list.next.as_deref()).at("api-tokens");
    Ok(OrganizationPage { frame, organization, tag, has_provider, provider, list, next, first })
}

/// Asks for a change, and shows the page again either way.
async fn ask(viewer: &Viewer, change: Change<'_>, fields: &Fields, done: &str) -> Result<Shown, Shown> {
    match viewer.visit.change(change).await {
        Ok(_) => Ok(go_to(&format!("/organization?done={done}"))),
        Err(refused) => {
            let frame = Frame::of(viewer, "organization", "Organization").again(&refused, fields);
            Ok(page_refused(&refused, &organization_page(viewer, frame, "").await?))
        }
    }
}

async fn rename(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let body = json!({ "name": fields.get("name").trim() });
    let change = Change::new(Method::PATCH, "/organization").sending(&body);
    ask(&viewer, change.proving(fields.csrf()).of_state(fields.said("tag")), &fields, "saved").await
}

async fn set_tier(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let body = json!({ "tier": fields.get("tier") });
    let change = Change::new(Method::PUT, "/organization/tier").sending(&body);
    ask(&viewer, change.proving(fields.csrf()).of_state(fields.said("tag")), &fields, "saved").await
}

async fn require_second_factor(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let body = json!({ "needed": fields.get("needed") == "true" });
    let change = Change::new(Method::PUT, "/organization/second-factor-rule").sending(&body);
    ask(&viewer, change.proving(fields.csrf()), &fields, "saved").await
}

/// What a provider cannot be without.
const PROVIDER_NEEDS: [&str; 3] = ["issuer", "client_id", "role_claim"];
const PROVIDER_MAY_HAVE: [&str; 4] = ["client_secret", "owner_value", "operator_value", "auditor_value"];

async fn set_provider(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let needed = PROVIDER_NEEDS.into_iter().map(|name| (name.to_owned(), fields.get(name).trim().into()));
    let said =
        PROVIDER_MAY_HAVE.into_iter().filter_map(|name| Some((name.to_owned(), fields.said(name)?.into())));
    let mut body = Value::Object(needed.chain(said).collect());
    body["passwords_for_owners_only"] = fields.is_ticked("passwords_for_owners_only").into();
    let change = Change::new(Method::PUT, "/organization/identity-provider").sending(&body);
    ask(&viewer, change.proving(fields.csrf()), &fields, "saved").await
}

fn confirm_removal(viewer: &Viewer) -> Confirm {
    let frame = Frame::of(viewer, "organization", "Remove single sign-on");
    Confirm::new(frame, viewer.session.user.organization_name.clone())
        .saying("Nobody stays signed in whom it has signed in; who has no password needs a link to set one.")
        .by("/organization/single-sign-on/remove".into(), "Remove single sign-on")
        .back("/organization".into())
}

async fn removal(viewer: Viewer) -> Shown {
    page(&confirm_removal(&viewer))
}

async fn remove_provider(viewer: Viewer, fields: Fields) -> Shown {
    let change = Change::new(Method::DELETE, "/organization/identity-provider").proving(fields.csrf());
    match viewer.visit.change(change).await {
        Ok(_) => go_to("/organization?done=deleted"),
        Err(refused) => confirm_removal(&viewer).again(&refused, &fields),
    }
}

async fn revoke_token(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/organization/api-tokens/{}", segment(&id));
    ask(&viewer, Change::new(Method::DELETE, &path).proving(fields.csrf()), &fields, "revoked").await
}
