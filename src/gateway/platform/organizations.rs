//! Organizations and their tiers.

use serde::Serialize;

use crate::store::OrganizationRecord;
use adit_core::domain::id::OrganizationId;
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Tier;
use adit_net::identity::random;

use super::audited_tx::AuditedTx;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::views::shown;
use super::{Initiator, Platform, holds};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrganizationView {
    #[serde(serialize_with = "shown")]
    pub id: OrganizationId,
    #[serde(serialize_with = "shown")]
    pub name: Name,
    /// The organization's own, and the operator's.
    #[serde(serialize_with = "super::views::shown_if_any", skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
}

impl Platform {
    /// Adds an organization, by the gateway's operator only.
    pub async fn add_organization(
        &self,
        initiator: &Initiator,
        name: &Name,
        tier: Tier,
    ) -> Result<OrganizationId, PlatformError> {
        let mut audited = self.begin(initiator, "add organization", format!("organization {name}")).await?;
        let outcome = add(&mut audited, name, tier).await;
        audited.finish(outcome).await
    }

    /// Sets the tier, by the gateway's operator, or by an owner of the organization. Deletes nothing; where
    /// the new tier does not admit read-write administration, connections for it are cut and held.
    pub async fn set_tier(
        &self,
        initiator: &Initiator,
        id: OrganizationId,
        tier: Tier,
    ) -> Result<(), PlatformError> {
        let mut audited = self.begin(initiator, "set tier", format!("organization {id}")).await?;
        let outcome = set_tier(&mut audited, id, tier).await;
        audited.finish(outcome).await
    }

    /// Returns every organization by name: peering is asked for by name.
    pub async fn organizations(&self, initiator: &Initiator) -> Result<Vec<OrganizationView>, PlatformError> {
        let viewpoint = initiator.viewpoint();
        let found = self.store.read().await?.organizations().await?;
        let view = |organization: OrganizationRecord| OrganizationView {
            id: organization.id,
            name: organization.name,
            tier: viewpoint.is_none_or(|own| own == organization.id).then_some(organization.tier),
        };
        Ok(found.into_iter().map(view).collect())
    }
}

async fn add(audited: &mut AuditedTx, name: &Name, tier: Tier) -> Result<OrganizationId, PlatformError> {
    if audited.initiator.viewpoint().is_some() {
        return Err(ActionRefusal::NeedsHost.into());
    }
    let id = OrganizationId::from_random(random::bytes());
    let new = OrganizationRecord { id, name: name.clone(), tier, created_at: audited.now };
    audited.tx.insert_organization(&new).await?;
    audited.made(Resource::Organization, id);
    audited.concerns(id);
    audited.describe(format!("name {name}, tier {tier}"));
    Ok(id)
}

async fn set_tier(audited: &mut AuditedTx, id: OrganizationId, tier: Tier) -> Result<(), PlatformError> {
    if audited.initiator.viewpoint().is_some_and(|own| own != id) {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    }
    if audited.initiator.viewpoint().is_some() {
        audited.member(Permission::ChangeTier)?;
    }
    let Some(organization) = audited.tx.organization(id).await? else {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    };
    audited.concerns(id);
    audited.tx.set_tier(id, tier).await?;
    holds::follow_tier(audited, &organization, tier).await?;
    audited.describe(format!("from {} to {tier}", organization.tier));
    Ok(())
}
