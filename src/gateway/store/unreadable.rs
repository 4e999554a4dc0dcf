//! Rows that this build cannot read, as after a newer one wrote a word that it does not know: each costs
//! itself and is named, and what it is about is hidden. Never used for what narrows, such as revoked keys.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::StoreError;
use super::cells::Cells;
use super::query::Query;
use super::tx::Tx;
use adit_core::domain::limits::UNKNOWN_WORDS_SAID_MAX;
use adit_core::domain::word::UNKNOWN_WORDS;

/// What this process has named.
static NAMED: Mutex<BTreeSet<(&str, String)>> = Mutex::new(BTreeSet::new());

impl Tx {
    /// Reads those rows that this build can read.
    pub(super) async fn all_readable<T>(
        &mut self,
        doing: &'static str,
        query: Query,
        read: fn(&Cells) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        readable(doing, &self.rows(doing, query).await?, read)
    }

    /// Reads the row, unless there is none or this build cannot read it.
    pub(super) async fn one_readable<T>(
        &mut self,
        doing: &'static str,
        query: Query,
        read: fn(&Cells) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.all_readable(doing, query, read).await?.into_iter().next())
    }
}

/// Reads those of the rows that this build can read.
pub(super) fn readable<T>(
    doing: &'static str,
    rows: &[Cells],
    read: fn(&Cells) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut readable = Vec::new();
    for cells in rows {
        match read(cells) {
            Ok(row) => readable.push(row),
            Err(StoreError::Damaged { column }) => pass(doing, column, cells),
            Err(error) => return Err(error),
        }
    }
    Ok(readable)
}

/// Counts a row that was read past, and names it unless it was named before.
fn pass(doing: &'static str, column: &'static str, cells: &Cells) {
    metrics::counter!(UNKNOWN_WORDS, "kind" => "row").increment(1);
    let row = ["id", "connection"].into_iter().find_map(|id| cells.string(id).ok()).unwrap_or_default();
    let mut named = NAMED.lock();
    if named.len() < UNKNOWN_WORDS_SAID_MAX && named.insert((column, row.clone())) {
        tracing::error!(
            row,
            column,
            "the database holds a word that this build ({}) does not know, found while {doing}; what it is about \
             is hidden: update adit, or restore a backup",
            env!("CARGO_PKG_VERSION")
        );
    }
}
