//! The managed server's end: what is known of the Mirth beside this agent, and who may ask it what.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::filter;
use super::origin::OriginError;
use super::sessions::Sessions;
use super::survey::{Surveyed, survey};
use crate::agent::context::Context;
use crate::agent::entries::LiveEntry;
use crate::agent::target::LocalEnd;
use crate::agent::tunnels::chain;
use crate::config::agent::AdminManaged;
use crate::domain::access::Access;
use crate::domain::id::KeyFingerprint;
use crate::domain::limits;
use crate::identity::error::IdentityError;
use crate::identity::time::TimeSource;
use crate::mirth::verdict::{Judge, Policy};
use crate::mirth::version::{TooOld, view_only_needs};
use crate::protocol::control::Unfit;
use crate::protocol::token_bucket::TokenBucket;
use crate::transport::endpoint::Connection;
use crate::transport::tls::MirthTls;
use crate::transport::tunnel::DataStream;

/// How soon a Mirth that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Mirth is not known to answer.
const NEVER: u64 = u64::MAX;

/// A Mirth that may be worked on, as the connection's type allows.
pub struct Here {
    pub tls: MirthTls,
    /// The trusted one, by which it was found.
    key: Option<KeyFingerprint>,
    pub surveyed: Surveyed,
    pub access: Access,
    pub judge: Judge,
}

/// The Mirth beside this agent, for one connection.
pub struct Managed {
    pub config: AdminManaged,
    pub sessions: Arc<Sessions>,
    refusals: Mutex<TokenBucket>,
    requests: Mutex<TokenBucket>,
    wrong_logins: Mutex<TokenBucket>,
    here: watch::Sender<Option<Arc<Here>>>,
    answers: watch::Sender<Option<bool>>,
    stirred: Notify,
    started: Instant,
    /// Milliseconds after `started` of the last answer that Mirth gave, or [`NEVER`].
    last_answer: AtomicU64,
}

impl Managed {
    #[must_use]
    pub fn new(config: AdminManaged) -> Self {
        let pace = |burst, per_second| Mutex::new(TokenBucket::per_second(burst, per_second));
        Self {
            config,
            sessions: Arc::default(),
            refusals: pace(limits::ADMIN_REFUSALS_BURST, limits::ADMIN_REFUSALS_PER_SECOND),
            requests: pace(limits::ADMIN_REQUESTS_BURST, limits::ADMIN_REQUESTS_PER_SECOND),
            wrong_logins: pace(limits::ADMIN_WRONG_LOGINS_BURST, limits::ADMIN_WRONG_LOGINS_PER_SECOND),
            here: watch::Sender::new(None),
            answers: watch::Sender::new(None),
            stirred: Notify::new(),
            started: Instant::now(),
            last_answer: AtomicU64::new(NEVER),
        }
    }

    /// The Mirth as far as it may be worked on now.
    #[must_use]
    pub fn here(&self) -> Option<Arc<Here>> {
        self.here.borrow().clone()
    }

    /// How long a refusal waits before it is written and answered: its record costs disk.
    pub fn refusal_delay(&self) -> Duration {
        lock(&self.refusals).take(Instant::now())
    }

    /// How long a request waits before it is sent on.
    pub fn request_delay(&self) -> Duration {
        lock(&self.requests).take(Instant::now())
    }

    /// How long one that says who asks waits besides: after wrong passwords, so that nobody guesses them
    /// here, and no owner is locked out of the Mirth.
    pub fn login_delay(&self) -> Duration {
        lock(&self.wrong_logins).owed(Instant::now())
    }

    pub fn note_wrong_login(&self) {
        lock(&self.wrong_logins).take(Instant::now());
    }

    pub fn note_answer(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(NEVER);
        self.last_answer.store(millis, Ordering::Relaxed);
    }

    /// A connection to Mirth could not be made or broke: look at once.
    pub fn note_failure(&self) {
        self.last_answer.store(NEVER, Ordering::Relaxed);
        self.stirred.notify_one();
    }

    /// Asks Mirth what it is, at the start, now and then while nobody else does, and when it changed.
    async fn keep_surveyed(&self, context: &Context, entry: &LiveEntry) {
        let mut rules = context.watch_rules();
        let mut keys = context.watch_mirth_keys();
        loop {
            rules.borrow_and_update();
            keys.borrow_and_update();
            let pause = self.look(context, entry).await;
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stirred.notified() => {}
                _ = rules.changed() => {}
                _ = keys.changed() => {}
            }
        }
    }

    /// One look; gives how long the next may wait.
    async fn look(&self, context: &Context, entry: &LiveEntry) -> Duration {
        let key = context.mirth_key(&self.config);
        let access = context.rules().rule(entry.config.id).and_then(|rule| Access::of(rule.kind));
        let before = self.here().filter(|here| here.key == key && access == Some(here.access));
        if before.is_some() && self.idle() < limits::MIRTH_PROBE_AFTER {
            return limits::MIRTH_PROBE_AFTER.saturating_sub(self.idle());
        }
        match self.survey(key, before.as_deref()).await {
            Ok((tls, surveyed)) => {
                self.note_answer();
                entry.facts.changing().mirth.set(Some(true), context.clock.now());
                if before.is_none_or(|here| here.surveyed != surveyed) {
                    self.say_what_is_here(entry, &surveyed);
                    self.adopt(context, entry, key, tls, surveyed, access);
                }
                limits::MIRTH_PROBE_AFTER
            }
            Err(error) => {
                self.lose(context, entry, &error);
                ASK_AGAIN
            }
        }
    }

    async fn survey(
        &self,
        key: Option<KeyFingerprint>,
        before: Option<&Here>,
    ) -> Result<(MirthTls, Surveyed), OriginError> {
        let failed = |source| OriginError::Key { url: self.config.mirth.to_string(), source };
        let tls = MirthTls::new(key).map_err(failed)?;
        // One that was away may have come back with other plug-ins, and is read anew.
        let surveyed = survey(&self.config.mirth, &tls, before.map(|here| &here.surveyed)).await?;
        Ok((tls, surveyed))
    }

    fn adopt(
        &self,
        context: &Context,
        entry: &LiveEntry,
        key: Option<KeyFingerprint>,
        tls: MirthTls,
        surveyed: Surveyed,
        access: Option<Access>,
    ) {
        let Some(access) = access else { return self.set(None, None) };
        if access == Access::ReadOnly
            && let Err(why) = view_only_needs(Some(&surveyed.version))
        {
            return self.refuse_version(context, entry, &why);
        }
        let mut changing = entry.facts.changing();
        (changing.unfit, changing.mirth_key_shown) = (None, None);
        drop(changing);
        let policy = Policy { access, hide: self.config.hide.clone(), show: self.config.show.clone() };
        let judge =
            Judge::new(policy, self.config.mirth.context(), Some(&surveyed.version), &surveyed.unknown);
        self.set(Some(Arc::new(Here { tls, key, surveyed, access, judge })), Some(true));
    }

    fn refuse_version(&self, context: &Context, entry: &LiveEntry, why: &TooOld) {
        context.note_fault(entry, &format!("{why}; update Mirth, then `retry` the connection"));
        entry.facts.changing().unfit = Some(Unfit::MirthTooOld);
        self.set(None, Some(false));
    }

    fn say_what_is_here(&self, entry: &LiveEntry, surveyed: &Surveyed) {
        let unknown: Vec<String> = surveyed
            .unknown
            .iter()
            .take(limits::MIRTH_UNKNOWN_NAMED_MAX)
            .map(|listed| format!("{} {}", listed.method, listed.path))
            .collect();
        let (connection, version) = (&entry.config.name, surveyed.version.to_string());
        let mut changing = entry.facts.changing();
        if changing.mirth_version.as_ref() == Some(&version) && changing.unknown_operations == unknown {
            // It was away, or is too old and looked at again and again.
            return;
        }
        tracing::info!(%connection, version, mirth = %self.config.mirth, "the managed Mirth was read");
        if !unknown.is_empty() {
            tracing::warn!(
                %connection, count = surveyed.unknown.len(), operations = unknown.join(", "),
                "this Mirth has operations that adit does not know; view-only partners are denied them"
            );
        }
        changing.mirth_version = Some(version);
        changing.unknown_operations = unknown;
    }

    fn lose(&self, context: &Context, entry: &LiveEntry, error: &OriginError) {
        let what = match error {
            OriginError::Key { source: IdentityError::UnknownMirthKey { shown }, .. } => {
                entry.facts.changing().mirth_key_shown = Some(*shown);
                format!(
                    "the key of this Mirth is not trusted yet; it shows {shown}: compare it with Mirth's own \
                     certificate, then run `adit trust {} --mirth {shown}`",
                    entry.config.name
                )
            }
            OriginError::Key { source: IdentityError::ChangedMirthKey { shown, known }, .. } => {
                entry.facts.changing().mirth_key_shown = Some(*shown);
                format!(
                    "this Mirth shows the key {shown}, but {known} is the trusted one; if its certificate was \
                     renewed, run `adit trust {} --mirth {shown}`",
                    entry.config.name
                )
            }
            error => chain(error),
        };
        context.note_fault(entry, &what);
        entry.facts.changing().mirth.set(Some(false), context.clock.now());
        self.set(None, Some(false));
    }

    fn set(&self, here: Option<Arc<Here>>, answers: Option<bool>) {
        self.here.send_replace(here);
        self.answers.send_if_modified(|known| std::mem::replace(known, answers) != answers);
    }

    /// For how long Mirth gave no answer; for ever where it is not known to answer.
    fn idle(&self) -> Duration {
        match self.last_answer.load(Ordering::Relaxed) {
            NEVER => Duration::MAX,
            last => self.started.elapsed().saturating_sub(Duration::from_millis(last)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Managed {{ mirth: {} }}", self.config.mirth)
    }
}

impl LocalEnd for Managed {
    fn answers(&self) -> watch::Receiver<Option<bool>> {
        self.answers.subscribe()
    }

    async fn watch(&self, context: &Arc<Context>, entry: &Arc<LiveEntry>) {
        self.keep_surveyed(context, entry).await;
    }

    async fn carry(
        self: Arc<Self>,
        context: Arc<Context>,
        entry: Arc<LiveEntry>,
        stream: DataStream,
        connection: Connection,
    ) {
        filter::serve(&self, &context, &entry, stream, &connection).await;
    }
}
