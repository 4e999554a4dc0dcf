//! The second factor of one's own account, and whether an organization needs one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::session::{Session, ShownCode, cookies_of, shown};
use crate::http::Api;
use crate::http::caller::{Browser, Visitor};
use crate::http::input::Body;
use crate::http::output::NoStore;
use crate::http::problem::{Problem, Problems};
use crate::platform::RecoveryCodes;
use adit_core::domain::secret::Password;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(begin, confirm, remove))
        .routes(routes!(renew_recovery_codes))
        .routes(routes!(set_rule))
}

/// The password, shown once more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShownPassword {
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// What an authenticator reads, shown once.
#[derive(Debug, Serialize, ToSchema)]
struct AuthenticatorLink {
    /// `otpauth://…`, for a QR code
    link: String,
}

/// What stands in for the second factor, each once; shown once.
#[derive(Debug, Serialize, ToSchema)]
struct ShownRecoveryCodes {
    recovery_codes: Vec<String>,
}

/// A second factor that counts from now on.
#[derive(Debug, Serialize, ToSchema)]
struct ConfirmedSecondFactor {
    recovery_codes: Vec<String>,
    session: Session,
}

/// Whether users with a password need a second factor.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecondFactorRule {
    needed: bool,
}

fn texts(codes: &RecoveryCodes) -> Vec<String> {
    codes.0.iter().map(|code| code.expose().to_owned()).collect()
}

/// Begins to set a second factor up; it counts once it is confirmed
///
/// By who shows the password again.
#[utoipa::path(
    post,
    path = "/account/second-factor",
    tag = "account",
    request_body = ShownPassword,
    responses((status = 200, body = AuthenticatorLink), Problems)
)]
async fn begin(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Visitor(visit): Visitor,
    Body(ShownPassword { password }): Body<ShownPassword>,
) -> Result<NoStore<AuthenticatorLink>, Problem> {
    let signed = browser.setting_up()?.signed;
    let link = api.platform.begin_second_factor(&signed, &password, &visit).await?;
    Ok(NoStore(AuthenticatorLink { link: link.expose().to_owned() }))
}

/// Confirms the second factor by its first code
///
/// The answer shows the recovery codes, once. The session is replaced by another, and all others end.
#[utoipa::path(
    put,
    path = "/account/second-factor",
    tag = "account",
    request_body = ShownCode,
    responses((status = 200, body = ConfirmedSecondFactor), Problems)
)]
async fn confirm(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Visitor(visit): Visitor,
    Body(ShownCode { code }): Body<ShownCode>,
) -> Result<Response, Problem> {
    let signed = browser.setting_up()?.signed;
    let (new, codes) = api.platform.confirm_second_factor(&signed, &code, &visit).await?;
    let cookies = cookies_of(&new);
    let session = shown(&new.signed, &new.token);
    let confirmed = ConfirmedSecondFactor { recovery_codes: texts(&codes), session };
    Ok((cookies, NoStore(confirmed)).into_response())
}

/// Removes the second factor, shown once more
#[utoipa::path(
    delete,
    path = "/account/second-factor",
    tag = "account",
    request_body = ShownCode,
    responses((status = 204), Problems)
)]
async fn remove(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Visitor(visit): Visitor,
    Body(ShownCode { code }): Body<ShownCode>,
) -> Result<StatusCode, Problem> {
    api.platform.remove_second_factor(&browser.whole()?.signed, &code, &visit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes new recovery codes; the old ones are void
#[utoipa::path(
    post,
    path = "/account/recovery-codes",
    tag = "account",
    request_body = ShownCode,
    responses((status = 200, body = ShownRecoveryCodes), Problems)
)]
async fn renew_recovery_codes(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Visitor(visit): Visitor,
    Body(ShownCode { code }): Body<ShownCode>,
) -> Result<NoStore<ShownRecoveryCodes>, Problem> {
    let codes = api.platform.renew_recovery_codes(&browser.whole()?.signed, &code, &visit).await?;
    Ok(NoStore(ShownRecoveryCodes { recovery_codes: texts(&codes) }))
}

/// Sets whether users need a second factor
///
/// Those who have a password and no second factor can do nothing else from then on but set one up. By an owner who has
/// signed in within the hour.
#[utoipa::path(
    put,
    path = "/organization/second-factor-rule",
    tag = "users",
    request_body = SecondFactorRule,
    responses((status = 204), Problems)
)]
async fn set_rule(
    State(api): State<Arc<Api>>,
    browser: Browser,
    Body(SecondFactorRule { needed }): Body<SecondFactorRule>,
) -> Result<StatusCode, Problem> {
    api.platform.set_second_factor_rule(&browser.whole()?.signed, needed).await?;
    Ok(StatusCode::NO_CONTENT)
}
