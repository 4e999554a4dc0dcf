//! The audit log: append-only, one row for each organization concerned.

use super::StoreError;
use super::cells::Cells;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::id::{ActId, OrganizationId};
use adit_core::domain::name::Name;
use adit_core::domain::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOutcome {
    Done,
    Refused,
    /// Refused, and somebody should look at why.
    Alert,
}

impl AuditOutcome {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Alert => "alert",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct AuditRecord {
    pub at: Timestamp,
    /// Whose log; `None` is the gateway operator's own.
    pub organization: Option<OrganizationId>,
    pub actor: String,
    pub action: &'static str,
    pub object: String,
    pub outcome: AuditOutcome,
    pub detail: String,
    /// Equal buckets are one row that counts: what a stranger can cause must not fill the disk.
    pub bucket: Option<String>,
    /// Which act it is of, if it is one; by it a commit whose answer was lost is found.
    pub act: Option<ActId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditRow {
    pub id: i64,
    pub at: Timestamp,
    pub organization_name: Option<Name>,
    pub actor: String,
    pub action: String,
    pub object: String,
    pub outcome: String,
    pub detail: String,
    pub times: u32,
}

impl Tx {
    /// Appends an entry for something that happened `times`, which must not be 0.
    pub(crate) async fn append_audit_times(
        &mut self,
        entry: &AuditRecord,
        times: u32,
    ) -> Result<(), StoreError> {
        let query = sql(
            "INSERT INTO audit (at, organization, actor, action, object, outcome, detail, bucket, times, act)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (bucket) DO UPDATE SET times = audit.times + excluded.times",
        )
        .bind(entry.at.as_millis())
        .bind(entry.organization.map(text))
        .bind(entry.actor.clone())
        .bind(entry.action)
        .bind(entry.object.clone())
        .bind(entry.outcome.as_str())
        .bind(entry.detail.clone())
        .bind(entry.bucket.clone())
        .bind(i64::from(times))
        .bind(entry.act.map(text));
        self.run("writing the audit log", query).await.map(drop)
    }

    /// Returns the number of an act's last entry; all that were written before have lower ones.
    pub(crate) async fn last_of_act(&mut self, act: ActId) -> Result<Option<i64>, StoreError> {
        let query = sql("SELECT id FROM audit WHERE act = $1 ORDER BY id DESC LIMIT 1").bind(text(act));
        self.one("finding an entry of the log", query, |cells| cells.serial("id")).await
    }

    /// Returns whether an act's entry is in the log.
    pub(super) async fn has_act(&mut self, act: ActId) -> Result<bool, StoreError> {
        let query = sql("SELECT count(*) AS n FROM audit WHERE act = $1").bind(text(act));
        self.count("asking what became of a change", query).await.map(|rows| rows > 0)
    }
}

pub(super) fn read(cells: &Cells) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        id: cells.serial("id")?,
        at: cells.time("at")?,
        organization_name: cells.maybe_name("organization_name")?,
        actor: cells.string("actor")?,
        action: cells.string("action")?,
        object: cells.string("object")?,
        outcome: cells.string("outcome")?,
        detail: cells.string("detail")?,
        times: cells.number("times")?,
    })
}
