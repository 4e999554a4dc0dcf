//! The agent's own audit: what was refused and changed on this host, in a file that only grows.
//!
//! One JSON object a line, on disk before `append` returns. The organization's audit log is the
//! gateway's; this one is evidence even where the gateway is not believed. Rotating it is left to
//! the host (`copytruncate`).

mod admin_refusals;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use adit_core::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use adit_core::domain::time::Timestamp;

pub use admin_refusals::{RefusalKind, RefusalSum};

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot open the audit file `{path}`; make it a regular file of the user that runs this agent")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot write the audit file `{path}`; see that its disk is neither full nor read-only")]
    Write { path: PathBuf, source: io::Error },
    #[error("an audit entry was lost before it was written")]
    Lost { source: io::Error },
}

impl AuditError {
    /// Says that the one who was to write the entry ended before.
    #[must_use]
    pub const fn lost(source: io::Error) -> Self {
        Self::Lost { source }
    }
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    at: String,
    #[serde(flatten)]
    event: AuditEvent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum AuditEvent {
    Enrolled {
        server: ServerId,
        key: KeyFingerprint,
    },
    PeerRefused {
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: String,
    },
    /// A user of this host that `allow_users` does not name connected to an entry's port.
    LocalUserRefused {
        connection: ConnectionId,
        /// Absent where it is not known.
        user: Option<u32>,
        /// Before this one, since the last that was written.
        not_written: u64,
    },
    KeyTrusted {
        connection: ConnectionId,
        peer: ServerId,
        key: KeyFingerprint,
    },
    MirthKeyTrusted {
        connection: ConnectionId,
        key: KeyFingerprint,
    },
    /// An operator of this host undid what a gateway had said for good.
    EndForgotten {
        connection: ConnectionId,
        ended: bool,
        revoked: Vec<KeyFingerprint>,
    },
    /// What a gateway said and this agent did not take.
    GatewayNotTaken {
        reason: String,
    },
    /// Lines before this one are missing: they could not be written.
    AuditResumed,
    AdminSessionStarted {
        connection: ConnectionId,
        session: u64,
        access: &'static str,
        organization: Option<String>,
        server: ServerId,
        local_peer: IpAddr,
    },
    AdminSessionEnded {
        connection: ConnectionId,
        session: u64,
        seconds: u64,
        /// Where the requests are judged.
        #[serde(flatten)]
        judged: Option<AdminCounts>,
    },
    AdminRefused {
        connection: ConnectionId,
        session: u64,
        #[serde(flatten)]
        request: AdminRequest,
        status: u16,
        reason: String,
    },
    /// From here on refusals of this connection are counted, until the next line of the kind below.
    AdminRefusalsCounted {
        connection: ConnectionId,
    },
    AdminRefusalsSummed {
        connection: ConnectionId,
        #[serde(flatten)]
        sum: RefusalSum,
    },
    AdminListenerRefused {
        connection: ConnectionId,
        local_peer: IpAddr,
        reason: &'static str,
    },
    AdminLoginFailed {
        connection: ConnectionId,
        session: u64,
        #[serde(flatten)]
        request: AdminRequest,
        /// Absent where Mirth did not answer.
        status: Option<u16>,
    },
    AdminChange {
        connection: ConnectionId,
        session: u64,
        number: u64,
        #[serde(flatten)]
        request: AdminRequest,
    },
    AdminChangeDone {
        connection: ConnectionId,
        session: u64,
        number: u64,
        /// Absent where Mirth did not answer.
        status: Option<u16>,
        milliseconds: u64,
    },
}

/// A request of an admin session, as far as it may be written down: never a value of its path or
/// query, a header or a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdminRequest {
    /// A known one, `other`, or empty where it could not be read.
    pub method: &'static str,
    pub template: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'static str>,
}

/// Which session an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminSessionId {
    pub connection: ConnectionId,
    pub number: u64,
}

/// What was counted of a session's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AdminCounts {
    pub requests: u64,
    pub refused: u64,
    /// Refused and not listed: what a client asks by itself. Left out where there was none.
    #[serde(rename = "refused_as_expected", skip_serializing_if = "is_none")]
    pub expected: u64,
    pub changes: u64,
    /// Records added to Mirth's own audit.
    pub audits: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

impl AuditEntry {
    #[must_use]
    pub fn enrolled(at: Timestamp, server: ServerId, key: KeyFingerprint) -> Self {
        Self::new(at, AuditEvent::Enrolled { server, key })
    }

    #[must_use]
    pub fn peer_refused(
        at: Timestamp,
        connection: Option<ConnectionId>,
        peer: Option<ServerId>,
        reason: &str,
    ) -> Self {
        Self::new(at, AuditEvent::PeerRefused { connection, peer, reason: reason.into() })
    }

    #[must_use]
    pub fn local_user_refused(
        at: Timestamp,
        connection: ConnectionId,
        user: Option<u32>,
        not_written: u64,
    ) -> Self {
        Self::new(at, AuditEvent::LocalUserRefused { connection, user, not_written })
    }

    /// Records that an operator of this host ran `adit trust`.
    #[must_use]
    pub fn key_trusted(at: Timestamp, connection: ConnectionId, peer: ServerId, key: KeyFingerprint) -> Self {
        Self::new(at, AuditEvent::KeyTrusted { connection, peer, key })
    }

    /// Records that an operator of this host ran `adit trust --mirth`.
    #[must_use]
    pub fn mirth_key_trusted(at: Timestamp, connection: ConnectionId, key: KeyFingerprint) -> Self {
        Self::new(at, AuditEvent::MirthKeyTrusted { connection, key })
    }

    /// Records that an operator of this host ran `adit trust --forget-ended`.
    #[must_use]
    pub fn end_forgotten(
        at: Timestamp,
        connection: ConnectionId,
        ended: bool,
        revoked: Vec<KeyFingerprint>,
    ) -> Self {
        Self::new(at, AuditEvent::EndForgotten { connection, ended, revoked })
    }

    #[must_use]
    pub fn gateway_not_taken(at: Timestamp, reason: &str) -> Self {
        Self::new(at, AuditEvent::GatewayNotTaken { reason: reason.into() })
    }

    /// Returns the first line after some that could not be written.
    #[must_use]
    pub fn resumed(at: Timestamp) -> Self {
        Self::new(at, AuditEvent::AuditResumed)
    }

    /// Records the start of a session; `local_peer` is where the managing side's client connected from, as
    /// that side tells it.
    #[must_use]
    pub fn admin_started(
        at: Timestamp,
        AdminSessionId { connection, number }: AdminSessionId,
        access: &'static str,
        (organization, server): (Option<String>, ServerId),
        local_peer: IpAddr,
    ) -> Self {
        let session = number;
        let event =
            AuditEvent::AdminSessionStarted { connection, session, access, organization, server, local_peer };
        Self::new(at, event)
    }

    #[must_use]
    pub fn admin_ended(
        at: Timestamp,
        AdminSessionId { connection, number }: AdminSessionId,
        lasted: Duration,
        judged: Option<AdminCounts>,
    ) -> Self {
        let (session, seconds) = (number, lasted.as_secs());
        Self::new(at, AuditEvent::AdminSessionEnded { connection, session, seconds, judged })
    }

    /// Records a refusal: nothing of the request reached Mirth.
    #[must_use]
    pub fn admin_refused(
        at: Timestamp,
        AdminSessionId { connection, number }: AdminSessionId,
        request: AdminRequest,
        status: u16,
        reason: String,
    ) -> Self {
        Self::new(at, AuditEvent::AdminRefused { connection, session: number, request, status, reason })
    }

    /// Records that refusals of this connection are counted from here on, and summed up each minute.
    #[must_use]
    pub fn admin_refusals_counted(at: Timestamp, connection: ConnectionId) -> Self {
        Self::new(at, AuditEvent::AdminRefusalsCounted { connection })
    }

    #[must_use]
    pub fn admin_refusals_summed(at: Timestamp, connection: ConnectionId, sum: RefusalSum) -> Self {
        Self::new(at, AuditEvent::AdminRefusalsSummed { connection, sum })
    }

    /// Records that the managing side let nobody in from there; nothing reached the managed one.
    #[must_use]
    pub fn admin_listener_refused(
        at: Timestamp,
        connection: ConnectionId,
        local_peer: IpAddr,
        reason: &'static str,
    ) -> Self {
        Self::new(at, AuditEvent::AdminListenerRefused { connection, local_peer, reason })
    }

    /// Records that Mirth did not let in who asked. Never whose name was given: a password may stand in its
    /// place.
    #[must_use]
    pub fn admin_login_failed(
        at: Timestamp,
        AdminSessionId { connection, number }: AdminSessionId,
        request: AdminRequest,
        status: Option<u16>,
    ) -> Self {
        Self::new(at, AuditEvent::AdminLoginFailed { connection, session: number, request, status })
    }

    /// Records a change, written before the change is sent to Mirth. `change` counts the changes of a
    /// session.
    #[must_use]
    pub fn admin_change(
        at: Timestamp,
        AdminSessionId { connection, number }: AdminSessionId,
        change: u64,
        request: AdminRequest,
    ) -> Self {
        Self::new(at, AuditEvent::AdminChange { connection, session: number, number: change, request })
    }

    /// Records what Mirth answered to the change of the same number.
    #[must_use]
    pub fn admin_change_done(
        at: Timestamp,
        AdminSessionId { connection, number }: AdminSessionId,
        change: u64,
        status: Option<u16>,
        took: Duration,
    ) -> Self {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (session, number) = (number, change);
        Self::new(at, AuditEvent::AdminChangeDone { connection, session, number, status, milliseconds })
    }

    fn new(at: Timestamp, event: AuditEvent) -> Self {
        Self { at: at.to_string(), event }
    }
}

/// Appends from any thread, one whole line at a time.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    /// The last line may have no end: the process or the disk ended in the middle of it.
    torn: bool,
}

impl AuditFile {
    /// Opens or makes the file, readable by its owner alone.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let tail = open_tail(path).map_err(|source| AuditError::Open { path: path.into(), source })?;
        Ok(Self { path: path.into(), tail: Mutex::new(tail) })
    }

    /// Returns once the entry is on disk. A failure leaves the file usable for the next entry.
    pub fn append(&self, entry: &AuditEntry) -> Result<(), AuditError> {
        let mut tail = self.tail.lock();
        tail.append(entry).map_err(|source| AuditError::Write { path: self.path.clone(), source })
    }
}

impl Tail {
    fn append(&mut self, entry: &AuditEntry) -> io::Result<()> {
        let mut line = if self.torn { vec![b'\n'] } else { Vec::new() };
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        self.torn = true;
        self.file.write_all(&line)?;
        self.torn = false;
        self.file.sync_data()
    }
}

fn open_tail(path: &Path) -> io::Result<Tail> {
    // Never through a symbolic link, and never waiting for the other end of a pipe.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.nlink() != 1 {
        return Err(io::Error::other("it has another name (a hard link)"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
    }
    let mut last = [b'\n'];
    if metadata.len() == 0 {
        sync_name(path)?;
    } else {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let torn = last != [b'\n'];
    tracing::debug!(path = %path.display(), bytes = metadata.len(), torn, "the audit file is open");
    Ok(Tail { file, torn })
}

/// Writes the name of a new file to disk: a power cut must not take it with all that is on disk below it.
fn sync_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match File::open(parent.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()) {
        // A folder that may be written but not read cannot be told to.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn entry() -> AuditEntry {
        let at = Timestamp::from_millis(1_795_510_800_000);
        AuditEntry::peer_refused(
            at,
            Some(ConnectionId::from_bytes([1; 16])),
            None,
            "the connection is paused",
        )
    }

    const LINE: &str = "{\"at\":\"2026-11-24T09:00:00Z\",\"event\":\"peer_refused\",\
        \"connection\":\"01010101-0101-0101-0101-010101010101\",\"peer\":null,\
        \"reason\":\"the connection is paused\"}\n";

    #[test]
    fn entries_are_appended_one_a_line_to_a_file_of_its_owner_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.jsonl");
        for _ in 0..2 {
            AuditFile::open(&path).expect("opens").append(&entry()).expect("writes");
        }
        assert_eq!(fs::read_to_string(&path).expect("reads"), [LINE, LINE].concat());
        assert_eq!(fs::metadata(&path).expect("exists").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_that_a_crash_cut_short_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.jsonl");
        for cut in 0..LINE.len() {
            fs::write(&path, &LINE[..cut]).expect("writes");
            AuditFile::open(&path).expect("opens").append(&entry()).expect("writes");
            let text = fs::read_to_string(&path).expect("reads");
            assert_eq!(text.lines().last(), Some(LINE.trim_end()), "cut at byte {cut}");
            assert_eq!(text.lines().count(), 1 + usize::from(cut > 0), "cut at byte {cut}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_closed_to_them() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, LINE).expect("writes");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("sets");
        AuditFile::open(&path).expect("opens");
        assert_eq!(fs::metadata(&path).expect("exists").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_a_folder_or_a_missing_folder_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("folder");
        let target = folder.path().join("target");
        fs::write(&target, "").expect("writes");
        let link = folder.path().join("link");
        symlink(&target, &link).expect("links");
        for path in [link, folder.path().into(), folder.path().join("none/audit.jsonl")] {
            let error = AuditFile::open(&path).expect_err("refused").to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_full_disk_is_an_error_but_not_the_end() {
        // Every write to /dev/full fails as a full disk does.
        let file = OpenOptions::new().write(true).open("/dev/full").expect("opens");
        let full = Tail { file, torn: false };
        let audit = AuditFile { path: "/dev/full".into(), tail: Mutex::new(full) };
        for _ in 0..2 {
            let error = audit.append(&entry()).expect_err("refused").to_string();
            assert_eq!(
                error,
                "cannot write the audit file `/dev/full`; see that its disk is neither full nor read-only"
            );
        }
    }
}
