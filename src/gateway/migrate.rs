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

pub use super::store::{MoveError, MovedTable, TakeBackError, TakenBack};

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
    #[error("the database cannot be used")]
    Open { source: StoreError },
    #[error(transparent)]
    TakeBack(#[from] TakeBackError),
}

/// Moves everything and compares it, row by row; returns what was moved, table by table. From then on nothing is served
/// at the source. An error leaves the target as empty as it was, or, at the very end, refused as unfinished; the
/// same move, begun again, ends that.
pub async fn migrate(
    from: &Side,
    to: &Side,
    clock: Arc<dyn TimeSource>,
) -> Result<Vec<MovedTable>, MigrateError> {
    if from.location() == to.location() {
        return Err(MigrateError::Same);
    }
    from.must_be_there()?;
    let (held, _held_too) = (from.lock()?, to.lock()?);
    let source = Store::open_to_move(&from.location()).await;
    let source = source.map_err(|source| MigrateError::Source { source })?;
    let target = Store::open_to_move(&to.location()).await;
    let target = target.map_err(|source| MigrateError::Target { source })?;
    debug!(is_locked = held.is_some(), "both databases are open; the rows are moved");
    // Who holds the lock of the state folder need not ask for a lease: what is left of one is of a gateway that was
    // killed.
    let moved = source.move_to(&target, clock.now(), held.is_none()).await;
    source.close().await;
    target.close().await;
    Ok(moved?)
}

/// Has a platform served again where it was moved away from, as it was then.
pub async fn take_back(side: &Side) -> Result<TakenBack, MigrateError> {
    side.must_be_there()?;
    let _held = side.lock()?;
    let store = Store::open_to_move(&side.location()).await;
    let store = store.map_err(|source| MigrateError::Open { source })?;
    let taken = store.take_back().await;
    store.close().await;
    Ok(taken?)
}

impl Side {
    fn must_be_there(&self) -> Result<(), MigrateError> {
        match self.location() {
            Location::Sqlite(path) if !path.exists() => Err(MigrateError::Missing { path }),
            Location::Sqlite(_) | Location::Postgres(_) => Ok(()),
        }
    }

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
