//! The certificate that browsers see: read from its files, and again once they change. One from an ACME authority is
//! `acme`'s business.
//!
//! Agents never see it, and what is wrong with it keeps nobody else out: the one before stays, and while there is
//! none, browsers see the gateway's own.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::sleep;
use tracing::{debug, info, warn};

use adit_core::config::HostPort;
use adit_core::config::console::{ConsoleConfig, ConsoleWay};
use adit_core::domain::limits::{
    CONSOLE_EXPIRY_SAID_EVERY, CONSOLE_EXPIRY_WARNED, CONSOLE_FILE_BYTES_MAX, CONSOLE_LOOKED_EVERY,
};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_net::host::regular;
use adit_net::identity::error::IdentityError;
use adit_net::identity::time::TimeSource;
use adit_net::identity::web::{WebCertificate, WebCertificateError};
use adit_net::transport::tls::{ConsoleTls, FrontDoorTls};
use adit_observe::metrics;

#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error(
        "cannot read `{path}`, which `[console]` names; write it there, in a file that this user may read"
    )]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "`{path}` holds the console's key and others may read it (mode {mode:04o}); run: chmod 600 {path}"
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("`{certificate}` and `{key}` of `[console]` are of no use")]
    Pair { certificate: PathBuf, key: PathBuf, source: WebCertificateError },
    #[error("the certificate of `[console]` cannot be presented")]
    Present { source: IdentityError },
}

/// Where the certificate is, and whom it must name.
#[derive(Debug, Clone)]
pub struct ConsoleFiles {
    host: String,
    certificate: PathBuf,
    key: PathBuf,
}

impl ConsoleFiles {
    /// Returns those that a gateway's file names, if the gateway itself is to show a certificate.
    #[must_use]
    pub fn of(console: &ConsoleConfig) -> Option<Self> {
        let ConsoleConfig { name, way } = console;
        match way {
            ConsoleWay::Certificate { certificate, key } => Some(Self {
                host: HostPort::host(name).into(),
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            ConsoleWay::Acme(_) | ConsoleWay::Proxy { .. } => None,
        }
    }

    /// Reads them, whatever the time.
    pub fn read(&self) -> Result<WebCertificate, ConsoleError> {
        let certificate = read(&self.certificate)?;
        let mode = mode(&self.key)?;
        if mode & 0o077 != 0 {
            return Err(ConsoleError::Mode { path: self.key.clone(), mode });
        }
        let key = read(&self.key)?;
        WebCertificate::from_pem(certificate.as_bytes(), key.as_bytes(), &self.host).map_err(|source| {
            ConsoleError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source }
        })
    }

    fn stamps(&self) -> Stamps {
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<String>, ConsoleError> {
    regular::read_text(path, CONSOLE_FILE_BYTES_MAX)
        .map_err(|source| ConsoleError::Read { path: path.into(), source })
}

fn mode(path: &Path) -> Result<u32, ConsoleError> {
    let failed = |source| ConsoleError::Read { path: path.into(), source };
    let file = regular::open(path, OpenOptions::new().read(true)).map_err(failed)?;
    file.metadata().map(|metadata| metadata.mode() & 0o7777).map_err(failed)
}

/// By what a file is known to be another than before; `None` while it cannot be looked at.
type Stamps = [Option<Stamp>; 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    mode: u32,
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = fs::metadata(path).ok()?;
    Some(Stamp {
        device: of.dev(),
        inode: of.ino(),
        bytes: of.len(),
        modified: (of.mtime(), of.mtime_nsec()),
        mode: of.mode(),
    })
}

/// Keeps what browsers see.
#[derive(Debug)]
pub(super) struct Console {
    files: ConsoleFiles,
    tls: Arc<FrontDoorTls>,
    clock: Arc<dyn TimeSource>,
    /// As they were when they were read last.
    tried: Option<Stamps>,
    /// As they were looked at last.
    seen: Option<Stamps>,
    expires_at: Option<Timestamp>,
    warned_at: Option<Timestamp>,
}

impl Console {
    pub(super) fn new(files: ConsoleFiles, tls: Arc<FrontDoorTls>, clock: Arc<dyn TimeSource>) -> Self {
        Self { files, tls, clock, tried: None, seen: None, expires_at: None, warned_at: None }
    }

    /// Looks at the files, again and again.
    pub(super) async fn follow(mut self) {
        loop {
            sleep(CONSOLE_LOOKED_EVERY).await;
            self.look();
        }
    }

    /// Reads the files if they are others than before, once both have come to rest: whoever replaces them does one
    /// after the other.
    pub(super) fn look(&mut self) {
        let stamps = Some(self.files.stamps());
        let is_at_rest = self.tried.is_none() || self.seen == stamps;
        if is_at_rest && self.tried != stamps {
            self.tried = stamps;
            if let Err(error) = self.show() {
                let why = error_chain(&error);
                let now = if self.expires_at.is_some() {
                    "the one before stays"
                } else {
                    "they see the gateway's own"
                };
                warn!(
                    why,
                    now,
                    "browsers are not shown the certificate of `[console]`; `adit check` says when it is good"
                );
            }
        }
        self.seen = stamps;
        self.warn_of_end();
    }

    fn show(&mut self) -> Result<(), ConsoleError> {
        let read = self.files.read()?;
        let config = read.server_config().map_err(|source| ConsoleError::Present { source })?;
        self.tls.show_to_browsers(ConsoleTls { host: self.files.host.clone(), config });
        metrics::console_certificate_expires(read.not_after);
        info!(name = self.files.host, until = %read.not_after, "browsers are shown the certificate of `[console]`");
        if self.clock.now() < read.not_before {
            warn!(from = %read.not_before, "the certificate of `[console]` is not valid yet");
        }
        self.expires_at = Some(read.not_after);
        self.warned_at = None;
        Ok(())
    }

    fn warn_of_end(&mut self) {
        let now = self.clock.now();
        let Some(until) = self.expires_at.filter(|until| until.since(now) < CONSOLE_EXPIRY_WARNED) else {
            return;
        };
        if self.warned_at.is_some_and(|warned_at| now.since(warned_at) < CONSOLE_EXPIRY_SAID_EVERY) {
            return debug!(%until, "the certificate of `[console]` ends soon, as the log has it");
        }
        self.warned_at = Some(now);
        warn!(%until, "the certificate of `[console]` ends soon or has; write a new one into its files");
    }
}

#[cfg(test)]
pub(crate) mod tests;
