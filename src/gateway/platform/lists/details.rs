//! Single things, by the statements that list them: what a list does not show to a viewer, no detail does, and
//! what is not there is answered alike.

use crate::platform::error::{PlatformError, Resource};
use crate::platform::{Initiator, Platform};
use crate::store::{ChannelFilter, GrantFilter, OrganizationFilter, PeeringFilter, ServerFilter};
use adit_core::domain::id::{AgreementId, ChannelId, GrantId, OrganizationId, ServerId};
use adit_core::domain::name::Name;
use adit_core::domain::page::{Page, Paging};

use super::{ChannelView, GrantView, OrganizationView, PeeringView, ServerView};

impl Platform {
    pub async fn organization(
        &self,
        initiator: &Initiator,
        id: OrganizationId,
    ) -> Result<OrganizationView, PlatformError> {
        let filter = OrganizationFilter { id: Some(id), ..OrganizationFilter::default() };
        only(self.find_organizations(initiator, &filter, &Paging::first(1)).await?, Resource::Organization)
    }

    /// Returns the organization of this name, in whichever case.
    pub async fn organization_named(
        &self,
        initiator: &Initiator,
        name: &Name,
    ) -> Result<OrganizationView, PlatformError> {
        let filter = OrganizationFilter { name: Some(name.clone()), ..OrganizationFilter::default() };
        only(self.find_organizations(initiator, &filter, &Paging::first(1)).await?, Resource::Organization)
    }

    /// Returns a server of the organization's own.
    pub async fn server(&self, initiator: &Initiator, id: ServerId) -> Result<ServerView, PlatformError> {
        let filter = ServerFilter { id: Some(id), ..ServerFilter::default() };
        only(self.list_servers(initiator, &filter, &Paging::first(1)).await?, Resource::Server)
    }

    pub async fn channel(&self, initiator: &Initiator, id: ChannelId) -> Result<ChannelView, PlatformError> {
        let filter = ChannelFilter { id: Some(id), ..ChannelFilter::default() };
        only(self.list_channels(initiator, &filter, &Paging::first(1)).await?, Resource::Channel)
    }

    pub async fn peering(
        &self,
        initiator: &Initiator,
        id: AgreementId,
    ) -> Result<PeeringView, PlatformError> {
        let filter = PeeringFilter { id: Some(id), ..PeeringFilter::default() };
        only(self.list_peerings(initiator, &filter, &Paging::first(1)).await?, Resource::Peering)
    }

    pub async fn grant(&self, initiator: &Initiator, id: GrantId) -> Result<GrantView, PlatformError> {
        let filter = GrantFilter { id: Some(id), ..GrantFilter::default() };
        only(self.list_grants(initiator, &filter, &Paging::first(1)).await?, Resource::Grant)
    }
}

/// Returns the row, if there is one that may be shown.
fn only<T>(page: Page<T>, resource: Resource) -> Result<T, PlatformError> {
    page.rows.into_iter().next().ok_or(PlatformError::NotFound { resource })
}
