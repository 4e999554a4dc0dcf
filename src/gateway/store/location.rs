//! Where the platform's database is.

use std::path::PathBuf;

use adit_core::config::DatabaseUrl;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of ours.
    Sqlite(PathBuf),
    Postgres(DatabaseUrl),
}
