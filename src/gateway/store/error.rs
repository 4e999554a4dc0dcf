//! What can go wrong with the database, by who must act.

use std::io;
use std::path::PathBuf;

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
        "the database `{path}` was written by {builds}: it has version {found}, this adit ({}) knows up to {known}; \
         install the adit that wrote it, or a newer one",
        env!("CARGO_PKG_VERSION")
    )]
    Newer { path: PathBuf, builds: String, found: i64, known: usize },
    #[error("the database is busy while {doing}; another process has been writing for long, try again")]
    Busy { doing: &'static str },
    #[error("the database cannot be reached while {doing}")]
    Away { doing: &'static str },
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
    #[error("the database failed while {doing}")]
    Query { doing: &'static str, source: sqlx::Error },
    #[error(
        "the database holds `{column}` in a form this adit does not know; install the adit that wrote it, or restore it from a backup"
    )]
    Damaged { column: &'static str },
}

impl StoreError {
    /// Returns whether running the whole transaction again may help.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Away { .. })
    }

    /// Returns whether the database cannot be reached just now.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    pub(super) fn from_query(doing: &'static str, source: sqlx::Error) -> Self {
        match &source {
            sqlx::Error::PoolTimedOut => Self::Busy { doing },
            sqlx::Error::Database(cause) if cause.is_unique_violation() => Self::Exists { doing },
            sqlx::Error::Database(cause) if cause.code().is_some_and(|code| is_busy(&code)) => {
                Self::Busy { doing }
            }
            sqlx::Error::Database(cause) if cause.code().is_some_and(|code| is_corrupt(&code)) => {
                Self::Corrupt { doing, source }
            }
            _ => Self::Query { doing, source },
        }
    }
}

/// Recognises `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
fn is_corrupt(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| [11, 26].contains(&(code & 0xff)))
}

/// Recognises it: `SQLITE_BUSY` and its extended codes share the lowest byte.
fn is_busy(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| code & 0xff == 5)
}
