//! Stands in for WAN links and the NAT routers on them: a seeded UDP wire between real sockets.
//!
//! It listens on one address and forwards to one destination. As behind a NAT, the destination sees
//! an address of its own for each client, and what it sends there goes back to that client.
//! Each direction loses, reorders, duplicates, corrupts, delays and limits as it was last told.
//! Explicit congestion marks do not pass, as on many a real link. Not here: who sends through it.

mod proxy;
mod wire;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use self::proxy::{Job, Proxy};
pub use self::wire::{HEADER_BYTES, HELD_BACK, Impairment, Rate, WireCounts};

/// The ways through a shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the clients to the destination.
    There,
    /// From the destination to the clients.
    Back,
}

/// Sees every packet as it enters, whatever becomes of it.
pub type Tap = Box<dyn FnMut(Direction, &[u8]) + Send>;

/// A running shim. Dropping it ends it, and what is under way is lost.
///
/// What is asked of it holds when the call returns.
#[derive(Debug)]
pub struct Shim {
    address: SocketAddr,
    /// `None` only while it is dropped.
    jobs: Option<SyncSender<Job>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Requests wait for their answer, so more than one waits only where threads share a handle.
const JOBS_QUEUED_MAX: usize = 4;
const LIVES: &str = "the thread lives as long as its handle";

impl Shim {
    /// Listens on `listen` and forwards to `destination`; `seed` decides every fate.
    pub fn start(listen: SocketAddr, destination: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = UdpSocket::bind(listen)?;
        let address = listener.local_addr()?;
        let proxy = Proxy::new(listener, destination, seed)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (jobs, asked) = sync_channel(JOBS_QUEUED_MAX);
        let woken = Arc::clone(&wake);
        let thread = thread::Builder::new().name("shim".into()).spawn(move || proxy.run(&asked, &woken))?;
        Ok(Self { address, jobs: Some(jobs), wake, thread: Some(thread) })
    }

    /// Returns where clients send to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Impairs one direction so from the next packet on.
    pub fn impair(&self, direction: Direction, impairment: Impairment) {
        self.ask(move |proxy| match direction {
            Direction::There => proxy.there.impairment = impairment,
            Direction::Back => proxy.back.impairment = impairment,
        });
    }

    pub fn impair_both(&self, impairment: Impairment) {
        self.ask(move |proxy| {
            proxy.there.impairment = impairment;
            proxy.back.impairment = impairment;
        });
    }

    /// Gives every client a new address at the destination, as a NAT does that forgot its mappings;
    /// what is sent to the old ones is lost.
    pub fn rebind(&self) -> io::Result<()> {
        self.ask(Proxy::rebind)
    }

    #[must_use]
    pub fn counts(&self, direction: Direction) -> WireCounts {
        self.ask(move |proxy| match direction {
            Direction::There => proxy.there.counts,
            Direction::Back => proxy.back.counts,
        })
    }

    /// Returns the number of packets of clients beyond the bound.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.ask(|proxy| proxy.turned_away)
    }

    /// Shows every packet to `tap` from now on, in place of an earlier one.
    pub fn tap(&self, tap: Tap) {
        self.ask(move |proxy| proxy.tap = Some(tap));
    }

    fn ask<R: Send + 'static>(&self, job: impl FnOnce(&mut Proxy) -> R + Send + 'static) -> R {
        let (answer, answered) = sync_channel(1);
        let job: Job = Box::new(move |proxy| {
            // The caller waits for it below.
            let _ = answer.send(job(proxy));
        });
        self.jobs.as_ref().expect(LIVES).send(job).expect(LIVES);
        self.wake();
        answered.recv().expect(LIVES)
    }

    fn wake(&self) {
        // A full counter wakes as well.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        drop(self.jobs.take());
        self.wake();
        if let Some(thread) = self.thread.take() {
            // Its panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
