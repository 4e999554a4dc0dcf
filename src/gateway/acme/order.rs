//! One order at an ACME authority, from account to certificate (RFC 8555 §7), proven by TLS at the front door (RFC
//! 8737). When one is made, and what follows from its end, is not decided here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};
use url::Url;
use zeroize::Zeroizing;

use adit_core::config::console::AcmeConfig;
use adit_core::domain::digest::sha256;
use adit_core::domain::limits::{
    ACME_ORDER_TIMEOUT, ACME_POLL_TIMEOUT, ACME_WINDOW_ASKED_MAX, CONSOLE_FILE_BYTES_MAX,
};
use adit_core::domain::visible::error_chain;
use adit_net::host::regular;
use adit_net::identity::acme_challenge;
use adit_net::identity::error::IdentityError;
use adit_net::identity::jws::AccountKey;
use adit_net::identity::key::KeyPair;
use adit_net::identity::time::TimeSource;
use adit_net::identity::web::{WebCertificate, base64_url, key_pem, request_for};
use adit_net::transport::https_client::{HttpsClient, TrustError};
use adit_net::transport::tls::{ConsoleTls, FrontDoorTls, ShownChallenge};

use super::Refused;
use super::kept::{Kept, KeptAccount, KeptError};
use super::schedule::Window;
use super::session::{Directory, Problem, Session, SessionError};

/// How soon the authority is asked again what became of something, at first.
const POLLED_EVERY: Duration = Duration::from_secs(1);
const CHALLENGE: &str = "tls-alpn-01";

#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the authority has not come to an end within {} s", ACME_ORDER_TIMEOUT.as_secs())]
    Late,
    #[error("the authority does not come to an end with {what}")]
    Pending { what: &'static str, retry_after: Option<Duration> },
    #[error("the authority gives no certificate for what is proven: {why}")]
    NotSigned { why: String },
    #[error("the authority does not say when it wants a certificate renewed")]
    NoWindows,
    #[error("`{url}` is no https address; write the authority's directory as `acme`")]
    Directory { url: String },
    #[error("cannot read `{path}`; point `acme_ca` at a PEM file this user may read")]
    ReadCa { path: PathBuf, source: io::Error },
    #[error("TLS with the authority cannot be set up; let `acme_ca` name CAs in PEM, or leave it out")]
    Trust { source: TrustError },
    #[error("the authority does not offer tls-alpn-01 for {name}; name another as `acme`")]
    NoChallenge { name: String },
    #[error(
        "the authority did not find this gateway at TCP 443 of {name} ({why}); see where the name leads, and that it gets in there"
    )]
    NotFound { name: String, why: String },
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// An authority, as the gateway's file names it, and who asks it.
#[derive(Debug)]
pub(super) struct AcmeAuthority {
    pub(super) config: AcmeConfig,
    pub(super) host: String,
    pub(super) kept: Kept,
    pub(super) tls: Arc<FrontDoorTls>,
    pub(super) clock: Arc<dyn TimeSource>,
    /// Lets tests speak to one on this host without TLS.
    pub(super) is_plain: bool,
}

impl super::Authority for AcmeAuthority {
    async fn order(&self, replaced: Option<&WebCertificate>) -> Result<Zeroizing<String>, Refused> {
        let mut session = self.session().map_err(|error| refused(&error, None))?;
        let ordering = self.order_in(&mut session, replaced);
        let outcome = timeout(ACME_ORDER_TIMEOUT, ordering).await.unwrap_or(Err(OrderError::Late));
        outcome.map_err(|error| refused(&error, session.left_alone))
    }

    async fn window(&self, of: &WebCertificate) -> Result<(Window, Duration), Refused> {
        let mut session = self.session().map_err(|error| refused(&error, None))?;
        let asking = self.window_in(&mut session, of);
        let outcome = timeout(ACME_ORDER_TIMEOUT, asking).await.unwrap_or(Err(OrderError::Late));
        outcome.map_err(|error| refused(&error, session.left_alone))
    }
}

fn refused(error: &OrderError, left_alone: Option<Duration>) -> Refused {
    let retry_after = match error {
        OrderError::Pending { retry_after, .. } => left_alone.max(*retry_after),
        _ => left_alone,
    };
    Refused { why: error_chain(error), retry_after }
}

/// An order (RFC 8555 §7.1.3).
#[derive(Debug, Deserialize)]
struct Order {
    status: Progress,
    #[serde(default)]
    authorizations: Vec<String>,
    finalize: String,
    certificate: Option<String>,
    error: Option<Problem>,
}

/// What is to be proven for it (RFC 8555 §7.1.4).
#[derive(Debug, Deserialize)]
struct Authorization {
    status: Progress,
    challenges: Vec<Challenge>,
}

/// How it may be proven (RFC 8555 §8).
#[derive(Debug, Deserialize)]
struct Challenge {
    #[serde(rename = "type")]
    kind: String,
    url: String,
    #[serde(default)]
    token: String,
    error: Option<Problem>,
}

/// How far something is (RFC 8555 §7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
enum Progress {
    UnderWay,
    Valid,
    /// Refused, or over.
    Invalid,
}

impl From<String> for Progress {
    fn from(status: String) -> Self {
        match status.as_str() {
            "pending" | "ready" | "processing" => Self::UnderWay,
            "valid" => Self::Valid,
            _ => Self::Invalid,
        }
    }
}

/// When an authority wants something renewed (RFC 9773 §4.2).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfo {
    suggested_window: Window,
}

pub(super) fn read_cas(path: &Path) -> Result<Zeroizing<String>, OrderError> {
    regular::read_text(path, CONSOLE_FILE_BYTES_MAX)
        .map_err(|source| OrderError::ReadCa { path: path.into(), source })
}

pub(super) fn https(own_cas: Option<&str>) -> Result<HttpsClient, OrderError> {
    HttpsClient::new(own_cas.map(str::as_bytes)).map_err(|source| OrderError::Trust { source })
}

impl AcmeAuthority {
    /// Makes the client anew: what is wrong with the file of CAs may have been mended.
    fn session(&self) -> Result<Session, OrderError> {
        let directory = &self.config.directory;
        let url = Url::parse(directory).map_err(|_| OrderError::Directory { url: directory.clone() })?;
        let own_cas = self.config.ca.as_deref().map(read_cas).transpose()?;
        let https = https(own_cas.as_deref().map(String::as_str))?.allowing([directory.as_str()]);
        let https = if self.is_plain { https.plain_on_loopback() } else { https };
        Ok(Session::new(https, &url, self.account_key()?, Arc::clone(&self.clock)))
    }

    /// Returns the account's key. A new one is on disk before anybody hears of it: so there is one account, whatever
    /// is cut short.
    fn account_key(&self) -> Result<AccountKey, OrderError> {
        if let Some(kept) = self.kept.account(&self.config.directory)? {
            return Ok(kept.key()?);
        }
        let key = AccountKey::generate()?;
        let account = KeptAccount::new(&self.config.directory, self.config.contact.clone(), &key);
        self.kept.write_account(&account)?;
        Ok(key)
    }

    async fn order_in(
        &self,
        session: &mut Session,
        replaced: Option<&WebCertificate>,
    ) -> Result<Zeroizing<String>, OrderError> {
        let directory = session.directory(&self.config.directory).await?;
        self.sign_in(session, &directory).await?;
        let mut wanted = json!({ "identifiers": [{ "type": "dns", "value": self.host }] });
        if let Some(id) = replaced.and_then(WebCertificate::renewal_id) {
            wanted["replaces"] = id.into();
        }
        let made = session.post(&directory, "an order", &directory.new_order, &wanted.to_string()).await?;
        let (place, order) = (made.place()?, made.read::<Order>()?);
        debug!(name = self.host, "a certificate is ordered");
        for authorization in &order.authorizations {
            self.prove(session, &directory, authorization).await?;
        }
        let key = KeyPair::generate()?;
        let request = json!({ "csr": base64_url(&request_for(&key, &self.host)?) });
        let mut said = session.post(&directory, "a signature", &order.finalize, &request.to_string()).await?;
        let mut poll = Poll::new();
        let certificate = loop {
            let order: Order = said.read()?;
            match (order.status, order.certificate) {
                (Progress::Valid, Some(certificate)) => break certificate,
                (Progress::UnderWay, _) => poll.wait("a signature", said.retry_after).await?,
                (Progress::Valid | Progress::Invalid, _) => return Err(not_signed(order.error.as_ref())),
            }
            said = session.read(&directory, "what became of the order", &place).await?;
        };
        let chain = session.read(&directory, "the certificate", &certificate).await?.body;
        let chain = String::from_utf8(chain).map_err(|_| not_signed(None))?;
        Ok(together(&key_pem(&key), &chain))
    }

    /// Makes the account, or finds the one that the key has (RFC 8555 §7.3).
    async fn sign_in(&self, session: &mut Session, directory: &Directory) -> Result<(), OrderError> {
        let contact = self.config.contact.as_ref();
        let mut new = json!({ "termsOfServiceAgreed": true });
        let contacts = json!(contact.into_iter().collect::<Vec<_>>());
        new["contact"] = contacts.clone();
        let said = session.post(directory, "an account", &directory.new_account, &new.to_string()).await?;
        let account = said.place()?;
        session.act_as(account.clone());
        let told = self.kept.account(&self.config.directory)?;
        if told.as_ref().is_some_and(|told| told.contact() != contact) {
            let change = json!({ "contact": contacts }).to_string();
            session.post(directory, "another contact", &account, &change).await?;
            info!("the ACME authority is told another contact");
            let account = KeptAccount::new(&self.config.directory, contact.cloned(), &session.key);
            self.kept.write_account(&account)?;
        }
        Ok(())
    }

    /// Proves whose the name is, unless the authority knows already: it is told to look, and finds the challenge.
    async fn prove(&self, session: &mut Session, directory: &Directory, url: &str) -> Result<(), OrderError> {
        let what = "what is to be proven";
        let authorization: Authorization = session.read(directory, what, url).await?.read()?;
        if authorization.status == Progress::Valid {
            debug!(name = self.host, "the ACME authority knows already whose the name is");
            return Ok(());
        }
        let challenge = authorization.challenges.iter().find(|challenge| challenge.kind == CHALLENGE);
        let challenge = challenge.ok_or_else(|| OrderError::NoChallenge { name: self.host.clone() })?;
        let _shown = self.show(challenge, &session.key)?;
        debug!(name = self.host, "the ACME authority is told to look at the front door");
        session.post(directory, "a look at the front door", &challenge.url, "{}").await?;
        let mut poll = Poll::new();
        loop {
            let said = session.read(directory, what, url).await?;
            let authorization: Authorization = said.read()?;
            match authorization.status {
                Progress::Valid => return Ok(()),
                Progress::Invalid => return Err(self.not_found(&authorization)),
                Progress::UnderWay => poll.wait("its look at the front door", said.retry_after).await?,
            }
        }
    }

    fn show(&self, challenge: &Challenge, key: &AccountKey) -> Result<ShownChallenge, OrderError> {
        let authorization = format!("{}.{}", challenge.token, key.thumbprint());
        let config = acme_challenge::server_config(&self.host, &sha256(authorization.as_bytes()))?;
        Ok(self.tls.show_challenge(ConsoleTls { host: self.host.clone(), config }))
    }

    /// Returns what the authority says that it found instead.
    fn not_found(&self, authorization: &Authorization) -> OrderError {
        let found = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        let why = found.map_or_else(|| "it does not say what it found".into(), ToString::to_string);
        OrderError::NotFound { name: self.host.clone(), why }
    }

    async fn window_in(
        &self,
        session: &mut Session,
        of: &WebCertificate,
    ) -> Result<(Window, Duration), OrderError> {
        let directory = session.directory(&self.config.directory).await?;
        let (Some(place), Some(id)) = (directory.renewal_info, of.renewal_id()) else {
            return Err(OrderError::NoWindows);
        };
        let said = session.get("when to renew", &format!("{place}/{id}")).await?;
        let RenewalInfo { suggested_window } = said.read()?;
        let Window { start, end } = suggested_window;
        debug!(%start, %end, "the ACME authority says when it wants the certificate renewed");
        Ok((suggested_window, said.retry_after.unwrap_or(ACME_WINDOW_ASKED_MAX)))
    }
}

fn not_signed(problem: Option<&Problem>) -> OrderError {
    OrderError::NotSigned { why: problem.map_or_else(|| "it does not say why".into(), ToString::to_string) }
}

fn together(key: &str, chain: &str) -> Zeroizing<String> {
    // Enough room from the start: growing would leave a copy of the key behind.
    let mut pem = Zeroizing::new(String::with_capacity(key.len() + chain.len()));
    pem.push_str(key);
    pem.push_str(chain);
    pem
}

/// Waits before the authority is asked again what became of something.
struct Poll {
    began: Instant,
    pause: Duration,
}

impl Poll {
    fn new() -> Self {
        Self { began: Instant::now(), pause: POLLED_EVERY }
    }

    /// Waits as long as the authority wants, or a little longer than last time; not for ever.
    async fn wait(&mut self, what: &'static str, retry_after: Option<Duration>) -> Result<(), OrderError> {
        let pause = retry_after.unwrap_or(self.pause).max(POLLED_EVERY);
        if self.began.elapsed() + pause > ACME_POLL_TIMEOUT {
            return Err(OrderError::Pending { what, retry_after });
        }
        sleep(pause).await;
        self.pause = self.pause * 3 / 2;
        Ok(())
    }
}
