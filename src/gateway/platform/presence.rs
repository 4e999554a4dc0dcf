//! What agents measure, and which of them have a control link. Kept in memory (`presence/buffer.rs`) and
//! written by one writer at a time, which takes along whatever else waits. A transition is written at once, but
//! one side of a connection at most once a second, and acknowledgement times go along with the next write or
//! have one of their own twice a minute. What cannot be written, because the database is away, waits.

mod buffer;
mod touched;

use std::sync::Arc;

use tracing::{debug, trace};

use crate::store::{FactRecord, Tx};
use adit_core::domain::connection::Side;
use adit_core::domain::connectivity::Connectivity;
use adit_core::domain::id::{ConnectionId, GatewayId, ServerId};
use adit_core::domain::limits::LEASE_LASTS;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::control::Report;
use adit_core::protocol::text::{Software, listed};

use self::buffer::{Batch, Flush, LinkNote};
use super::Platform;
use super::agents::{self, AgentError};
use super::error::PlatformError;

pub(super) use self::buffer::MeasureBuffer;
pub(crate) use self::touched::Touched;
pub(super) use self::touched::TouchedNotes;

impl Platform {
    /// Notes that this gateway starts: what the database says of its control links is from another life.
    pub async fn start_service(&self, gateway: GatewayId) -> Result<(), PlatformError> {
        let now = self.now();
        debug!(%gateway, "control links of an earlier run are noted as down");
        self.record(async move |tx: &mut Tx| {
            tx.own_links_down(gateway, now).await?;
            Ok::<_, PlatformError>(tx.renew_lease(gateway, now.saturating_add(LEASE_LASTS)).await?)
        })
        .await
    }

    /// Notes that this gateway stops: it has no control link any more.
    pub async fn stop_service(&self, gateway: GatewayId) -> Result<(), PlatformError> {
        self.flush_all_reports().await?;
        let now = self.now();
        debug!(%gateway, "the gateway's lease ends with it");
        self.record(async move |tx: &mut Tx| {
            tx.own_links_down(gateway, now).await?;
            Ok::<_, PlatformError>(tx.end_lease(gateway).await?)
        })
        .await
    }

    /// Notes that this gateway lives: what it says of control links counts for so long.
    pub async fn renew_lease(&self, gateway: GatewayId) -> Result<(), PlatformError> {
        let until = self.now().saturating_add(LEASE_LASTS);
        self.record(async move |tx: &mut Tx| Ok::<_, PlatformError>(tx.renew_lease(gateway, until).await?))
            .await
    }

    /// Notes that a server's control link came up or went down; it is written with the next report or round.
    /// After it came up nothing is known of its tunnels until its agent tells.
    pub fn linked(&self, gateway: GatewayId, server: ServerId, up: bool) {
        self.note_link(gateway, server, up, None);
    }

    /// Notes that the link of a server came up, as [`Self::linked`] does, and the build of its agent.
    pub fn linked_by(&self, gateway: GatewayId, server: ServerId, software: Software) {
        self.note_link(gateway, server, true, Some(software));
    }

    fn note_link(&self, gateway: GatewayId, server: ServerId, up: bool, software: Option<Software>) {
        debug!(%server, up, "a server's link, as its owner is shown it");
        let note = LinkNote { gateway, is_up: up, came_up: up, at: self.now(), software };
        self.measured().note_link(server, note);
    }

    /// Takes what an agent measured of one of its connections.
    pub async fn report(
        &self,
        server: ServerId,
        id: ConnectionId,
        report: &Report,
        at: Timestamp,
    ) -> Result<(), AgentError> {
        let (is_known, is_void) = {
            let measured = self.measured();
            (measured.knows(server, id), measured.is_void(server))
        };
        let stored = if is_known { None } else { Some(self.stored_fact(server, id).await?) };
        let stored = stored.map(|(side, fact)| {
            (side, if is_void { fact.map(|fact| buffer::voided(fact, at)) } else { fact })
        });
        let goes = self.measured().handle(server, id, stored, report, at);
        trace!(
            connection = %id, %server, tunnel = %listed(report.tunnel), mirth = listed(report.mirth),
            fault = %listed(report.fault), goes,
            "an agent reports"
        );
        if goes {
            self.write_measured(Flush::Due).await?;
        }
        Ok(())
    }

    /// Writes what had to wait; for the gateway to call about once a second.
    pub async fn flush_reports(&self) -> Result<(), PlatformError> {
        self.write_measured(Flush::DueWithTimes).await
    }

    /// Writes everything, acknowledgement times too.
    pub(super) async fn flush_all_reports(&self) -> Result<(), PlatformError> {
        self.write_measured(Flush::All).await
    }

    /// Returns what the database has of the server's side of one of its connections.
    async fn stored_fact(
        &self,
        server: ServerId,
        id: ConnectionId,
    ) -> Result<(Side, Option<FactRecord>), AgentError> {
        self.look(async move |tx: &mut Tx| {
            let (_, side) = agents::connection_of(tx, server, id).await?;
            let facts = tx.facts(id).await?;
            Ok::<_, AgentError>((side, facts.into_iter().find(|fact| fact.side == side)))
        })
        .await
    }

    /// Writes batches one after another, also those of others, until nothing is due. Who has waited for another
    /// often finds its own written.
    async fn write_measured(&self, which: Flush) -> Result<(), PlatformError> {
        let _turn = self.measuring.lock().await;
        loop {
            let now = self.now();
            let batch = self.measured().take_due(which, now);
            if batch.is_empty() {
                return Ok(());
            }
            let batch = Arc::new(batch);
            let writing = Arc::clone(&batch);
            let written = self.record(async move |tx: &mut Tx| write_batch(tx, &writing, now).await).await;
            trace!(
                links = batch.links.len(),
                reports = batch.facts.len(),
                is_written = written.is_ok(),
                "measured"
            );
            let mut measured = self.measured();
            match written {
                Ok(connected) => {
                    measured.note_written(&connected);
                    self.touched.note(&batch);
                }
                Err(error) => {
                    measured.put_back(Arc::unwrap_or_clone(batch));
                    return Err(error);
                }
            }
        }
    }
}

/// Writes links before what agents said over them; returns whose connections have been connected.
async fn write_batch(
    tx: &mut Tx,
    batch: &Batch,
    now: Timestamp,
) -> Result<Vec<(ServerId, ConnectionId)>, PlatformError> {
    for (server, link) in &batch.links {
        tx.set_link(*server, &link.as_new()).await?;
        if link.came_up {
            tx.forget_tunnels(*server, link.at).await?;
        }
    }
    let mut connected = Vec::new();
    for measured in &batch.facts {
        tx.put_fact(&measured.fact).await?;
        let may_be_first = !measured.has_connected && measured.fact.tunnel.value.is_some();
        if may_be_first && note_first_connected(tx, measured.fact.connection, now).await? {
            connected.push(measured.key);
        }
    }
    Ok(connected)
}

/// Notes when a connection was first connected; returns whether it ever was.
async fn note_first_connected(tx: &mut Tx, id: ConnectionId, now: Timestamp) -> Result<bool, PlatformError> {
    let Some(row) = tx.connection_row(id).await? else { return Ok(false) };
    if row.connection.first_connected_at.is_some() {
        return Ok(true);
    }
    let is_connected = row.facts_at(now).connectivity() == Connectivity::Connected;
    if is_connected {
        tx.set_first_connected(id, now).await?;
    }
    Ok(is_connected)
}
