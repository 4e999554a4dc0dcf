//! Chooses the crash points of a recording and tries them: after each event the disk is cut off, what it may
//! hold then is made, and a platform is opened on it.

use std::collections::HashSet;
use std::fmt;

use adit_lab::messages::Draws;
use tokio::runtime::Runtime;

use super::disk::{ACKNOWLEDGED, DATABASE, Disk, LOG, Loss};
use super::judge::Judge;
use super::log::Event;
use super::recording::Recording;

/// How many prefixes that end at no sync are drawn in an ordinary run.
const DRAWN: u64 = 60;
/// How many failures are told in full.
const SHOWN: usize = 5;

/// What came of crash points.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    prefixes: usize,
    count: usize,
    failures: Vec<String>,
}

impl Tried {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn failed(&self) -> usize {
        self.failures.len()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.prefixes += other.prefixes;
        self.count += other.count;
        self.failures.extend(other.failures);
    }

    #[track_caller]
    pub(crate) fn assert_none_failed(&self) {
        let shown = &self.failures[..self.failures.len().min(SHOWN)];
        assert!(
            shown.is_empty(),
            "{self}
{}",
            shown.join(
                "
"
            )
        );
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefixes, count, failures } = self;
        write!(f, "{count} crash points of {prefixes} prefixes were tried, {} failed", failures.len())
    }
}

/// A recording that is cut off again and again.
struct Cutter<'a> {
    recording: &'a Recording,
    runtime: Runtime,
    disk: Disk,
    judge: Judge,
    /// Images that were judged with as much acknowledged.
    judged: HashSet<([u8; 32], usize)>,
    tried: Tried,
}

impl<'a> Cutter<'a> {
    fn new(recording: &'a Recording) -> Self {
        Self {
            recording,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            disk: Disk::holding(&recording.before),
            judge: Judge::default(),
            judged: HashSet::new(),
            tried: Tried::default(),
        }
    }

    /// Cuts after `at` events, which is where the disk is.
    fn cut(&mut self, at: usize, losses: &[Loss]) {
        self.tried.prefixes += usize::from(!losses.is_empty());
        for loss in losses {
            let (image, acknowledged) = (self.disk.image(*loss), self.disk.acknowledged());
            if !self.judged.insert((image.digest(), acknowledged)) {
                continue;
            }
            self.tried.count += 1;
            let judging = self.judge.judge(&image, &self.recording.seen, acknowledged);
            let judged = self.runtime.block_on(judging);
            if let Err(why) = judged {
                let last = self.recording.seen.get(acknowledged.wrapping_sub(1)).map(|seen| &seen.name);
                let failure = format!(
                    "after {at} events, {acknowledged} acts acknowledged (the last: {last:?}), {loss:?} lost: {why}"
                );
                self.tried.failures.push(failure);
            }
        }
    }

    /// A point that no run leaves out: while the database is being made or migrated, where the log is moved
    /// into it, around each sync and after each acknowledgement.
    fn is_edge(&self, event: &Event, next: Option<&Event>) -> bool {
        let is_opening = self.disk.acknowledged() == 0;
        let is_move = matches!(event, Event::Written { fd, .. } if self.disk.name_of(*fd) == Some(DATABASE));
        let is_sync = |event: &Event| matches!(event, Event::Synced { .. });
        let by_sync = is_sync(event) || next.is_some_and(is_sync);
        is_opening || is_move || by_sync || self.is_acknowledgement(event)
    }

    fn is_acknowledgement(&self, event: &Event) -> bool {
        matches!(event, Event::Written { fd, .. } if self.disk.name_of(*fd) == Some(ACKNOWLEDGED))
    }
}

/// Tries what `seed` draws, or everything.
pub(crate) fn try_all(recording: &Recording, seed: u64, is_everything: bool) -> Tried {
    let mut cutter = Cutter::new(recording);
    let mut draws = Draws::new(seed);
    let count = recording.events.len() as u64;
    cutter.cut(0, &[Loss::Nothing]);
    for (at, event) in (1..).zip(&recording.events) {
        if !cutter.disk.handle(event) {
            continue;
        }
        let is_edge = cutter.is_edge(event, recording.events.get(at));
        let is_drawn = draws.below(count) < DRAWN;
        let (some, another) = (Loss::Some(draws.next()), Loss::Some(draws.next()));
        let losses = [Loss::Nothing, Loss::Bytes, Loss::BytesWithNames, some, another];
        let losses = match (is_everything, is_edge, is_drawn) {
            (true, ..) => &losses[..],
            (_, true, _) => &losses[..4],
            (_, _, true) => &[Loss::Nothing, some],
            _ => &[],
        };
        cutter.cut(at, losses);
    }
    cutter.tried
}

impl Recording {
    /// Cuts the recording right after each acknowledgement, with all that was not synced lost.
    pub(crate) fn try_acknowledged(&self) -> Tried {
        let mut cutter = Cutter::new(self);
        for (at, event) in (1..).zip(&self.events) {
            cutter.disk.handle(event);
            if cutter.is_acknowledgement(event) {
                cutter.cut(at, &[Loss::Bytes, Loss::BytesWithNames]);
            }
        }
        cutter.tried
    }

    /// Cuts it right after the first acknowledgement that follows the event `at`, with nothing lost.
    pub(crate) fn try_until_acknowledged(&self, at: usize) -> Tried {
        let mut cutter = Cutter::new(self);
        for (number, event) in (0..).zip(&self.events) {
            cutter.disk.handle(event);
            if number >= at && cutter.is_acknowledgement(event) {
                cutter.cut(number + 1, &[Loss::Nothing]);
                break;
            }
        }
        cutter.tried
    }

    /// Returns it without the syncs of one file or folder, as a program does that leaves them to the system.
    pub(crate) fn without_syncs_of(&self, name: &str) -> Self {
        let (mut disk, mut events) = (Disk::holding(&self.before), self.events.clone());
        events.retain(|event| {
            disk.handle(event);
            !matches!(event, Event::Synced { fd } if disk.name_of(*fd) == Some(name))
        });
        Self { before: self.before.clone(), events, seen: self.seen.clone() }
    }

    /// Returns the last write of a file before each acknowledgement that has one.
    pub(crate) fn last_writes(&self, name: &str) -> Vec<usize> {
        let mut disk = Disk::holding(&self.before);
        let (mut last, mut found) = (None, Vec::new());
        for (at, event) in self.events.iter().enumerate() {
            disk.handle(event);
            match event {
                Event::Written { fd, .. } if disk.name_of(*fd) == Some(name) => last = Some(at),
                Event::Written { fd, .. } if disk.name_of(*fd) == Some(ACKNOWLEDGED) => {
                    found.extend(last.take());
                }
                Event::Removed { name: removed } if removed == name => last = None,
                _ => {}
            }
        }
        found
    }

    /// Returns how often `SQLite` began its log again in place, having moved it into the database.
    pub(crate) fn log_restarts(&self) -> usize {
        let mut disk = Disk::holding(&self.before);
        let (mut restarts, mut is_begun) = (0, false);
        for event in &self.events {
            let is_changed = disk.handle(event);
            match event {
                Event::Written { fd, offset: 0, .. } if disk.name_of(*fd) == Some(LOG) => {
                    restarts += usize::from(std::mem::replace(&mut is_begun, true));
                }
                Event::Opened { name, .. } if is_changed && name == LOG => is_begun = false,
                _ => {}
            }
        }
        restarts
    }

    /// Returns it as if the write at `at` had been called and had never reached the disk.
    pub(crate) fn without_write(&self, at: usize) -> Self {
        let mut events = self.events.clone();
        events.remove(at);
        Self { before: self.before.clone(), events, seen: self.seen.clone() }
    }
}
