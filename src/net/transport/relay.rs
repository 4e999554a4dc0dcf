//! The relay at work: a thread of its own receives everything that reaches the gateway's UDP
//! socket or comes over a carrier, sends on what [`adit_core::protocol::relay`] lets pass, and hands
//! the gateway's own packets to its endpoint.
//!
//! Commands come over a bounded queue that is drained between batches; what was done is told by
//! counters. Nothing is locked on the way of a packet between two UDP addresses, and nothing is
//! allocated. Who may be relayed is decided in `gateway`.

pub mod carriers;
mod counters;
mod forwarder;
mod outbox;

use std::collections::BTreeSet;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{mpsc, oneshot};

use self::carriers::{CarrierOutbox, Carriers};
use self::forwarder::{Forwarder, Queues};
use super::gateway_socket::GatewaySocket;
use adit_core::domain::id::{OrganizationId, RouteId};
use adit_core::domain::limits::{GATEWAY_OWN_QUEUED_MAX, RELAY_COMMANDS_QUEUED_MAX};
use adit_core::protocol::packet::PacketKey;
use adit_core::protocol::relay::{PairTraffic, Relay};

pub use self::counters::RelayCounters;

/// As `ps -L` and `top -H` show it.
const THREAD_NAME: &str = "adit-relay";

#[derive(Debug)]
enum RelayCommand {
    Join { route: RouteId, organization: OrganizationId, key: Box<PacketKey> },
    Leave { route: RouteId },
    Remove { route: RouteId },
    Permit { route: RouteId, peers: BTreeSet<RouteId> },
    Traffic { answer: oneshot::Sender<Vec<PairTraffic>> },
}

/// Gives the running thread its commands. Once the thread has ended they go nowhere.
#[derive(Debug, Clone)]
pub struct RelayHandle {
    commands: mpsc::Sender<RelayCommand>,
    event_fd: Arc<EventFd>,
    counters: Arc<RelayCounters>,
    carriers: Arc<Carriers>,
}

impl RelayHandle {
    /// Does as [`Relay::join`].
    pub async fn join(&self, route: RouteId, organization: OrganizationId, key: PacketKey) {
        self.send(RelayCommand::Join { route, organization, key: Box::new(key) }).await;
    }

    /// Does as [`Relay::leave`].
    pub async fn leave(&self, route: RouteId) {
        self.send(RelayCommand::Leave { route }).await;
    }

    /// Does as [`Relay::remove`].
    pub async fn remove(&self, route: RouteId) {
        self.send(RelayCommand::Remove { route }).await;
    }

    /// Does as [`Relay::permit`].
    pub async fn permit(&self, route: RouteId, peers: BTreeSet<RouteId>) {
        self.send(RelayCommand::Permit { route, peers }).await;
    }

    /// Returns what every pair has sent since the two permitted each other. All earlier commands are handled
    /// by then.
    pub async fn traffic(&self) -> Vec<PairTraffic> {
        let (answer, answered) = oneshot::channel();
        self.send(RelayCommand::Traffic { answer }).await;
        answered.await.unwrap_or_default()
    }

    #[must_use]
    pub const fn counters(&self) -> &Arc<RelayCounters> {
        &self.counters
    }

    /// Returns the carriers that it serves, for one who accepts more.
    #[must_use]
    pub const fn carriers(&self) -> &Arc<Carriers> {
        &self.carriers
    }

    async fn send(&self, command: RelayCommand) {
        if self.commands.send(command).await.is_ok() {
            self.event_fd.signal();
        }
    }
}

/// Wakes the thread from its wait for packets.
#[derive(Debug)]
struct EventFd {
    fd: OwnedFd,
    /// It is signalled, and the thread has not seen it: saying it again would cost a system call.
    is_raised: AtomicBool,
}

impl EventFd {
    fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { fd, is_raised: AtomicBool::new(false) })
    }

    fn signal(&self) {
        if !self.is_raised.swap(true, Ordering::AcqRel) {
            // It fails only when it has been signalled 2^64 times unread.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Takes note of a signal; what was queued before is seen by who looks after this.
    fn clear(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        self.is_raised.swap(false, Ordering::AcqRel);
    }
}

/// The running thread. Dropping this ends it and waits for the end, which is a batch away.
#[derive(Debug)]
pub struct RelayThread {
    handle: RelayHandle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RelayThread {
    /// Takes over a bound socket; gives what the gateway's endpoint is to live on.
    pub fn start(socket: UdpSocket, relay: Relay) -> io::Result<(Self, Arc<GatewaySocket>)> {
        let udp = Arc::new(socket);
        let (own, arrived) = mpsc::channel(GATEWAY_OWN_QUEUED_MAX);
        let (commands, receiver) = mpsc::channel(RELAY_COMMANDS_QUEUED_MAX);
        let event_fd = Arc::new(EventFd::new()?);
        let counters = Arc::new(RelayCounters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (carriers, inbox) = Carriers::new(Arc::clone(&event_fd));
        let endpoint_socket = GatewaySocket::new(Arc::clone(&udp), arrived, Arc::clone(&carriers))?;
        let outbox = CarrierOutbox::new(Arc::clone(&carriers));
        let queues = Queues { commands: receiver, inbox, own, event_fd: Arc::clone(&event_fd) };
        let forwarder = Forwarder::new(udp, relay, queues, outbox, Arc::clone(&counters))?;
        let word = Arc::clone(&stop);
        let thread = Builder::new().name(THREAD_NAME.into()).spawn(move || forwarder.run(&word))?;
        let handle = RelayHandle { commands, event_fd, counters, carriers };
        Ok((Self { handle, stop, thread: Some(thread) }, endpoint_socket))
    }

    #[must_use]
    pub const fn handle(&self) -> &RelayHandle {
        &self.handle
    }
}

impl Drop for RelayThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.handle.event_fd.signal();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the relay's thread had ended by itself; this is a bug, please report it");
        }
    }
}

#[cfg(test)]
mod tests;
