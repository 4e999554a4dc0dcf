//! The list of organizations, by name.

use super::{Listing, named};
use crate::store::organization::{OrganizationRecord, read};
use crate::store::query::sql;
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::name::Name;
use adit_core::domain::page::{List, Page, Paging, Search};

/// Which organizations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrganizationFilter {
    /// In the name.
    pub search: Option<Search>,
    /// Called just so, in whichever case.
    pub name: Option<Name>,
    pub id: Option<OrganizationId>,
}

const LISTING: Listing<OrganizationRecord> =
    Listing { list: List::Organizations, doing: "listing organizations", place: named, read };

impl Tx {
    pub(crate) async fn list_organizations(
        &mut self,
        filter: &OrganizationFilter,
        paging: &Paging,
    ) -> Result<Page<OrganizationRecord>, StoreError> {
        let mut query = sql("SELECT * FROM organization WHERE 1 = 1");
        if let Some(search) = &filter.search {
            query = query.then(" AND lower(name) LIKE ").value(search.pattern()).then(" ESCAPE '\\'");
        }
        if let Some(name) = &filter.name {
            query = query.then(" AND lower(name) = lower(").value(text(name)).then(")");
        }
        if let Some(id) = filter.id {
            query = query.then(" AND id = ").value(text(id));
        }
        let query = query
            .after(List::Organizations, paging, " AND (lower(name), id) > ")?
            .then(" ORDER BY lower(name), id")
            .limit(paging);
        self.page(&LISTING, paging, query).await
    }
}
