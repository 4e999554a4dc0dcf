//! Opens a platform on what a power cut left and says what is wrong with it.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use adit_core::domain::time::Timestamp;
use adit_gateway::platform::{AgentError, Platform};
use adit_net::identity::time::TimeSource;

use super::acts::host;
use super::disk::Image;
use super::dump;
use crate::memory_folder::memory_folder;
use crate::whole_lists::WholeLists as _;

/// How many lines of a difference are shown.
const LINES_SHOWN: usize = 4;

/// A clock moved by hand.
#[derive(Debug)]
pub(crate) struct Clock(AtomicI64);

impl Clock {
    pub(crate) fn at(millis: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(millis)))
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl TimeSource for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What the recorded process saw after an act.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Of the act.
    pub(crate) name: String,
    pub(crate) at_millis: i64,
    pub(crate) dump: String,
}

/// Writes the image as the state folder below `parent`.
pub(crate) fn materialise(image: &Image, parent: &Path) -> PathBuf {
    let state = parent.join(super::disk::STATE);
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    for (name, (mode, bytes)) in &image.0 {
        let path = state.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
    }
    state
}

/// Judges images of one recording.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// What was read as people and agents do: after which act, with which key. The same rows with the same key
    /// read the same.
    read: HashSet<(usize, Option<Vec<u8>>)>,
}

impl Judge {
    /// Judges an image made when `acknowledged` acts were: the platform opens, what it holds is what was seen
    /// after the last of them or after the one that was in flight, and all of it can be read.
    pub(crate) async fn judge(
        &mut self,
        image: &Image,
        seen: &[Seen],
        acknowledged: usize,
    ) -> Result<(), String> {
        let parent = memory_folder();
        let state = materialise(image, parent.path());
        // Before the first one the platform is being made: nothing but its first state may come of it.
        let last = acknowledged.saturating_sub(1);
        let possible = last..seen.len().min(acknowledged + 1);
        let clock = Clock::at(seen[last].at_millis);
        let opened = Platform::open(&state, clock).await;
        let platform = opened.map_err(|error| format!("does not open: {error:?}"))?;
        let act = last + compare(&state, &seen[possible]).await?;
        if self.read.insert((act, fs::read(state.join("sealing.key")).ok())) {
            read_all(&platform).await?;
        }
        platform.close().await.map_err(|error| format!("does not close: {error:?}"))
    }
}

/// Returns which of the possible states it is.
async fn compare(state: &Path, possible: &[Seen]) -> Result<usize, String> {
    let unread = |error| format!("cannot be looked at: {error:?}");
    let mut database = dump::open(state).await.map_err(unread)?;
    let found = dump::dump(&mut database).await.map_err(unread)?;
    let faults = dump::faults(&mut database).await.map_err(unread)?;
    if !faults.is_empty() {
        return Err(format!("is damaged: {}", faults.join("; ")));
    }
    if let Some(at) = possible.iter().position(|seen| seen.dump == found) {
        return Ok(at);
    }
    let differences = possible.iter().map(|seen| difference(seen, &found)).collect::<String>();
    Err(format!("holds something else{differences}"))
}

fn difference(seen: &Seen, found: &str) -> String {
    let (expected, found): (BTreeSet<_>, BTreeSet<_>) =
        (seen.dump.lines().collect(), found.lines().collect());
    let list = |lines: Vec<&str>| {
        let shown = lines[..lines.len().min(LINES_SHOWN)].join("\n      ");
        format!("{} lines\n      {shown}", lines.len())
    };
    format!(
        "\n  than after `{}`\n    missing: {}\n    beyond: {}",
        seen.name,
        list(expected.difference(&found).copied().collect()),
        list(found.difference(&expected).copied().collect()),
    )
}

/// Reads what people and agents read; each kept secret must open with the sealing key that is there.
async fn read_all(platform: &Platform) -> Result<(), String> {
    let host = host();
    let unread = |error| format!("cannot be read: {error:?}");
    platform.organizations(&host).await.map_err(unread)?;
    platform.servers(&host).await.map_err(unread)?;
    platform.channels(&host).await.map_err(unread)?;
    platform.peerings(&host).await.map_err(unread)?;
    platform.grants(&host).await.map_err(unread)?;
    platform.audit(&host, u32::MAX).await.map_err(unread)?;
    for connection in platform.connections(&host).await.map_err(unread)? {
        let Some(server) = connection.target.server else { continue };
        if let Err(AgentError::Platform(error)) = platform.fetch_secret(server, connection.id).await {
            return Err(format!("does not give a secret out: {error:?}"));
        }
    }
    Ok(())
}
