//! Peering requests and the agreements they become.

use std::str::FromStr;

use super::StoreError;
use super::cells::Cells;
use super::change::Changed;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::{AgreementId, OrganizationId};
use adit_core::domain::name::Name;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgreementStatus {
    Requested,
    Live,
    Declined,
    Withdrawn,
    /// By either party, after it was live.
    Ended,
}

impl AgreementStatus {
    const ALL: [Self; 5] = [Self::Requested, Self::Live, Self::Declined, Self::Withdrawn, Self::Ended];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Live => "live",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::Ended => "ended",
        }
    }
}

impl FromStr for AgreementStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgreementRecord {
    pub id: AgreementId,
    pub requester: OrganizationId,
    pub requester_name: Name,
    pub recipient: OrganizationId,
    pub recipient_name: Name,
    pub status: AgreementStatus,
    pub requested_at: Timestamp,
}

impl AgreementRecord {
    #[must_use]
    pub(crate) fn has(&self, organization: OrganizationId) -> bool {
        self.requester == organization || self.recipient == organization
    }
}

macro_rules! select_agreements {
    ($which:literal) => {
        concat!(
            "SELECT a.*, r.name AS requester_name, p.name AS recipient_name FROM agreement a
             JOIN organization r ON r.id = a.requester JOIN organization p ON p.id = a.recipient ",
            $which
        )
    };
}
pub(super) use select_agreements;

impl Tx {
    pub(crate) async fn insert_agreement(
        &mut self,
        id: AgreementId,
        requester: OrganizationId,
        recipient: OrganizationId,
        status: AgreementStatus,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let decided_at = (status != AgreementStatus::Requested).then_some(at.as_millis());
        let query = sql("INSERT INTO agreement (id, requester, recipient, status, requested_at, decided_at)
             VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(text(id))
        .bind(text(requester))
        .bind(text(recipient))
        .bind(status.as_str())
        .bind(at.as_millis())
        .bind(decided_at);
        self.run("asking for peering", query).await?;
        self.note_change(Changed::Agreement(id));
        Ok(())
    }

    pub(crate) async fn agreement(&mut self, id: AgreementId) -> Result<Option<AgreementRecord>, StoreError> {
        self.one_readable(
            "looking a peering up",
            sql(select_agreements!("WHERE a.id = $1")).bind(text(id)),
            read,
        )
        .await
    }

    /// Returns the request or agreement in force between two organizations.
    pub(crate) async fn agreement_between(
        &mut self,
        one: OrganizationId,
        other: OrganizationId,
    ) -> Result<Option<AgreementRecord>, StoreError> {
        let query = sql(select_agreements!(
            "WHERE a.status IN ('requested', 'live')
               AND ((a.requester = $1 AND a.recipient = $2) OR (a.requester = $2 AND a.recipient = $1))"
        ))
        .bind(text(one))
        .bind(text(other));
        self.one_readable("looking a peering up", query, read).await
    }

    pub(crate) async fn count_agreements(&mut self, organization: OrganizationId) -> Result<u32, StoreError> {
        let query = sql("SELECT count(*) AS n FROM agreement
             WHERE status = 'live' AND (requester = $1 OR recipient = $1)")
        .bind(text(organization));
        self.count("counting peers", query).await
    }

    /// Returns whom an organization has an agreement with, itself left out.
    pub(crate) async fn peers_of_organization(
        &mut self,
        organization: OrganizationId,
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let query =
            sql("SELECT CASE WHEN requester = $1 THEN recipient ELSE requester END AS peer FROM agreement
             WHERE status = 'live' AND requester <> recipient AND (requester = $1 OR recipient = $1)
             ORDER BY requested_at, id")
            .bind(text(organization));
        self.all("listing peers", query, |cells| cells.get("peer")).await
    }

    pub(crate) async fn decide_agreement(
        &mut self,
        id: AgreementId,
        status: AgreementStatus,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE agreement SET status = $1, decided_at = $2 WHERE id = $3")
            .bind(status.as_str())
            .bind(at.as_millis())
            .bind(text(id));
        self.run("deciding a peering request", query).await?;
        self.note_change(Changed::Agreement(id));
        Ok(())
    }
}

pub(super) fn read(cells: &Cells) -> Result<AgreementRecord, StoreError> {
    Ok(AgreementRecord {
        id: cells.get("id")?,
        requester: cells.get("requester")?,
        requester_name: cells.name("requester_name")?,
        recipient: cells.get("recipient")?,
        recipient_name: cells.name("recipient_name")?,
        status: cells.get("status")?,
        requested_at: cells.time("requested_at")?,
    })
}
