//! Moves the platform from one database to another while no gateway serves it. What it is sealed with and
//! signed by stays in the state folder.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::debug;

use super::platform::{DATABASE, Location};
use super::store::{Store, StoreError};
use adit_core::config::DatabaseUrl;
use adit_net::host::folder::{Folder, FolderError, FolderLock};
use adit_net::identity::time::TimeSource;

pub use super::store::{MoveError, MovedTable};

/// Where a platform is, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// In a gateway's state folder.
    State(PathBuf),
    /// In a file elsewhere, such as a copy.
    File(PathBuf),
    Postgres(DatabaseUrl),
}

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("--from and --to name the same database; name another one for --to")]
    Same,
    #[error("there is no database `{path}`; name the gateway's state folder, or the file itself")]
    Missing { path: PathBuf },
    #[error("the state folder cannot be taken, and no gateway may run on it meanwhile")]
    Folder(#[from] FolderError),
    #[error("the source cannot be used")]
    Source { source: StoreError },
    #[error("the target cannot be used")]
    Target { source: StoreError },
    #[error(transparent)]
    Move(#[from] MoveError),
}

/// Moves everything and compares it, row by row; returns what was moved, table by table. An error leaves the
/// target as empty as it was.
pub async fn migrate(
    from: &Side,
    to: &Side,
    clock: Arc<dyn TimeSource>,
) -> Result<Vec<MovedTable>, MigrateError> {
    if from.location() == to.location() {
        return Err(MigrateError::Same);
    }
    if let Location::Sqlite(path) = from.location()
        && !path.exists()
    {
        return Err(MigrateError::Missing { path });
    }
    let (held, _held_too) = (from.lock()?, to.lock()?);
    let source = Store::open(&from.location()).await.map_err(|source| MigrateError::Source { source })?;
    let target = Store::open(&to.location()).await.map_err(|source| MigrateError::Target { source })?;
    // Who holds the lock of the state folder need not ask for a lease: what is left of one is of a gateway that was
    // killed.
    let may_be_served = held.is_none().then(|| clock.now());
    debug!(is_locked = held.is_some(), "both databases are open; the rows are moved");
    let moved = source.move_to(&target, may_be_served).await;
    source.close().await;
    target.close().await;
    Ok(moved?)
}

impl Side {
    fn location(&self) -> Location {
        match self {
            Self::State(folder) => Location::Sqlite(folder.join(DATABASE)),
            Self::File(path) => Location::Sqlite(path.clone()),
            Self::Postgres(url) => Location::Postgres(url.clone()),
        }
    }

    /// Keeps a gateway from starting on the state folder.
    fn lock(&self) -> Result<Option<FolderLock>, FolderError> {
        match self {
            Self::State(folder) => Folder::open(folder)?.lock().map(Some),
            Self::File(_) | Self::Postgres(_) => Ok(None),
        }
    }
}
