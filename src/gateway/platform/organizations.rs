//! Organizations and their tiers.

use crate::store::OrganizationRecord;
use adit_core::domain::id::OrganizationId;
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Tier;
use adit_net::identity::random;

use super::audited_tx::AuditedTx;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Actor, Platform, holds};

impl Platform {
    /// Adds an organization, by the gateway's operator only.
    pub async fn add_organization(
        &self,
        actor: &Actor,
        name: &Name,
        tier: Tier,
    ) -> Result<OrganizationId, PlatformError> {
        let mut audited = self.begin(actor, "add organization", format!("organization {name}")).await?;
        let outcome = add(&mut audited, name, tier).await;
        audited.finish(outcome).await
    }

    /// Sets the tier, by the gateway's operator, or by an owner of the organization. Deletes nothing; where
    /// the new tier does not admit read-write administration, connections for it are cut and held.
    pub async fn set_tier(&self, actor: &Actor, id: OrganizationId, tier: Tier) -> Result<(), PlatformError> {
        let mut audited = self.begin(actor, "set tier", format!("organization {id}")).await?;
        let outcome = set_tier(&mut audited, id, tier).await;
        audited.finish(outcome).await
    }
}

async fn add(audited: &mut AuditedTx, name: &Name, tier: Tier) -> Result<OrganizationId, PlatformError> {
    if audited.actor.viewpoint().is_some() {
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
    if audited.actor.viewpoint().is_some_and(|own| own != id) {
        return Err(PlatformError::NotFound { resource: Resource::Organization });
    }
    if audited.actor.viewpoint().is_some() {
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
