//! Where the platform's database is.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// A URL that may hold a password; it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Zeroizing<String>);

impl DatabaseUrl {
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self(Zeroizing::new(url.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of ours.
    Sqlite(PathBuf),
    Postgres(DatabaseUrl),
}
