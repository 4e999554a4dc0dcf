//! Makes a recording: builds the recorder, lets this test's own program act in a folder of its own, and
//! checks that the recorder saw everything that was written.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::disk::{ACKNOWLEDGED, Disk, Image, Loss, STATE};
use super::judge::{self, Seen};
use super::log::{self, Event};

/// Which acts the recorded process performs; it performs none without.
pub(crate) const RUN: &str = "ADIT_CRASH_RUN";
/// Where it does so.
pub(crate) const FOLDER: &str = "ADIT_CRASH_FOLDER";
/// Where it leaves what it saw: beside what is recorded.
pub(crate) const SEEN: &str = "ADIT_CRASH_SEEN";
pub(crate) const SEED: &str = "ADIT_TEST_SEED";

/// How far a recorded process goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// One act of each kind.
    Short,
    /// Some more that are drawn, and as many as make `SQLite` move its log into the database by itself.
    Full,
}

#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) before: Image,
    pub(crate) events: Vec<Event>,
    /// After each acknowledged act, in order.
    pub(crate) seen: Vec<Seen>,
}

impl Recording {
    /// Records a process that starts with `before` in its state folder.
    pub(crate) fn make(before: Image, length: Length, seed: u64) -> Self {
        let temporary = TempDir::new().unwrap();
        // SQLite opens what a path leads to, and the recorder knows files by their paths.
        let parent = temporary.path().canonicalize().unwrap();
        let [root, beside] = ["recorded", "seen"].map(|name| parent.join(name));
        for folder in [&root, &beside] {
            fs::create_dir(folder).unwrap();
        }
        let state = judge::materialise(&before, &root);
        let log = parent.join("log");
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_recorded", "--nocapture"])
            .env(RUN, format!("{length:?}"))
            .env(FOLDER, &root)
            .env(SEEN, &beside)
            .env(SEED, seed.to_string())
            .env("RECORDER_ROOT", &root)
            .env("RECORDER_LOG", &log)
            .env("LD_PRELOAD", build(&parent))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the recorded process ended with {}: {said}", output.status);
        let events = log::read(fs::read(&log).unwrap().into());
        let recording = Self { before, events, seen: read_seen(&beside) };
        recording.check_against(&state, &root);
        recording
    }

    /// Checks that the log leads to what is there: nothing was written past the recorder.
    fn check_against(&self, state: &Path, root: &Path) {
        let mut disk = Disk::holding(&self.before);
        for event in &self.events {
            disk.handle(event);
        }
        assert!(self.seen.len() > 1, "the recorded process did nothing");
        assert_eq!(disk.acknowledged(), self.seen.len(), "acknowledgements in the log");
        let lines = fs::read_to_string(root.join(ACKNOWLEDGED)).unwrap().lines().count();
        assert_eq!(lines, self.seen.len(), "acknowledgements in the file");
        let (recorded, found) = (disk.image(Loss::Nothing), image_of(state));
        assert!(recorded.0.keys().eq(found.0.keys()), "{:?}, not {:?}", recorded.0.keys(), found.0.keys());
        for (name, file) in &found.0 {
            assert!(recorded.0[name] == *file, "{STATE}/{name} was written past the recorder");
        }
    }
}

/// Returns what lies in a state folder; shared memory is no file in this sense.
pub(crate) fn image_of(state: &Path) -> Image {
    let mut image = Image::default();
    for entry in fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with("-shm") {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            image.0.insert(name, (mode, fs::read(&path).unwrap()));
        }
    }
    image
}

fn build(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("crash_points/recorder.c");
    let library = folder.join("recorder.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .args([&library, &source])
        .output()
        .expect("`cc` starts; it builds SQLite too");
    assert!(built.status.success(), "the recorder cannot be built: {built:#?}");
    library
}

/// Reads the files `seen/NNNN`: a line with the act, one with the time, then the dump.
fn read_seen(folder: &Path) -> Vec<Seen> {
    let count = fs::read_dir(folder).unwrap().count();
    let read = |number: usize| {
        let text = fs::read_to_string(folder.join(format!("{number:04}"))).unwrap();
        let mut parts = text.splitn(3, '\n').map(String::from);
        let mut part = || parts.next().unwrap();
        Seen { name: part(), at_millis: part().parse().unwrap(), dump: part() }
    };
    (0..count).map(read).collect()
}
