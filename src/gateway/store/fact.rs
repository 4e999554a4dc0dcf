//! What each side's agent last told of a connection.

use super::StoreError;
use super::cells::Cells;
use super::query::sql;
use super::tx::{Tx, text};
use adit_core::domain::connection::Side;
use adit_core::domain::connectivity::Timed;
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::path::PathKind;
use adit_core::domain::side_fault::SideFault;
use adit_core::domain::time::Timestamp;
use adit_core::domain::word::Word;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FactRecord {
    pub connection: ConnectionId,
    pub side: Side,
    /// The path is a word that a newer agent or gateway may have added.
    pub tunnel: Timed<Option<Word<PathKind>>>,
    pub mirth: Option<Timed<bool>>,
    pub last_ack: Option<Timestamp>,
    /// What keeps it from carrying, as that side sees it; a newer agent may have another word.
    pub fault: Option<Timed<Word<SideFault>>>,
}

/// Stands where a path stands while the tunnel is up.
const DOWN: &str = "down";

impl Tx {
    pub(crate) async fn put_fact(&mut self, fact: &FactRecord) -> Result<(), StoreError> {
        let query = sql("INSERT INTO connection_fact
                (connection, side, tunnel, tunnel_since, mirth_up, mirth_since, last_ack_at, fault, fault_since)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (connection, side) DO UPDATE SET tunnel = excluded.tunnel,
                tunnel_since = excluded.tunnel_since, mirth_up = excluded.mirth_up,
                mirth_since = excluded.mirth_since, last_ack_at = excluded.last_ack_at, fault = excluded.fault,
                fault_since = excluded.fault_since")
        .bind(text(fact.connection))
        .bind(fact.side.as_str())
        .bind(fact.tunnel.value.map_or_else(|| DOWN.to_owned(), text))
        .bind(fact.tunnel.since.as_millis())
        .bind(fact.mirth.map(|mirth| mirth.value))
        .bind(fact.mirth.map(|mirth| mirth.since.as_millis()))
        .bind(fact.last_ack.map(Timestamp::as_millis))
        .bind(fact.fault.map(|fault| text(fault.value)))
        .bind(fact.fault.map(|fault| fault.since.as_millis()));
        self.run("noting a connection's state", query).await.map(drop)
    }

    /// Forgets what a server's agent told of its tunnels, and of what is wrong: from `at` on nothing is known of them.
    pub(crate) async fn forget_tunnels(&mut self, server: ServerId, at: Timestamp) -> Result<(), StoreError> {
        let query = sql(
            "UPDATE connection_fact SET tunnel = 'down', fault = NULL, fault_since = NULL,
                tunnel_since = CASE WHEN tunnel = 'down' THEN tunnel_since ELSE $1 END
             WHERE (tunnel <> 'down' OR fault IS NOT NULL) AND (
                (side = 'source' AND connection IN (SELECT id FROM connection WHERE source_server = $2))
                OR (side = 'target' AND connection IN (SELECT id FROM connection WHERE target_server = $2)))",
        )
        .bind(at.as_millis())
        .bind(text(server));
        self.run("forgetting a server's tunnels", query).await.map(drop)
    }

    /// Returns what is known of a connection.
    pub(crate) async fn facts(&mut self, connection: ConnectionId) -> Result<Vec<FactRecord>, StoreError> {
        let query = sql("SELECT * FROM connection_fact WHERE connection = $1").bind(text(connection));
        self.all_readable("reading a connection's state", query, read).await
    }
}

fn read(cells: &Cells) -> Result<FactRecord, StoreError> {
    let side = match cells.string("side")?.as_str() {
        "source" => Side::Source,
        "target" => Side::Target,
        _ => return Err(StoreError::Damaged { column: "side" }),
    };
    let path = path(&cells.string("tunnel")?);
    let mirth = match (cells.maybe_flag("mirth_up")?, cells.maybe_time("mirth_since")?) {
        (Some(value), Some(since)) => Some(Timed { value, since }),
        _ => None,
    };
    Ok(FactRecord {
        connection: cells.get("connection")?,
        side,
        tunnel: Timed { value: path, since: cells.time("tunnel_since")? },
        mirth,
        last_ack: cells.maybe_time("last_ack_at")?,
        fault: fault(cells, "fault", "fault_since")?,
    })
}

/// Returns the path, unless the word stands for none.
pub(super) fn path(word: &str) -> Option<Word<PathKind>> {
    (word != DOWN).then(|| Word::from_text(word))
}

/// Returns what keeps a side from carrying, if something does.
pub(super) fn fault(
    cells: &Cells,
    word: &'static str,
    since: &'static str,
) -> Result<Option<Timed<Word<SideFault>>>, StoreError> {
    let word: Option<String> = cells.maybe(word)?;
    let known = word.zip(cells.maybe_time(since)?);
    Ok(known.map(|(word, since)| Timed { value: Word::from_text(&word), since }))
}
