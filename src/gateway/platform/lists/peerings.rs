//! Peering requests and agreements as people see them.

use super::{SELF, listed};
use crate::platform::error::PlatformError;
use crate::platform::{Initiator, Platform};
use crate::store::{AgreementRecord, PeeringFilter, Tx};
use adit_core::domain::id::{AgreementId, OrganizationId};
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeeringView {
    pub id: AgreementId,
    /// The other organization as the viewer calls it: "Self" when it is the viewer's own.
    pub peer: String,
    pub requester: Name,
    pub requester_id: OrganizationId,
    pub recipient: Name,
    pub recipient_id: OrganizationId,
    pub status: &'static str,
    pub requested_at: Timestamp,
}

impl Platform {
    /// Lists the requests and agreements one is a party of, the oldest first.
    pub async fn list_peerings(
        &self,
        initiator: &Initiator,
        filter: &PeeringFilter,
        paging: &Paging,
    ) -> Result<Page<PeeringView>, PlatformError> {
        let viewpoint = initiator.viewpoint()?;
        let (filter, paging) = (filter.clone(), paging.clone());
        let page = self
            .look(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(tx.list_agreements(viewpoint, &filter, &paging).await?)
            })
            .await?;
        Ok(listed("peerings", viewpoint, page.map(|agreement| view(agreement, viewpoint))))
    }
}

pub(super) fn view(agreement: AgreementRecord, viewpoint: Option<OrganizationId>) -> PeeringView {
    let peer = if agreement.requester == agreement.recipient {
        SELF.to_owned()
    } else if viewpoint == Some(agreement.recipient) {
        agreement.requester_name.to_string()
    } else {
        agreement.recipient_name.to_string()
    };
    PeeringView {
        id: agreement.id,
        peer,
        requester: agreement.requester_name,
        requester_id: agreement.requester,
        recipient: agreement.recipient_name,
        recipient_id: agreement.recipient,
        status: agreement.status.as_str(),
        requested_at: agreement.requested_at,
    }
}
