//! Speaks ACME (RFC 8555 §6, §7) with one authority: signed requests with a nonce each, by our own bounded client, at the
//! host of the authority's directory and nowhere else. In which order, and why, is not decided here.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::debug;
use url::{Origin, Url};

use adit_core::domain::time::Timestamp;
use adit_net::identity::error::IdentityError;
use adit_net::identity::jws::AccountKey;
use adit_net::identity::time::TimeSource;
use adit_net::transport::https_client::{HttpsClient, HttpsError};

const AGENT: &str = concat!("adit/", env!("CARGO_PKG_VERSION"));
const REPLAY_NONCE: &str = "replay-nonce";
/// How often a nonce may be refused; authorities forget them at will (RFC 8555 §6.5).
const NONCE_TRIES: usize = 6;

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(
        "{host} cannot be spoken to over TLS; if its certificate is by a CA of one's own, name that as `acme_ca`"
    )]
    Tls { host: String, source: io::Error },
    #[error(transparent)]
    Https(HttpsError),
    #[error("the authority sends on to {place}; only the host of its directory is asked")]
    Elsewhere { place: String },
    #[error("the authority refuses {what}: {problem}")]
    Refused { what: &'static str, problem: Problem },
    #[error("the authority answers {status} where it is asked for {what}, and not as ACME has it")]
    Status { what: &'static str, status: StatusCode },
    #[error("what the authority says of {what} is not as ACME has it; see that `acme` names its directory")]
    Unreadable { what: &'static str },
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<HttpsError> for SessionError {
    /// Converts an error of the client, which names the settings of identity providers.
    fn from(error: HttpsError) -> Self {
        match error {
            HttpsError::Tls { host, source } => Self::Tls { host, source },
            error => Self::Https(error),
        }
    }
}

/// What an authority says is wrong (RFC 8555 §6.7).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.kind)
    }
}

/// Where an authority is asked for what (RFC 8555 §7.1.1, RFC 9773 §4.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    pub(super) renewal_info: Option<String>,
}

/// What was answered to a request that was not refused.
#[derive(Debug)]
pub(super) struct Said {
    what: &'static str,
    pub(super) location: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Said {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, SessionError> {
        serde_json::from_slice(&self.body).map_err(|_| SessionError::Unreadable { what: self.what })
    }

    /// Returns where what was made is asked for.
    pub(super) fn place(&self) -> Result<String, SessionError> {
        self.location.clone().ok_or(SessionError::Unreadable { what: self.what })
    }
}

/// Who asks, and where.
#[derive(Debug)]
pub(super) struct Session {
    https: HttpsClient,
    origin: Origin,
    clock: Arc<dyn TimeSource>,
    pub(super) key: AccountKey,
    /// The account's address, once it is known.
    account: Option<String>,
    nonce: Option<String>,
    /// For how long the authority wanted to be left alone when it refused something last.
    pub(super) left_alone: Option<Duration>,
}

impl Session {
    pub(super) fn new(
        https: HttpsClient,
        directory: &Url,
        key: AccountKey,
        clock: Arc<dyn TimeSource>,
    ) -> Self {
        let origin = directory.origin();
        Self { https, origin, clock, key, account: None, nonce: None, left_alone: None }
    }

    pub(super) async fn directory(&mut self, url: &str) -> Result<Directory, SessionError> {
        self.get("its directory", url).await?.read()
    }

    /// From here on requests are signed in the name of an account.
    pub(super) fn act_as(&mut self, account: String) {
        self.account = Some(account);
    }

    /// Asks without a signature.
    pub(super) async fn get(&mut self, what: &'static str, url: &str) -> Result<Said, SessionError> {
        let answer = self.ask(what, Method::GET, url, Vec::new()).await?;
        self.judge(what, answer)
    }

    /// Asks for what is there (RFC 8555 §6.3).
    pub(super) async fn read(
        &mut self,
        directory: &Directory,
        what: &'static str,
        url: &str,
    ) -> Result<Said, SessionError> {
        self.post(directory, what, url, "").await
    }

    /// Asks with a signature; a nonce that is refused is replaced.
    pub(super) async fn post(
        &mut self,
        directory: &Directory,
        what: &'static str,
        url: &str,
        payload: &str,
    ) -> Result<Said, SessionError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let nonce = self.nonce(directory).await?;
            let body = self.key.sign(&self.protected(url, &nonce), payload)?;
            let answer = self.ask(what, Method::POST, url, body.into_bytes()).await?;
            match self.judge(what, answer) {
                Err(SessionError::Refused { problem, .. })
                    if tries < NONCE_TRIES && problem.kind.ends_with(":badNonce") =>
                {
                    debug!(tries, "the ACME authority does not take a nonce; another is used");
                }
                judged => return judged,
            }
        }
    }

    fn protected(&self, url: &str, nonce: &str) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let whose = match &self.account {
            Some(account) => format!(r#""kid":{}"#, text(account)),
            None => format!(r#""jwk":{}"#, self.key.jwk()),
        };
        format!(r#"{{"alg":"ES256",{whose},"nonce":{},"url":{}}}"#, text(nonce), text(url))
    }

    /// Returns the nonce that the last answer brought, or another.
    async fn nonce(&mut self, directory: &Directory) -> Result<String, SessionError> {
        let what = "a nonce";
        if self.nonce.is_none() {
            let answer = self.ask(what, Method::HEAD, &directory.new_nonce, Vec::new()).await?;
            self.judge(what, answer)?;
        }
        self.nonce.take().ok_or(SessionError::Unreadable { what })
    }

    async fn ask(
        &mut self,
        what: &'static str,
        method: Method,
        url: &str,
        body: Vec<u8>,
    ) -> Result<Response<Vec<u8>>, SessionError> {
        let read = Url::parse(url).map_err(|_| SessionError::Unreadable { what })?;
        if read.origin() != self.origin {
            return Err(SessionError::Elsewhere { place: read.origin().ascii_serialization() });
        }
        let request = Request::builder().method(method).uri(read.as_str());
        let request = request.header(USER_AGENT, AGENT).header(CONTENT_TYPE, "application/jose+json");
        let request = request.body(body).map_err(|_| SessionError::Unreadable { what })?;
        let answer = self.https.ask(request).await?;
        self.nonce = text(answer.headers(), REPLAY_NONCE);
        debug!(what, status = answer.status().as_u16(), "the ACME authority answers");
        Ok(answer)
    }

    fn judge(&mut self, what: &'static str, answer: Response<Vec<u8>>) -> Result<Said, SessionError> {
        let (head, body) = answer.into_parts();
        let retry_after = retry_after(&head.headers, self.clock.now());
        if head.status.is_success() {
            return Ok(Said { what, location: text(&head.headers, LOCATION.as_str()), retry_after, body });
        }
        self.left_alone = retry_after;
        let status = head.status;
        let is_json = text(&head.headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.contains("json"));
        match serde_json::from_slice(&body) {
            Ok(problem) if is_json => Err(SessionError::Refused { what, problem }),
            _ => Err(SessionError::Status { what, status }),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Reads for how long a server wants not to be asked: seconds, or until when (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().map(Duration::from_secs).ok();
    seconds.or_else(|| Timestamp::from_http_date(text).map(|until| until.since(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_in_seconds_or_by_a_date_when_it_may_be_asked_again() {
        // Two minutes before the date below.
        let now = Timestamp::from_millis(784_111_657_000);
        for (text, wanted) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:40:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), wanted.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
