//! The managed server's end: what is known of the Mirth beside this agent, and who may ask it what.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::discover::{MirthInfo, discover};
use super::filter;
use super::limiters::AdminLimiters;
use super::logins::LoginLimiter;
use super::origin::{Origin, OriginError};
use super::parts::AdminParts;
use super::sessions::AdminSessions;
use crate::connection::upstream::UpstreamState;
use crate::entries::LiveConnection;
use crate::mirth_activity::MirthActivity;
use crate::policies::Policies;
use crate::trust_store::TrustStore;
use adit_core::config::agent::AdminManaged;
use adit_core::domain::access::Access;
use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::limits;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::control::{Activity, ConfigMismatch};
use adit_mirth::verdict::{AccessPolicy, Judge};
use adit_mirth::version::{TooOld, view_only_needs};
use adit_net::identity::error::IdentityError;
use adit_net::transport::endpoint::Connection;
use adit_net::transport::tls::MirthTls;
use adit_net::transport::tunnel::DataStream;

/// How soon a Mirth that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a request waits while a Mirth that was away for a moment is looked at again.
const AWAY_WAIT: Duration = Duration::from_secs(3);

/// A Mirth that may be worked on, as the connection's type allows.
pub struct Ready {
    pub tls: MirthTls,
    /// The trusted one, by which it was found.
    key: Option<KeyFingerprint>,
    pub info: MirthInfo,
    pub access: Access,
    pub judge: Judge,
}

/// The Mirth beside this agent, for one connection.
pub struct Managed {
    pub config: AdminManaged,
    pub(crate) sessions: Arc<AdminSessions>,
    pub(super) limiters: AdminLimiters,
    pub(super) logins: LoginLimiter,
    /// Mirth's connections that requests go over.
    pub(super) mirth_activity: Arc<MirthActivity>,
    ready: watch::Sender<Option<Arc<Ready>>>,
    /// Whether it answers, and serves: what of it may be judged.
    state: watch::Sender<UpstreamState>,
    recheck: Notify,
    /// The connection was switched on when Mirth was looked at last.
    is_active: AtomicBool,
}

impl Managed {
    #[must_use]
    pub fn new(config: AdminManaged) -> Self {
        Self {
            config,
            sessions: Arc::default(),
            limiters: AdminLimiters::default(),
            logins: LoginLimiter::default(),
            mirth_activity: MirthActivity::new(Instant::now()),
            ready: watch::Sender::new(None),
            state: watch::Sender::default(),
            recheck: Notify::new(),
            is_active: AtomicBool::new(false),
        }
    }

    /// Returns the Mirth as far as it may be worked on now.
    #[must_use]
    pub fn ready(&self) -> Option<Arc<Ready>> {
        self.ready.borrow().clone()
    }

    /// Returns the same as [`Self::ready`]; while a Mirth that answered a moment ago is looked at again, once
    /// that is done.
    pub async fn wait_until_ready(&self) -> Option<Arc<Ready>> {
        if self.state.borrow().serves != Some(true) {
            return self.ready();
        }
        let mut ready = self.ready.subscribe();
        timeout(AWAY_WAIT, ready.wait_for(Option::is_some)).await.ok()?.ok()?.clone()
    }

    /// Returns whether Mirth is still the one that was found as `ready`.
    #[must_use]
    pub fn is_current(&self, ready: &Ready) -> bool {
        self.ready.borrow().as_deref().is_some_and(|current| std::ptr::eq(current, ready))
    }

    /// Notes that a connection to Mirth could not be made or broke: look at once.
    pub fn note_failure(&self) {
        self.recheck.notify_one();
    }

    /// Asks Mirth what it is, at the start, now and then, and whenever it may have been away.
    pub(crate) async fn keep_discovered(
        &self,
        policies: &Policies,
        trust: &TrustStore,
        entry: &LiveConnection,
    ) {
        let mut rules = policies.watch();
        let mut keys = trust.watch_mirth_keys();
        let mut watched = Watched::default();
        loop {
            rules.borrow_and_update();
            keys.borrow_and_update();
            let key = trust.mirth_key(&self.config);
            let (access, is_active) = {
                let rules = policies.rules();
                let rule = rules.rule(entry.config.id);
                let is_active = rule.is_some_and(|rule| rule.activity == Activity::Active);
                (rule.and_then(|rule| Access::of(rule.kind)), is_active)
            };
            self.is_active.store(is_active, Ordering::Relaxed);
            if !is_active {
                // What was found before it is retried must be found again after it.
                self.change(|state| state.config_mismatch = None);
            }
            let pause = self.check(entry, key, access, &mut watched).await;
            tokio::select! {
                () = sleep(pause) => {}
                () = watched.gone() => {
                    tracing::debug!(age = ?watched.age(), "Mirth closed the kept connection, so it may have been away");
                    self.ready.send_replace(None);
                    // One that closes whatever it is asked over must not be asked without end.
                    sleep(ASK_AGAIN.saturating_sub(watched.age())).await;
                    watched = Watched::default();
                }
                () = self.recheck.notified() => {
                    tracing::debug!("a request met no Mirth, so it is looked at once more");
                    watched.checked = None;
                }
                _ = rules.changed() => {}
                _ = keys.changed() => {}
            }
        }
    }

    /// Checks Mirth once; returns how long the next check may wait.
    async fn check(
        &self,
        entry: &LiveConnection,
        key: Option<KeyFingerprint>,
        access: Option<Access>,
        watched: &mut Watched,
    ) -> Duration {
        let before = self.ready().filter(|ready| ready.key == key && access == Some(ready.access));
        let began = Instant::now();
        // Over the connection that is kept, a restart would have been seen.
        let quiet = self.mirth_activity.quiet_for(began).filter(|_| watched.origin.is_some());
        let age = watched.age().min(quiet.unwrap_or(Duration::MAX));
        if before.is_some() && age < limits::MIRTH_PROBE_AFTER {
            return limits::MIRTH_PROBE_AFTER.saturating_sub(age);
        }
        let before = before.filter(|_| watched.origin.is_some());
        match self.discover(key, before.as_deref(), watched).await {
            Ok((tls, info)) => {
                watched.checked = Some(Instant::now());
                self.change(|state| state.answers = Some(true));
                let is_as_before = before.is_some() && self.ready().is_some_and(|ready| ready.info == info);
                let (version, unknown, took) = (&info.version, info.unknown.len(), began.elapsed());
                tracing::debug!(%version, unknown, ?took, is_as_before, "Mirth was asked what it is");
                if !is_as_before {
                    self.log_mirth_info(entry, &info);
                    self.adopt(entry, key, tls, info, access);
                }
                limits::MIRTH_PROBE_AFTER
            }
            Err(error) => {
                *watched = Watched::default();
                tracing::debug!(error = error_chain(&error), took = ?began.elapsed(), "Mirth could not be asked what it is");
                if error.is_silence() && self.mirth_activity.outweighs(began, Instant::now()) {
                    tracing::debug!(
                        "it answers on another connection, so it is at work and merely not known"
                    );
                    // It is at work. Nothing new is judged until it is known again.
                    self.ready.send_replace(None);
                    return ASK_AGAIN;
                }
                self.lose(entry, &error);
                ASK_AGAIN
            }
        }
    }

    /// Asks Mirth what it is, over the connection that is kept, if Mirth is known by it; else, or where it
    /// broke, over a new one.
    async fn discover(
        &self,
        key: Option<KeyFingerprint>,
        before: Option<&Ready>,
        watched: &mut Watched,
    ) -> Result<(MirthTls, MirthInfo), OriginError> {
        if let (Some(before), Some(origin)) = (before, &mut watched.origin) {
            if let Ok(info) = discover(&self.config.mirth, origin).await {
                return Ok((before.tls.clone(), info));
            }
            // It was away: nothing is judged by what it was.
            self.ready.send_replace(None);
        }
        let failed = |source| OriginError::Key { url: self.config.mirth.to_string(), source };
        let tls = MirthTls::new(key).map_err(failed)?;
        let mut origin = Origin::connect(&self.config.mirth, &tls).await?;
        let info = discover(&self.config.mirth, &mut origin).await?;
        watched.origin = Some(origin);
        Ok((tls, info))
    }

    fn adopt(
        &self,
        entry: &LiveConnection,
        key: Option<KeyFingerprint>,
        tls: MirthTls,
        info: MirthInfo,
        access: Option<Access>,
    ) {
        let Some(access) = access else {
            tracing::debug!("no rule says what may be done here, so nothing is judged yet");
            return self.set(None, None);
        };
        if access == Access::ReadOnly
            && let Err(why) = view_only_needs(Some(&info.version))
        {
            return self.refuse_version(entry, &why);
        }
        self.change(|state| (state.config_mismatch, state.key_shown) = (None, None));
        let (hidden, shown) = (self.config.hide.len(), self.config.show.len());
        tracing::debug!(
            access = access.as_str(),
            hidden,
            shown,
            "requests are judged by what this Mirth has"
        );
        let policy = AccessPolicy { access, hide: self.config.hide.clone(), show: self.config.show.clone() };
        let judge = Judge::new(policy, self.config.mirth.context(), Some(&info.version), &info.unknown);
        self.set(Some(Arc::new(Ready { tls, key, info, access, judge })), Some(true));
    }

    fn refuse_version(&self, entry: &LiveConnection, why: &TooOld) {
        entry.note_fault(&format!(
            "{why}; update Mirth, then have `adit admin connection retry` run on the gateway's host"
        ));
        let is_active = self.is_active.load(Ordering::Relaxed);
        self.change(|state| state.config_mismatch = is_active.then_some(ConfigMismatch::MirthTooOld));
        self.set(None, Some(false));
    }

    fn log_mirth_info(&self, entry: &LiveConnection, info: &MirthInfo) {
        let unknown: Vec<String> = info
            .unknown
            .iter()
            .take(limits::MIRTH_UNKNOWN_NAMED_MAX)
            .map(|listed| format!("{} {}", listed.method, listed.path))
            .collect();
        let (connection, version) = (&entry.config.name, info.version.to_string());
        let known = self.state.borrow();
        if known.version.as_ref() == Some(&version) && known.unknown_operations == unknown {
            // It was away, or is too old and looked at again and again.
            return;
        }
        drop(known);
        tracing::info!(%connection, version, mirth = %self.config.mirth, "the managed Mirth was read");
        if !unknown.is_empty() {
            tracing::warn!(
                %connection, count = info.unknown.len(), operations = unknown.join(", "),
                "this Mirth has operations that adit does not know; view-only partners are denied them"
            );
        }
        self.change(|state| (state.version, state.unknown_operations) = (Some(version), unknown));
    }

    fn lose(&self, entry: &LiveConnection, error: &OriginError) {
        let what = match error {
            OriginError::Key { source: IdentityError::UnknownMirthKey { shown }, .. } => {
                self.change(|state| state.key_shown = Some(*shown));
                format!(
                    "the key of this Mirth is not trusted yet; it shows {shown}: compare it with Mirth's own \
                     certificate, then run `adit trust {} --mirth {shown}`",
                    entry.config.name
                )
            }
            OriginError::Key { source: IdentityError::ChangedMirthKey { shown, known }, .. } => {
                self.change(|state| state.key_shown = Some(*shown));
                format!(
                    "this Mirth shows the key {shown}, but {known} is the trusted one; if its certificate was \
                     renewed, run `adit trust {} --mirth {shown}`",
                    entry.config.name
                )
            }
            error => error_chain(error),
        };
        entry.note_fault(&what);
        self.change(|state| state.answers = Some(false));
        self.set(None, Some(false));
    }

    fn set(&self, ready: Option<Arc<Ready>>, serves: Option<bool>) {
        self.ready.send_replace(ready);
        self.change(|state| state.serves = serves);
    }

    /// Changes what is known of Mirth; says so where that is news.
    fn change(&self, change: impl FnOnce(&mut UpstreamState)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }

    /// Returns what is known of Mirth, as it changes.
    #[must_use]
    pub(crate) fn state(&self) -> watch::Receiver<UpstreamState> {
        self.state.subscribe()
    }

    /// Serves one stream, whose header was read.
    pub(crate) async fn carry(
        self: Arc<Self>,
        parts: Arc<AdminParts>,
        entry: Arc<LiveConnection>,
        stream: DataStream,
        connection: Connection,
    ) {
        filter::serve(&self, &parts, &entry, stream, &connection).await;
    }
}

/// What is known of Mirth's being there without a break.
#[derive(Default)]
struct Watched {
    /// Kept open between two checks: its end tells that Mirth was away, if only for a moment.
    origin: Option<Origin>,
    checked: Option<Instant>,
}

impl Watched {
    /// Waits until Mirth closes the kept connection.
    async fn gone(&mut self) {
        match &mut self.origin {
            Some(origin) => origin.answers.readable().await,
            None => std::future::pending().await,
        }
    }

    /// Returns how long ago the last check was.
    fn age(&self) -> Duration {
        self.checked.map_or(Duration::MAX, |checked| checked.elapsed())
    }
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Managed {{ mirth: {} }}", self.config.mirth)
    }
}
