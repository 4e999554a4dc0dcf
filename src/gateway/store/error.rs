//! What can go wrong with the database, by who must act.

use std::io;
use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

use adit_core::domain::page::InvalidCursor;
use adit_core::domain::time::Timestamp;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "cannot open the database `{path}`; check that this user may write the file and its folder, or restore it from a backup if it is damaged"
    )]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("cannot use the database file `{path}`; check that this user may write the folder")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "`{path}` is a link, has other names or is no regular file; move it away, or restore it from a backup"
    )]
    Irregular { path: PathBuf },
    #[error("others may read the database `{path}` (mode {mode:04o}); run `chmod 600 {path}`")]
    Mode { path: PathBuf, mode: u32 },
    #[error(
        "the database `{path}` belongs to user id {owner}, this process runs as {user}; run it as that user"
    )]
    Owner { path: PathBuf, owner: u32, user: u32 },
    #[error("`{path}` is no database of adit; point `state` at adit's own folder")]
    Foreign { path: PathBuf },
    #[error(
        "the database `{what}` was written by {builds}: it has version {found}, this adit ({}) knows up to {known}; \
         install the adit that wrote it, or a newer one",
        env!("CARGO_PKG_VERSION")
    )]
    Newer { what: String, builds: String, found: i64, known: usize },
    #[error(
        "the database is busy while {doing}, and nothing was changed; another process has been writing for long, try again"
    )]
    Busy { doing: &'static str },
    /// Another transaction was in the way; run again, this one may succeed.
    #[error(
        "the database could not bring {doing} in line with what others did at the same time, and nothing was changed; \
         try again"
    )]
    Conflict { doing: &'static str },
    #[error("the database cannot be reached ({doing}); check that it runs, and that this host reaches it")]
    Away { doing: &'static str },
    /// A wrong password, user or database, or no right to make tables there.
    #[error(
        "the database does not let this user in, or not do this ({doing}); check user, password and database in the \
         URL, and that the user owns the database"
    )]
    Denied { doing: &'static str, source: sqlx::Error },
    #[error(
        "the database refers to rows that are not there, as was found while it was brought up to date; restore it from \
         a backup"
    )]
    Dangling,
    /// As until it is promoted after a failover.
    #[error(
        "the database that answers follows another one and takes no change; point the URL at the one that is followed, \
         or promote this one"
    )]
    Follows,
    /// Its certificate is not the one wanted, or there is none.
    #[error(
        "the database's server does not prove that it is the one named; name the CA of its certificate with \
         sslrootcert=FILE in the URL, and the server by the name that its certificate is for"
    )]
    Unproven { source: sqlx::Error },
    #[error("the database went away while it was committing; whether the change was made is not known yet")]
    CommitUnknown,
    #[error("the database has no room left, as was found while {doing}; make room on its disk")]
    Full { doing: &'static str },
    /// As where its user's quota is used up, which `SQLite` does not tell from a disk that fails.
    #[error(
        "the database's disk took nothing more while {doing}; make room on it or raise the quota of its user, and see \
         in the kernel's log whether the disk fails"
    )]
    Unwritable { doing: &'static str, source: sqlx::Error },
    /// Whoever acted on it would change what nobody reads any more.
    #[error(
        "the platform was moved from this database to {to} at {at}, and what is here is old; let the gateway's file name \
         that one (`database`, or `state` without it), or, where it must be this one after all, move it back into an \
         empty database with `adit gateway migrate`, or drop what was done there and run `adit gateway migrate \
         --take-back PLACE` for this one"
    )]
    Moved { to: String, at: Timestamp },
    #[error(
        "the move of a platform to this database, begun at {at}, was not finished; run the same `adit gateway migrate` \
         again, with --from {from}, or empty this database first where that says so"
    )]
    Unfinished { from: String, at: Timestamp },
    #[error("the setting of the database cannot be used: {why}")]
    Setting { why: String },
    /// Nothing was asked of the database.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// A unique index decided a race; the other side won.
    #[error("{doing}: there is one already")]
    Exists { doing: &'static str },
    #[error("the database is damaged, as was found while {doing}; restore it from a backup")]
    Corrupt { doing: &'static str, source: sqlx::Error },
    #[error(
        "the database `{path}` lost what it held; restore it from a backup, or, to start with \
         nothing, move the whole folder away"
    )]
    Emptied { path: PathBuf },
    /// As where the process has no file left to open it with.
    #[error(
        "a file of the database cannot be opened, as was found while {doing}; see that this user may open it, and let \
         the process have more open files (`ulimit -n`, `LimitNOFILE`)"
    )]
    Unopened { doing: &'static str, source: sqlx::Error },
    #[error("the database failed while {doing}")]
    Query { doing: &'static str, source: sqlx::Error },
    #[error(
        "the database holds `{column}` in a form this adit does not know; install the adit that wrote it, or restore it from a backup"
    )]
    Damaged { column: &'static str },
}

impl StoreError {
    pub(super) fn from_query(doing: &'static str, source: sqlx::Error) -> Self {
        let code = match &source {
            sqlx::Error::Tls(_) => return Self::Unproven { source },
            // As rustls hands on what it refuses.
            sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                return Self::Unproven { source };
            }
            sqlx::Error::Database(cause) if cause.is_unique_violation() => return Self::Exists { doing },
            sqlx::Error::Database(cause) => {
                let postgres = cause.try_downcast_ref::<PgDatabaseError>();
                let code = cause.code().map(|code| Code::of(&code, postgres.is_some()));
                match postgres.and_then(PgDatabaseError::routine) {
                    Some(routine) if code == Some(Code::Other) && is_extending(routine) => {
                        Some(Code::Unwritable)
                    }
                    _ => code,
                }
            }
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Some(Code::Away),
            _ => None,
        };
        match code.unwrap_or(Code::Other) {
            Code::Busy => Self::Busy { doing },
            Code::Conflict => Self::Conflict { doing },
            Code::Away => Self::Away { doing },
            Code::Full => Self::Full { doing },
            Code::Unwritable => Self::Unwritable { doing, source },
            Code::Unopened => Self::Unopened { doing, source },
            Code::Follows => Self::Follows,
            Code::Denied => Self::Denied { doing, source },
            Code::Corrupt => Self::Corrupt { doing, source },
            Code::Other => Self::Query { doing, source },
        }
    }

    /// Returns whether running the whole transaction again may help. What became of a commit whose answer was
    /// lost has to be asked first.
    pub(crate) const fn is_transient(&self) -> bool {
        self.is_away() || matches!(self, Self::Conflict { .. } | Self::Busy { .. })
    }

    /// Returns whether the database cannot be reached just now.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Follows)
    }

    /// Returns whether there is no room for a change, while what there is can be read.
    pub(crate) const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unwritable { .. })
    }

    /// Returns whether the platform is not, or not yet, in this database, which no waiting changes.
    pub(crate) const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Moved { .. } | Self::Unfinished { .. })
    }
}

/// What an engine's code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Busy,
    Conflict,
    Away,
    Full,
    Unwritable,
    Unopened,
    Follows,
    Denied,
    Corrupt,
    Other,
}

/// Returns whether a server was making a file longer when it failed: it has a code of its own for a full disk, and
/// none for a quota that is used up. <https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/storage/smgr/md.c>
fn is_extending(routine: &str) -> bool {
    matches!(routine, "mdextend" | "mdzeroextend")
}

impl Code {
    fn of(code: &str, is_postgres: bool) -> Self {
        if is_postgres { Self::of_postgres(code) } else { Self::of_sqlite(code) }
    }

    /// `SQLSTATE`: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
    fn of_postgres(code: &str) -> Self {
        match code {
            // serialization_failure, deadlock_detected
            "40001" | "40P01" => Self::Conflict,
            // disk_full, configuration_limit_exceeded: room for what is sorted in files
            "53100" | "53400" => Self::Full,
            // read_only_sql_transaction; feature_not_supported, of all that is asked here SERIALIZABLE alone: this
            // server follows another one, as until it is promoted after a failover
            "25006" | "0A000" => Self::Follows,
            // query_canceled, lock_not_available: it did not get to it in time
            "57014" | "55P03" => Self::Away,
            // data_corrupted, index_corrupted
            "XX001" | "XX002" => Self::Corrupt,
            // invalid_catalog_name, insufficient_privilege; invalid_authorization_specification and its kind
            "3D000" | "42501" => Self::Denied,
            _ if code.starts_with("28") => Self::Denied,
            _ if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => Self::Away,
            _ => Self::Other,
        }
    }

    /// The lowest byte is the result, what is above says more: <https://www.sqlite.org/rescode.html>.
    fn of_sqlite(code: &str) -> Self {
        // SQLITE_IOERR_SHMSIZE: the file beside it that readers share cannot grow
        if code == "4874" {
            return Self::Full;
        }
        // SQLITE_IOERR_WRITE: a write failed, and not for ENOSPC, which is SQLITE_FULL; EDQUOT and EFBIG are here
        if code == "778" {
            return Self::Unwritable;
        }
        match code.parse::<u32>().map(|code| code & 0xff) {
            // SQLITE_BUSY
            Ok(5) => Self::Busy,
            // SQLITE_FULL
            Ok(13) => Self::Full,
            // SQLITE_CANTOPEN
            Ok(14) => Self::Unopened,
            // SQLITE_CORRUPT, SQLITE_NOTADB
            Ok(11 | 26) => Self::Corrupt,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_who_must_act() {
        for (code, known) in [
            ("40001", Code::Conflict),
            ("40P01", Code::Conflict),
            ("57P01", Code::Away),
            ("57P03", Code::Away),
            ("08006", Code::Away),
            ("53300", Code::Away),
            ("53100", Code::Full),
            ("53400", Code::Full),
            ("25006", Code::Follows),
            ("0A000", Code::Follows),
            ("28P01", Code::Denied),
            ("28000", Code::Denied),
            ("3D000", Code::Denied),
            ("42501", Code::Denied),
            ("XX001", Code::Corrupt),
            ("23514", Code::Other),
        ] {
            assert_eq!(Code::of(code, true), known, "{code}");
        }
        for (code, known) in [
            ("5", Code::Busy),
            ("261", Code::Busy),
            ("13", Code::Full),
            ("4874", Code::Full),
            ("778", Code::Unwritable),
            ("14", Code::Unopened),
            ("266", Code::Other),
            ("11", Code::Corrupt),
            ("1", Code::Other),
        ] {
            assert_eq!(Code::of(code, false), known, "{code}");
        }
    }
}
