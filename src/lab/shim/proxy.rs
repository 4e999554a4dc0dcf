//! The shim's thread: moves packets between sockets and the two wires, and does what the handle asks
//! between two batches.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::sockopt;

use super::wire::Wire;
use super::{Direction, Tap};
use crate::limits::SHIM_CLIENTS_MAX;
use adit_net::transport::any_address::any_like;

/// Packets read of one socket before the others have their turn.
const BATCH: usize = 64;
/// What the kernel is asked to buffer of each socket: what it drops there no seed decides.
const SOCKET_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Packets leave so much early rather than wake the thread once for each.
const EARLY: Duration = Duration::from_micros(50);

/// What the handle asks of the thread.
pub(super) type Job = Box<dyn FnOnce(&mut Proxy) + Send>;

pub(super) struct Proxy {
    listener: UdpSocket,
    destination: SocketAddr,
    clients: Vec<Client>,
    pub(super) there: Wire<usize>,
    pub(super) back: Wire<usize>,
    pub(super) tap: Option<Tap>,
    pub(super) turned_away: u64,
    buffer: Box<[u8]>,
}

/// Someone who sends through the shim, as the destination sees it: an address of its own.
struct Client {
    address: SocketAddr,
    upstream: UdpSocket,
}

impl Proxy {
    pub(super) fn new(listener: UdpSocket, destination: SocketAddr, seed: u64) -> io::Result<Self> {
        prepare(&listener)?;
        Ok(Self {
            listener,
            destination,
            clients: Vec::new(),
            there: Wire::new(seed),
            // Another sequence of fates than the way there.
            back: Wire::new(!seed),
            tap: None,
            turned_away: 0,
            buffer: vec![0; usize::from(u16::MAX)].into_boxed_slice(),
        })
    }

    /// Runs until the handle is gone.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, wake: &OwnedFd) {
        loop {
            self.deliver(Instant::now() + EARLY);
            let ready = self.wait(wake);
            if ready.first() == Some(&true) {
                // Only its waking counts, not what it says.
                let _ = rustix::io::read(wake, &mut [0_u8; 8]);
            }
            loop {
                match jobs.try_recv() {
                    Ok(job) => job(&mut self),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            if ready.get(1) == Some(&true) {
                self.receive_there();
            }
            for (client, _) in ready.iter().skip(2).enumerate().filter(|(_, ready)| **ready) {
                self.receive_back(client);
            }
        }
    }

    /// Gives every client a new address at the destination; its old one is unused from now on.
    pub(super) fn rebind(&mut self) -> io::Result<()> {
        // All new ones first: none may get the port that another is about to leave.
        let upstreams: Vec<_> =
            self.clients.iter().map(|_| upstream(self.destination)).collect::<io::Result<_>>()?;
        for (client, upstream) in self.clients.iter_mut().zip(upstreams) {
            client.upstream = upstream;
        }
        Ok(())
    }

    /// Returns which of the waker, the listener and the clients' sockets have something, in this order.
    fn wait(&self, wake: &OwnedFd) -> Vec<bool> {
        let due = [self.there.poll_timeout(), self.back.poll_timeout()].into_iter().flatten().min();
        let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = vec![PollFd::new(wake, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        fds.extend(self.clients.iter().map(|client| PollFd::new(&client.upstream, PollFlags::IN)));
        // Interrupted: the loop comes back.
        let _ = poll(&mut fds, timeout.as_ref());
        fds.iter().map(|fd| !fd.revents().is_empty()).collect()
    }

    fn receive_there(&mut self) {
        let now = Instant::now();
        for _ in 0..BATCH {
            let Ok((length, from)) = self.listener.recv_from(&mut self.buffer) else { return };
            let Some(client) = self.client(from) else {
                self.turned_away += 1;
                continue;
            };
            let packet = &self.buffer[..length];
            if let Some(tap) = &mut self.tap {
                tap(Direction::There, packet);
            }
            self.there.enter(packet, client, now);
        }
    }

    fn receive_back(&mut self, client: usize) {
        let now = Instant::now();
        for _ in 0..BATCH {
            let upstream = &self.clients[client].upstream;
            let Ok((length, from)) = upstream.recv_from(&mut self.buffer) else { return };
            if from != self.destination {
                continue;
            }
            let packet = &self.buffer[..length];
            if let Some(tap) = &mut self.tap {
                tap(Direction::Back, packet);
            }
            self.back.enter(packet, client, now);
        }
    }

    fn client(&mut self, address: SocketAddr) -> Option<usize> {
        let known = self.clients.iter().position(|client| client.address == address);
        if known.is_some() || self.clients.len() >= SHIM_CLIENTS_MAX {
            return known;
        }
        self.clients.push(Client { address, upstream: upstream(self.destination).ok()? });
        Some(self.clients.len() - 1)
    }

    fn deliver(&mut self, now: Instant) {
        let Self { listener, destination, clients, there, back, .. } = self;
        let mut unsent = 0;
        while let Some((client, packet)) = there.poll_arrival(now) {
            unsent += u64::from(clients[client].upstream.send_to(packet, *destination).is_err());
        }
        there.counts.unsent += unsent;
        unsent = 0;
        while let Some((client, packet)) = back.poll_arrival(now) {
            unsent += u64::from(listener.send_to(packet, clients[client].address).is_err());
        }
        back.counts.unsent += unsent;
    }
}

fn upstream(destination: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any_like(destination))?;
    prepare(&socket)?;
    Ok(socket)
}

fn prepare(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // Root may have so much; anyone else what the kernel allows, and no refusal is an obstacle.
    let _ = sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER_BYTES)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES));
    let _ = sockopt::set_socket_send_buffer_size_force(socket, SOCKET_BUFFER_BYTES)
        .or_else(|_| sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER_BYTES));
    Ok(())
}
