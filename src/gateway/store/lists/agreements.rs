//! The list of peering requests and agreements, by when they were asked for.

use super::Listing;
use crate::store::agreement::{AgreementRecord, AgreementStatus, read, select_agreements};
use crate::store::cells::Cells;
use crate::store::query::sql;
use crate::store::tx::text;
use crate::store::{StoreError, Tx};
use adit_core::domain::id::{AgreementId, OrganizationId};
use adit_core::domain::page::{List, Page, Paging, Place};

/// Which peerings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeeringFilter {
    /// Any of these; all when there are none.
    pub statuses: Vec<AgreementStatus>,
    /// Who has to accept or decline it, while it is requested.
    pub decider: Option<OrganizationId>,
    pub id: Option<AgreementId>,
}

const LISTING: Listing<AgreementRecord> =
    Listing { list: List::Peerings, doing: "listing peerings", place, read };

impl Tx {
    /// Lists those of `party`, or of everybody.
    pub(crate) async fn list_agreements(
        &mut self,
        party: Option<OrganizationId>,
        filter: &PeeringFilter,
        paging: &Paging,
    ) -> Result<Page<AgreementRecord>, StoreError> {
        let mut query = sql(select_agreements!("WHERE 1 = 1"));
        if let Some(party) = party {
            query = query.then(" AND (a.requester = ").value(text(party));
            query = query.then(" OR a.recipient = ").value(text(party)).then(")");
        }
        if !filter.statuses.is_empty() {
            let statuses = filter.statuses.iter().map(|status| status.as_str());
            query = query.then(" AND a.status IN (").list(statuses).then(")");
        }
        if let Some(decider) = filter.decider {
            query = query.then(" AND a.status = 'requested' AND a.recipient = ").value(text(decider));
        }
        if let Some(id) = filter.id {
            query = query.then(" AND a.id = ").value(text(id));
        }
        let query = query
            .after(List::Peerings, paging, " AND (a.requested_at, a.id) > ")?
            .then(" ORDER BY a.requested_at, a.id")
            .limit(paging);
        self.page(&LISTING, paging, query).await
    }
}

fn place(cells: &Cells) -> Result<Place, StoreError> {
    Ok(Place::Made { at: cells.time("requested_at")?, id: cells.string("id")? })
}
