//! Organizations.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::name::Name;
use adit_core::domain::tier::Tier;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrganizationRecord {
    pub id: OrganizationId,
    pub name: Name,
    pub tier: Tier,
    pub created_at: Timestamp,
    /// Whether who signs in by password must show one.
    pub needs_second_factor: bool,
}

impl Tx {
    pub(crate) async fn insert_organization(&mut self, new: &OrganizationRecord) -> Result<(), StoreError> {
        let query = sql("INSERT INTO organization (id, name, tier, created_at) VALUES ($1, $2, $3, $4)")
            .bind(text(new.id))
            .bind(text(&new.name))
            .bind(new.tier.as_str())
            .bind(new.created_at.as_millis());
        self.run("adding an organization", query).await?;
        self.note_change(Changed::Organization(new.id));
        Ok(())
    }

    pub(crate) async fn organization(
        &mut self,
        id: OrganizationId,
    ) -> Result<Option<OrganizationRecord>, StoreError> {
        let query = sql("SELECT * FROM organization WHERE id = $1").bind(text(id));
        self.one("looking an organization up", query, read).await
    }

    pub(crate) async fn rename_organization(
        &mut self,
        id: OrganizationId,
        name: &Name,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE organization SET name = $1 WHERE id = $2").bind(text(name)).bind(text(id));
        self.run("renaming an organization", query).await?;
        self.note_change(Changed::OrganizationName(id));
        Ok(())
    }

    pub(crate) async fn set_tier(&mut self, id: OrganizationId, tier: Tier) -> Result<(), StoreError> {
        let query = sql("UPDATE organization SET tier = $1 WHERE id = $2").bind(tier.as_str()).bind(text(id));
        self.run("changing a tier", query).await?;
        self.note_change(Changed::Organization(id));
        Ok(())
    }
}

pub(super) fn read(cells: &Cells) -> Result<OrganizationRecord, StoreError> {
    Ok(OrganizationRecord {
        id: cells.get("id")?,
        name: cells.name("name")?,
        tier: cells.get("tier")?,
        created_at: cells.time("created_at")?,
        needs_second_factor: cells.flag("needs_second_factor")?,
    })
}
