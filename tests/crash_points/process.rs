//! The process that is recorded: a platform in a folder, and after each act a line that acknowledges it.
//! What the database holds then is written down beside it, where nothing is recorded.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_gateway::platform::{AgentError, EnrolRefusal, Platform, PlatformError};
use adit_net::identity::time::TimeSource;

use super::disk::{ACKNOWLEDGED, STATE};
use super::dump;
use super::judge::Clock;

/// Later than everything in the golden database.
const BEGUN_AT_MILLIS: i64 = 1_796_000_000_000;
/// Between two acts.
const ACT_EVERY_MILLIS: i64 = 1_500;
/// Nothing that is waited for here takes longer.
const HANG_LIMIT: Duration = Duration::from_secs(90);
const POLL_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) platform: Platform,
    pub(crate) clock: Arc<Clock>,
    state: PathBuf,
    seen: PathBuf,
    acknowledged: File,
    count: usize,
}

impl Process {
    /// Opens the platform below `folder`, which is the first act.
    pub(crate) async fn begin(folder: PathBuf, seen: PathBuf) -> Self {
        let clock = Clock::at(BEGUN_AT_MILLIS);
        let state = folder.join(STATE);
        let acknowledged = folder.join(ACKNOWLEDGED);
        let acknowledged = OpenOptions::new().create(true).append(true).open(acknowledged).unwrap();
        let platform = Platform::open(&state, clock.clone()).await.unwrap();
        let mut process = Self { platform, clock, state, seen, acknowledged, count: 0 };
        process.acknowledge("open").await;
        process
    }

    /// Acknowledges the act that was just answered; the next one comes later.
    pub(crate) async fn acknowledge(&mut self, act: &str) {
        let mut database = dump::open(&self.state).await.unwrap();
        let dump = dump::dump(&mut database).await.unwrap();
        let text = format!("{act}\n{}\n{dump}", self.clock.now().as_millis());
        fs::write(self.seen.join(format!("{:04}", self.count)), text).unwrap();
        let line = format!("{} {act}\n", self.count);
        self.acknowledged.write_all(line.as_bytes()).unwrap();
        self.count += 1;
        self.clock.pass(ACT_EVERY_MILLIS);
    }

    /// Acknowledges an act that must be granted.
    pub(crate) async fn granted<T, E: Debug>(&mut self, act: &str, answer: Result<T, E>) -> T {
        self.acknowledge(act).await;
        answer.unwrap_or_else(|error| panic!("{act}: {error:?}"))
    }

    /// Acknowledges an act that may be refused; that is in the audit, and must stay there too.
    pub(crate) async fn answered<T, E: Answer>(&mut self, act: &str, answer: Result<T, E>) -> Option<T> {
        if let Err(error) = &answer {
            assert!(error.is_refusal(), "{act}: {error:?}");
        }
        self.acknowledge(act).await;
        answer.ok()
    }

    /// Closes the platform, waits until `SQLite` has moved its log into the database, and opens it again.
    pub(crate) async fn open_again(self, act: &str) -> Self {
        let Self { platform, clock, state, seen, acknowledged, count } = self;
        platform.close().await.unwrap();
        drop(platform);
        let begun = Instant::now();
        let log = state.join("platform.db-wal");
        while fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            assert!(begun.elapsed() < HANG_LIMIT, "the database was not released");
            tokio::time::sleep(POLL_EVERY).await;
        }
        let platform = Platform::open(&state, clock.clone()).await.unwrap();
        let mut process = Self { platform, clock, state, seen, acknowledged, count };
        process.acknowledge(act).await;
        process
    }

    /// Ends as a process that is killed does: nothing is closed.
    pub(crate) fn end(self) {
        std::mem::forget(self);
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(self.state.join("platform.db-wal")).map_or(0, |metadata| metadata.len())
    }
}

/// What may be answered instead of what was asked for.
pub(crate) trait Answer: Debug {
    fn is_refusal(&self) -> bool;
}

impl Answer for PlatformError {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NotFound { .. })
    }
}

impl Answer for AgentError {
    fn is_refusal(&self) -> bool {
        !matches!(self, Self::Platform(_))
    }
}

impl Answer for EnrolRefusal {
    fn is_refusal(&self) -> bool {
        !matches!(self, Self::Platform(_))
    }
}
