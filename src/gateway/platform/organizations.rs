//! Organizations and their tiers.

use crate::store::OrganizationRecord;
use adit_core::domain::id::OrganizationId;
use adit_core::domain::name::Name;
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Tier;
use adit_net::identity::random;

use super::act::Act;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Action, Initiator, Platform, holds};

impl Platform {
    /// Adds an organization, by the gateway's operator only.
    pub async fn add_organization(
        &self,
        initiator: &Initiator,
        name: &Name,
        tier: Tier,
    ) -> Result<OrganizationId, PlatformError> {
        let name = name.clone();
        self.act(
            initiator,
            Action::AddOrganization,
            format!("organization {name}"),
            async move |act: &mut Act| add(act, &name, tier).await,
        )
        .await
    }

    /// Sets the tier, by the gateway's operator, or by an owner of the organization. Deletes nothing; where
    /// the new tier does not admit read-write administration, connections for it are cut and held.
    pub async fn set_tier(
        &self,
        initiator: &Initiator,
        id: OrganizationId,
        tier: Tier,
    ) -> Result<(), PlatformError> {
        self.act(initiator, Action::SetTier, format!("organization {id}"), async move |act: &mut Act| {
            set_tier(act, id, tier).await
        })
        .await
    }

    /// Renames an organization, by the gateway's operator, or by an owner of the organization. Its peers see the
    /// new name, and find it in their logs.
    pub async fn rename_organization(
        &self,
        initiator: &Initiator,
        id: OrganizationId,
        name: &Name,
    ) -> Result<(), PlatformError> {
        let name = name.clone();
        let object = format!("organization {id}");
        self.act(initiator, Action::RenameOrganization, object, async move |act: &mut Act| {
            rename(act, id, &name).await
        })
        .await
    }
}

async fn add(act: &mut Act, name: &Name, tier: Tier) -> Result<OrganizationId, PlatformError> {
    if !act.is_host() {
        return Err(ActionRefusal::NeedsHost.into());
    }
    let id = OrganizationId::from_random(random::bytes());
    let new =
        OrganizationRecord { id, name: name.clone(), tier, created_at: act.now, needs_second_factor: false };
    act.tx.insert_organization(&new).await?;
    act.made(Resource::Organization, id);
    act.concerns(id);
    act.describe(format!("name {name}, tier {tier}"));
    Ok(id)
}

async fn set_tier(act: &mut Act, id: OrganizationId, tier: Tier) -> Result<(), PlatformError> {
    let organization = owned(act, id, Permission::ChangeTier).await?;
    act.tx.set_tier(id, tier).await?;
    holds::follow_tier(act, &organization, tier).await?;
    act.describe(format!("from {} to {tier}", organization.tier));
    Ok(())
}

async fn rename(act: &mut Act, id: OrganizationId, name: &Name) -> Result<(), PlatformError> {
    let organization = owned(act, id, Permission::RenameOrganization).await?;
    act.tx.rename_organization(id, name).await?;
    for peer in act.tx.peers_of_organization(id).await? {
        act.concerns(peer);
    }
    act.describe(format!("from {} to {name}", organization.name));
    Ok(())
}

/// Returns an organization that is the asker's to change: the operator's, or an owner's own.
async fn owned(
    act: &mut Act,
    id: OrganizationId,
    permission: Permission,
) -> Result<OrganizationRecord, PlatformError> {
    const MISSING: PlatformError = PlatformError::NotFound { resource: Resource::Organization };
    if !act.is_host() {
        if act.organization() != Some(id) {
            return Err(MISSING);
        }
        act.member(permission)?;
    }
    let organization = act.tx.organization(id).await?.ok_or(MISSING)?;
    act.concerns(id);
    Ok(organization)
}
