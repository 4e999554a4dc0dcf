//! Enrolment: how a host with nothing but a registration token gets its leaf.
//!
//! One request per TCP connection. Everything that costs is bounded before anybody is believed: connections
//! at a time, those that only connect first to go; handshakes and requests per address; each step's time;
//! bytes. Anyone who presents a token that is not good hears one and the same answer, whatever is wrong with
//! it; the audit log knows. Anyone who asks too often hears how long to wait; a token's first use is no guess
//! and uses nothing up.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::attempt_limiter::{AttemptLimiter, HandshakeLimiter, Throttled};
use super::authority::Authority;
use super::platform::{EnrolRefusal, Platform, PlatformError};
use adit_core::domain::id::ServerId;
use adit_core::domain::limits::{
    ENROL_BODY_BYTES_MAX, ENROL_CONNECTIONS, ENROL_HANDSHAKE_TIMEOUT, ENROL_PER_MINUTE, ENROL_TIMEOUT,
    FIRST_BYTE_TIMEOUT, LINK_END_KINDS_MAX, REPEATS_WRITTEN_EVERY, THROTTLED_SAID_EVERY,
};
use adit_core::domain::places::{Progress, address_of};
use adit_core::domain::secret::RegistrationToken;
use adit_core::protocol::enrol::{self, Granted, Refused, TokenGood};
use adit_core::protocol::repeat_limiter::RepeatLimiter;
use adit_net::identity::csr::VerifiedCsr;
use adit_net::identity::time::TimeSource;
use adit_net::task::named;
use adit_net::transport::newcomers::{Advance, Gone, Newcomer, Newcomers};
use adit_net::transport::tls::EnrolTls;
use adit_observe::http::{self, HttpLimits};
use adit_observe::metrics::ENROLMENTS;

const LIMITS: HttpLimits = HttpLimits { head_timeout: ENROL_TIMEOUT, buffer_bytes_max: ENROL_BODY_BYTES_MAX };
/// How soon a handshake that had to wait looks again.
const BEGIN_AGAIN: Duration = Duration::from_millis(20);

/// The same for an unknown, wrong, used, expired or foreign token and an unknown server.
const TOKEN_REFUSED: &str = "the registration token was not accepted: it may be expired, used, replaced by \
     a newer one or meant for another server; download a new connector file for this server";

#[derive(Debug)]
pub(super) struct Enrolment {
    pub(super) platform: Arc<Platform>,
    pub(super) authority: Arc<Authority>,
    pub(super) clock: Arc<dyn TimeSource>,
    pub(super) tls: Arc<EnrolTls>,
    pub(super) stop: CancellationToken,
    pub(super) limiters: EnrolmentLimiters,
}

/// How much anybody gets out of asking.
#[derive(Debug)]
pub(super) struct EnrolmentLimiters {
    newcomers: Arc<Newcomers>,
    handshakes: HandshakeLimiter,
    /// Requests: a client that sends none uses none up.
    requests: AttemptLimiter,
    logged: Mutex<RepeatLimiter<(&'static str, IpAddr)>>,
    throttled: Throttled,
}

impl Default for EnrolmentLimiters {
    fn default() -> Self {
        Self {
            newcomers: Newcomers::new(ENROL_CONNECTIONS),
            handshakes: HandshakeLimiter::default(),
            requests: AttemptLimiter::per_minute(ENROL_PER_MINUTE),
            logged: Mutex::new(RepeatLimiter::every(REPEATS_WRITTEN_EVERY, LINK_END_KINDS_MAX)),
            throttled: Throttled::default(),
        }
    }
}

impl EnrolmentLimiters {
    /// Counts a request.
    fn let_in(&self, from: IpAddr) -> Result<(), HttpRefusal> {
        self.requests.let_in(from).map_err(|wait| {
            let what = "enrolments were told to wait, their address asks too often";
            self.throttled.note(what, from, Instant::now());
            HttpRefusal::TooOften(wait)
        })
    }

    /// Waits while too many handshakes were begun where this one comes from and not finished.
    async fn may_begin(&self, from: IpAddr) {
        let mut is_logged = false;
        while !self.handshakes.may_begin(from, Instant::now()) {
            if !is_logged {
                is_logged = true;
                self.throttled.note(
                    "enrolments wait, too many handshakes were begun there and not finished",
                    from,
                    Instant::now(),
                );
            }
            sleep(BEGIN_AGAIN).await;
        }
    }

    /// Returns whether a line about one of this kind is due, and how many of them had none since the last.
    fn may_log(&self, kind: &'static str, from: IpAddr) -> Option<u64> {
        let kind = (kind, address_of(from));
        self.logged.lock().handle(kind, Instant::now())
    }
}

/// Why a connection ended without an answer.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it said nothing")]
    Silent,
}

/// Serves newcomers until told to stop.
pub(super) async fn run(enrolment: Arc<Enrolment>, listener: TcpListener) {
    let mut served = JoinSet::new();
    let mut log_tick = interval(THROTTLED_SAID_EVERY);
    loop {
        tokio::select! {
            now = log_tick.tick() => enrolment.limiters.throttled.log_due(now.into()),
            accepted = listener.accept() => match accepted {
                Ok((tcp, from)) => {
                    let from = from.ip().to_canonical();
                    let newcomer = enrolment.limiters.newcomers.enter(from);
                    let span = info_span!("enrolment", %from);
                    let serving = serve(Arc::clone(&enrolment), tcp, newcomer, from);
                    served.spawn(named("enrolment connection", serving).instrument(span));
                }
                Err(error) => {
                    // Out of descriptors, most likely: wait for one to come back.
                    warn!(%error, "cannot accept enrolment connections");
                    served.join_next().await;
                }
            },
            Some(_) = served.join_next() => {}
            () = enrolment.stop.cancelled() => break,
        }
    }
    debug!(connections = served.len(), "no enrolment is taken any more; those begun are seen to their end");
    // Each has a deadline of its own.
    while served.join_next().await.is_some() {}
}

async fn serve(enrolment: Arc<Enrolment>, tcp: TcpStream, mut newcomer: Newcomer, from: IpAddr) {
    if let Err(why) = exchange(&enrolment, tcp, &mut newcomer, from).await {
        count("not read");
        debug!(%why, "enrolment attempt broke off");
    }
}

/// Serves one exchange: each step has its own deadline, and a client that takes the next one keeps the place
/// before those who do not.
async fn exchange(
    enrolment: &Enrolment,
    tcp: TcpStream,
    newcomer: &mut Newcomer,
    from: IpAddr,
) -> Result<(), BrokenOff> {
    if newcomer.within(FIRST_BYTE_TIMEOUT, tcp.peek(&mut [0])).await?? == 0 {
        return Err(BrokenOff::Silent);
    }
    newcomer.advance().to(Progress::Speaking);
    newcomer.within(ENROL_HANDSHAKE_TIMEOUT, enrolment.limiters.may_begin(from)).await?;
    let stream = newcomer.within(ENROL_HANDSHAKE_TIMEOUT, enrolment.tls.accept(tcp)).await??;
    newcomer.advance().to(Progress::Secured);
    debug!("TLS is up; a request is awaited");
    let advance = newcomer.advance().clone();
    let served = http::serve(stream, LIMITS, |request| enrolment.answer(request, from, &advance));
    newcomer.within(ENROL_TIMEOUT, served).await?.map_err(|error| std::io::Error::other(error).into())
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
    Ours,
}

impl Enrolment {
    async fn answer(
        &self,
        request: Request<Incoming>,
        from: IpAddr,
        advance: &Advance,
    ) -> Response<Full<Bytes>> {
        if request.uri().path() == enrol::TOKEN_PATH {
            return self.answer_about_token(request, from, advance).await;
        }
        let outcome = match read::<enrol::Request>(request).await {
            Ok(request) => {
                advance.to(Progress::Asked);
                self.limiters.handshakes.finished(from);
                self.enrol(request, from).await
            }
            Err(refusal) => Err(refusal),
        };
        count(match &outcome {
            Ok(_) => "enrolled",
            Err(HttpRefusal::Request { .. } | HttpRefusal::Token) => "refused",
            Err(HttpRefusal::TooOften(_)) => "throttled",
            Err(HttpRefusal::Ours) => "failed",
        });
        into_response(outcome)
    }

    /// Does the same as an enrolment up to the token's first use, which it is not.
    async fn answer_about_token(
        &self,
        request: Request<Incoming>,
        from: IpAddr,
        advance: &Advance,
    ) -> Response<Full<Bytes>> {
        let outcome = match read::<enrol::TokenQuestion>(request).await {
            Ok(question) => {
                advance.to(Progress::Asked);
                self.limiters.handshakes.finished(from);
                self.judge_token(&question, from).await
            }
            Err(refusal) => Err(refusal),
        };
        count(if outcome.is_ok() { "asked" } else { "refused" });
        into_response(outcome)
    }

    async fn judge_token(
        &self,
        question: &enrol::TokenQuestion,
        from: IpAddr,
    ) -> Result<TokenGood, HttpRefusal> {
        // A wrong one is a guess like any other.
        self.limiters.let_in(from)?;
        let token = RegistrationToken::from_hex(&question.token).map_err(|_| HttpRefusal::Token)?;
        let judged = self.platform.judge_token(question.server, &token, question.key, from).await;
        let expires = judged.map_err(|refusal| self.refusal(question.server, from, refusal))?;
        debug!(server = %question.server, %expires, "the registration token is good; it stays unused");
        Ok(TokenGood { expires, gateway_route: self.authority.route() })
    }

    fn refusal(&self, server: ServerId, from: IpAddr, refusal: EnrolRefusal) -> HttpRefusal {
        match refusal {
            EnrolRefusal::Platform(source) => platform_failed(&source),
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
        self.limiters.let_in(from)?;
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
                    .host_refused(Some(request.server), "enrol", from, &error.to_string())
                    .await
                    .map_err(|source| platform_failed(&source))?;
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

fn into_response(outcome: Result<impl Serialize, HttpRefusal>) -> Response<Full<Bytes>> {
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
        Err(HttpRefusal::Ours) => {
            let error = "the gateway has a fault of its own; its log says more".into();
            respond(StatusCode::INTERNAL_SERVER_ERROR, &Refused { error })
        }
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, HttpRefusal> {
    if ![enrol::PATH, enrol::TOKEN_PATH].contains(&request.uri().path()) {
        return Err(HttpRefusal::Request {
            status: StatusCode::NOT_FOUND,
            error: format!("only {} is served here", enrol::PATH),
        });
    }
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

fn count(outcome: &'static str) {
    metrics::counter!(ENROLMENTS, "outcome" => outcome).increment(1);
}

fn platform_failed(source: &PlatformError) -> HttpRefusal {
    error!(%source, "enrolment failed in the platform");
    HttpRefusal::Ours
}

fn bad_request(error: &str) -> HttpRefusal {
    HttpRefusal::Request { status: StatusCode::BAD_REQUEST, error: error.into() }
}

/// Answers how long to wait: HTTP counts whole seconds (RFC 9110 §10.2.3); one less would be too soon.
fn throttled(wait: Duration) -> Response<Full<Bytes>> {
    let seconds = wait.as_millis().div_ceil(1_000).max(1);
    let error = format!(
        "this address asked more than {ENROL_PER_MINUTE} times within a minute; try again in {seconds} s"
    );
    let mut response = respond(StatusCode::TOO_MANY_REQUESTS, &Refused { error });
    if let Ok(seconds) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn respond(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec(body).expect("our own answers are plain JSON");
    http::response(status, "application/json", text)
}
