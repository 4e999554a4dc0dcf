//! How a viewer stands to what is listed, computed by the statement that lists it: the input of the
//! visibility table, which is elsewhere.

use crate::store::StoreError;
use crate::store::cells::Cells;
use crate::store::query::Query;
use crate::store::tx::text;
use adit_core::domain::id::OrganizationId;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visibility::Viewer;

/// Who looks, and when: an offer whose time is over no longer makes anybody a party.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eyes {
    pub(super) organization: OrganizationId,
    pub(super) now: Timestamp,
}

impl Query {
    /// Goes on with the ids of the organizations that one has an agreement with, as `recipient`.
    pub(super) fn peers_of(self, organization: OrganizationId) -> Self {
        self.then("SELECT p.recipient FROM agreement p WHERE p.status = 'live' AND p.requester = ")
            .value(text(organization))
            .then(" UNION SELECT p.requester FROM agreement p WHERE p.status = 'live' AND p.recipient = ")
            .value(text(organization))
    }

    /// Goes on with the ids of an organization's channels.
    pub(super) fn channels_of(self, organization: OrganizationId) -> Self {
        self.then("SELECT h.id FROM server x JOIN channel h ON h.server = x.id WHERE x.organization = ")
            .value(text(organization))
    }

    /// Goes on with whether one has a living connection to the channel `c`. It counts, as what is asked of each row of a
    /// page: for `EXISTS` and `IN` `PostgreSQL` looks through all that one has.
    pub(super) fn whether_reached(self, eyes: Eyes) -> Self {
        self.then(
            "0 < (SELECT count(*) FROM channel_grant y JOIN connection k ON k.channel_grant = y.id
                WHERE y.channel = c.id AND y.holder = ",
        )
        .value(text(eyes.organization))
        .living(eyes.now)
        .then(")")
    }

    /// Goes on with whether the server `s` is at the other end of a living connection of one's own.
    pub(super) fn whether_known(self, eyes: Eyes) -> Self {
        self.then(
            "(0 < (SELECT count(*) FROM connection k WHERE k.target_server = s.id AND k.source_owner = ",
        )
        .value(text(eyes.organization))
        .living(eyes.now)
        .then(
            ") OR 0 < (SELECT count(*) FROM connection k WHERE k.source_server = s.id AND k.target_owner = ",
        )
        .value(text(eyes.organization))
        .living(eyes.now)
        .then("))")
    }

    /// Narrows the connections `k` to those that have not ended, in words that this build knows.
    pub(super) fn living(self, now: Timestamp) -> Self {
        self.then(
            " AND (k.status IN ('Provisioning', 'Ready', 'Active', 'Paused', 'Failed')
                OR (k.status = 'Offered' AND k.expires_at > ",
        )
        .value(now.as_millis())
        .then("))")
    }
}

/// Reads a relation as the statements write it.
pub(super) fn viewer(cells: &Cells, column: &'static str) -> Result<Viewer, StoreError> {
    match cells.string(column)?.as_str() {
        "owner" => Ok(Viewer::Owner),
        "party" => Ok(Viewer::Party),
        "peer" => Ok(Viewer::Peer),
        "outsider" => Ok(Viewer::Outsider),
        _ => Err(StoreError::Damaged { column }),
    }
}
