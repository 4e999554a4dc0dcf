//! Shared secrets: one view for each owner, one hand-over to each side's agent, deletion, rotation.

use std::collections::BTreeMap;

use parking_lot::MutexGuard;

use tracing::{debug, trace};

use crate::store::{Carried, ConnectionRecord, SEALED_BYTES, SecretRecord, Tx};
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

use super::act::Act;
use super::agents::{self, AgentError};
use super::error::{ActionRefusal, PlatformError, Resource};
use super::viewer;
use super::{Action, Initiator, Platform};

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

/// What an owner of a secret would be answered who views it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    /// It is there, and may be viewed.
    Viewable,
    /// This owner's one view is used.
    Viewed,
    /// It is deleted.
    Gone,
}

impl SecretState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewable => "viewable",
            Self::Viewed => "viewed",
            Self::Gone => "gone",
        }
    }
}

impl Platform {
    /// Returns how the secret of a connection stands to one of its owners; `None` to whom it is not shown.
    pub async fn secret_state(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
    ) -> Result<Option<SecretState>, PlatformError> {
        let (own, now) = (initiator.member(Permission::See)?, self.now());
        self.look(async move |tx: &mut Tx| {
            let Some(connection) = tx.connection(id).await? else { return Ok(None) };
            let side = viewer::side_of(&connection, own);
            let Some(side) = side.filter(|side| check_owner(&connection, *side).is_ok()) else {
                return Ok(None);
            };
            Ok::<_, PlatformError>(Some(state(&connection, side, tx.secret(id).await?.as_ref(), now)))
        })
        .await
    }

    /// Reveals the secret: of a P2P connection once for each owner, of an admin connection now and then for
    /// its one owner; it counts when it is sent.
    pub async fn view_secret(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
    ) -> Result<Revealed, PlatformError> {
        self.forget_secret_if_due(id).await?;
        self.act(initiator, Action::ViewSecret, format!("connection {id}"), async move |act: &mut Act| {
            view(act, id).await
        })
        .await
    }

    /// Makes a new secret: the old one is dead for new handshakes at once, live tunnels go on. Returns its
    /// epoch.
    pub async fn rotate_secret(&self, initiator: &Initiator, id: ConnectionId) -> Result<u32, PlatformError> {
        self.act(initiator, Action::RotateSecrets, format!("connection {id}"), async move |act: &mut Act| {
            rotate_by_party(act, id).await
        })
        .await
    }

    /// Hands the secret out for a side's agent, over its verified control link, until it has acknowledged to
    /// hold it: an agent killed before its file was on disk must be able to ask again.
    pub async fn fetch_secret(
        &self,
        server: ServerId,
        id: ConnectionId,
    ) -> Result<(u32, Secret), AgentError> {
        self.forget_secret_if_due(id).await?;
        let handed_out = [Side::Source, Side::Target].map(|side| self.handed_out().get(&(id, side)).copied());
        let (agent, object) = (Initiator::Agent { server }, format!("connection {id}"));
        let told = self
            .note(&agent, Action::FetchSecret, object, async move |act: &mut Act| {
                fetch(act, server, id, handed_out).await
            })
            .await;
        let (side, epoch, secret) = told.ended?;
        self.note_handed_out((id, side), epoch);
        Ok((epoch, secret))
    }

    fn note_handed_out(&self, to: (ConnectionId, Side), epoch: u32) {
        let mut handed_out = self.handed_out();
        if handed_out.len() >= AUDIT_ROWS_COUNTED_MAX && !handed_out.contains_key(&to) {
            // Each has a row once more.
            handed_out.clear();
        }
        handed_out.insert(to, epoch);
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
        let (agent, object) = (Initiator::Agent { server }, format!("connection {id}"));
        // Nobody is kept from writing by an agent that says again what is known.
        let told = self
            .note(&agent, Action::HoldSecret, object.clone(), async move |act: &mut Act| {
                news(act, server, id, epoch).await
            })
            .await;
        if told.ended?.is_none() {
            return Ok(());
        }
        self.act(&agent, Action::HoldSecret, object, async move |act: &mut Act| {
            hold(act, server, id, epoch).await
        })
        .await
    }

    /// Lets offers expire and deletes every secret that is due. The rules are judged on every read too; this
    /// is for those nobody reads. Returns how many secrets went.
    pub async fn sweep(&self) -> Result<usize, PlatformError> {
        self.expire_offers().await?;
        self.forget_request_keys().await?;
        let (now, mut after, mut gone) = (self.now(), None, 0);
        loop {
            let batch = self.look(async move |tx: &mut Tx| due(tx, now, after).await).await?;
            let Some(last) = batch.last() else { return Ok(gone) };
            after = Some(*last);
            gone += self.record(async move |tx: &mut Tx| forget_all(tx, &batch, now).await).await?;
        }
    }

    async fn forget_secret_if_due(&self, id: ConnectionId) -> Result<(), PlatformError> {
        let now = self.now();
        let is_due = async move |tx: &mut Tx| {
            Ok::<_, PlatformError>(tx.secret(id).await?.is_some_and(|kept| is_due(&kept, now)))
        };
        if self.look(is_due).await? {
            self.record(async move |tx: &mut Tx| forget_if_due(tx, id, now).await).await?;
        }
        Ok(())
    }
}

/// Hands a secret out. The first time of an epoch has a row of its own; `handed_out` is what either side has
/// been handed.
async fn fetch(
    act: &mut Act,
    server: ServerId,
    id: ConnectionId,
    handed_out: [Option<u32>; 2],
) -> Result<(Side, u32, Secret), AgentError> {
    let (connection, side) = act.connection_of(server, id).await?;
    let kept = act.tx.secret(id).await?.ok_or(AgentError::NotFound)?;
    let (status, has_it, epoch) = (connection.status, kept.stored_at(side).is_some(), kept.epoch);
    let is_sealed = kept.sealed.is_some();
    debug!(connection = %id, %side, %status, epoch, has_it, is_sealed, "an agent asks for a secret");
    if agents::activity(status).is_none() || has_it {
        return Err(AgentError::SecretUnavailable);
    }
    let sealed = kept.sealed.ok_or(AgentError::SecretUnavailable)?;
    let secret = act.seal.open_sealed(id, epoch, &sealed).map_err(PlatformError::from)?;
    let [at_source, at_target] = handed_out;
    let before = match side {
        Side::Source => at_source,
        Side::Target => at_target,
    };
    if before == Some(epoch) {
        act.describe(format!("epoch {epoch}, to the {side}'s agent, again"));
        act.counts_as(format!("fetch again {id} {side} {epoch}"));
    } else {
        act.describe(format!("epoch {epoch}, to the {side}'s agent"));
    }
    Ok((side, epoch, secret))
}

/// Returns the side whose agent says for the first time that it has this epoch's secret; of what is known
/// there is nothing to tell.
async fn news(
    act: &mut Act,
    server: ServerId,
    id: ConnectionId,
    epoch: u32,
) -> Result<Option<Side>, AgentError> {
    let (connection, side) = act.connection_of(server, id).await?;
    let kept = act.tx.secret(id).await?.ok_or(AgentError::NotFound)?;
    // Of what is not accepted yet, or has ended, an agent has nothing that matters.
    let is_known = agents::activity(connection.status).is_some();
    let is_news = is_known && kept.epoch == epoch && kept.stored_at(side).is_none();
    trace!(connection = %id, %side, epoch, newest = kept.epoch, is_known, is_news, "an agent says what secret it has");
    act.leaves_no_entry();
    Ok(is_news.then_some(side))
}

async fn hold(act: &mut Act, server: ServerId, id: ConnectionId, epoch: u32) -> Result<(), AgentError> {
    let Some(side) = news(act, server, id, epoch).await? else { return Ok(()) };
    debug!(connection = %id, %side, epoch, "an agent has the secret on disk");
    act.tx.note_stored(id, side, act.now).await?;
    forget_if_due(&mut act.tx, id, act.now).await?;
    act.describe(format!("epoch {epoch}, by the {side}'s agent"));
    act.leaves_an_entry();
    Ok(())
}

/// Returns a batch of what [`is_due`].
async fn due(
    tx: &mut Tx,
    now: Timestamp,
    after: Option<ConnectionId>,
) -> Result<Vec<ConnectionId>, PlatformError> {
    let stored_by = now.saturating_sub(SECRET_KEPT_AFTER_STORED);
    Ok(tx.secrets_due(stored_by, after, DUE_ROWS_MAX).await?)
}

async fn forget_all(tx: &mut Tx, due: &[ConnectionId], now: Timestamp) -> Result<usize, PlatformError> {
    let mut gone = 0;
    for &id in due {
        gone += usize::from(forget_if_due(tx, id, now).await?);
    }
    Ok(gone)
}

async fn view(act: &mut Act, id: ConnectionId) -> Result<Revealed, PlatformError> {
    let own = act.member(Permission::Reveal)?;
    let (connection, side) = act.connection(id, own).await?;
    check_owner(&connection, side)?;
    let Some(kept) = act.tx.secret(id).await? else {
        return Err(ActionRefusal::SecretGone.into());
    };
    match connection.carried {
        Carried::Channel { .. } if kept.viewed_at(side).is_some() => {
            return Err(ActionRefusal::SecretViewed.into());
        }
        Carried::Channel { .. } => {
            for viewed in sides_of_owner(&connection, side) {
                act.tx.note_viewed(id, viewed, act.now).await?;
            }
        }
        Carried::Admin { .. } => count_view(act, id).await?,
    }
    let sealed = kept.sealed.ok_or(ActionRefusal::SecretGone)?;
    let secret = act.seal.open_sealed(id, kept.epoch, &sealed)?;
    forget_if_due(&mut act.tx, id, act.now).await?;
    act.describe(format!("epoch {}, to the {side}'s owner", kept.epoch));
    Ok(Revealed { connection: id, epoch: kept.epoch, secret })
}

fn state(
    connection: &ConnectionRecord,
    side: Side,
    kept: Option<&SecretRecord>,
    now: Timestamp,
) -> SecretState {
    let Some(kept) = kept else { return SecretState::Gone };
    let is_viewed = connection.kind() == ConnectionType::P2p && kept.viewed_at(side).is_some();
    match (is_viewed, kept.sealed.is_none() || is_due(kept, now)) {
        (true, _) => SecretState::Viewed,
        (false, true) => SecretState::Gone,
        (false, false) => SecretState::Viewable,
    }
}

/// Checks that the initiator owns the secret: to the recipient of an admin offer the secret is what does not
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
async fn count_view(act: &mut Act, id: ConnectionId) -> Result<(), PlatformError> {
    let since = act.now.saturating_sub(ADMIN_SECRET_VIEWS_WITHIN);
    if act.tx.count_views(id, since).await? >= ADMIN_SECRET_VIEWS_MAX {
        return Err(ActionRefusal::SecretViewedOften.into());
    }
    act.tx.insert_view(id, act.now).await?;
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

async fn rotate_by_party(act: &mut Act, id: ConnectionId) -> Result<u32, PlatformError> {
    let own = act.member(Permission::Change)?;
    let (connection, side) = act.connection(id, own).await?;
    check_owner(&connection, side)?;
    if connection.status.is_terminal() {
        let refusal = status::TransitionRefusal::Final { status: connection.status };
        return Err(ActionRefusal::from(refusal).into());
    }
    let epoch = rotate(act, &connection).await?;
    act.describe(format!("epoch {epoch}"));
    Ok(epoch)
}

/// Makes a new secret of the next epoch, views and holdings cleared.
pub(super) async fn rotate(act: &mut Act, connection: &ConnectionRecord) -> Result<u32, PlatformError> {
    let epoch = connection.secret_epoch.saturating_add(1);
    let secret = Secret::from_bytes(random::bytes());
    let sealed: [u8; SEALED_BYTES] = act.seal.seal(connection.id, epoch, &secret)?;
    debug!(connection = %connection.id, epoch, "a new secret takes the place of the old one");
    act.tx.put_secret(connection.id, epoch, &sealed, act.now).await?;
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
