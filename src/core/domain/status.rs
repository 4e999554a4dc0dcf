//! The activation status of a connection: what people decided, as one table.
//!
//! [`on`] is the only way from one status to the next; a test prints every cell of it. What is true
//! of the tunnel right now is [`super::connectivity`]; who holds which object, and whether an offer
//! has expired, is the caller's to know.

use std::fmt;

use super::connection::{ConnectionType, Side};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Moments after creation.
    Provisioning,
    /// Configured, not yet switched on; no tunnel.
    Ready,
    Active,
    /// What runs may end, nothing new starts.
    Paused(PauseHold),
    /// Awaits the recipient; admin connections only.
    Offered,
    /// An agent or the set-up refused for good; the reason stands in the detail.
    Failed,
    Declined,
    Expired,
    Terminated,
}

impl Status {
    pub const ALL: [Self; 11] = [
        Self::Provisioning,
        Self::Ready,
        Self::Active,
        Self::Paused(PauseHold::Source),
        Self::Paused(PauseHold::Target),
        Self::Paused(PauseHold::Both),
        Self::Offered,
        Self::Failed,
        Self::Declined,
        Self::Expired,
        Self::Terminated,
    ];

    /// Returns the label, shown to people exactly as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "Provisioning",
            Self::Ready => "Ready",
            Self::Active => "Active",
            Self::Paused(_) => "Paused",
            Self::Offered => "Offered",
            Self::Failed => "Failed",
            Self::Declined => "Declined",
            Self::Expired => "Expired",
            Self::Terminated => "Terminated",
        }
    }

    /// Returns whether it is final: nothing leaves this status again; hidden in lists until asked for.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Declined | Self::Expired | Self::Terminated)
    }

    /// Returns who keeps the connection paused.
    #[must_use]
    pub const fn pause_hold(self) -> Option<PauseHold> {
        match self {
            Self::Paused(holds) => Some(holds),
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The parties whose pause is in force; never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PauseHold {
    Source,
    Target,
    Both,
}

impl PauseHold {
    #[must_use]
    pub const fn of(side: Side) -> Self {
        match side {
            Side::Source => Self::Source,
            Side::Target => Self::Target,
        }
    }

    #[must_use]
    pub fn includes(self, side: Side) -> bool {
        self == Self::Both || self == Self::of(side)
    }

    /// Returns what remains when `side` lifts its hold.
    #[must_use]
    pub fn without(self, side: Side) -> Option<Self> {
        match self {
            Self::Both => Some(Self::of(side.other())),
            held if held == Self::of(side) => None,
            held => Some(held),
        }
    }
}

/// What may be asked of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A grant was approved, or an admin offer made.
    Create,
    SetUpDone,
    SetUpFailed,
    Accept,
    Decline,
    Expire,
    Withdraw,
    Activate,
    Pause,
    Resume,
    Disconnect,
    /// Type, version or access of the connection contradict an agent's own file. What network,
    /// Mirth or a restart can cause is connectivity and never comes here.
    AgentRefused,
    Retry,
    Terminate,
}

impl Event {
    pub const ALL: [Self; 14] = [
        Self::Create,
        Self::SetUpDone,
        Self::SetUpFailed,
        Self::Accept,
        Self::Decline,
        Self::Expire,
        Self::Withdraw,
        Self::Activate,
        Self::Pause,
        Self::Resume,
        Self::Disconnect,
        Self::AgentRefused,
        Self::Retry,
        Self::Terminate,
    ];

    /// Returns the word, as audit entries and refusals name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::SetUpDone => "set-up done",
            Self::SetUpFailed => "set-up error",
            Self::Accept => "accept",
            Self::Decline => "decline",
            Self::Expire => "expire",
            Self::Withdraw => "withdraw",
            Self::Activate => "activate",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Disconnect => "disconnect",
            Self::AgentRefused => "agent refused",
            Self::Retry => "retry",
            Self::Terminate => "terminate",
        }
    }

    /// Returns whether open tunnels are cut at once.
    #[must_use]
    pub const fn cuts(self) -> bool {
        matches!(self, Self::Disconnect | Self::Terminate)
    }

    /// Returns the statuses that know this event, for the refusal's text.
    const fn known_in(self) -> &'static str {
        match self {
            Self::Create => "does not exist yet",
            Self::SetUpDone | Self::SetUpFailed => "is Provisioning",
            Self::Accept | Self::Decline | Self::Expire | Self::Withdraw => "is Offered",
            Self::Activate => "is Ready",
            Self::Pause | Self::Disconnect => "is Active or Paused",
            Self::Resume => "is Paused",
            Self::AgentRefused => "is Ready, Active or Paused",
            Self::Retry => "is Failed",
            Self::Terminate => "has not ended",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who asks. Of an admin connection the owner of the managed server stands at the target and the
/// recipient of the offer at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    System,
    Party(Side),
}

impl Actor {
    pub const ALL: [Self; 3] = [Self::System, Self::Party(Side::Source), Self::Party(Side::Target)];
}

/// Why an event is refused: the rule of the table it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefusal {
    #[error("the connection is {status} and nothing changes that; a new one takes a new grant or offer")]
    Final { status: Status },
    #[error("`{event}` belongs to admin connections; a P2P connection comes from an approved grant")]
    AdminOnly { event: Event },
    #[error("`{event}` is possible when the connection {known_in}; it is {status}", known_in = event.known_in())]
    NotNow { event: Event, status: Status },
    #[error("`{event}` needs a connection, and there is none yet")]
    NotYet { event: Event },
    #[error("`{event}` is for {whom} to decide")]
    NotYours { event: Event, whom: &'static str },
    #[error("this party has paused the connection already")]
    AlreadyHeld,
    #[error("the other party holds the pause; only that party can lift it")]
    HeldByOther,
}

/// Returns the status after an event, by the table. `from` is `None` before the connection exists.
#[expect(clippy::match_same_arms, reason = "an arm is a row of the table")]
pub fn on(
    from: Option<Status>,
    kind: ConnectionType,
    event: Event,
    actor: Actor,
) -> Result<Status, TransitionRefusal> {
    use Status::{Active, Declined, Expired, Failed, Offered, Paused, Provisioning, Ready, Terminated};

    if let Some(status) = from.filter(|status| status.is_terminal()) {
        return Err(TransitionRefusal::Final { status });
    }
    let is_p2p = kind == ConnectionType::P2p;
    if is_p2p && matches!(event, Event::Accept | Event::Decline | Event::Expire | Event::Withdraw) {
        return Err(TransitionRefusal::AdminOnly { event });
    }
    let to = match (from, event) {
        (None, Event::Create) => Provisioning,
        (Some(Provisioning), Event::SetUpDone) if is_p2p => Ready,
        (Some(Provisioning), Event::SetUpDone) => Offered,
        (Some(Provisioning), Event::SetUpFailed) => Failed,
        (Some(Offered), Event::Accept) => Active,
        (Some(Offered), Event::Decline) => Declined,
        (Some(Offered), Event::Expire) => Expired,
        (Some(Offered), Event::Withdraw) => Terminated,
        (Some(Ready), Event::Activate) => Active,
        (Some(Active | Paused(_)), Event::Pause) => return pause(from, event, actor),
        (Some(Paused(holds)), Event::Resume) => return resume(holds, event, actor),
        (Some(same @ (Active | Paused(_))), Event::Disconnect) => same,
        (Some(Ready | Active | Paused(_)), Event::AgentRefused) => Failed,
        (Some(Failed), Event::Retry) => Ready,
        (Some(_), Event::Terminate) => Terminated,
        (Some(status), _) => return Err(TransitionRefusal::NotNow { event, status }),
        (None, _) => return Err(TransitionRefusal::NotYet { event }),
    };
    permit(kind, event, actor).map(|()| to)
}

fn permit(kind: ConnectionType, event: Event, actor: Actor) -> Result<(), TransitionRefusal> {
    let is_p2p = kind == ConnectionType::P2p;
    let (permitted, whom) = match event {
        Event::SetUpDone | Event::SetUpFailed | Event::Expire | Event::AgentRefused => {
            (actor == Actor::System, "the system")
        }
        Event::Create if is_p2p => (actor != Actor::System, "the grant's decider"),
        Event::Create | Event::Withdraw => (actor == Actor::Party(Side::Target), "the server's owner"),
        Event::Accept | Event::Decline => (actor == Actor::Party(Side::Source), "the recipient"),
        Event::Activate
        | Event::Pause
        | Event::Resume
        | Event::Disconnect
        | Event::Retry
        | Event::Terminate => (actor != Actor::System, "the two parties"),
    };
    if permitted { Ok(()) } else { Err(TransitionRefusal::NotYours { event, whom }) }
}

/// Pauses: a pause is one party's hold. The second party may add its own, or `resume` could not ask that no
/// party holds.
fn pause(from: Option<Status>, event: Event, actor: Actor) -> Result<Status, TransitionRefusal> {
    let Actor::Party(side) = actor else {
        return Err(TransitionRefusal::NotYours { event, whom: "the two parties" });
    };
    match from.and_then(Status::pause_hold) {
        None => Ok(Status::Paused(PauseHold::of(side))),
        Some(holds) if holds.includes(side) => Err(TransitionRefusal::AlreadyHeld),
        Some(_) => Ok(Status::Paused(PauseHold::Both)),
    }
}

fn resume(holds: PauseHold, event: Event, actor: Actor) -> Result<Status, TransitionRefusal> {
    let Actor::Party(side) = actor else {
        return Err(TransitionRefusal::NotYours { event, whom: "the two parties" });
    };
    if !holds.includes(side) {
        return Err(TransitionRefusal::HeldByOther);
    }
    Ok(holds.without(side).map_or(Status::Active, Status::Paused))
}

#[cfg(test)]
mod tests;
