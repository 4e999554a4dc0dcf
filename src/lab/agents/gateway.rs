//! The gateway as a child process: started, watched by its own id alone, killed, and ended with its owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::UnixDatagram;
use tokio::time::{interval, timeout};

use super::AgentsError;

/// It opens its database, which may be large, and says that it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const ALIVE_EVERY: Duration = Duration::from_millis(100);
const LOG: &str = "gateway.log";
const NOTIFY: &str = "notify";
/// Lines of its log that an error repeats.
const LAST_WORDS: usize = 3;
/// `USER_HZ`, which Linux keeps at this wherever it runs.
const TICKS_PER_SECOND: u64 = 100;

/// A gateway that serves. Dropping it kills it.
pub(crate) struct GatewayProcess {
    child: Child,
    folder: PathBuf,
}

impl GatewayProcess {
    /// Starts `adit gateway` with the file `config` and waits until it says that it serves.
    pub(crate) async fn start(adit: &Path, config: &Path, folder: &Path) -> Result<Self, AgentsError> {
        let writing = |path: &Path, source| AgentsError::Write { path: path.into(), source };
        let (log, notify) = (folder.join(LOG), folder.join(NOTIFY));
        let output =
            File::options().create(true).append(true).open(&log).map_err(|source| writing(&log, source))?;
        let errors = output.try_clone().map_err(|source| writing(&log, source))?;
        // One of a gateway before this may be there.
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).map_err(|source| writing(&notify, source))?;
        let child = Command::new(adit)
            .arg("gateway")
            .arg("--config")
            .arg(config)
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|source| AgentsError::Start { adit: adit.into(), source })?;
        let mut gateway = Self { child, folder: folder.into() };
        gateway.ready(&socket).await?;
        Ok(gateway)
    }

    /// Waits for the word that systemd would wait for.
    async fn ready(&mut self, socket: &UnixDatagram) -> Result<(), AgentsError> {
        let said = async {
            let mut word = [0; 256];
            loop {
                match socket.recv(&mut word).await {
                    Ok(length) if word[..length].starts_with(b"READY=1") => return,
                    _ => {}
                }
            }
        };
        let mut alive = interval(ALIVE_EVERY);
        let ended = async {
            loop {
                alive.tick().await;
                self.check_alive()?;
            }
        };
        let ready = timeout(START_TIMEOUT, async {
            tokio::select! {
                () = said => Ok(()),
                ended = ended => ended,
            }
        });
        match ready.await {
            Ok(ready) => ready,
            Err(_) => Err(AgentsError::NotReady { after: START_TIMEOUT, words: self.last_words() }),
        }
    }

    /// Fails when it has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<(), AgentsError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(AgentsError::Ended { words: self.last_words() }),
        }
    }

    /// Kills it as a power cut would: no word is said to anybody.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself; either way it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Returns its processor time since it started, user's and system's.
    pub(crate) fn spent(&self) -> Result<Duration, AgentsError> {
        let text = self.read("stat")?;
        // The name, in brackets, may hold anything; behind it stand the numbered fields from 3 on.
        let fields: Vec<u64> = text
            .rsplit(')')
            .next()
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        let ticks: u64 = fields.iter().skip(11).take(2).sum();
        Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
    }

    /// Returns its resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64, AgentsError> {
        let text = self.read("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        Ok(1_024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default())
    }

    fn read(&self, file: &str) -> Result<String, AgentsError> {
        let path = PathBuf::from(format!("/proc/{}/{file}", self.child.id()));
        fs::read_to_string(&path).map_err(|source| AgentsError::Spent { path, source })
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().rev().take(LAST_WORDS).collect();
        lines.reverse();
        lines.join(" | ")
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Processor time over a stretch of time.
pub(crate) struct Stopwatch {
    begun: Instant,
    spent: Duration,
}

impl Stopwatch {
    pub(crate) fn start(gateway: &GatewayProcess) -> Result<Self, AgentsError> {
        Ok(Self { begun: Instant::now(), spent: gateway.spent()? })
    }

    /// Returns how long it ran, and what the gateway has spent meanwhile.
    pub(crate) fn stop(self, gateway: &GatewayProcess) -> Result<(Duration, Duration), AgentsError> {
        Ok((self.begun.elapsed(), gateway.spent()?.saturating_sub(self.spent)))
    }
}
