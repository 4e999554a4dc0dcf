//! A lab whose state folders belong to a service's user, and a file of root's that must stay as it is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use adit_core::domain::connection::Protocol;
use adit_lab::binaries;
use rustix::fs::{CWD, Mode, mkfifoat};

use crate::lab::{HANG_LIMIT, Lab, Part, adit, run};

/// A user without an entry in any list.
pub(super) const SERVICE: u32 = 61_234;

#[derive(Debug, Clone, Copy)]
pub(super) enum Plant {
    Link,
    DanglingLink,
    SecondName,
    Pipe,
}

pub(super) const PLANTS: [Plant; 4] = [Plant::Link, Plant::DanglingLink, Plant::SecondName, Plant::Pipe];

pub(super) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can act in the folder of another user");
    }
    is_root
}

pub(super) struct Ground {
    lab: Lab,
    outside: tempfile::TempDir,
    before: fs::Metadata,
}

impl Ground {
    pub(super) fn new() -> Self {
        let lab = Lab::written(&[(Protocol::Mllp, "127.0.0.1:9".parse().unwrap())]);
        give_away(&lab);
        let outside = tempfile::tempdir().unwrap();
        fs::set_permissions(outside.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, VICTIM).unwrap();
        fs::set_permissions(&victim, PermissionsExt::from_mode(0o640)).unwrap();
        let before = fs::metadata(&victim).unwrap();
        Self { lab, outside, before }
    }

    pub(super) fn state(&self, part: Part) -> PathBuf {
        self.lab.state(part)
    }

    pub(super) fn config(&self, part: Part) -> PathBuf {
        self.lab.config(part)
    }

    /// A path in a folder of root's.
    pub(super) fn outside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// The name of the only entry of A.
    pub(super) fn entry(&self) -> String {
        let text = fs::read_to_string(self.config(Part::A)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("name")).unwrap();
        line.trim_matches([' ', '=', '"']).to_owned()
    }

    /// Puts something in the place of `name`.
    pub(super) fn plant(&self, part: Part, name: &str, plant: Plant) -> Planted {
        let path = self.state(part).join(name);
        let aside = self.outside("aside");
        let moved = fs::rename(&path, &aside).is_ok().then_some(aside);
        let victim = self.outside("victim");
        match plant {
            Plant::Link => symlink(victim, &path).unwrap(),
            Plant::DanglingLink => symlink(self.outside("made"), &path).unwrap(),
            Plant::SecondName => fs::hard_link(victim, &path).unwrap(),
            Plant::Pipe => {
                mkfifoat(CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
                chown(&path, Some(SERVICE), Some(SERVICE)).unwrap();
            }
        }
        Planted { path, moved }
    }

    /// Runs a command as root to its end, which must come.
    pub(super) async fn run(&self, part: Part, arguments: &[&str]) -> Output {
        run_for(&self.lab, part, arguments).await
    }

    /// Starts a service and ends it once it has opened all that it opens, if it has not ended before.
    pub(super) async fn starts(&self, part: Part) {
        let role = if part == Part::Gateway { "gateway" } else { "agent" };
        let mut command = adit();
        command.arg(role).arg("--config").arg(self.config(part));
        let log = self.outside("log");
        let file = fs::File::create(&log).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        let deadline = Instant::now() + HANG_LIMIT;
        while child.try_wait().unwrap().is_none() {
            let said = fs::read_to_string(&log).unwrap();
            // An agent has opened all of its files when it looks for the gateway, which does not run here.
            if ["gateway serves", "the gateway is away", "not enrolled yet"]
                .iter()
                .any(|sign| said.contains(sign))
            {
                child.kill().unwrap();
            }
            assert!(Instant::now() < deadline, "{role} neither serves nor ends");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn assert_untouched(&self, after: &str) {
        let victim = self.outside("victim");
        let now = fs::metadata(&victim).unwrap();
        let facts =
            |of: &fs::Metadata| (of.uid(), of.gid(), of.mode(), of.len(), of.mtime(), of.mtime_nsec());
        assert_eq!(facts(&now), facts(&self.before), "{after}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), VICTIM, "{after}");
        assert!(!self.outside("made").exists(), "{after}");
    }
}

const VICTIM: &str = "root's own";

/// What was planted, and what stood there.
pub(super) struct Planted {
    path: PathBuf,
    moved: Option<PathBuf>,
}

impl Planted {
    pub(super) fn take_away(self) {
        // What is rewritten replaces it.
        let _ = fs::remove_file(&self.path);
        if let Some(aside) = self.moved {
            fs::rename(aside, self.path).unwrap();
        }
    }
}

/// Makes state folders and connector files those of the service's user, and the way to them open.
pub(super) fn give_away(lab: &Lab) {
    let dir = lab.dir();
    for folder in [dir.parent().unwrap().to_owned(), dir.clone(), dir.join("a"), dir.join("b")] {
        fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    }
    for part in [Part::Gateway, Part::A, Part::B] {
        let state = lab.state(part);
        fs::create_dir_all(&state).unwrap();
        fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
        give(&state);
        for file in fs::read_dir(&state).unwrap() {
            give(&file.unwrap().path());
        }
    }
    for part in ["a", "b"] {
        give(&dir.join(part).join("connector.toml"));
    }
}

fn give(path: &Path) {
    chown(path, Some(SERVICE), Some(SERVICE)).unwrap();
}

pub(super) async fn run_for(lab: &Lab, part: Part, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg(HANG_LIMIT.as_secs().to_string()).arg(binaries::adit());
    command.args(arguments).arg("--config").arg(lab.config(part)).stdin(Stdio::null());
    let output = run(command).await;
    assert_ne!(output.status.code(), Some(124), "{arguments:?} hangs");
    output
}

pub(super) fn succeeds(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{out}{err}");
    out
}

/// A command that fails says so in words and not by a signal or a panic.
pub(super) fn says_what_is_wrong(output: &Output, command: &str) {
    if !output.status.success() {
        let said = [&output.stdout, &output.stderr]
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .concat();
        assert!(output.status.code() == Some(1), "{command}: {said}");
        assert!(said.contains("adit: ") || said.contains("PROBLEM"), "{command}: {said}");
    }
}
