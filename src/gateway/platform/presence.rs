//! What agents measure. Kept in memory; a transition is written at once, but one side of a
//! connection at most once a second, and acknowledgement times go along with the next write or have
//! one of their own twice a minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::{debug, trace};

use crate::store::{ConnectionRecord, FactRecord, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::connectivity::{Connectivity, Facts, SideFacts, Timed};
use adit_core::domain::id::{ConnectionId, RouteId, ServerId};
use adit_core::domain::limits::{
    ACK_TIME_WRITE_EVERY, CONTROL_LINKS_MAX, FACT_WRITE_EVERY, FACTS_AT_ONCE_BURST, FACTS_AT_ONCE_EACH,
};
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::Report;
use adit_core::protocol::text::listed;
use adit_core::protocol::token_buckets::TokenBuckets;

use super::Platform;
use super::agents::AgentError;
use super::error::PlatformError;

/// Until each gateway has an id of its own.
const GATEWAY: RouteId = RouteId::from_bytes([0; 8]);

#[derive(Debug)]
pub(super) struct PresenceBuffer {
    pending: BTreeMap<(ConnectionId, Side), PendingReport>,
    /// What each agent may have written at once; the rest waits for the next round.
    at_once: TokenBuckets<ServerId>,
}

impl Default for PresenceBuffer {
    fn default() -> Self {
        let keys_max = 2 * CONTROL_LINKS_MAX;
        let at_once = TokenBuckets::every(FACTS_AT_ONCE_BURST, FACTS_AT_ONCE_EACH, keys_max);
        Self { pending: BTreeMap::new(), at_once }
    }
}

#[derive(Debug)]
struct PendingReport {
    fact: FactRecord,
    written_at: Option<Timestamp>,
    unwritten: Unwritten,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unwritten {
    Nothing,
    AckTime,
    Transition,
}

#[derive(Debug, Clone, Copy)]
enum Flush {
    Due(Timestamp),
    All,
}

impl PendingReport {
    fn goes(&self, which: Flush) -> bool {
        match which {
            Flush::All => self.unwritten != Unwritten::Nothing,
            Flush::Due(now) => {
                let waits = |pause| self.written_at.is_none_or(|written| now.since(written) >= pause);
                match self.unwritten {
                    Unwritten::Nothing => false,
                    Unwritten::AckTime => waits(ACK_TIME_WRITE_EVERY),
                    Unwritten::Transition => waits(FACT_WRITE_EVERY),
                }
            }
        }
    }
}

impl Platform {
    /// Notes that the gateway starts: what the database says of control links is from another life.
    pub async fn start_service(&self) -> Result<(), PlatformError> {
        debug!("control links of an earlier run are noted as down");
        let mut tx = self.store.write().await?;
        let now = self.now();
        tx.own_links_down(GATEWAY, now).await?;
        Ok(tx.commit().await?)
    }

    /// Notes that a server's control link came up or went down. After it came up nothing is known of its
    /// tunnels until its agent tells.
    pub async fn linked(&self, server: ServerId, up: bool) -> Result<(), PlatformError> {
        let at = self.now();
        debug!(%server, up, "a server's link, as its owner is shown it");
        let mut presence = self.presence.lock().await;
        let mut tx = self.store.write().await?;
        tx.renew_lease(GATEWAY, at.saturating_add(Duration::from_hours(24 * 3_650))).await?;
        tx.set_link(server, GATEWAY, up, at).await?;
        if up {
            for connection in tx.connections_of_server(server).await? {
                let Some(side) = connection.side_of(server) else { continue };
                presence.pending.remove(&(connection.id, side));
                let kept = stored(&mut tx, connection.id, side).await?;
                if let Some(fact) = kept.filter(|fact| fact.tunnel.value.is_some()) {
                    tx.put_fact(&FactRecord { tunnel: Timed { value: None, since: at }, ..fact }).await?;
                }
            }
        }
        Ok(tx.commit().await?)
    }

    /// Takes what an agent measured of one of its connections.
    pub async fn report(
        &self,
        server: ServerId,
        id: ConnectionId,
        report: &Report,
        at: Timestamp,
    ) -> Result<(), AgentError> {
        let mut presence = self.presence.lock().await;
        let mut tx = self.store.read().await?;
        let (_, side) = self.connection_of(&mut tx, server, id).await?;
        let known = match presence.pending.remove(&(id, side)) {
            Some(pending) => Some(pending),
            None => stored(&mut tx, id, side).await?.map(|fact| PendingReport {
                fact,
                written_at: None,
                unwritten: Unwritten::Nothing,
            }),
        };
        drop(tx);
        let pending = merge(known, id, side, report, at);
        let goes = pending.goes(Flush::Due(at));
        trace!(
            connection = %id, %side, tunnel = %listed(report.tunnel), mirth = listed(report.mirth), goes,
            "an agent reports"
        );
        presence.pending.insert((id, side), pending);
        if goes && presence.at_once.try_take(server, Instant::now()) {
            self.flush(&mut presence, Flush::Due(at)).await?;
        }
        Ok(())
    }

    /// Writes transitions that had to wait; for the gateway to call about once a second.
    pub async fn flush_reports(&self) -> Result<(), PlatformError> {
        let mut presence = self.presence.lock().await;
        self.flush(&mut presence, Flush::Due(self.now())).await
    }

    /// Writes everything, acknowledgement times too.
    pub(super) async fn flush_all_reports(&self) -> Result<(), PlatformError> {
        let mut presence = self.presence.lock().await;
        self.flush(&mut presence, Flush::All).await
    }

    async fn flush(&self, presence: &mut PresenceBuffer, which: Flush) -> Result<(), PlatformError> {
        let now = self.now();
        let mut writing: Vec<_> =
            presence.pending.values_mut().filter(|pending| pending.goes(which)).collect();
        if writing.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        for pending in &writing {
            tx.put_fact(&pending.fact).await?;
            note_first_connected(&mut tx, pending.fact.connection, now).await?;
        }
        tx.commit().await?;
        trace!(reports = writing.len(), "what agents reported is written");
        for pending in &mut writing {
            pending.written_at = Some(now);
            pending.unwritten = Unwritten::Nothing;
        }
        Ok(())
    }
}

fn merge(
    known: Option<PendingReport>,
    connection: ConnectionId,
    side: Side,
    report: &Report,
    at: Timestamp,
) -> PendingReport {
    let path = report.tunnel;
    let before = known.as_ref().map(|pending| pending.fact);
    let since = |old: Option<Timestamp>| old.unwrap_or(at);
    let tunnel_since = before.filter(|fact| fact.tunnel.value == path).map(|fact| fact.tunnel.since);
    let mirth = report.mirth.map(|value| {
        let same = before.and_then(|fact| fact.mirth).filter(|mirth| mirth.value == value);
        Timed { value, since: since(same.map(|mirth| mirth.since)) }
    });
    let fact = FactRecord {
        connection,
        side,
        tunnel: Timed { value: path, since: since(tunnel_since) },
        mirth,
        last_ack: report.last_ack.or(before.and_then(|fact| fact.last_ack)),
    };
    let news = match before {
        Some(before) if before == fact => Unwritten::Nothing,
        Some(before) if before == (FactRecord { last_ack: before.last_ack, ..fact }) => Unwritten::AckTime,
        _ => Unwritten::Transition,
    };
    let waiting = known.as_ref().map_or(Unwritten::Nothing, |pending| pending.unwritten);
    PendingReport {
        fact,
        written_at: known.and_then(|pending| pending.written_at),
        unwritten: news.max(waiting),
    }
}

async fn stored(
    tx: &mut Tx,
    connection: ConnectionId,
    side: Side,
) -> Result<Option<FactRecord>, PlatformError> {
    let facts = tx.facts(connection).await?;
    Ok(facts.into_iter().find(|fact| fact.side == side))
}

async fn note_first_connected(tx: &mut Tx, id: ConnectionId, now: Timestamp) -> Result<(), PlatformError> {
    let Some(connection) = tx.connection(id).await? else { return Ok(()) };
    if connection.first_connected_at.is_none()
        && facts_of(tx, &connection, now).await?.connectivity() == Connectivity::Connected
    {
        tx.set_first_connected(id, now).await?;
    }
    Ok(())
}

/// Returns the facts behind what is shown of a connection, as they stand in the database.
pub(super) async fn facts_of(
    tx: &mut Tx,
    connection: &ConnectionRecord,
    now: Timestamp,
) -> Result<Facts, PlatformError> {
    let records = tx.facts(connection.id).await?;
    let mut facts = Facts { first_connected: connection.first_connected_at, ..Facts::default() };
    for side in [Side::Source, Side::Target] {
        let fact = records.iter().find(|fact| fact.side == side);
        let server = match &connection.end(side).server {
            Some(server) => tx.server(server.id).await?,
            None => None,
        };
        let of_side = SideFacts {
            link: server.and_then(|server| server.link_at(now)),
            tunnel: fact.map(|fact| fact.tunnel),
            mirth: fact.and_then(|fact| fact.mirth),
        };
        match side {
            Side::Source => facts.source = of_side,
            Side::Target => facts.target = of_side,
        }
        facts.last_ack = facts.last_ack.max(fact.and_then(|fact| fact.last_ack));
    }
    Ok(facts)
}
