//! Processes of one test, each ended by its own handle, and waiting for what can be seen.

use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adit_lab::binaries;
use tokio::time::sleep;

/// Nothing a test waits for takes longer, however busy the machine is.
pub(crate) const HANG_LIMIT: Duration = Duration::from_secs(120);
const POLL_EVERY: Duration = Duration::from_millis(50);

/// A daemon of the real binary; its log is a file.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Runs `adit ROLE --config CONFIG`.
    pub(crate) fn start(role: &str, config: &Path) -> Self {
        let log = config.with_extension("log");
        let output = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(binaries::adit())
            .arg(role)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            println!("{}:\n{}", self.log.display(), lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

/// Runs a command to its end, which must be a good one; returns what it printed.
pub(crate) async fn run(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Looks again and again until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + HANG_LIMIT;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {HANG_LIMIT:?}: {what}");
        sleep(POLL_EVERY).await;
    }
}

/// A TCP port of loopback that nobody has, for a program that is told of it at its start.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
