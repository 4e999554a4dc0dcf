//! Single sign-on: an organization's identity provider, and signing in there. What the provider brings back in
//! the URL counts once and only with the browser's cookie, and stands in no log.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use url::form_urlencoded::byte_serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::session::cookies_of;
use crate::http::caller::{Caller, Visitor};
use crate::http::input::Body;
use crate::http::output::Time;
use crate::http::problem::{Problem, ProblemKind, Problems};
use crate::http::{Api, cookies};
use crate::platform::{
    BeginSingleSignOn, FinishSingleSignOn, NewSession, ProviderSettings, ProviderView, RoleValues,
    SingleSignOnError, SingleSignOnRefusal, callback_of,
};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::secret::SignInToken;
use adit_net::identity::random;

/// Each organization's is one step below.
const CALLBACKS: &str = "/api/v1/session/single-sign-on/callback";
const PROVIDER_AWAY_RETRY_SECONDS: u32 = 30;
const TOO_MANY_RETRY_SECONDS: u32 = 60;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(show, set, remove)).routes(routes!(begin)).routes(routes!(finish))
}

/// Where an organization's users sign in. The client secret is never shown.
#[derive(Debug, Serialize, ToSchema)]
struct IdentityProvider {
    #[schema(format = "uri")]
    issuer: String,
    client_id: String,
    has_client_secret: bool,
    /// Where the provider sends browsers back to: enter exactly this one there. It is the organization's own
    #[schema(format = "uri")]
    redirect_uri: String,
    /// The ID token's claim that gives roles; `realm_access.roles` is one within another
    role_claim: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auditor_value: Option<String>,
    /// Nobody but owners signs in with a password as well
    passwords_for_owners_only: bool,
    changed_at: Time,
}

fn shown(api: &Api, organization: OrganizationId, view: ProviderView) -> IdentityProvider {
    IdentityProvider {
        redirect_uri: callback_of(&callbacks(api), organization),
        issuer: view.issuer,
        client_id: view.client_id,
        has_client_secret: view.has_client_secret,
        role_claim: view.role_claim,
        owner_value: view.values.owner,
        operator_value: view.values.operator,
        auditor_value: view.values.auditor,
        passwords_for_owners_only: view.owners_only,
        changed_at: view.changed_at.into(),
    }
}

/// Where an organization's users are to sign in (`OpenID` Connect).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewIdentityProvider {
    /// Exactly as it stands in the provider's configuration
    #[schema(format = "uri", max_length = 500)]
    issuer: String,
    #[schema(min_length = 1, max_length = 255)]
    client_id: String,
    /// Left out: the one there is stays, if issuer and client stay; else the client has none
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    client_secret: Option<Zeroizing<String>>,
    /// The ID token's claim that gives roles; `realm_access.roles` is one within another
    #[schema(min_length = 1, max_length = 80)]
    role_claim: String,
    /// Whoever has this value of the claim signs in as owner; left out: nobody does
    #[schema(min_length = 1, max_length = 255)]
    owner_value: Option<String>,
    /// Likewise as operator
    #[schema(min_length = 1, max_length = 255)]
    operator_value: Option<String>,
    /// Likewise as auditor
    #[schema(min_length = 1, max_length = 255)]
    auditor_value: Option<String>,
    /// Whether nobody but owners may sign in with a password as well, for when the provider is away. Set, it ends the
    /// sessions of all others who have a password
    #[serde(default)]
    passwords_for_owners_only: bool,
}

/// Shows where the organization's users sign in
#[utoipa::path(
    get,
    path = "/organization/identity-provider",
    tag = "single sign-on",
    responses((status = 200, body = IdentityProvider), Problems)
)]
async fn show(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<IdentityProvider>, Problem> {
    let view = api.platform.identity_provider(&caller.initiator).await?;
    Ok(Json(shown(&api, caller.organization, view)))
}

/// Sets where the organization's users sign in
///
/// By an owner. The provider is asked at once; what is wrong with it is said. With another issuer than before,
/// nobody stays signed in whom the old one has signed in. Where owners sign in by it alone, another issuer, client,
/// claim or owner's value is refused until one has a password. Enter the answer's `redirect_uri` at the provider.
#[utoipa::path(
    put,
    path = "/organization/identity-provider",
    tag = "single sign-on",
    request_body = NewIdentityProvider,
    responses((status = 200, body = IdentityProvider), Problems)
)]
async fn set(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(new): Body<NewIdentityProvider>,
) -> Result<Json<IdentityProvider>, Problem> {
    let owners_only = new.passwords_for_owners_only;
    let values =
        RoleValues { owner: new.owner_value, operator: new.operator_value, auditor: new.auditor_value };
    let new = ProviderSettings::new(new.issuer, new.client_id, new.client_secret, new.role_claim, values);
    let set = new.map_err(|error| Problem::new(ProblemKind::Invalid, error.to_string()).at(error.field()))?;
    let new = set.with_passwords_of_owners_only(owners_only);
    let view = api.platform.set_identity_provider(&caller.initiator, &new).await?;
    Ok(Json(shown(&api, caller.organization, view)))
}

/// Removes it; nobody stays signed in whom it has signed in
///
/// Refused where no owner could sign in without it.
#[utoipa::path(
    delete,
    path = "/organization/identity-provider",
    tag = "single sign-on",
    responses((status = 204, description = "It is removed"), Problems)
)]
async fn remove(State(api): State<Arc<Api>>, caller: Caller) -> Result<StatusCode, Problem> {
    api.platform.remove_identity_provider(&caller.initiator).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who wants to sign in at its organization's provider.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInElsewhere {
    /// The organization's name
    organization: String,
    /// A path of this site to go on to; anything else leads to the start page
    go_to: Option<String>,
}

/// Where to send the browser.
#[derive(Debug, Serialize, ToSchema)]
struct SignInPage {
    #[schema(format = "uri")]
    authorization_url: String,
}

/// Begins to sign in at the organization's identity provider
///
/// The browser that asks is the one that must come back, within 10 minutes: a cookie tells.
#[utoipa::path(
    post,
    path = "/session/single-sign-on",
    tag = "single sign-on",
    request_body = SignInElsewhere,
    responses((status = 200, body = SignInPage), Problems),
    security(())
)]
async fn begin(
    State(api): State<Arc<Api>>,
    // Another site would choose as whom one signs in.
    Visitor(visit): Visitor,
    headers: HeaderMap,
    Body(wanted): Body<SignInElsewhere>,
) -> Result<Response, Problem> {
    // Several tabs of one browser may sign in at a time.
    let browser = browser(&headers)?.unwrap_or_else(|| SignInToken::from_bytes(random::bytes()));
    let begin = BeginSingleSignOn {
        organization: &wanted.organization,
        browser: &browser,
        go_to: wanted.go_to.as_deref().unwrap_or("/"),
        address: visit.address,
        callbacks: &callbacks(&api),
    };
    let authorization_url = api.platform.begin_single_sign_on(&begin).await.map_err(problem)?;
    let cookie = cookies::set_sign_in(&browser);
    let headers =
        AppendHeaders([(SET_COOKIE, cookie), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]);
    Ok((headers, Json(SignInPage { authorization_url })).into_response())
}

/// What a provider sends a browser back with (`OpenID` Connect Core 1.0 §3.1.2.5, RFC 9207). Others may stand there
/// too.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Returned {
    state: Option<String>,
    #[param(value_type = Option<String>)]
    code: Option<Zeroizing<String>>,
    /// Who says it is the provider
    iss: Option<String>,
    /// Set where nobody was signed in
    error: Option<String>,
}

/// Takes a browser back from the identity provider
///
/// Leads on to where it wanted, signed in; or to `/sign-in?problem=WORD#problem=WORD&detail=SENTENCE`. Each
/// organization has its own: an answer that comes to another's is refused.
#[utoipa::path(
    get,
    path = "/session/single-sign-on/callback/{organization}",
    tag = "single sign-on",
    params(("organization" = String, Path, format = Uuid), Returned),
    responses((status = 303, description = "Go on there"), Problems),
    security(())
)]
async fn finish(
    State(api): State<Arc<Api>>,
    Visitor(visit): Visitor,
    headers: HeaderMap,
    at: Result<Path<String>, PathRejection>,
    returned: Result<Query<Returned>, QueryRejection>,
) -> Result<Response, Problem> {
    let returned = returned.map(|Query(returned)| returned).unwrap_or_default();
    let browser = browser(&headers)?;
    let signed_in = match returned.state.as_deref().map(SignInToken::from_hex) {
        Some(Ok(state)) => {
            let finish = FinishSingleSignOn {
                state: &state,
                browser: browser.as_ref(),
                at: at.ok().and_then(|Path(organization)| organization.parse().ok()),
                code: returned.code.as_ref(),
                error: returned.error.as_deref(),
                issuer: returned.iss.as_deref(),
                address: visit.address,
                agent: &visit.agent,
                callbacks: &callbacks(&api),
            };
            api.platform.finish_single_sign_on(&finish).await
        }
        _ => Err(SingleSignOnRefusal::NoFlow.into()),
    };
    match signed_in {
        Ok(user) => Ok(go_on(&user.go_to, Some(&user.session))),
        Err(error) => Ok(go_on(&sign_in_page(error), None)),
    }
}

fn go_on(to: &str, session: Option<&NewSession>) -> Response {
    let location = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The URL that is left here has the code in it.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // The browser's cookie stays for its other tabs, until its time is over; this sign-in is used up.
    if let Some(session) = session {
        for cookie in cookies_of(session).get_all(SET_COOKIE) {
            headers.append(SET_COOKIE, cookie.clone());
        }
    }
    response
}

/// Returns where a browser is told why it is not signed in: by the word, or by a fragment, which reaches no server, in
/// full.
fn sign_in_page(error: SingleSignOnError) -> String {
    let (word, detail) = match error {
        SingleSignOnError::Refused(refusal) => (refusal.as_str(), refusal.to_string()),
        error @ SingleSignOnError::Away => ("provider-away", error.to_string()),
        SingleSignOnError::Platform(error) => ("failed", Problem::from(error).detail),
    };
    let detail: String = byte_serialize(detail.as_bytes()).collect();
    format!("/sign-in?problem={word}#problem={word}&detail={detail}")
}

/// Returns the sentence of a word that a browser was told, for pages without script; none of words that nobody tells.
pub(in crate::http) fn said(word: &str) -> Option<String> {
    let away = SingleSignOnError::Away;
    match word {
        "provider-away" => Some(away.to_string()),
        "failed" => Some("the gateway could not end this sign-in; begin anew".into()),
        word => SingleSignOnRefusal::named(word).map(|refusal| refusal.to_string()),
    }
}

fn problem(error: SingleSignOnError) -> Problem {
    match error {
        SingleSignOnError::Refused(refusal @ SingleSignOnRefusal::TooMany) => {
            Problem::new(ProblemKind::TooMany, refusal.to_string()).retry_after(TOO_MANY_RETRY_SECONDS)
        }
        SingleSignOnError::Refused(refusal) => Problem::new(ProblemKind::Rule, refusal.to_string()),
        error @ SingleSignOnError::Away => Problem::new(ProblemKind::ProviderAway, error.to_string())
            .retry_after(PROVIDER_AWAY_RETRY_SECONDS),
        SingleSignOnError::Platform(error) => error.into(),
    }
}

fn callbacks(api: &Api) -> String {
    format!("{}{CALLBACKS}", api.origin)
}

/// Returns what the browser shows that began a sign-in.
fn browser(headers: &HeaderMap) -> Result<Option<SignInToken>, Problem> {
    Ok(cookies::value(headers, cookies::SIGN_IN)?.and_then(|text| SignInToken::from_hex(text).ok()))
}

#[cfg(test)]
mod tests;
