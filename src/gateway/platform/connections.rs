//! What the parties of a connection may do to it. The status table decides; this applies.

use tracing::debug;

use crate::store::{Carried, ConnectionRecord, GrantStatus, Tx};
use adit_core::domain::connection::{ConnectionType, Side};
use adit_core::domain::id::ConnectionId;
use adit_core::domain::role::Permission;
use adit_core::domain::status::{self, Actor, Event, Status};
use adit_core::domain::time::Timestamp;

use super::act::Act;
use super::error::{ActionRefusal, PlatformError};
use super::{Action, Initiator, Platform};

/// What a party may do to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionCommand {
    Activate,
    Pause,
    Resume,
    /// Cuts open tunnels and leaves the status; an Active connection's agents dial again.
    Disconnect,
    Retry,
    Terminate,
}

impl ConnectionCommand {
    pub const ALL: [Self; 6] =
        [Self::Activate, Self::Pause, Self::Resume, Self::Disconnect, Self::Retry, Self::Terminate];

    const fn event(self) -> Event {
        match self {
            Self::Activate => Event::Activate,
            Self::Pause => Event::Pause,
            Self::Resume => Event::Resume,
            Self::Disconnect => Event::Disconnect,
            Self::Retry => Event::Retry,
            Self::Terminate => Event::Terminate,
        }
    }

    const fn action(self) -> Action {
        match self {
            Self::Activate => Action::ActivateConnection,
            Self::Pause => Action::PauseConnection,
            Self::Resume => Action::ResumeConnection,
            Self::Disconnect => Action::DisconnectConnection,
            Self::Retry => Action::RetryConnection,
            Self::Terminate => Action::TerminateConnection,
        }
    }
}

impl Platform {
    /// Returns the status the connection has now.
    pub async fn command(
        &self,
        initiator: &Initiator,
        id: ConnectionId,
        command: ConnectionCommand,
    ) -> Result<Status, PlatformError> {
        self.act(initiator, command.action(), format!("connection {id}"), async move |act: &mut Act| {
            execute(act, id, command).await
        })
        .await
    }
}

async fn execute(
    act: &mut Act,
    id: ConnectionId,
    command: ConnectionCommand,
) -> Result<Status, PlatformError> {
    let own = act.member(Permission::Change)?;
    let (connection, side) = act.connection(id, own).await?;
    let side = acting_side(&connection, command, side);
    if command == ConnectionCommand::Pause && connection.held_for_tier && side == Side::Target {
        act.tx.set_held_for_tier(id, false).await?;
        act.describe("the pause for the tier's sake is the owner's own from now on");
        return Ok(connection.status);
    }
    let actor = Actor::Party(side);
    let to = shift(&mut act.tx, &connection, command.event(), actor, None, act.now).await?;
    act.describe(if to == connection.status {
        format!("{to}, open tunnels cut")
    } else {
        format!("from {} to {to}", connection.status)
    });
    Ok(to)
}

/// Returns the side acted as: an organization at both ends acts as one party and holds one pause; a hold it
/// placed through the other end is its own to lift.
fn acting_side(connection: &ConnectionRecord, command: ConnectionCommand, side: Side) -> Side {
    let alone = connection.source.organization == connection.target.organization;
    match connection.status.pause_hold() {
        Some(holds) if alone && command == ConnectionCommand::Resume && !holds.includes(side) => side.other(),
        _ => side,
    }
}

/// Applies one event of the status table with everything that follows from it.
pub(super) async fn shift(
    tx: &mut Tx,
    connection: &ConnectionRecord,
    event: Event,
    actor: Actor,
    failure: Option<&str>,
    now: Timestamp,
) -> Result<Status, PlatformError> {
    let to =
        status::on(Some(connection.status), connection.kind(), event, actor).map_err(ActionRefusal::from)?;
    if starts(connection, to) || (event == Event::Resume && actor == Actor::Party(Side::Target)) {
        admit_read_write(tx, connection).await?;
    }
    let (from, by) = (connection.status, acting(actor));
    debug!(connection = %connection.id, %event, by, %from, %to, cuts = event.cuts(), "a connection's status");
    if to != connection.status {
        tx.set_status(connection, to, failure, now).await?;
    }
    if event.cuts() {
        tx.raise_cut_epoch(connection.id).await?;
    }
    if to.is_terminal() {
        tx.delete_sealed(connection.id).await?;
        end_grant(tx, connection, actor, now).await?;
    }
    Ok(to)
}

const fn acting(actor: Actor) -> &'static str {
    match actor {
        Actor::System => "the gateway",
        Actor::Party(side) => side.as_str(),
    }
}

fn starts(connection: &ConnectionRecord, to: Status) -> bool {
    to == Status::Active && connection.status != Status::Active
}

/// Checks the tier: nothing read-write starts while the tier of the managed server's owner does not admit it,
/// and that owner's hold stays.
async fn admit_read_write(tx: &mut Tx, connection: &ConnectionRecord) -> Result<(), PlatformError> {
    if connection.kind() != ConnectionType::AdminRw {
        return Ok(());
    }
    let owner = &connection.target;
    match tx.organization(owner.organization).await? {
        Some(organization) if organization.tier.offers_admin_rw() => Ok(()),
        _ => Err(ActionRefusal::ReadWriteTier { owner: owner.organization_name.clone() }.into()),
    }
}

/// Ends the grant: the grant was for this connection; leaving it in force would only block a new one.
async fn end_grant(
    tx: &mut Tx,
    connection: &ConnectionRecord,
    actor: Actor,
    now: Timestamp,
) -> Result<(), PlatformError> {
    let Carried::Channel { grant, .. } = connection.carried else { return Ok(()) };
    let ended = match actor {
        Actor::Party(Side::Target) | Actor::System => GrantStatus::Revoked,
        Actor::Party(Side::Source) => GrantStatus::Relinquished,
    };
    tx.decide_grant(grant, ended, None, now).await?;
    Ok(())
}
