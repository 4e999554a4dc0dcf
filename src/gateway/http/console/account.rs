//! The viewer's own account: second factor, password, sessions and API tokens.

use std::fmt::Write as _;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::http::Method;
use axum::routing::{get, post};
use qrcode::{Color, QrCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::ask::{Change, Refused, Visit, segment};
use super::fields::Fields;
use super::frame::{Frame, Shown, Viewer, go_to, go_to_with, page, page_of_made, page_refused, page_with};
use super::lists;
use super::shapes::{AccountSession, ApiToken, Rows, Session, User};
use super::users::ROLES;
use super::{Console, filters};

/// What one reads whose organization has come to need a second factor before a form was sent.
const NOT_DONE: &str = "Your organization needs a second factor now, so what you sent was not done. Set one up, and send it again.";
/// What the link of an authenticator begins with.
const OTPAUTH: &str = "otpauth://totp/";

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/account", get(show))
        .route("/account/password", post(change_password))
        .route("/account/sessions/end", post(end_other_sessions))
        .route("/account/sessions/{id}/end", post(end_session))
        .route("/account/tokens", post(make_token))
        .route("/account/tokens/{id}/revoke", post(revoke_token))
        .route("/account/recovery-codes", post(renew_codes))
        .route("/account/second-factor", get(second_factor).post(begin))
        .route("/account/second-factor/confirm", post(confirm))
        .route("/account/second-factor/remove", post(remove))
}

/// Deliberately without `Debug`: it may show a token.
#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    frame: Frame,
    user: User,
    sessions: Vec<AccountSession>,
    tokens: Vec<ApiToken>,
    /// One that was made now, shown once.
    token: Option<Zeroizing<String>>,
}

async fn show(viewer: Viewer, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    let frame = Frame::of(&viewer, "account", "Your account").done(&asked.done);
    Ok(page(&account(&viewer, frame, None).await?))
}

async fn account(
    viewer: &Viewer,
    frame: Frame,
    token: Option<Zeroizing<String>>,
) -> Result<Account, Refused> {
    let user = viewer.visit.get("/account").await?;
    let sessions: Rows<AccountSession> = viewer.visit.get("/account/sessions?count=100").await?;
    let tokens: Rows<ApiToken> = viewer.visit.get("/account/api-tokens?count=100").await?;
    Ok(Account { frame, user, sessions: sessions.rows, tokens: tokens.rows, token })
}

async fn again(viewer: &Viewer, refused: &Refused, fields: &Fields) -> Result<Shown, Shown> {
    let frame = Frame::of(viewer, "account", "Your account").again(refused, fields);
    Ok(page_refused(refused, &account(viewer, frame, None).await?))
}

async fn change_password(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let revokes = fields.is_ticked("revoke_api_tokens");
    let body = json!({ "old": fields.get("old"), "new": fields.get("new"), "revoke_api_tokens": revokes });
    let change = Change::new(Method::PUT, "/account/password").sending(&body).proving(fields.csrf());
    match viewer.visit.change(change).await {
        Ok(answer) => Ok(go_to_with("/account?done=password", &answer)),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

async fn end_session(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/account/sessions/{}", segment(&id));
    match viewer.visit.change(Change::new(Method::DELETE, &path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to("/account?done=saved")),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

async fn end_other_sessions(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let change = Change::new(Method::DELETE, "/account/sessions").proving(fields.csrf());
    match viewer.visit.change(change).await {
        Ok(answer) => Ok(go_to_with("/account?done=elsewhere", &answer)),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

async fn make_token(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    #[derive(Deserialize)]
    struct Issued {
        token: Option<Zeroizing<String>>,
    }
    let role = match fields.one_of("role", &ROLES) {
        Ok(role) => role,
        Err(refused) => return again(&viewer, &refused, &fields).await,
    };
    let days: u32 = fields.get("days").trim().parse().unwrap_or(0);
    let body = json!({ "name": fields.get("name").trim(), "role": role, "days": days });
    let made = viewer
        .visit
        .change(Change::post("/account/api-tokens").sending(&body).once(fields.key()).proving(fields.csrf()))
        .await;
    let issued = made.and_then(|answer| answer.read::<Issued>());
    match issued.and_then(|issued| issued.token.ok_or_else(Refused::shown_before)) {
        Ok(token) => {
            let frame = Frame::of(&viewer, "account", "Your account");
            Ok(match account(&viewer, frame, Some(token.clone())).await {
                Ok(shown) => page(&shown),
                Err(_) => page_of_made(Some(&token), "/account"),
            })
        }
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

async fn revoke_token(viewer: Viewer, Path(id): Path<String>, fields: Fields) -> Result<Shown, Shown> {
    let path = format!("/account/api-tokens/{}", segment(&id));
    match viewer.visit.change(Change::new(Method::DELETE, &path).proving(fields.csrf())).await {
        Ok(_) => Ok(go_to("/account?done=revoked")),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

/// One who is signed in as far as to set a second factor up.
struct SettingUp {
    visit: Visit,
    session: Session,
}

async fn setting_up(visit: Visit) -> Result<SettingUp, Shown> {
    match visit.session().await {
        Ok(session) if session.stage == "second_factor" => Err(go_to("/sign-in/second-factor")),
        Ok(session) => Ok(SettingUp { visit, session }),
        Err(refused) if refused.is("sign-in") => Err(go_to("/sign-in")),
        Err(refused) => Err(refused.into()),
    }
}

/// Deliberately without `Debug`: it shows a seed or codes.
#[derive(Template)]
#[template(path = "second_factor_setup.html")]
struct SecondFactor {
    frame: Frame,
    proof: String,
    is_needed: bool,
    link: Option<Zeroizing<String>>,
    key: Zeroizing<String>,
    /// The link as a picture, in our own SVG.
    picture: Zeroizing<String>,
    codes: Option<Vec<Zeroizing<String>>>,
}

impl SecondFactor {
    fn new(session: &Session, frame: Frame) -> Self {
        Self {
            frame,
            proof: session.proof(),
            is_needed: session.stage == "set_up",
            link: None,
            key: Zeroizing::default(),
            picture: Zeroizing::default(),
            codes: None,
        }
    }

    fn with_link(self, link: Zeroizing<String>) -> Self {
        let key = Url::parse(&link).ok().and_then(|url| {
            url.query_pairs()
                .find(|(name, _)| name == "secret")
                .map(|(_, key)| Zeroizing::new(key.into_owned()))
        });
        let frame = self.frame.at_field();
        Self { frame, key: key.unwrap_or_default(), picture: drawn(&link), link: Some(link), ..self }
    }
}

fn outside() -> Frame {
    Frame::outside("Second factor")
}

async fn second_factor(visit: Visit, Query(asked): Query<lists::Asked>) -> Result<Shown, Shown> {
    let SettingUp { session, .. } = setting_up(visit).await?;
    let refused = (asked.done == "nothing").then(|| Refused::said("It was not done", NOT_DONE));
    Ok(page(&SecondFactor::new(&session, outside().refused(refused))))
}

async fn begin(visit: Visit, fields: Fields) -> Result<Shown, Shown> {
    #[derive(Deserialize)]
    struct Begun {
        link: Zeroizing<String>,
    }
    let SettingUp { visit, session } = setting_up(visit).await?;
    let body = json!({ "password": fields.get("password") });
    let change = Change::post("/account/second-factor").sending(&body).proving(fields.csrf());
    let begun = visit.change(change).await;
    match begun.and_then(|answer| answer.read::<Begun>()) {
        Ok(begun) => Ok(page(&SecondFactor::new(&session, outside()).with_link(begun.link))),
        Err(refused) => {
            let shown = SecondFactor::new(&session, outside().again(&refused, &fields));
            Ok(page_refused(&refused, &shown))
        }
    }
}

#[derive(Deserialize)]
struct Codes {
    recovery_codes: Vec<Zeroizing<String>>,
}

async fn confirm(visit: Visit, fields: Fields) -> Result<Shown, Shown> {
    let SettingUp { visit, session } = setting_up(visit).await?;
    let body = json!({ "code": fields.get("code").trim() });
    let change = Change::new(Method::PUT, "/account/second-factor").sending(&body).proving(fields.csrf());
    let confirmed = visit.change(change).await;
    match confirmed.and_then(|answer| answer.read::<Codes>().map(|codes| (codes, answer))) {
        Ok((codes, answer)) => {
            let shown =
                SecondFactor { codes: Some(codes.recovery_codes), ..SecondFactor::new(&session, outside()) };
            Ok(page_with(page(&shown), &answer))
        }
        Err(refused) => {
            let shown = SecondFactor::new(&session, outside().again(&refused, &fields));
            // What comes from another page than ours is not drawn on ours.
            let link =
                fields.said("link").filter(|link| !refused.is("cross-site") && link.starts_with(OTPAUTH));
            Ok(match link {
                Some(link) => page_refused(&refused, &shown.with_link(Zeroizing::new(link.to_owned()))),
                None => page_refused(&refused, &shown),
            })
        }
    }
}

async fn renew_codes(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let body = json!({ "code": fields.get("code").trim() });
    let renewed = viewer
        .visit
        .change(Change::post("/account/recovery-codes").sending(&body).proving(fields.csrf()))
        .await;
    match renewed.and_then(|answer| answer.read::<Codes>()) {
        Ok(codes) => {
            let shown = SecondFactor::new(&viewer.session, outside());
            Ok(page(&SecondFactor { codes: Some(codes.recovery_codes), ..shown }))
        }
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

async fn remove(viewer: Viewer, fields: Fields) -> Result<Shown, Shown> {
    let body = json!({ "code": fields.get("code").trim() });
    let change = Change::new(Method::DELETE, "/account/second-factor").sending(&body).proving(fields.csrf());
    match viewer.visit.change(change).await {
        Ok(_) => Ok(go_to("/account?done=no-second-factor")),
        Err(refused) => again(&viewer, &refused, &fields).await,
    }
}

/// Draws a link as a QR code (ISO/IEC 18004), with the quiet zone that readers need.
fn drawn(link: &str) -> Zeroizing<String> {
    const QUIET: usize = 4;
    let Ok(code) = QrCode::new(link.as_bytes()) else { return Zeroizing::default() };
    let (width, side) = (code.width(), code.width() + 2 * QUIET);
    let mut path = Zeroizing::new(String::with_capacity(width * width * 8));
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            // Writing to a string cannot fail.
            let _ = write!(path, "M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET);
        }
    }
    Zeroizing::new(format!(
        "<svg class=\"qr\" viewBox=\"0 0 {side} {side}\" width=\"220\" height=\"220\" role=\"img\" \
         aria-label=\"The key as a QR code\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{}\" \
         fill=\"#000\"/></svg>",
        *path
    ))
}
