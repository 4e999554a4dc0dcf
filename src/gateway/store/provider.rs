//! Identity providers of organizations. The client secret is sealed before it comes here.

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::{Query, sql};
use super::tx::{Tx, text};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProviderRecord {
    pub organization: OrganizationId,
    pub issuer: String,
    pub client_id: String,
    /// None of a public client.
    pub secret_sealed: Option<Vec<u8>>,
    pub role_claim: String,
    /// Values of that claim; without one nobody becomes it.
    pub owner_value: Option<String>,
    pub operator_value: Option<String>,
    pub auditor_value: Option<String>,
    /// Of its users who have a password, only owners sign in with that.
    pub owners_only: bool,
    pub changed_at: Timestamp,
}

impl Tx {
    /// Replaces whatever provider the organization had.
    pub(crate) async fn put_provider(&mut self, new: &ProviderRecord) -> Result<(), StoreError> {
        let query = sql(
            "INSERT INTO identity_provider (organization, issuer, client_id, client_secret_sealed, role_claim,
                owner_value, operator_value, auditor_value, owners_only, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (organization) DO UPDATE SET issuer = excluded.issuer, client_id = excluded.client_id,
                client_secret_sealed = excluded.client_secret_sealed, role_claim = excluded.role_claim,
                owner_value = excluded.owner_value, operator_value = excluded.operator_value,
                auditor_value = excluded.auditor_value, owners_only = excluded.owners_only,
                changed_at = excluded.changed_at",
        );
        let query = query
            .bind(text(new.organization))
            .bind(new.issuer.clone())
            .bind(new.client_id.clone())
            .bind(new.secret_sealed.clone())
            .bind(new.role_claim.clone())
            .bind(new.owner_value.clone())
            .bind(new.operator_value.clone())
            .bind(new.auditor_value.clone())
            .bind(new.owners_only)
            .bind(new.changed_at.as_millis());
        self.run("setting an identity provider", query).await?;
        self.note_change(Changed::Organization(new.organization));
        Ok(())
    }

    /// Returns whether there was one.
    pub(crate) async fn delete_provider(&mut self, id: OrganizationId) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM identity_provider WHERE organization = $1").bind(text(id));
        let is_gone = self.run("removing an identity provider", query).await? > 0;
        self.note_change(Changed::Organization(id));
        Ok(is_gone)
    }

    pub(crate) async fn provider(
        &mut self,
        organization: OrganizationId,
    ) -> Result<Option<ProviderRecord>, StoreError> {
        let query = sql("SELECT * FROM identity_provider WHERE organization = $1").bind(text(organization));
        self.one_provider(query).await
    }

    /// Returns the provider of the organization that people call so.
    pub(crate) async fn provider_of(&mut self, name: &str) -> Result<Option<ProviderRecord>, StoreError> {
        let query = sql("SELECT p.* FROM organization o JOIN identity_provider p ON p.organization = o.id
             WHERE lower(o.name) = lower($1) ORDER BY CASE WHEN o.name = $1 THEN 0 ELSE 1 END, o.id LIMIT 1")
        .bind(name.to_owned());
        self.one_provider(query).await
    }

    async fn one_provider(&mut self, query: Query) -> Result<Option<ProviderRecord>, StoreError> {
        self.one("looking an identity provider up", query, read).await
    }

    /// Returns whether any client secret is kept, which only the sealing key opens.
    pub(crate) async fn keeps_client_secrets(&mut self) -> Result<bool, StoreError> {
        let query = sql("SELECT organization FROM identity_provider WHERE client_secret_sealed IS NOT NULL
             ORDER BY organization LIMIT 1");
        let kept: Option<OrganizationId> =
            self.one("asking for kept client secrets", query, |cells| cells.get("organization")).await?;
        Ok(kept.is_some())
    }
}

fn read(cells: &Cells) -> Result<ProviderRecord, StoreError> {
    Ok(ProviderRecord {
        organization: cells.get("organization")?,
        issuer: cells.string("issuer")?,
        client_id: cells.string("client_id")?,
        secret_sealed: cells.maybe_blob("client_secret_sealed")?,
        role_claim: cells.string("role_claim")?,
        owner_value: cells.maybe("owner_value")?,
        operator_value: cells.maybe("operator_value")?,
        auditor_value: cells.maybe("auditor_value")?,
        owners_only: cells.flag("owners_only")?,
        changed_at: cells.time("changed_at")?,
    })
}
