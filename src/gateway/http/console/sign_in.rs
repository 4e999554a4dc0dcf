//! Signing in, by password or elsewhere, and out.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::Console;
use super::ask::{Answer, Change, Refused, Visit, with_query};
use super::fields::Fields;
use super::frame::{Frame, Shown, go_to, go_to_with, own_path, page, page_refused, page_with};
use super::shapes::Session;
use crate::http::api::sso;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/sign-in", get(form).post(sign_in))
        .route("/sign-in/second-factor", get(second_factor).post(show_code))
        .route(RETURN, get(come_back))
        .route("/sign-out", post(sign_out))
}

const RETURN: &str = "/sign-in/return";

#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    to: String,
}

#[derive(Debug, Template)]
#[template(path = "second_factor.html")]
struct SecondFactor {
    frame: Frame,
    proof: String,
    to: String,
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    to: String,
    #[serde(default)]
    done: String,
    /// Why nobody is signed in who was to be elsewhere.
    #[serde(default)]
    problem: String,
}

async fn form(Query(asked): Query<Asked>, _: State<Arc<Console>>) -> Shown {
    let frame = match asked.done.as_str() {
        "nothing" => Frame::outside("Sign in").refused(Some(not_done())),
        done => Frame::outside("Sign in").done(done).refused(not_signed_in(&asked.problem)),
    };
    page(&SignIn { frame, to: own_path(&asked.to).into() })
}

/// What one reads whose session had ended when a form was sent.
fn not_done() -> Refused {
    Refused::said(
        "You are not signed in any more",
        "Your session had ended, so what you sent was not done. Sign in: you come back to the page, to send it again.",
    )
}

/// What one reads whom the organization's provider sends back.
fn not_signed_in(word: &str) -> Option<Refused> {
    sso::said(word).map(|detail| Refused::said("Not signed in", detail))
}

async fn sign_in(visit: Visit, fields: Fields) -> Response {
    let tried = if fields.is_ticked("elsewhere") {
        elsewhere(&visit, &fields).await
    } else {
        here(&visit, &fields).await
    };
    tried.unwrap_or_else(|refused| {
        let frame = Frame::outside("Sign in").again(&refused, &fields);
        let to = own_path(fields.get("to")).into();
        page_refused(&refused, &SignIn { frame, to }).into_response()
    })
}

async fn here(visit: &Visit, fields: &Fields) -> Result<Response, Refused> {
    let body = json!({
        "organization": fields.get("organization"),
        "email": fields.get("email"),
        "password": fields.get("password"),
    });
    let answer = visit.change(Change::post("/session").sending(&body)).await?;
    let session: Session = answer.read()?;
    Ok(go_on(&session, own_path(fields.get("to")), &answer).into_response())
}

/// Sends one who has shown something on to what lacks.
fn go_on(session: &Session, to: &str, answer: &Answer) -> Shown {
    if session.stage == "whole" {
        return go_to_with(to, answer);
    }
    let to = if to == "/" { "" } else { to };
    go_to_with(&with_query("/sign-in/second-factor", &[("to", to)]), answer)
}

async fn elsewhere(visit: &Visit, fields: &Fields) -> Result<Response, Refused> {
    #[derive(Deserialize)]
    struct SignInPage {
        authorization_url: String,
    }
    let back = with_query(RETURN, &[("to", own_path(fields.get("to")))]);
    let body = json!({ "organization": fields.get("organization"), "go_to": back });
    let answer = visit.change(Change::post("/session/single-sign-on").sending(&body)).await?;
    let found: SignInPage = answer.read()?;
    // By a page: no form of ours leads to another site, by a redirect neither.
    let text = "Your organization's sign-in asks you for the rest.";
    let onward = Onward { frame: Frame::outside("Single sign-on"), to: found.authorization_url, text };
    Ok(page_with(page(&onward), &answer).into_response())
}

/// Leads on by itself, and by a link.
#[derive(Debug, Template)]
#[template(path = "onward.html")]
struct Onward {
    frame: Frame,
    to: String,
    text: &'static str,
}

/// Takes one who was signed in elsewhere on. A browser that another site has sent shows us no cookie until a page of
/// ours has sent it.
async fn come_back(Query(asked): Query<Asked>, _: State<Arc<Console>>) -> Shown {
    let to = own_path(&asked.to).to_owned();
    page(&Onward { frame: Frame::outside("Signed in"), to, text: "You are signed in." })
}

async fn second_factor(visit: Visit, Query(asked): Query<Asked>) -> Result<Shown, Shown> {
    let session = match visit.session().await {
        Ok(session) => session,
        Err(refused) if refused.is("sign-in") => return Err(go_to("/sign-in")),
        Err(refused) => return Err(refused.into()),
    };
    Ok(match session.stage.as_str() {
        "whole" => go_to("/"),
        "set_up" => go_to("/account/second-factor"),
        _ => {
            let frame = Frame::outside("Second factor");
            page(&SecondFactor { frame, proof: session.proof(), to: own_path(&asked.to).into() })
        }
    })
}

async fn show_code(visit: Visit, fields: Fields) -> Shown {
    let body = json!({ "code": fields.get("code").trim() });
    let change = Change::post("/session/second-factor").sending(&body).proving(fields.csrf());
    let to = own_path(fields.get("to"));
    let refused = match visit.change(change).await {
        Ok(answer) => return go_to_with(to, &answer),
        Err(refused) => refused,
    };
    let session = match visit.session().await {
        Ok(session) => session,
        // A wrong code and a session that has ended meanwhile are refused alike.
        Err(_) if refused.is("sign-in") => {
            return go_to(&with_query("/sign-in", &[("to", to), ("done", "nothing")]));
        }
        Err(_) => return refused.into(),
    };
    let frame = Frame::outside("Second factor").at_field().again(&refused, &fields);
    page_refused(&refused, &SecondFactor { frame, proof: session.proof(), to: to.into() })
}

async fn sign_out(visit: Visit, fields: Fields) -> Result<Shown, Shown> {
    let change = Change::new(Method::DELETE, "/session").proving(fields.csrf());
    match visit.change(change).await {
        Ok(answer) => Ok(go_to_with("/sign-in?done=signed-out", &answer)),
        Err(refused) if refused.is("sign-in") => Ok(go_to("/sign-in")),
        Err(refused) => Err(refused.into()),
    }
}
