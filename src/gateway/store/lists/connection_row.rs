//! A connection with all that is shown of it: what both agents told, and both servers' control links.

use crate::store::StoreError;
use crate::store::cells::Cells;
use crate::store::connection::{ConnectionRecord, read};
use crate::store::fact::{fault, path};
use crate::store::query::Query;
use crate::store::server::LinkRecord;
use adit_core::domain::connection::Side;
use adit_core::domain::connectivity::{Facts, SideFacts, Timed};
use adit_core::domain::path::PathKind;
use adit_core::domain::side_fault::SideFault;
use adit_core::domain::time::Timestamp;
use adit_core::domain::word::Word;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionRow {
    pub connection: ConnectionRecord,
    source: EndRow,
    target: EndRow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EndRow {
    link: Option<LinkRecord>,
    tunnel: Option<Timed<Option<Word<PathKind>>>>,
    mirth: Option<Timed<bool>>,
    last_ack: Option<Timestamp>,
    fault: Option<Timed<Word<SideFault>>>,
}

impl ConnectionRow {
    /// Returns the facts behind what is shown, as they are at `now`.
    #[must_use]
    pub(crate) fn facts_at(&self, now: Timestamp) -> Facts {
        let of = |end: &EndRow| SideFacts {
            link: end.link.map(|link| link.at(now)),
            tunnel: end.tunnel,
            mirth: end.mirth,
            fault: end.fault,
        };
        Facts {
            source: of(&self.source),
            target: of(&self.target),
            first_connected: self.connection.first_connected_at,
            last_ack: self.source.last_ack.max(self.target.last_ack),
        }
        .in_status(self.connection.status, self.connection.changed_at)
    }
}

/// Whether both sides' agents tell that the tunnel of the connection `c` is up. It counts the two rows there may be: for
/// a set of connections `EXISTS` has `PostgreSQL` read what all agents of the platform told.
macro_rules! tunnel_up {
    () => {
        "2 = (SELECT count(*) FROM connection_fact f WHERE f.connection = c.id AND f.tunnel <> 'down')"
    };
}
pub(super) use tunnel_up;

/// Whether one side's agent is linked, to a gateway that lives longer than the value that comes next.
macro_rules! link_up {
    ($side:literal) => {
        concat!(
            " AND 0 < (SELECT count(*) FROM server_link l JOIN gateway_lease w ON w.gateway = l.gateway WHERE l.server = c.",
            $side,
            "_server AND l.is_up AND w.until > "
        )
    };
}

/// Selects what [`row`] reads, after the connection `c` itself.
macro_rules! row_columns {
    () => {
        ", fs.tunnel AS source_tunnel, fs.tunnel_since AS source_tunnel_since, fs.mirth_up AS source_mirth_up,
            fs.mirth_since AS source_mirth_since, fs.last_ack_at AS source_ack_at,
            fs.fault AS source_fault, fs.fault_since AS source_fault_since, ls.is_up AS source_link_up,
            ls.since AS source_link_since, ws.until AS source_lease_until,
            ft.tunnel AS target_tunnel, ft.tunnel_since AS target_tunnel_since, ft.mirth_up AS target_mirth_up,
            ft.mirth_since AS target_mirth_since, ft.last_ack_at AS target_ack_at,
            ft.fault AS target_fault, ft.fault_since AS target_fault_since, lt.is_up AS target_link_up,
            lt.since AS target_link_since, wt.until AS target_lease_until "
    };
}
pub(super) use row_columns;

macro_rules! row_joins {
    () => {
        "LEFT JOIN connection_fact fs ON fs.connection = c.id AND fs.side = 'source'
         LEFT JOIN connection_fact ft ON ft.connection = c.id AND ft.side = 'target'
         LEFT JOIN server_link ls ON ls.server = c.source_server LEFT JOIN gateway_lease ws ON ws.gateway = ls.gateway
         LEFT JOIN server_link lt ON lt.server = c.target_server LEFT JOIN gateway_lease wt ON wt.gateway = lt.gateway "
    };
}
pub(super) use row_joins;

impl Query {
    /// Goes on with the word for what is true of the connection `c` at `now`, as [`ConnectionRow::facts_at`] has it.
    pub(super) fn connectivity(self, now: Timestamp) -> Self {
        let query = self.then("CASE WHEN c.status NOT IN ('Declined', 'Expired', 'Terminated')");
        query
            .then(concat!(" AND ", tunnel_up!(), link_up!("source")))
            .value(now.as_millis())
            .then(concat!(")", link_up!("target")))
            .value(now.as_millis())
            .then(
                ") THEN 'Connected' WHEN c.first_connected_at IS NULL THEN 'Never connected'
                    ELSE 'Disconnected' END",
            )
    }
}

/// What one end's columns are called.
struct Columns {
    tunnel: &'static str,
    tunnel_since: &'static str,
    mirth_up: &'static str,
    mirth_since: &'static str,
    ack_at: &'static str,
    fault: &'static str,
    fault_since: &'static str,
    link_up: &'static str,
    link_since: &'static str,
    lease_until: &'static str,
}

const SOURCE: Columns = Columns {
    tunnel: "source_tunnel",
    tunnel_since: "source_tunnel_since",
    mirth_up: "source_mirth_up",
    mirth_since: "source_mirth_since",
    ack_at: "source_ack_at",
    fault: "source_fault",
    fault_since: "source_fault_since",
    link_up: "source_link_up",
    link_since: "source_link_since",
    lease_until: "source_lease_until",
};
const TARGET: Columns = Columns {
    tunnel: "target_tunnel",
    tunnel_since: "target_tunnel_since",
    mirth_up: "target_mirth_up",
    mirth_since: "target_mirth_since",
    ack_at: "target_ack_at",
    fault: "target_fault",
    fault_since: "target_fault_since",
    link_up: "target_link_up",
    link_since: "target_link_since",
    lease_until: "target_lease_until",
};

pub(super) fn row(cells: &Cells) -> Result<ConnectionRow, StoreError> {
    Ok(ConnectionRow {
        connection: read(cells)?,
        source: end(cells, Side::Source)?,
        target: end(cells, Side::Target)?,
    })
}

fn end(cells: &Cells, side: Side) -> Result<EndRow, StoreError> {
    let columns = match side {
        Side::Source => &SOURCE,
        Side::Target => &TARGET,
    };
    let lease_until = cells.maybe_time(columns.lease_until)?;
    let tunnel: Option<String> = cells.maybe(columns.tunnel)?;
    Ok(EndRow {
        link: flag(cells, columns.link_up, columns.link_since)?.map(|told| LinkRecord { told, lease_until }),
        tunnel: tunnel
            .zip(cells.maybe_time(columns.tunnel_since)?)
            .map(|(word, since)| Timed { value: path(&word), since }),
        mirth: flag(cells, columns.mirth_up, columns.mirth_since)?,
        last_ack: cells.maybe_time(columns.ack_at)?,
        fault: fault(cells, columns.fault, columns.fault_since)?,
    })
}

fn flag(cells: &Cells, flag: &'static str, since: &'static str) -> Result<Option<Timed<bool>>, StoreError> {
    let known = cells.maybe_flag(flag)?.zip(cells.maybe_time(since)?);
    Ok(known.map(|(value, since)| Timed { value, since }))
}
