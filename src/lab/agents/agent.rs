//! One simulated agent: dials the gateway for ever, keeps its link alive, knows its rules, and is noisy when told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::board::{Board, Counted};
use crate::messages::Draws;
use adit_core::domain::id::{BootId, ConnectionId, RouteId};
use adit_core::domain::limits;
use adit_core::domain::path::PathKind;
use adit_core::domain::visible::error_chain;
use adit_core::protocol::backoff::Backoff;
use adit_core::protocol::capability::Capabilities;
use adit_core::protocol::control::{Activity, Change, Report, Rule, ToAgent, ToGateway, VERSION, VERSIONS};
use adit_core::protocol::heartbeat::{Beat, Heartbeat};
use adit_net::transport::endpoint::{Connection, Credentials, TransportError};
use adit_net::transport::link::{self, LinkReceiver, LinkSender};
use adit_net::transport::many_agents::ManyAgents;

/// As agents have them.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at a time. Agents have a processor each; here all share one process, which could finish none
/// of ten thousand in time.
pub(super) const DIALS_MAX: usize = 256;

/// What noisy agents say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// That tunnels are up, and down again: measurements.
    Reports,
    /// That they are somewhere else: what their peers must hear.
    Addresses,
}

impl Noise {
    pub const ALL: [Self; 2] = [Self::Reports, Self::Addresses];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Addresses => "addresses",
        }
    }
}

/// Where the gateway is.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatewayPlace {
    pub(super) route: RouteId,
    pub(super) address: SocketAddr,
}

pub(super) struct SimulatedAgent {
    pub(super) credentials: Credentials,
    pub(super) socket: Arc<ManyAgents>,
    pub(super) gateway: GatewayPlace,
    pub(super) board: Arc<Board>,
    /// For a handshake.
    pub(super) dials: Arc<Semaphore>,
    /// Absent: it is quiet.
    pub(super) noise: watch::Receiver<Option<Noise>>,
    pub(super) draws: Draws,
}

#[derive(Debug, thiserror::Error)]
enum LinkEnd {
    #[error("no handshake within {} s", DIAL_TIMEOUT.as_secs())]
    NoHandshake,
    #[error("the handshake failed")]
    Handshake { source: TransportError },
    #[error("no welcome")]
    NoWelcome,
    #[error("the link broke")]
    Link(#[from] TransportError),
    #[error("the gateway was silent")]
    Silent,
    #[error("the gateway ended the link: {reason}")]
    Goodbye { reason: String },
    #[error("a change was lost")]
    Gap,
}

impl SimulatedAgent {
    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        let (least, most) = (limits::CONTROL_BACKOFF_MIN, limits::CONTROL_BACKOFF_MAX);
        let mut backoff = Backoff::new(least, most, limits::CONTROL_LASTED);
        let boot = BootId::from_bytes(self.draws.next().to_be_bytes());
        loop {
            let mut up_since = None;
            let Err(end) = self.one_link(boot, &mut up_since).await;
            self.board.note_end(error_chain(&end));
            if let Some(since) = up_since {
                backoff.on_lost(since.elapsed());
            }
            sleep(backoff.next_delay(draw(&mut self.draws))).await;
        }
    }

    async fn one_link(&self, boot: BootId, up_since: &mut Option<Instant>) -> Result<Infallible, LinkEnd> {
        let GatewayPlace { route, address } = self.gateway;
        let dialling = self.dials.acquire().await;
        let dialled = timeout(DIAL_TIMEOUT, self.socket.connect_control(&self.credentials, route, address));
        let dialled = dialled.await.map_err(|_| LinkEnd::NoHandshake)?;
        let connection = dialled.map_err(|source| LinkEnd::Handshake { source })?;
        drop(dialling);
        let (mut sender, mut receiver) = link::open(&connection).await?;
        sender.send(&hello(boot)).await?;
        match timeout(WELCOME_TIMEOUT, receiver.receive()).await.map_err(|_| LinkEnd::NoWelcome)?? {
            ToAgent::Welcome { .. } => {}
            ToAgent::Goodbye { reason, .. } => return Err(LinkEnd::Goodbye { reason }),
            _ => return Err(LinkEnd::NoWelcome),
        }
        let own = self.socket.address()?;
        sender.send(&ToGateway::HiddenFrom { peers: Vec::new() }).await?;
        sender.send(&ToGateway::AllowedPaths { peers: Vec::new() }).await?;
        sender.send(&ToGateway::Listening { addresses: vec![own] }).await?;
        *up_since = Some(Instant::now());
        let noise = self.noise.clone();
        let link =
            Link { board: &self.board, own, sender, noise, said: 0, known: Known::default(), counted: None };
        link.run(receiver, &connection).await
    }
}

fn hello(boot: BootId) -> ToGateway {
    ToGateway::Hello {
        version: VERSION,
        versions: VERSIONS.to_vec(),
        capabilities: Capabilities::own(),
        software: env!("CARGO_PKG_VERSION").into(),
        boot,
    }
}

/// Returns a number in 0..1.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
fn draw(draws: &mut Draws) -> f64 {
    draws.below(1 << 24) as f64 / f64::from(1 << 24)
}

/// One live link.
struct Link<'a> {
    board: &'a Board,
    own: SocketAddr,
    sender: LinkSender,
    noise: watch::Receiver<Option<Noise>>,
    /// How often it was noisy.
    said: usize,
    known: Known,
    counted: Option<Counted<'a>>,
}

/// The rules, as far as a simulated agent minds them.
#[derive(Debug, Default)]
struct Known {
    revision: u64,
    active: BTreeMap<ConnectionId, bool>,
}

impl Link<'_> {
    async fn run(
        mut self,
        mut receiver: LinkReceiver,
        _connection: &Connection,
    ) -> Result<Infallible, LinkEnd> {
        let (every, missed) = (limits::CONTROL_HEARTBEAT_EVERY, limits::CONTROL_HEARTBEATS_MISSED_MAX);
        let mut heartbeat = Heartbeat::new(Instant::now(), every, missed);
        let mut noise = *self.noise.borrow_and_update();
        let mut ticks = noise_ticks();
        loop {
            tokio::select! {
                message = receiver.receive() => {
                    heartbeat.handle_heard(Instant::now());
                    self.handle(message?)?;
                }
                () = sleep_until(heartbeat.deadline().into()) => match heartbeat.poll(Instant::now()) {
                    Some(Beat::Send { number }) => self.sender.send(&ToGateway::Heartbeat { number }).await?,
                    Some(Beat::Lost { .. }) => return Err(LinkEnd::Silent),
                    None => {}
                },
                Ok(()) = self.noise.changed() => {
                    noise = *self.noise.borrow_and_update();
                    ticks.reset();
                }
                _ = ticks.tick(), if noise.is_some() => self.make_noise(noise).await?,
            }
        }
    }

    fn handle(&mut self, message: ToAgent) -> Result<(), LinkEnd> {
        match message {
            ToAgent::SnapshotPart { rules, .. } => self.known.add(&rules.usable),
            ToAgent::Snapshot { revision, rules, .. } => {
                self.known.add(&rules.usable);
                self.known.revision = revision;
                self.counted = Some(self.board.count_link());
            }
            ToAgent::Change { revision, change } => {
                if revision != self.known.revision + 1 {
                    return Err(LinkEnd::Gap);
                }
                self.known.revision = revision;
                self.take(change);
            }
            ToAgent::Goodbye { reason, .. } => return Err(LinkEnd::Goodbye { reason }),
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Rule { rule } => self.known.add(&[rule]),
            Change::Ended { connection } => {
                self.known.active.remove(&connection);
                self.board.note_ended(connection, Instant::now());
            }
            Change::Unlisted { connection } => {
                self.known.active.remove(&connection);
            }
            Change::Unusable { .. } | Change::Revoked { .. } | Change::Unknown => {}
        }
    }

    async fn make_noise(&mut self, noise: Option<Noise>) -> Result<(), LinkEnd> {
        let message = match noise {
            Some(Noise::Reports) => self.known.report(self.said),
            Some(Noise::Addresses) => Some(self.elsewhere()),
            None => None,
        };
        let Some(message) = message else { return Ok(()) };
        self.said += 1;
        self.board.note_noise();
        Ok(self.sender.send(&message).await?)
    }

    /// Says that the agent is at one of two places in turn.
    fn elsewhere(&self) -> ToGateway {
        let mut address = self.own;
        if self.said.is_multiple_of(2) {
            address.set_port(address.port() ^ 1);
        }
        ToGateway::Listening { addresses: vec![address] }
    }
}

/// Returns the rate at which the gateway reads what one agent says.
fn noise_ticks() -> Interval {
    let mut ticks = interval(Duration::from_secs(1) / limits::CONTROL_MESSAGES_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Known {
    fn add(&mut self, rules: &[Rule]) {
        self.active.extend(rules.iter().map(|rule| (rule.connection, rule.activity == Activity::Active)));
    }

    /// Returns the word that the tunnel of one active connection after another is up, or down again.
    fn report(&self, said: usize) -> Option<ToGateway> {
        let active: Vec<_> = self.active.iter().filter(|(_, is_active)| **is_active).collect();
        let (connection, _) = *active.get(said % active.len().max(1))?;
        let is_up = (said / active.len()).is_multiple_of(2);
        let tunnel = is_up.then_some(PathKind::Direct.into());
        let report = Report { tunnel, mirth: None, last_ack: None, fault: None };
        Some(ToGateway::Report { connection: *connection, report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_agent_contradicts_itself_about_each_connection_in_turn() {
        let ids = [1, 2].map(|number| ConnectionId::from_bytes([number; 16]));
        let known = Known { revision: 1, active: ids.map(|id| (id, true)).into() };
        let said = (0..5).map(|said| match known.report(said) {
            Some(ToGateway::Report { connection, report }) => (connection, report.tunnel.is_some()),
            other => panic!("{other:?}"),
        });
        let expected = [(ids[0], true), (ids[1], true), (ids[0], false), (ids[1], false), (ids[0], true)];
        assert_eq!(said.collect::<Vec<_>>(), expected);
        assert_eq!(Known::default().report(0), None);
    }
}
