//! One route that is driven: what its keeper decides is done to the socket, and published.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tracing::Span;

use super::relay::RelayPlace;
use super::wanted::RouteHealth;
use super::{PathState, log, summed};
use crate::transport::destination::Destination;
use crate::transport::followers::Followers;
use crate::transport::socket::AgentSocket;
use adit_core::domain::id::RouteId;
use adit_core::domain::limits::CARRIED_BYTES_UNTIL_UDP;
use adit_core::domain::path::{Carrier, PathKind};
use adit_core::protocol::repeat_limiter::{RepeatLimiter, shown};
use adit_core::protocol::route::{Path, PathReason, PeerRoute, RouteEvent};

/// What all routes are driven with.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) socket: Arc<AgentSocket>,
    pub(super) followers: Arc<Followers>,
}

#[derive(Debug)]
pub(super) struct DrivenRoute {
    pub(super) route: RouteId,
    /// As people call its server.
    pub(super) name: String,
    pub(super) keeper: PeerRoute,
    pub(super) path_state: watch::Sender<PathState>,
    pub(super) span: Span,
    why: Option<PathReason>,
    changes: u64,
    is_searching: bool,
    /// Its packets went over UDP before: its connections know what UDP carries.
    was_on_udp: bool,
    /// One that comes and goes, as two copies of one agent do, is summed up.
    logged: RepeatLimiter<&'static str>,
}

/// What followed from the keeper's decisions.
#[derive(Debug, Default)]
pub(super) struct Acted {
    /// Packets in flight may have been lost.
    pub(super) is_disturbed: bool,
    pub(super) transmits: Vec<(Path, Box<[u8]>)>,
}

impl DrivenRoute {
    pub(super) fn new(
        route: RouteId,
        keeper: PeerRoute,
        path_state: watch::Sender<PathState>,
        span: Span,
    ) -> Self {
        Self {
            route,
            name: String::new(),
            keeper,
            path_state,
            span,
            why: None,
            changes: 0,
            is_searching: false,
            was_on_udp: false,
            logged: summed(),
        }
    }

    pub(super) fn health(&self, now: Instant) -> RouteHealth {
        RouteHealth { active: self.active_kind(), is_in_doubt: self.keeper.is_in_doubt(now) }
    }

    pub(super) fn active_kind(&self) -> Option<PathKind> {
        self.keeper.active().map(Path::kind)
    }

    /// Notes the size: a path is left only for one that carries packets as large as those in use.
    pub(super) fn note_mtu(&mut self, followers: &Followers) {
        if let Some(mtu) = followers.mtu(self.route) {
            self.keeper.set_mtu(mtu.into());
        }
    }

    /// Does what the keeper decided.
    pub(super) fn act(&mut self, tools: &Tools, relay: &RelayPlace, now: Instant) -> Acted {
        let (mut acted, span) = (Acted::default(), self.span.clone());
        let _entered = span.enter();
        for (line, times) in self.logged.due(now) {
            tracing::info!(route = %self.route, times, "again and again: {}", line.unwrap_or_default());
        }
        while let Some(event) = self.keeper.poll_event() {
            log::decided(event, &self.keeper, self.why);
            self.handle(event, tools, relay, &mut acted, now);
        }
        while let Some(transmit) = self.keeper.poll_transmit() {
            acted.transmits.push((transmit.to, transmit.packet));
        }
        self.is_searching = log::searching(self.is_searching, &self.keeper, now);
        acted
    }

    fn handle(
        &mut self,
        event: RouteEvent,
        tools: &Tools,
        relay: &RelayPlace,
        acted: &mut Acted,
        now: Instant,
    ) {
        match event {
            RouteEvent::Validated(address) => tools.socket.validate_source(address),
            RouteEvent::Lapsed(address) => tools.socket.forget_source(address),
            RouteEvent::Active { path, why } => {
                acted.is_disturbed |= self.take(path, tools, relay) || why != PathReason::First;
                if let Some(more) = self.logged.handle("the path to a peer", now) {
                    tracing::info!(peer = %self.name, more = shown(more), path = %path.kind(), %why, "the path to a peer");
                }
                self.changes += u64::from(self.why.is_some());
                self.why = Some(why);
            }
            RouteEvent::Inactive => {
                if let Some(more) = self.logged.handle("no allowed path to a peer", now) {
                    tracing::info!(peer = %self.name, more = shown(more), "no allowed path to a peer");
                }
                tools.socket.remove_route(self.route);
            }
            RouteEvent::Resumed => {
                if let Some(more) = self.logged.handle("a peer answers again", now) {
                    tracing::info!(peer = %self.name, more = shown(more), "a peer answers again");
                }
                acted.is_disturbed = true;
            }
            RouteEvent::BootChanged(_) => {
                if let Some(more) = self.logged.handle("a peer's agent was restarted", now) {
                    tracing::info!(peer = %self.name, more = shown(more), "a peer's agent was restarted");
                }
            }
        }
    }

    /// Sends packets over `path` from now on; returns whether they went elsewhere before. Over a carrier go
    /// datagrams as long as UDP is known to carry: the search for longer ones would find what it does not.
    fn take(&mut self, path: Path, tools: &Tools, relay: &RelayPlace) -> bool {
        let Some(destination) = relay.destination(path) else { return false };
        let before = tools.socket.destination_of(self.route);
        let found = tools.followers.mtu(self.route).filter(|_| self.was_on_udp);
        let bytes_max = found.map_or(CARRIED_BYTES_UNTIL_UDP, usize::from);
        tools.socket.set_route_within(self.route, destination, bytes_max);
        if path.carrier() == Carrier::Tcp {
            tracing::debug!(bytes_max, "QUIC's datagrams go over a carrier, up to this length");
        }
        self.was_on_udp |= path.carrier() == Carrier::Udp;
        before.map(Destination::canonical) != Some(destination.canonical())
    }

    /// Publishes how it stands; only what is news is notified.
    pub(super) fn publish(&self, now: Instant) {
        let mut why_not = self.keeper.why_not(now);
        let now = PathState {
            path: self.keeper.active(),
            why: self.why,
            why_not: std::array::from_fn(|_| why_not.next()),
            changes: self.changes,
            boot: self.keeper.peer_boot(),
            heard: self.keeper.heard(),
        };
        self.path_state.send_if_modified(|path_state| {
            let is_news = (path_state.path, path_state.why, path_state.changes, path_state.boot)
                != (now.path, now.why, now.changes, now.boot);
            *path_state = now;
            is_news
        });
    }

    /// Takes back what the socket was told of its sources.
    pub(super) fn forget_sources(&self, socket: &AgentSocket) {
        for address in self.keeper.validated() {
            socket.forget_source(address);
        }
    }
}
