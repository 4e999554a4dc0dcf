//! Sign-ins that are under way at an identity provider. Of what the browser and the provider bring back there
//! are hashes only; each row is taken once.

use super::StoreError;
use super::cells::Cells;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignInFlow {
    pub state_hash: [u8; 32],
    pub organization: OrganizationId,
    /// Of the browser that began it.
    pub browser_hash: [u8; 32],
    /// From where, of IPv6 the network.
    pub address: String,
    /// As they were when it began.
    pub client_id: String,
    pub issuer: String,
    pub nonce_hash: [u8; 32],
    pub verifier_sealed: Vec<u8>,
    pub go_to: String,
    pub expires_at: Timestamp,
}

impl Tx {
    pub(crate) async fn insert_sign_in_flow(&mut self, new: &SignInFlow) -> Result<(), StoreError> {
        let query =
            sql("INSERT INTO sign_in_flow (state_hash, organization, browser_hash, address, client_id,
                issuer, nonce_hash, verifier_sealed, go_to, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
        let query = query
            .bind(new.state_hash.to_vec())
            .bind(text(new.organization))
            .bind(new.browser_hash.to_vec())
            .bind(new.address.clone())
            .bind(new.client_id.clone())
            .bind(new.issuer.clone())
            .bind(new.nonce_hash.to_vec())
            .bind(new.verifier_sealed.clone())
            .bind(new.go_to.clone())
            .bind(new.expires_at.as_millis());
        self.run("beginning a sign-in", query).await.map(drop)
    }

    /// Takes a sign-in away for good, whatever becomes of it.
    pub(crate) async fn take_sign_in_flow(
        &mut self,
        state_hash: [u8; 32],
    ) -> Result<Option<SignInFlow>, StoreError> {
        let query =
            sql("DELETE FROM sign_in_flow WHERE state_hash = $1 RETURNING *").bind(state_hash.to_vec());
        self.fetch("taking a sign-in", query).await?.first().map(read).transpose()
    }

    /// Forgets the sign-ins whose time is over.
    pub(crate) async fn drop_old_sign_in_flows(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let query = sql("DELETE FROM sign_in_flow WHERE expires_at <= $1").bind(now.as_millis());
        self.run("forgetting old sign-ins", query).await.map(drop)
    }

    /// Forgets all of an organization.
    pub(crate) async fn drop_sign_in_flows_of(
        &mut self,
        organization: OrganizationId,
    ) -> Result<(), StoreError> {
        let query = sql("DELETE FROM sign_in_flow WHERE organization = $1").bind(text(organization));
        self.run("forgetting the sign-ins of an organization", query).await.map(drop)
    }

    pub(crate) async fn count_sign_in_flows_from(
        &mut self,
        address: &str,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM sign_in_flow WHERE address = $1 AND expires_at > $2")
            .bind(address.to_owned())
            .bind(now.as_millis());
        self.count("counting sign-ins", query).await
    }

    pub(crate) async fn count_sign_in_flows_of(
        &mut self,
        organization: OrganizationId,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM sign_in_flow WHERE organization = $1 AND expires_at > $2")
            .bind(text(organization))
            .bind(now.as_millis());
        self.count("counting sign-ins", query).await
    }
}

fn read(cells: &Cells) -> Result<SignInFlow, StoreError> {
    Ok(SignInFlow {
        state_hash: cells.bytes("state_hash")?,
        organization: cells.get("organization")?,
        browser_hash: cells.bytes("browser_hash")?,
        address: cells.string("address")?,
        client_id: cells.string("client_id")?,
        issuer: cells.string("issuer")?,
        nonce_hash: cells.bytes("nonce_hash")?,
        verifier_sealed: cells.maybe_blob("verifier_sealed")?.unwrap_or_default(),
        go_to: cells.string("go_to")?,
        expires_at: cells.time("expires_at")?,
    })
}
