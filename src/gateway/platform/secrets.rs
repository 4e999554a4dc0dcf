//! Shared secrets: one view for each owner, one hand-over to each side's agent, deletion, rotation.

use std::collections::BTreeMap;

use parking_lot::MutexGuard;

use tracing::{debug, trace};

use crate::store::{AuditOutcome, Carried, ConnectionRecord, SEALED_BYTES, SecretRecord, Tx};
use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::id::{ConnectionId, ServerId};
use adit_core::domain::limits::{
    ADMIN_SECRET_VIEWS_MAX, ADMIN_SECRET_VIEWS_WITHIN, AUDIT_ROWS_COUNTED_MAX, DUE_ROWS_MAX,
    SECRET_KEPT_AFTER_STORED,
};
use adit_core::domain::role::Permission;
use adit_core::domain::secret::Secret;
use adit_core::domain::status;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visibility::{self, Field, Viewer, Visibility};
use adit_net::identity::random;

use super::agents::{self, AgentError};
use super::audit::AgentEntry;
use super::audited_tx::AuditedTx;
use super::counted::Reporter;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::seal::SealingKey;
use super::{Actor, Platform};

/// The epochs that each side's agent has been handed since this process started: the first time is a row of
/// its own in the audit, and an agent that asks again and again fills no log.
pub(super) type HandedOut = BTreeMap<(ConnectionId, Side), u32>;

/// A secret on its only way to an owner's eyes.
#[derive(Debug, PartialEq, Eq)]
pub struct Revealed {
    pub connection: ConnectionId,
    pub epoch: u32,
    pub secret: Secret,
}

impl Platform {
    /// Reveals the secret: of a P2P connection once for each owner, of an admin connection now and then for
    /// its one owner; it counts when it is sent.
    pub async fn view_secret(&self, actor: &Actor, id: ConnectionId) -> Result<Revealed, PlatformError> {
        self.forget_secret_if_due(id).await?;
        let mut audited = self.begin(actor, "view secret", format!("connection {id}")).await?;
        let outcome = view(&mut audited, &self.seal, id).await;
        audited.finish(outcome).await
    }

    /// Makes a new secret: the old one is dead for new handshakes at once, live tunnels go on. Returns its
    /// epoch.
    pub async fn rotate_secret(&self, actor: &Actor, id: ConnectionId) -> Result<u32, PlatformError> {
        let mut audited = self.begin(actor, "rotate secrets", format!("connection {id}")).await?;
        let outcome = rotate_by_party(&mut audited, &self.seal, id).await;
        audited.finish(outcome).await
    }

    /// Hands the secret out for a side's agent, over its verified control link, until it has acknowledged to
    /// hold it: an agent killed before its file was on disk must be able to ask again.
    pub async fn fetch_secret(
        &self,
        server: ServerId,
        id: ConnectionId,
    ) -> Result<(u32, Secret), AgentError> {
        self.forget_secret_if_due(id).await?;
        let mut tx = self.store.read().await?;
        let (connection, side) = self.connection_of(&mut tx, server, id).await?;
        let kept = tx.secret(id).await?.ok_or(AgentError::NotFound)?;
        drop(tx);
        let (status, has_it) = (connection.status, kept.stored_at(side).is_some());
        let is_sealed = kept.sealed.is_some();
        debug!(connection = %id, %side, %status, epoch = kept.epoch, has_it, is_sealed, "an agent asks for a secret");
        if agents::activity(status).is_none() || has_it {
            return Err(AgentError::SecretUnavailable);
        }
        let sealed = kept.sealed.ok_or(AgentError::SecretUnavailable)?;
        let secret = self.seal.open_sealed(id, kept.epoch, &sealed).map_err(PlatformError::from)?;
        self.note_handed_out(server, &connection, side, kept.epoch).await?;
        Ok((kept.epoch, secret))
    }

    /// Notes it in both logs before the secret goes out.
    async fn note_handed_out(
        &self,
        server: ServerId,
        connection: &ConnectionRecord,
        side: Side,
        epoch: u32,
    ) -> Result<(), PlatformError> {
        let before = self.handed_out().get(&(connection.id, side)).copied();
        if before != Some(epoch) {
            let mut tx = self.store.write().await?;
            let detail = format!("epoch {epoch}, to the {side}'s agent");
            self.note_agent(&mut tx, connection, side, "fetch secret", detail).await?;
            tx.commit().await?;
            let mut handed_out = self.handed_out();
            if handed_out.len() >= AUDIT_ROWS_COUNTED_MAX {
                // Each has a row once more.
                handed_out.clear();
            }
            handed_out.insert((connection.id, side), epoch);
            return Ok(());
        }
        let entry = AgentEntry {
            actor: format!("agent of {}", connection.end(side).name()),
            action: "fetch secret",
            object: format!("connection {}", connection.id),
            outcome: AuditOutcome::Done,
            detail: format!("epoch {epoch}, to the {side}'s agent, again"),
            bucket: None,
        };
        let kind = format!("fetch again {} {side} {epoch}", connection.id);
        self.note_counted(Reporter::Agent(server), &kind, entry, agents::both(connection)).await?;
        Ok(())
    }

    fn handed_out(&self) -> MutexGuard<'_, HandedOut> {
        self.handed_out.lock()
    }

    /// Notes that its side's agent has the secret of this epoch on disk, fetched or typed in by its operator.
    /// An older epoch's word is too late and changes nothing.
    pub async fn secret_stored(
        &self,
        server: ServerId,
        id: ConnectionId,
        epoch: u32,
    ) -> Result<(), AgentError> {
        // Nobody is kept from writing by an agent that says again what is known.
        let mut tx = self.store.read().await?;
        if !self.is_news(&mut tx, server, id, epoch).await? {
            return Ok(());
        }
        drop(tx);
        let mut tx = self.store.write().await?;
        if !self.is_news(&mut tx, server, id, epoch).await? {
            return Ok(());
        }
        let (connection, side) = self.connection_of(&mut tx, server, id).await?;
        let now = self.now();
        debug!(connection = %id, %side, epoch, "an agent has the secret on disk");
        tx.note_stored(id, side, now).await?;
        let detail = format!("epoch {epoch}, by the {side}'s agent");
        self.note_agent(&mut tx, &connection, side, "hold secret", detail).await?;
        forget_if_due(&mut tx, id, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Returns whether that side's agent has not said yet that it has this epoch's secret.
    async fn is_news(
        &self,
        tx: &mut Tx,
        server: ServerId,
        id: ConnectionId,
        epoch: u32,
    ) -> Result<bool, AgentError> {
        let (_, side) = self.connection_of(tx, server, id).await?;
        let kept = tx.secret(id).await?.ok_or(AgentError::NotFound)?;
        let is_news = kept.epoch == epoch && kept.stored_at(side).is_none();
        trace!(connection = %id, %side, epoch, newest = kept.epoch, is_news, "an agent says what secret it has");
        Ok(is_news)
    }

    /// Lets offers expire and deletes every secret that is due. The rules are judged on every read too; this
    /// is for those nobody reads. Returns how many secrets went.
    pub async fn sweep(&self) -> Result<usize, PlatformError> {
        self.expire_offers().await?;
        let (mut gone, mut after) = (0, None);
        loop {
            let now = self.now();
            let stored_by = now.saturating_sub(SECRET_KEPT_AFTER_STORED);
            let batch = self.store.read().await?.secrets_due(stored_by, after, DUE_ROWS_MAX).await?;
            let Some(last) = batch.last() else { return Ok(gone) };
            after = Some(*last);
            let mut tx = self.store.write().await?;
            for id in batch {
                gone += usize::from(forget_if_due(&mut tx, id, now).await?);
            }
            tx.commit().await?;
        }
    }

    async fn forget_secret_if_due(&self, id: ConnectionId) -> Result<(), PlatformError> {
        let now = self.now();
        let kept = self.store.read().await?.secret(id).await?;
        if kept.is_some_and(|kept| is_due(&kept, now)) {
            let mut tx = self.store.write().await?;
            forget_if_due(&mut tx, id, now).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

async fn view(
    audited: &mut AuditedTx,
    seal: &SealingKey,
    id: ConnectionId,
) -> Result<Revealed, PlatformError> {
    let own = audited.member(Permission::Reveal)?;
    let (connection, side) = audited.connection(id, own).await?;
    check_owner(&connection, side)?;
    let Some(kept) = audited.tx.secret(id).await? else {
        return Err(ActionRefusal::SecretGone.into());
    };
    match connection.carried {
        Carried::Channel { .. } if kept.viewed_at(side).is_some() => {
            return Err(ActionRefusal::SecretViewed.into());
        }
        Carried::Channel { .. } => {
            for viewed in sides_of_owner(&connection, side) {
                audited.tx.note_viewed(id, viewed, audited.now).await?;
            }
        }
        Carried::Admin { .. } => count_view(audited, id).await?,
    }
    let sealed = kept.sealed.ok_or(ActionRefusal::SecretGone)?;
    let secret = seal.open_sealed(id, kept.epoch, &sealed)?;
    forget_if_due(&mut audited.tx, id, audited.now).await?;
    audited.describe(format!("epoch {}, to the {side}'s owner", kept.epoch));
    Ok(Revealed { connection: id, epoch: kept.epoch, secret })
}

/// Checks that the actor owns the secret: to the recipient of an admin offer the secret is what does not
/// exist.
fn check_owner(connection: &ConnectionRecord, side: Side) -> Result<(), PlatformError> {
    let viewer = match side {
        Side::Source => Viewer::Party,
        Side::Target => Viewer::Owner,
    };
    let field = match connection.kind() {
        ConnectionType::P2p => Field::SharedSecret,
        ConnectionType::AdminRw | ConnectionType::AdminRo => Field::AdminSecret,
    };
    match visibility::visibility_of(field, viewer) {
        Visibility::Revealed => Ok(()),
        Visibility::Shown | Visibility::WhenPublished | Visibility::OwnFile | Visibility::Absent => {
            Err(PlatformError::NotFound { resource: Resource::Secret })
        }
    }
}

/// Counts a view. A rotation does not start the count again: it bounds reveals, whatever is revealed.
async fn count_view(audited: &mut AuditedTx, id: ConnectionId) -> Result<(), PlatformError> {
    let since = audited.now.saturating_sub(ADMIN_SECRET_VIEWS_WITHIN);
    if audited.tx.count_views(id, since).await? >= ADMIN_SECRET_VIEWS_MAX {
        return Err(ActionRefusal::SecretViewedOften.into());
    }
    audited.tx.insert_view(id, audited.now).await?;
    Ok(())
}

/// Returns the owner's sides: an organization at both ends is one owner and has one view.
fn sides_of_owner(connection: &ConnectionRecord, side: Side) -> Vec<Side> {
    if connection.source.organization == connection.target.organization {
        vec![Side::Source, Side::Target]
    } else {
        vec![side]
    }
}

async fn rotate_by_party(
    audited: &mut AuditedTx,
    seal: &SealingKey,
    id: ConnectionId,
) -> Result<u32, PlatformError> {
    let own = audited.member(Permission::Change)?;
    let (connection, side) = audited.connection(id, own).await?;
    check_owner(&connection, side)?;
    if connection.status.is_terminal() {
        let refusal = status::TransitionRefusal::Final { status: connection.status };
        return Err(ActionRefusal::from(refusal).into());
    }
    let epoch = rotate(&mut audited.tx, seal, &connection, audited.now).await?;
    audited.describe(format!("epoch {epoch}"));
    Ok(epoch)
}

/// Makes a new secret of the next epoch, views and holdings cleared.
pub(super) async fn rotate(
    tx: &mut Tx,
    seal: &SealingKey,
    connection: &ConnectionRecord,
    now: Timestamp,
) -> Result<u32, PlatformError> {
    let epoch = connection.secret_epoch.saturating_add(1);
    let secret = Secret::from_bytes(random::bytes());
    let sealed: [u8; SEALED_BYTES] = seal.seal(connection.id, epoch, &secret)?;
    debug!(connection = %connection.id, epoch, "a new secret takes the place of the old one");
    tx.put_secret(connection.id, epoch, &sealed, now).await?;
    Ok(epoch)
}

async fn forget_if_due(tx: &mut Tx, id: ConnectionId, now: Timestamp) -> Result<bool, PlatformError> {
    let due = tx.secret(id).await?.is_some_and(|kept| is_due(&kept, now));
    if due {
        debug!(connection = %id, "both agents hold the secret and no view is left: it is deleted");
        tx.delete_sealed(id).await?;
    }
    Ok(due)
}

/// Returns whether both agents hold it, and both views are used or the time for them is over. An admin
/// connection's is kept until its end.
fn is_due(kept: &SecretRecord, now: Timestamp) -> bool {
    if kept.kind != ConnectionType::P2p {
        return false;
    }
    let (Some(source), Some(target)) = (kept.stored_at(Side::Source), kept.stored_at(Side::Target)) else {
        return false;
    };
    let both_viewed = kept.viewed_at(Side::Source).is_some() && kept.viewed_at(Side::Target).is_some();
    kept.sealed.is_some() && (both_viewed || now.since(source.max(target)) >= SECRET_KEPT_AFTER_STORED)
}
