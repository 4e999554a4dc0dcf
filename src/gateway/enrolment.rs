//! Enrolment: how a host with nothing but a registration token gets its leaf.
//!
//! One request per TCP connection, which [`super::front_door`] lets in. What it costs is bounded before anybody is
//! believed: requests per address, and bytes. Anyone who presents a token that is not good hears one and the same
//! answer, whatever is wrong with it; the audit log knows. Anyone who asks too often hears how long to wait; a token's
//! first use is no guess and uses nothing up.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{Router, any};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{debug, error, info, warn};

use super::attempt_limiter::{AttemptLimiter, HandshakeLimiter, Throttled};
use super::authority::Authority;
use super::feed::Feed;
use super::platform::{Action, EnrolRefusal, Platform, PlatformError};
use adit_core::domain::id::ServerId;
use adit_core::domain::limits::{
    ENROL_BODY_BYTES_MAX, ENROL_PER_MINUTE, LINK_END_KINDS_MAX, REPEATS_WRITTEN_EVERY,
};
use adit_core::domain::places::{Progress, address_of};
use adit_core::domain::secret::RegistrationToken;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::enrol::{self, Granted, Refused, TokenGood};
use adit_core::protocol::repeat_limiter::RepeatLimiter;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::time::TimeSource;
use adit_net::transport::newcomers::Advance;
use adit_observe::http;
use adit_observe::metrics::ENROLMENTS;

/// The same for an unknown, wrong, used, expired or foreign token and an unknown server.
const TOKEN_REFUSED: &str = "the registration token was not accepted: it may be expired, used, replaced by \
     a newer one or meant for another server; download a new connector file for this server";

/// After how many seconds a newcomer may ask again while the database is away.
const AWAY_RETRY_SECONDS: u128 = 10;

#[derive(Debug)]
pub(super) struct Enrolment {
    pub(super) platform: Arc<Platform>,
    pub(super) authority: Arc<Authority>,
    pub(super) clock: Arc<dyn TimeSource>,
    /// Which says once that the database is away, and once that it is back.
    pub(super) feed: Arc<Feed>,
    /// Which a request that is read finishes.
    pub(super) handshakes: Arc<HandshakeLimiter>,
    pub(super) throttled: Arc<Throttled>,
    pub(super) limiters: EnrolmentLimiters,
}

/// How much anybody gets out of asking.
#[derive(Debug)]
pub(super) struct EnrolmentLimiters {
    /// Requests: a client that sends none uses none up.
    requests: AttemptLimiter,
    logged: Mutex<RepeatLimiter<(&'static str, IpAddr)>>,
}

impl Default for EnrolmentLimiters {
    fn default() -> Self {
        Self {
            requests: AttemptLimiter::per_minute(ENROL_PER_MINUTE),
            logged: Mutex::new(RepeatLimiter::every(REPEATS_WRITTEN_EVERY, LINK_END_KINDS_MAX)),
        }
    }
}

impl EnrolmentLimiters {
    /// Returns whether a line about one of this kind is due, and how many of them had none since the last.
    fn may_log(&self, kind: &'static str, from: IpAddr) -> Option<u64> {
        let kind = (kind, address_of(from));
        self.logged.lock().handle(kind, Instant::now())
    }
}

/// Whose request it is, for its answer.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) from: IpAddr,
    pub(super) advance: Advance,
}

/// Returns what is served to those who ask for enrolment.
pub(super) fn routes(enrolment: Arc<Enrolment>) -> Router {
    Router::new()
        .route(enrol::PATH, any(enrol))
        .route(enrol::TOKEN_PATH, any(ask_about_token))
        .fallback(not_served)
        .with_state(enrolment)
}

async fn enrol(
    State(enrolment): State<Arc<Enrolment>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Response {
    enrolment.answer(request, &asker).await
}

async fn ask_about_token(
    State(enrolment): State<Arc<Enrolment>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Response {
    enrolment.answer_about_token(request, &asker).await
}

async fn not_served() -> Response {
    count("refused");
    into_response(Err::<Granted, _>(HttpRefusal::Request {
        status: StatusCode::NOT_FOUND,
        error: format!("only {} is served here", enrol::PATH),
    }))
}

/// Why a newcomer is sent away, by blame.
enum HttpRefusal {
    /// Told in full: it concerns the request alone.
    Request {
        status: StatusCode,
        error: String,
    },
    /// Told how long to wait.
    TooOften(Duration),
    /// Told in general words.
    Token,
    /// The database is away: told that nothing is to be done about it.
    Away,
    Ours,
}

impl Enrolment {
    /// Counts a request.
    fn let_in(&self, from: IpAddr) -> Result<(), HttpRefusal> {
        self.limiters.requests.let_in(from).map_err(|wait| {
            let what = "enrolments were told to wait, their address asks too often";
            self.throttled.note(what, from, Instant::now());
            HttpRefusal::TooOften(wait)
        })
    }

    /// Sends newcomers away at once while nobody can judge them: their requests use nothing up.
    fn check_database(&self) -> Result<(), HttpRefusal> {
        if self.feed.away_since().is_some() { Err(HttpRefusal::Away) } else { Ok(()) }
    }

    fn platform_failed(&self, source: &PlatformError, from: IpAddr) -> HttpRefusal {
        let why = error_chain(source);
        if source.is_transient() || matches!(source, PlatformError::Unknown(_)) {
            debug!(why, "a newcomer is not served: the database is away or busy");
            self.feed.suspect_database(source);
            return HttpRefusal::Away;
        }
        if let Some(more) = self.limiters.may_log("the platform failed", from) {
            error!(why, more, "enrolment failed in the platform");
        } else {
            debug!(why, "enrolment failed in the platform again; counted for the next line");
        }
        HttpRefusal::Ours
    }

    async fn answer(&self, request: Request, asker: &Asker) -> Response {
        let outcome = match read::<enrol::Request>(request).await {
            Ok(request) => {
                self.note_asked(asker);
                self.enrol(request, asker.from).await
            }
            Err(refusal) => Err(refusal),
        };
        count(match &outcome {
            Ok(_) => "enrolled",
            Err(HttpRefusal::Request { .. } | HttpRefusal::Token) => "refused",
            Err(HttpRefusal::TooOften(_)) => "throttled",
            Err(HttpRefusal::Away | HttpRefusal::Ours) => "failed",
        });
        into_response(outcome)
    }

    /// Does the same as an enrolment up to the token's first use, which it is not.
    async fn answer_about_token(&self, request: Request, asker: &Asker) -> Response {
        let outcome = match read::<enrol::TokenQuestion>(request).await {
            Ok(question) => {
                self.note_asked(asker);
                self.judge_token(&question, asker.from).await
            }
            Err(refusal) => Err(refusal),
        };
        count(if outcome.is_ok() { "asked" } else { "refused" });
        into_response(outcome)
    }

    fn note_asked(&self, asker: &Asker) {
        asker.advance.to(Progress::Asked);
        self.handshakes.finished(asker.from);
    }

    async fn judge_token(
        &self,
        question: &enrol::TokenQuestion,
        from: IpAddr,
    ) -> Result<TokenGood, HttpRefusal> {
        self.check_database()?;
        // A wrong one is a guess like any other.
        self.let_in(from)?;
        let token = RegistrationToken::from_hex(&question.token).map_err(|_| HttpRefusal::Token)?;
        let judged = self.platform.judge_token(question.server, &token, question.key, from).await;
        let expires = judged.map_err(|refusal| self.refusal(question.server, from, refusal))?;
        debug!(server = %question.server, %expires, "the registration token is good; it stays unused");
        Ok(TokenGood { expires, gateway_route: self.authority.route() })
    }

    fn refusal(&self, server: ServerId, from: IpAddr, refusal: EnrolRefusal) -> HttpRefusal {
        match refusal {
            EnrolRefusal::Platform(source) => self.platform_failed(&source, from),
            // A client that hears these has the right token.
            why @ (EnrolRefusal::RevokedKey | EnrolRefusal::KeyInUse) => {
                HttpRefusal::Request { status: StatusCode::FORBIDDEN, error: why.to_string() }
            }
            why @ (EnrolRefusal::Wrong | EnrolRefusal::Expired | EnrolRefusal::OtherKey) => {
                match self.limiters.may_log("registration token refused", from) {
                    Some(more) => warn!(%server, %why, more, "registration token refused"),
                    None => {
                        debug!(%server, %why, "registration token refused again; counted for the next line");
                    }
                }
                HttpRefusal::Token
            }
        }
    }

    async fn enrol(&self, request: enrol::Request, from: IpAddr) -> Result<Granted, HttpRefusal> {
        self.check_database()?;
        self.let_in(from)?;
        let csr = hex::decode(&request.csr)
            .map_err(|_| bad_request("the certificate request is not hexadecimal"))
            .map(|der| VerifiedCsr::from_der(&der));
        let csr = match csr? {
            Ok(csr) => csr,
            Err(error) => {
                let server = request.server;
                if let Some(more) = self.limiters.may_log("certificate request refused", from) {
                    warn!(%server, why = %error, more, "certificate request refused");
                } else {
                    debug!(%server, why = %error, "certificate request refused again; counted");
                }
                self.platform
                    .host_refused(Some(request.server), Action::Enrol, from, &error.to_string())
                    .await
                    .map_err(|source| self.platform_failed(&source, from))?;
                return Err(bad_request(&error.to_string()));
            }
        };
        // A text that is no token is answered like one that is not good.
        let token = RegistrationToken::from_hex(&request.token).map_err(|_| HttpRefusal::Token)?;
        let redeemed = self.platform.redeem_token(request.server, &token, csr.fingerprint(), from).await;
        let enrolled = redeemed.map_err(|refusal| self.refusal(request.server, from, refusal))?;
        let now = self.clock.now();
        let leaf = self.authority.sign_server(&csr, enrolled.server, now).map_err(|source| {
            error!(%source, "cannot sign a leaf");
            HttpRefusal::Ours
        })?;
        info!(server = %enrolled.server, key = %csr.fingerprint(), "enrolled");
        if enrolled.is_first {
            self.limiters.requests.give_back(from);
        }
        Ok(Granted {
            leaf: hex::encode(leaf),
            ca: hex::encode(self.authority.trust().ca_der()),
            route: enrolled.route,
            gateway_route: self.authority.route(),
            trust_domain: self.authority.trust().trust_domain().to_string(),
            now,
        })
    }
}

fn into_response(outcome: Result<impl Serialize, HttpRefusal>) -> Response {
    match outcome {
        Ok(answer) => respond(StatusCode::OK, &answer),
        Err(HttpRefusal::Request { status, error }) => {
            debug!(status = status.as_u16(), why = error, "the request is refused; the host is told why");
            respond(status, &Refused { error })
        }
        Err(HttpRefusal::TooOften(wait)) => {
            debug!(wait_s = wait.as_secs(), "the host is told to wait");
            throttled(wait)
        }
        Err(HttpRefusal::Token) => {
            debug!("the host is told that its token was not accepted, and not why");
            respond(StatusCode::FORBIDDEN, &Refused { error: TOKEN_REFUSED.into() })
        }
        Err(HttpRefusal::Away) => {
            debug!("the host is told that the database is away");
            let error = format!(
                "the gateway's database is away; an agent asks again by itself, and the connector file stays good; by \
                 hand try again in {AWAY_RETRY_SECONDS} s, and tell the gateway's operator"
            );
            let response = respond(StatusCode::SERVICE_UNAVAILABLE, &Refused { error });
            with_retry_after(response, AWAY_RETRY_SECONDS)
        }
        Err(HttpRefusal::Ours) => {
            let error = "the gateway has a fault of its own; its log says more".into();
            respond(StatusCode::INTERNAL_SERVER_ERROR, &Refused { error })
        }
    }
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<T, HttpRefusal> {
    if request.method() != Method::POST {
        return Err(HttpRefusal::Request {
            status: StatusCode::METHOD_NOT_ALLOWED,
            error: "enrolment is a POST".into(),
        });
    }
    let body = Limited::new(request.into_body(), ENROL_BODY_BYTES_MAX).collect().await.map_err(|_| {
        HttpRefusal::Request {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            error: format!("an enrolment request has at most {ENROL_BODY_BYTES_MAX} bytes"),
        }
    })?;
    // The parser's error would repeat what was sent, which may be a token.
    serde_json::from_slice(&body.to_bytes()).map_err(|_| bad_request("the body is not an enrolment request"))
}

pub(super) fn count(outcome: &'static str) {
    metrics::counter!(ENROLMENTS, "outcome" => outcome).increment(1);
}

fn bad_request(error: &str) -> HttpRefusal {
    HttpRefusal::Request { status: StatusCode::BAD_REQUEST, error: error.into() }
}

/// Answers how long to wait: HTTP counts whole seconds (RFC 9110 §10.2.3); one less would be too soon.
fn throttled(wait: Duration) -> Response {
    let seconds = wait.as_millis().div_ceil(1_000).max(1);
    let error = format!(
        "this address asked more than {ENROL_PER_MINUTE} times within a minute; try again in {seconds} s"
    );
    with_retry_after(respond(StatusCode::TOO_MANY_REQUESTS, &Refused { error }), seconds)
}

fn with_retry_after(mut response: Response, seconds: u128) -> Response {
    if let Ok(seconds) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn respond(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_vec(body).expect("our own answers are plain JSON");
    http::response(status, "application/json", text).map(Body::new)
}
