//! Organizations as people see them: each by name, because peering is asked for by name.

use super::listed;
use crate::platform::error::PlatformError;
use crate::platform::{Initiator, Platform};
use crate::store::{OrganizationFilter, OrganizationRecord, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::tier::Tier;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationView {
    pub id: OrganizationId,
    pub name: Name,
    /// The organization's own, and the operator's.
    pub tier: Option<Tier>,
    /// In the same way: whether who signs in by password must show a second factor.
    pub needs_second_factor: Option<bool>,
}

impl Platform {
    /// Lists every organization by name.
    pub async fn list_organizations(
        &self,
        initiator: &Initiator,
        paging: &Paging,
    ) -> Result<Page<OrganizationView>, PlatformError> {
        self.find_organizations(initiator, &OrganizationFilter::default(), paging).await
    }

    /// Lists those that the filter names.
    pub async fn find_organizations(
        &self,
        initiator: &Initiator,
        filter: &OrganizationFilter,
        paging: &Paging,
    ) -> Result<Page<OrganizationView>, PlatformError> {
        let viewpoint = initiator.viewpoint()?;
        let (filter, paging) = (filter.clone(), paging.clone());
        let page = self
            .look(async move |tx: &mut Tx| {
                Ok::<_, PlatformError>(tx.list_organizations(&filter, &paging).await?)
            })
            .await?;
        Ok(listed("organizations", viewpoint, page.map(|organization| view(organization, viewpoint))))
    }
}

pub(in crate::platform) fn view(
    organization: OrganizationRecord,
    viewpoint: Option<OrganizationId>,
) -> OrganizationView {
    let is_own = viewpoint.is_none_or(|own| own == organization.id);
    OrganizationView {
        id: organization.id,
        name: organization.name,
        tier: is_own.then_some(organization.tier),
        needs_second_factor: is_own.then_some(organization.needs_second_factor),
    }
}
