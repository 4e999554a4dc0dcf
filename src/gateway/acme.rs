//! The certificate that browsers see, from an ACME authority (RFC 8555): ordered when there is none, kept, and renewed
//! before it ends.
//!
//! Whatever an authority does, the gateway serves: the certificate before stays, and while there is none, browsers see
//! the gateway's own.

pub(crate) mod kept;
mod order;
mod schedule;
mod session;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use adit_core::config::HostPort;
use adit_core::config::console::AcmeConfig;
use adit_core::domain::limits::{ACME_LOOKED_EVERY, ACME_WINDOW_ASKED_MAX, CONSOLE_EXPIRY_SAID_EVERY};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_net::host::folder::Folder;
use adit_net::identity::random;
use adit_net::identity::time::TimeSource;
use adit_net::identity::web::WebCertificate;
use adit_net::transport::tls::{ConsoleTls, FrontDoorTls};
use adit_observe::metrics;

use self::kept::{Kept, KeptError};
use self::order::AcmeAuthority;
use self::schedule::{Life, Orders, Step, Window};

/// Why an authority gave nothing, and for how long it wants to be left alone.
#[derive(Debug)]
struct Refused {
    why: String,
    retry_after: Option<Duration>,
}

/// Who signs certificates.
trait Authority {
    /// Returns a new key and the chain of its certificate in PEM; one that is replaced is named where the authority
    /// has said when it wants that.
    fn order(
        &self,
        replaced: Option<&WebCertificate>,
    ) -> impl Future<Output = Result<Zeroizing<String>, Refused>> + Send;

    /// Returns when a certificate is to be renewed, and in how long that is asked again (RFC 9773).
    fn window(&self, of: &WebCertificate)
    -> impl Future<Output = Result<(Window, Duration), Refused>> + Send;
}

/// Keeps what browsers see.
#[derive(Debug)]
pub(super) struct Acme(Keeper<AcmeAuthority>);

impl Acme {
    /// Shows what there is.
    pub(super) fn open(
        config: &AcmeConfig,
        name: &HostPort,
        folder: Folder,
        tls: Arc<FrontDoorTls>,
        clock: Arc<dyn TimeSource>,
    ) -> Self {
        let (host, kept) = (name.host().to_owned(), Kept::new(folder));
        let authority = AcmeAuthority {
            config: config.clone(),
            host: host.clone(),
            kept: kept.clone(),
            tls: Arc::clone(&tls),
            clock: Arc::clone(&clock),
            is_plain: false,
        };
        Self(Keeper::open(&config.directory, host, authority, kept, tls, clock))
    }

    /// Looks whether something is due, again and again.
    pub(super) async fn follow(mut self) {
        loop {
            self.0.step().await;
            sleep(ACME_LOOKED_EVERY).await;
        }
    }
}

#[derive(Debug)]
struct Keeper<A> {
    authority: A,
    host: String,
    kept: Kept,
    tls: Arc<FrontDoorTls>,
    clock: Arc<dyn TimeSource>,
    orders: Orders,
    /// What browsers see.
    shown: Option<WebCertificate>,
    warned_at: Option<Timestamp>,
}

impl<A: Authority> Keeper<A> {
    fn open(
        directory: &str,
        host: String,
        authority: A,
        kept: Kept,
        tls: Arc<FrontDoorTls>,
        clock: Arc<dyn TimeSource>,
    ) -> Self {
        let unread = |error: KeptError| {
            warn!(why = error_chain(&error), "what is kept of the ACME authority cannot be read");
        };
        let orders =
            kept.orders(directory, &host).map_err(unread).unwrap_or_else(|()| Orders::none(directory, &host));
        let certificate = kept.certificate(&host).map_err(unread).unwrap_or_default();
        let mut keeper = Self { authority, host, kept, tls, clock, orders, shown: None, warned_at: None };
        if let Some(certificate) = certificate {
            keeper.show(certificate);
        }
        keeper
    }

    /// Does what is due.
    async fn step(&mut self) {
        let now = self.clock.now();
        match self.orders.next(self.life(), now) {
            Step::Order => self.order(now).await,
            Step::AskWindow => self.ask_window(now).await,
            Step::WaitUntil(_) => {}
        }
        self.warn_of_end();
    }

    /// Returns the life of the certificate that came from the authority.
    fn life(&self) -> Option<Life> {
        let shown = self.shown.as_ref().filter(|_| self.orders.has_certificate)?;
        Some(Life { from: shown.not_before, until: shown.not_after, draw: shown.draw() })
    }

    async fn order(&mut self, now: Timestamp) {
        let is_first_try = self.orders.failed.is_none();
        self.orders.begin(now, random::draw());
        // Not on disk, it would be ordered again by whoever starts next.
        if let Err(error) = self.kept.write_orders(&self.orders) {
            return self.fail(error_chain(&error), None);
        }
        let is_due = is_first_try && self.orders.has_certificate && self.orders.has_window();
        let replaced = self.shown.as_ref().filter(|_| is_due);
        match self.authority.order(replaced).await {
            Ok(pem) => self.take(&pem),
            Err(Refused { why, retry_after }) => self.fail(why, retry_after),
        }
    }

    fn take(&mut self, pem: &str) {
        let certificate = match WebCertificate::from_pem(pem.as_bytes(), pem.as_bytes(), &self.host) {
            Ok(certificate) => certificate,
            Err(error) => return self.fail(error_chain(&error), None),
        };
        if let Err(error) = self.kept.write_certificate(pem) {
            return self.fail(error_chain(&error), None);
        }
        self.orders.succeed(self.clock.now());
        self.write_orders();
        self.show(certificate);
    }

    fn fail(&mut self, why: String, retry_after: Option<Duration>) {
        let now =
            if self.shown.is_some() { "the one before stays" } else { "browsers see the gateway's own" };
        self.orders.fail(self.clock.now(), why, retry_after);
        self.write_orders();
        if let Some(failed) = &self.orders.failed {
            warn!(
                name = self.host,
                why = failed.why,
                failures = failed.times,
                again = %failed.retry_at,
                now,
                "the ACME authority gave no certificate"
            );
        }
    }

    async fn ask_window(&mut self, now: Timestamp) {
        let Some(shown) = &self.shown else { return };
        let (window, again_in) = match self.authority.window(shown).await {
            Ok((window, again_in)) => (Some(window), again_in),
            Err(Refused { why, retry_after }) => {
                debug!(why, "the ACME authority does not say when it wants the certificate renewed");
                (None, retry_after.unwrap_or(ACME_WINDOW_ASKED_MAX))
            }
        };
        self.orders.note_window(now, window, again_in);
        self.write_orders();
    }

    fn write_orders(&self) {
        if let Err(error) = self.kept.write_orders(&self.orders) {
            warn!(why = error_chain(&error), "what became of an order cannot be written down");
        }
    }

    fn show(&mut self, certificate: WebCertificate) {
        let config = match certificate.server_config() {
            Ok(config) => config,
            Err(error) => return warn!(why = error_chain(&error), "a certificate cannot be presented"),
        };
        self.tls.show_to_browsers(ConsoleTls { host: self.host.clone(), config });
        metrics::console_certificate_expires(certificate.not_after);
        let until = certificate.not_after;
        info!(name = self.host, %until, "browsers are shown a certificate of the ACME authority");
        self.shown = Some(certificate);
        self.warned_at = None;
    }

    /// Warns once a day while a certificate is close to its end, for its own life, and is not renewed.
    fn warn_of_end(&mut self) {
        let now = self.clock.now();
        let Some(shown) = self.shown.as_ref().filter(|shown| is_close_to_end(shown, now)) else { return };
        if self.warned_at.is_some_and(|warned_at| now.since(warned_at) < CONSOLE_EXPIRY_SAID_EVERY) {
            return;
        }
        self.warned_at = Some(now);
        let why = self.orders.failed.as_ref().map_or("it is not renewed yet", |failed| &failed.why);
        warn!(until = %shown.not_after, why, "the certificate of `[console]` ends soon or has, and is not renewed");
    }
}

/// Returns whether less than a fifth of a certificate's life is left, in which it should have been renewed.
fn is_close_to_end(certificate: &WebCertificate, now: Timestamp) -> bool {
    let life = certificate.not_after.since(certificate.not_before);
    certificate.not_after.since(now) < life / 5
}

/// What the state folder says of a certificate from an ACME authority, for who looks from outside.
#[derive(Debug, Default)]
pub struct AcmeReport {
    /// From when until when the certificate that browsers see is valid, if there is one.
    pub certificate: Option<(Timestamp, Timestamp)>,
    /// Whether it should have been renewed by now.
    pub is_overdue: bool,
    pub failure: Option<AcmeFailure>,
}

/// Why the last order brought nothing.
#[derive(Debug)]
pub struct AcmeFailure {
    pub why: String,
    /// In a row.
    pub times: u32,
    pub retry_at: Timestamp,
}

impl AcmeReport {
    /// Reads what there is of a certificate for `host`.
    pub fn read(config: &AcmeConfig, host: &str, folder: Folder, now: Timestamp) -> Result<Self, String> {
        Self::of(config, host, &Kept::new(folder), now).map_err(|error| error_chain(&error))
    }

    fn of(config: &AcmeConfig, host: &str, kept: &Kept, now: Timestamp) -> Result<Self, KeptError> {
        let certificate = kept.certificate(host)?;
        let failed = kept.orders(&config.directory, host)?.failed;
        Ok(Self {
            is_overdue: certificate.as_ref().is_some_and(|certificate| is_close_to_end(certificate, now)),
            certificate: certificate.map(|certificate| (certificate.not_before, certificate.not_after)),
            failure: failed.map(|failed| AcmeFailure {
                why: failed.why,
                times: failed.times,
                retry_at: failed.retry_at,
            }),
        })
    }
}

/// Checks that a file of CAs can be used as `acme_ca`.
pub fn check_ca(path: &Path) -> Result<(), String> {
    order::read_cas(path)
        .and_then(|pem| order::https(Some(&pem)))
        .map(drop)
        .map_err(|error| error_chain(&error))
}

#[cfg(test)]
mod tests;
