//! Whether a database is where its platform is. One row says that it is not: the platform has moved on from here, or
//! a move to here was not finished. Whoever would serve it or act on it is refused, also who opened it before.

use std::fmt;

use super::cells::Cells;
use super::query::sql;
use super::tx::{Tx, text};
use super::{Location, Store, StoreError, Turn};
use adit_core::domain::id::ActId;
use adit_core::domain::time::Timestamp;

const MOVED: &str = "moved";
const ARRIVING: &str = "arriving";

/// Why a database is not where its platform is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    /// The same on both sides of one move.
    pub(super) id: String,
    pub(super) kind: FenceKind,
    /// The move's other side, for people; nothing secret.
    pub(super) place: String,
    pub(super) at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FenceKind {
    /// The platform went from here to the other side.
    Moved,
    /// It comes from there, and may not be here whole, or there still.
    Arriving,
}

impl FenceKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => MOVED,
            Self::Arriving => ARRIVING,
        }
    }
}

/// A platform that is served again where it had been moved away from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBack {
    /// Where it had been moved to, and when.
    pub place: String,
    pub at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum TakeBackError {
    #[error("no platform was moved away from here; there is nothing to take back")]
    NotMoved,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fence {
    /// Of the source, in the move that filled the target under this id.
    pub(super) fn moved(id: String, to: &Store, at: Timestamp) -> Self {
        Self { id, kind: FenceKind::Moved, place: to.place.clone(), at }
    }

    pub(super) fn arriving(id: ActId, from: &Store, at: Timestamp) -> Self {
        Self { id: text(id), kind: FenceKind::Arriving, place: from.place.clone(), at }
    }

    pub(super) fn refusal(self) -> StoreError {
        let Self { place, at, kind, .. } = self;
        match kind {
            FenceKind::Moved => StoreError::Moved { to: place, at },
            FenceKind::Arriving => StoreError::Unfinished { from: place, at },
        }
    }

    fn read(cells: &Cells) -> Result<Self, StoreError> {
        let kind = match cells.string("state")?.as_str() {
            MOVED => FenceKind::Moved,
            ARRIVING => FenceKind::Arriving,
            _ => return Err(StoreError::Damaged { column: "state" }),
        };
        Ok(Self { id: cells.string("id")?, kind, place: cells.string("place")?, at: cells.time("at")? })
    }
}

impl Location {
    /// Returns where it is, for people, without user and password.
    pub(super) fn place(&self) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(path) => {
                Ok(std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string())
            }
            Self::Postgres(url) => super::postgres::place_of(url),
        }
    }
}

impl Store {
    /// Has a database that was moved away from served again as it was then. Who calls this knows that it is not
    /// served where it was moved to.
    pub(crate) async fn take_back(&self) -> Result<TakenBack, TakeBackError> {
        let mut tx = self.write_in(Turn::Alone).await?;
        match tx.fence().await? {
            None => Err(TakeBackError::NotMoved),
            Some(fence) if fence.kind == FenceKind::Arriving => Err(fence.refusal().into()),
            Some(Fence { place, at, .. }) => {
                tx.lift_fence().await?;
                tx.commit().await?;
                Ok(TakenBack { place, at })
            }
        }
    }
}

impl Tx {
    /// Refuses a database that its platform is not in.
    pub(super) async fn must_be_here(&mut self) -> Result<(), StoreError> {
        self.fence().await?.map_or(Ok(()), |fence| Err(fence.refusal()))
    }

    pub(super) async fn fence(&mut self) -> Result<Option<Fence>, StoreError> {
        const DOING: &str = "asking whether the platform is here";
        let rows = self.fetch(DOING, sql("SELECT id, state, place, at FROM fence")).await?;
        rows.first().map(Fence::read).transpose()
    }

    pub(super) async fn set_fence(&mut self, fence: Fence) -> Result<(), StoreError> {
        let query = sql("INSERT INTO fence (one, id, state, place, at) VALUES (1, $1, $2, $3, $4)")
            .bind(fence.id)
            .bind(fence.kind.as_str())
            .bind(fence.place)
            .bind(fence.at.as_millis());
        self.run("noting a move", query).await.map(drop)
    }

    pub(super) async fn lift_fence(&mut self) -> Result<(), StoreError> {
        self.run("noting that the platform is here", sql("DELETE FROM fence")).await.map(drop)
    }
}

impl fmt::Display for TakenBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what was moved to {} at {} is served here again as it was then", self.place, self.at)
    }
}
