//! The relay as this agent uses it: where it is, whether its carrier is open, over what it reaches us.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use super::silence::CarrierSilence;
use super::{OwnEnd, log, summed};
use crate::transport::destination::Destination;
use crate::transport::socket::AgentSocket;
use adit_core::domain::id::RelayId;
use adit_core::domain::limits::PATH_SILENCE;
use adit_core::domain::path::Carrier;
use adit_core::protocol::registration::Registration;
use adit_core::protocol::repeat_limiter::{RepeatLimiter, shown};
use adit_core::protocol::route::Path;

/// Where a relay is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RelayPlace {
    pub(super) id: RelayId,
    /// The last known; the relay may be there while the control link is not.
    pub(super) address: Option<SocketAddr>,
}

impl RelayPlace {
    /// Returns where packets for `path` go; `None` while nobody knows.
    pub(super) fn destination(&self, path: Path) -> Option<Destination> {
        match path {
            Path::Direct(address) => Some(address.into()),
            Path::Relay { relay, carrier } => self.destination_over(carrier).filter(|_| relay == self.id),
        }
    }

    pub(super) fn destination_over(&self, carrier: Carrier) -> Option<Destination> {
        match carrier {
            Carrier::Udp => self.address.map(Destination::Udp),
            Carrier::Tcp => Some(Destination::Carrier(self.id)),
        }
    }

    /// Returns over which path a peer's packet came from there.
    pub(super) fn path(&self, from: Destination) -> Path {
        match from {
            Destination::Udp(address) if Some(address) != self.address => Path::Direct(address),
            Destination::Udp(_) => Path::Relay { relay: self.id, carrier: Carrier::Udp },
            Destination::Carrier(relay) => Path::Relay { relay, carrier: Carrier::Tcp },
        }
    }
}

/// Keeps this agent registered at the relay.
#[derive(Debug)]
pub(super) struct RelayClient {
    pub(super) place: RelayPlace,
    pub(super) registration: Registration,
    /// Which of its carriers is open, counted by those there were before.
    pub(super) carrier: Option<u64>,
    pub(super) silence: CarrierSilence,
    registered: BTreeSet<Carrier>,
    searched: Option<Instant>,
    /// Two copies of this agent take the relay from each other.
    logged: RepeatLimiter<BTreeSet<Carrier>>,
}

impl RelayClient {
    pub(super) fn new(own: OwnEnd, now: Instant) -> Self {
        let mut registration = Registration::new(own.route, own.gateway, own.boot);
        // Until it is known where.
        registration.set_carrier(Carrier::Udp, false, now);
        Self {
            place: RelayPlace { id: RelayId(own.gateway), address: None },
            registration,
            carrier: None,
            silence: CarrierSilence::default(),
            registered: BTreeSet::new(),
            searched: None,
            logged: summed(),
        }
    }

    /// Returns the paths through this relay that a peer can be asked over.
    pub(super) fn relays(&self) -> Vec<(RelayId, Carrier)> {
        self.registered.iter().map(|carrier| (self.place.id, *carrier)).collect()
    }

    pub(super) fn is_registered(&self) -> bool {
        !self.registered.is_empty()
    }

    /// Sets where the relay is; returns whether that is news.
    pub(super) fn set_address(&mut self, address: SocketAddr, socket: &AgentSocket, now: Instant) -> bool {
        let before = self.place.address.replace(address);
        if before == Some(address) {
            return false;
        }
        log::relay_moved(before, address);
        self.registration.set_carrier(Carrier::Udp, true, now);
        self.registration.search(now);
        self.set_sources(socket);
        true
    }

    /// Notes which carrier is open, if any; returns whether that is news.
    pub(super) fn set_carrier(&mut self, carrier: Option<u64>, now: Instant) -> bool {
        if carrier == self.carrier {
            return false;
        }
        tracing::debug!(
            is_open = carrier.is_some(),
            number = carrier,
            "the carrier to the relay is another one now"
        );
        // The relay knows nothing of the new one.
        self.registration.set_carrier(Carrier::Tcp, false, now);
        self.registration.set_carrier(Carrier::Tcp, carrier.is_some(), now);
        self.silence.reset();
        self.carrier = carrier;
        true
    }

    /// Registers again: the relay may know an address that is ours no more.
    pub(super) fn search(&mut self, now: Instant) {
        if self.searched.is_none_or(|searched| now.saturating_duration_since(searched) >= PATH_SILENCE) {
            self.searched = Some(now);
            tracing::debug!(
                "a peer behind the relay keeps a probe waiting, so this agent registers there again"
            );
            self.registration.search(now);
        }
    }

    /// Notes over what the relay reaches us; returns whether that is news.
    pub(super) fn note_registered(&mut self, socket: &AgentSocket, now: Instant) -> bool {
        let carriers = Carrier::ALL.into_iter();
        let registered: BTreeSet<_> =
            carriers.filter(|carrier| self.registration.is_registered(*carrier, now)).collect();
        if registered == self.registered {
            return false;
        }
        self.registered = registered;
        if let Some(more) = self.logged.handle(self.registered.clone(), now) {
            let over: Vec<_> = self.registered.iter().map(|carrier| carrier.as_str()).collect();
            let (registered, over) = (self.is_registered(), over.join(" and "));
            tracing::info!(registered, over, more = shown(more), "the relay");
        }
        self.set_sources(socket);
        true
    }

    /// The gateway may be dialled elsewhere meanwhile; peers send through the relay.
    fn set_sources(&self, socket: &AgentSocket) {
        let sources = self.registered.iter().filter_map(|carrier| self.place.destination_over(*carrier));
        socket.set_relay_sources(&sources.collect::<Vec<_>>());
    }
}
