//! A look at a database from outside, for who checks a gateway's file: it makes nothing, and brings nothing up to
//! date.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;

use super::postgres::{self, PostgresEngine};
use super::sqlite::{self, begin, pool, quiet};
use super::tx::Tx;
use super::{Fencing, Location, StoreError, build, file};
use adit_core::config::DatabaseUrl;
use adit_core::domain::limits::STORE_BUSY_TIMEOUT;

/// The first schema that says whether its platform is there.
const FENCED_SINCE: usize = 6;

/// What a database shows to who looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedAt {
    /// Where it is, for people; nothing secret.
    pub place: String,
    /// Whether there is a file or a server's database at all.
    pub is_there: bool,
    pub has_organizations: bool,
}

impl Location {
    /// Looks at what is there. Refused like one that is opened: what is not ours, of a newer build, or moved away.
    pub(crate) async fn look(&self) -> Result<LookedAt, StoreError> {
        let place = self.place()?;
        let seen = match self {
            Self::Sqlite(path) => look_at_file(path).await?,
            Self::Postgres(url) => Some(look_at_server(url).await?),
        };
        Ok(LookedAt { place, is_there: seen.is_some(), has_organizations: seen == Some(true) })
    }
}

/// Returns whether the file has organizations; none where there is no file.
async fn look_at_file(path: &Path) -> Result<Option<bool>, StoreError> {
    if !file::check(path)? {
        return Ok(None);
    }
    // Without a log beside it nobody writes, and nothing is made there for who only looks.
    let is_still = !file::has_log(path);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(true)
        .immutable(is_still)
        .busy_timeout(STORE_BUSY_TIMEOUT);
    let opening = |source| StoreError::Open { path: path.into(), source };
    let looking = pool(1).connect_with(quiet(options)).await.map_err(opening)?;
    let seen = async {
        let mut tx = begin(&looking, "BEGIN DEFERRED").await?;
        let application = sqlite::pragma(&mut tx, "application_id").await?;
        let found = sqlite::pragma(&mut tx, "user_version").await?;
        let is_new = application == 0 && found == 0 && !sqlite::has_tables(&mut tx).await?;
        if application != sqlite::APPLICATION_ID && !is_new {
            return Err(StoreError::Foreign { path: path.into() });
        }
        look_inside(&mut tx, found, sqlite::MIGRATIONS.len(), path.display().to_string()).await
    };
    let seen = seen.await;
    looking.close().await;
    seen.map(Some)
}

async fn look_at_server(url: &DatabaseUrl) -> Result<bool, StoreError> {
    let engine = PostgresEngine::connecting(url, Fencing::PassedOver)?;
    let mut tx = engine.look().await?;
    engine.check_server(&mut tx).await?;
    let found = engine.schema(&mut tx).await?;
    let seen = look_inside(&mut tx, found, postgres::KNOWN, engine.place.clone()).await;
    drop(tx);
    engine.close().await;
    seen
}

async fn look_inside(tx: &mut Tx, found: i64, known: usize, what: String) -> Result<bool, StoreError> {
    let schema = usize::try_from(found).unwrap_or(usize::MAX);
    if schema > known {
        let builds = build::beyond(tx, known).await;
        return Err(StoreError::Newer { what, builds, found, known });
    }
    if schema >= FENCED_SINCE {
        tx.must_be_here().await?;
    }
    if schema == 0 { Ok(false) } else { tx.has_organizations().await }
}
