//! Who asks: a browser by its session, or a program by its token. Never both, never by anything in the URL. What a
//! browser changes must come from a page of ours: it sends a header that no other site's page can know.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, ORIGIN, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method};
use tracing::error;

use super::problem::{Problem, ProblemKind};
use super::{Api, Client, Proof, cookies};
use crate::platform::{Bearer, Initiator, PeopleRefusal, SignInStage, Signed, Visit};
use adit_core::domain::id::{OrganizationId, UserId};
use adit_core::domain::secret::{ApiToken, SessionToken};

const CSRF_HEADER: &str = "x-csrf-token";
/// On what a page asks for by itself.
pub(crate) const UNATTENDED: HeaderName = HeaderName::from_static("x-unattended");
const SITE_HEADER: &str = "sec-fetch-site";
/// So that a leaked token is known for one of ours.
pub(super) const API_TOKEN_PREFIX: &str = "adit_";

/// A user, proven.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) organization: OrganizationId,
    /// As whom acts are made: of a token with no more than its role.
    pub(crate) initiator: Initiator,
}

/// A user by its browser, however far it is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) signed: Signed,
    pub(crate) token: SessionToken,
}

/// Where a request comes from that changes something before anybody is signed in; from no other site.
#[derive(Debug)]
pub(crate) struct Visitor(pub(crate) Visit);

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        #[cfg(test)]
        if let Some(caller) = parts.extensions.get::<Self>() {
            Proof::note(&parts.extensions, caller.user)?;
            return Ok(caller.clone());
        }
        if !parts.headers.contains_key(AUTHORIZATION) {
            let browser = Browser::from_request_parts(parts, api).await?;
            return browser.whole().map(Self::from);
        }
        if cookies::value(&parts.headers, cookies::SESSION)?.is_some() {
            return Err(Problem::new(ProblemKind::Malformed, "show a session or an API token, not both"));
        }
        let token = bearer_token(&parts.headers).ok_or_else(not_signed_in)?;
        let bearer = api.platform.bearer(&token).await?.ok_or_else(not_signed_in)?;
        if bearer.lacks_second_factor {
            return Err(lacks_second_factor());
        }
        Proof::note(&parts.extensions, bearer.user)?;
        Ok(bearer.into())
    }
}

impl FromRequestParts<Arc<Api>> for Browser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        if parts.headers.contains_key(AUTHORIZATION) {
            return Err(Problem::new(ProblemKind::Role, PeopleRefusal::BrowserNeeded.to_string()));
        }
        let token = cookies::session(&parts.headers)?.ok_or_else(not_signed_in)?;
        let signed = if is_unattended(parts) {
            api.platform.signed_unattended(&token).await?
        } else {
            api.platform.signed(&token).await?
        };
        let signed = signed.ok_or_else(not_signed_in)?;
        Proof::note(&parts.extensions, signed.id())?;
        if changes(&parts.method) {
            check_site(&parts.headers, &api.origin)?;
            let shown = parts.headers.get(CSRF_HEADER);
            if !shown.is_some_and(|shown| cookies::is_csrf_token(&token, shown)) {
                let detail =
                    "send the session's `csrf_token` in the header X-CSRF-Token; GET /api/v1/session has it";
                return Err(Problem::new(ProblemKind::CrossSite, detail));
            }
        }
        Ok(Self { signed, token })
    }
}

/// Returns whether a page asks by itself, and nobody has done anything.
fn is_unattended(parts: &Parts) -> bool {
    !changes(&parts.method) && parts.headers.contains_key(UNATTENDED)
}

impl Browser {
    /// Goes on with who has shown all factors and lacks none.
    pub(crate) fn whole(self) -> Result<Self, Problem> {
        match self.signed.stage {
            SignInStage::Whole => Ok(self),
            SignInStage::SetUp => Err(lacks_second_factor()),
            SignInStage::SecondFactor => Err(awaits_second_factor()),
        }
    }

    /// Goes on with who may set a second factor up.
    pub(crate) fn setting_up(self) -> Result<Self, Problem> {
        match self.signed.stage {
            SignInStage::Whole | SignInStage::SetUp => Ok(self),
            SignInStage::SecondFactor => Err(awaits_second_factor()),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        if changes(&parts.method) {
            check_site(&parts.headers, &api.origin)?;
        }
        let client = parts.extensions.get::<Client>().copied();
        let client = client.ok_or_else(|| {
            error!("a request does not tell where it comes from; this is a bug, please report it");
            Problem::internal()
        })?;
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let device = cookies::value(&parts.headers, cookies::DEVICE)?.map(str::to_owned);
        Ok(Self(Visit { address: client.address, agent: agent.to_owned(), device }))
    }
}

impl From<Browser> for Caller {
    fn from(browser: Browser) -> Self {
        Self {
            user: browser.signed.id(),
            organization: browser.signed.organization(),
            initiator: browser.signed.initiator(),
        }
    }
}

impl From<Bearer> for Caller {
    fn from(bearer: Bearer) -> Self {
        Self { user: bearer.user, organization: bearer.organization, initiator: bearer.initiator }
    }
}

/// Returns the API token of the one header that may hold it (RFC 6750 §2.1).
fn bearer_token(headers: &HeaderMap) -> Option<ApiToken> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    let digits = token.trim().strip_prefix(API_TOKEN_PREFIX)?;
    if scheme.eq_ignore_ascii_case("bearer") { ApiToken::from_hex(digits).ok() } else { None }
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Refuses what a browser says comes from another site than this one.
fn check_site(headers: &HeaderMap, origin: &str) -> Result<(), Problem> {
    if is_from_elsewhere(headers, origin) {
        let detail = format!("this is done from pages of {origin} alone");
        return Err(Problem::new(ProblemKind::CrossSite, detail));
    }
    Ok(())
}

/// Returns whether a browser says that what it sends comes from another site.
pub(crate) fn is_from_elsewhere(headers: &HeaderMap, origin: &str) -> bool {
    let is_other = headers.get_all(ORIGIN).iter().any(|shown| shown.as_bytes() != origin.as_bytes());
    is_other || headers.get_all(SITE_HEADER).iter().any(|site| site.as_bytes() == b"cross-site")
}

fn not_signed_in() -> Problem {
    Problem::new(ProblemKind::SignIn, "sign in, or show an API token as `Authorization: Bearer TOKEN`")
}

fn awaits_second_factor() -> Problem {
    Problem::new(ProblemKind::SignIn, "show your second factor first: POST /api/v1/session/second-factor")
}

fn lacks_second_factor() -> Problem {
    Problem::new(
        ProblemKind::SignIn,
        "your organization needs a second factor; set one up first: POST /api/v1/account/second-factor",
    )
}
