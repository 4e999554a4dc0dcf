//! Lists, page by page: each page is one statement that reads all that is shown of its rows. What a statement
//! tells beside them is how the viewer stands to a row; what follows from that is not decided here.

mod admin_sessions;
mod agreements;
mod audit;
mod channels;
mod connection_row;
mod connections;
mod grants;
mod organizations;
mod overview;
mod people;
mod relation;
mod servers;

use super::StoreError;
use super::cells::Cells;
use super::query::{Query, sql};
use super::tx::Tx;
use super::unreadable::readable;
use adit_core::domain::limits::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use adit_core::domain::page::{Cursor, List, Page, Paging, Place};

pub use admin_sessions::AdminSessionFilter;
pub(crate) use admin_sessions::AdminSessionRow;
pub use agreements::PeeringFilter;
pub use audit::AuditFilter;
pub use channels::ChannelFilter;
pub(crate) use channels::ChannelRow;
pub(crate) use connection_row::ConnectionRow;
pub use connections::ConnectionFilter;
pub use grants::GrantFilter;
pub(crate) use grants::GrantRow;
pub use organizations::OrganizationFilter;
pub use overview::Need;
pub(crate) use overview::{Counts, Grouped};
pub use servers::{EndsSoon, ServerFilter};

/// How a list is asked for and read.
struct Listing<T> {
    list: List,
    doing: &'static str,
    /// Where a row stands in the order.
    place: fn(&Cells) -> Result<Place, StoreError>,
    read: fn(&Cells) -> Result<T, StoreError>,
}

impl Tx {
    /// Reads a page. The statement asks for one row more than the page has, which says whether there is
    /// another; a row that this build cannot read is passed over and still is a place in the list.
    async fn page<T>(
        &mut self,
        listing: &Listing<T>,
        paging: &Paging,
        query: Query,
    ) -> Result<Page<T>, StoreError> {
        let mut rows = self.rows(listing.doing, query).await?;
        let count = usize::try_from(paging.count()).unwrap_or(usize::MAX);
        let goes_on = rows.len() > count;
        rows.truncate(count);
        let last = rows.last().filter(|_| goes_on).map(listing.place).transpose()?;
        let next = last.map(|place| Cursor::new(listing.list, place));
        Ok(Page { rows: readable(listing.doing, &rows, listing.read)?, next })
    }
}

impl Query {
    /// Goes on with `condition` and the values of the place after which the page begins, in parentheses.
    fn after(self, list: List, paging: &Paging, condition: &'static str) -> Result<Self, StoreError> {
        let Some(cursor) = &paging.after else { return Ok(self) };
        let query = self.then(condition);
        Ok(match cursor.place_in(list)? {
            Place::Made { at, id } => {
                query.then("(").value(at.as_millis()).then(", ").value(id.clone()).then(")")
            }
            Place::Named { name, id } => {
                query.then("(").value(name.clone()).then(", ").value(id.clone()).then(")")
            }
            Place::Written { at, number } => {
                query.then("(").value(at.as_millis()).then(", ").value(*number).then(")")
            }
        })
    }

    /// Goes on with how many rows are asked for.
    fn limit(self, paging: &Paging) -> Self {
        self.then(" LIMIT ").value(i64::from(paging.count()) + 1)
    }

    /// Begins with the ids of a page, to be ended by [`Query::chosen`].
    const fn choose() -> Self {
        sql("WITH chosen (id) AS (SELECT id FROM (")
    }

    /// Ends them as `chosen`, and says how many they are at most: a limit that is a value is not known where a statement
    /// is planned, and `PostgreSQL` expects a tenth of everything.
    fn chosen(self, paging: &Paging) -> Self {
        const { assert!(PAGE_ROWS_DEFAULT == 100 && PAGE_ROWS_MAX == 500) };
        self.then(if paging.count() <= PAGE_ROWS_DEFAULT {
            ") page LIMIT 101) "
        } else {
            ") page LIMIT 501) "
        })
    }
}

/// Reads the place in a list that is ordered by when things were made.
fn made(cells: &Cells) -> Result<Place, StoreError> {
    Ok(Place::Made { at: cells.time("created_at")?, id: cells.string("id")? })
}

/// Reads the place in a list that is ordered by name.
fn named(cells: &Cells) -> Result<Place, StoreError> {
    Ok(Place::Named { name: cells.string("name")?.to_ascii_lowercase(), id: cells.string("id")? })
}
