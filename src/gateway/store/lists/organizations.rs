//! The list of organizations, by name.

use super::{Listing, named};
use crate::store::organization::{OrganizationRecord, read};
use crate::store::query::sql;
use crate::store::{StoreError, Tx};
use adit_core::domain::page::{List, Page, Paging};

const LISTING: Listing<OrganizationRecord> =
    Listing { list: List::Organizations, doing: "listing organizations", place: named, read };

impl Tx {
    pub(crate) async fn list_organizations(
        &mut self,
        paging: &Paging,
    ) -> Result<Page<OrganizationRecord>, StoreError> {
        let query = sql("SELECT * FROM organization WHERE 1 = 1")
            .after(List::Organizations, paging, " AND (lower(name), id) > ")?
            .then(" ORDER BY lower(name), id")
            .limit(paging);
        self.page(&LISTING, paging, query).await
    }
}
