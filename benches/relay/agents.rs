//! A thousand agents as the relay sees them: a registered socket each. What QUIC would put into the
//! packets is of no interest to it.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::domain::id::{BootId, OrganizationId, RouteId};
use adit_core::domain::path::Carrier;
use adit_core::protocol::packet::PacketKey;
use adit_core::protocol::registration::Registration;
use adit_core::protocol::relay::Relay;
use adit_net::transport::gateway_socket::GatewaySocket;
use adit_net::transport::relay::{RelayHandle, RelayThread};
use anyhow::{Context as _, Result, ensure};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::process::{Resource, getrlimit, setrlimit};

const GATEWAY: RouteId = RouteId::from_bytes(*b"gateway0");
const ORGANIZATION: OrganizationId = OrganizationId::from_bytes([1; 16]);
/// What has not arrived by then is lost.
const PATIENCE: Duration = Duration::from_millis(200);
const MESSAGE_BYTES: usize = 65_535;

pub(crate) struct Agents {
    thread: RelayThread,
    address: SocketAddr,
    all: Vec<Agent>,
    _gateway: Arc<GatewaySocket>,
}

struct Agent {
    route: RouteId,
    udp: UdpSocket,
    state: UdpSocketState,
}

/// What one agent sends at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Burst {
    pub packets: usize,
    /// Of these, so many with one system call.
    pub segments: usize,
}

/// Lets this process open a socket for every agent.
pub(crate) fn allow_sockets(agents: usize) -> Result<()> {
    let wanted = agents as u64 + 100;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
    }
    ensure!(limit.current.is_none_or(|current| current >= wanted), "raise `ulimit -n` to {wanted}");
    Ok(())
}

impl Agents {
    /// Starts a relay and registers so many agents at it.
    pub(crate) fn register(count: usize) -> Result<Self> {
        let relay = Relay::new(GATEWAY, BootId::from_bytes([1; 8]), [7; 32], Instant::now());
        let (thread, gateway) = RelayThread::start(UdpSocket::bind("127.0.0.1:0")?, relay)?;
        let address = gateway.bound()?;
        let all = (0..count).map(|number| Agent::new(number as u64)).collect::<Result<_>>()?;
        let this = Self { thread, address, all, _gateway: gateway };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(this.join());
        for (number, agent) in this.all.iter().enumerate() {
            agent.register(address, key(number as u64)).with_context(|| format!("agent {number}"))?;
        }
        Ok(this)
    }

    async fn join(&self) {
        let relay = self.relay();
        for (number, agent) in self.all.iter().enumerate() {
            relay.join(agent.route, ORGANIZATION, key(number as u64)).await;
            let peer = self.all[self.peer(number)].route;
            relay.permit(agent.route, [peer].into()).await;
        }
    }

    pub(crate) fn relay(&self) -> &RelayHandle {
        self.thread.handle()
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Pairs are as far apart as can be.
    fn peer(&self, number: usize) -> usize {
        (number + self.count() / 2) % self.count()
    }

    /// One burst from each of `count` agents to its peer; gives how many packets those were.
    pub(crate) fn send_bursts(&self, first: usize, count: usize, length: usize, burst: Burst) -> Result<u64> {
        for number in first..first + count {
            let number = number % self.count();
            self.all[number].send(self.address, self.all[self.peer(number)].route, length, burst)?;
        }
        Ok((count * burst.packets) as u64)
    }

    /// Takes in what their peers got; gives how many packets those were.
    pub(crate) fn receive_bursts(&self, first: usize, count: usize, burst: Burst) -> Result<u64> {
        let mut buffer = vec![0; MESSAGE_BYTES];
        let give_up = Instant::now() + PATIENCE;
        let mut arrived = 0;
        for number in first..first + count {
            let peer = &self.all[self.peer(number % self.count())];
            let mut missing = burst.packets as u64;
            while missing > 0 && Instant::now() < give_up {
                let received = peer.receive(&mut buffer)?;
                missing = missing.saturating_sub(received);
                arrived += received;
                if received == 0 {
                    std::thread::yield_now();
                }
            }
        }
        Ok(arrived)
    }
}

fn key(number: u64) -> PacketKey {
    let mut exported = [0; 32];
    exported[..8].copy_from_slice(&number.to_be_bytes());
    PacketKey::of_link(&exported)
}

impl Agent {
    fn new(number: u64) -> Result<Self> {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let state = UdpSocketState::new((&udp).into())?;
        // As far from each other as real ones.
        let route =
            RouteId::from_bytes(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Ok(Self { route, udp, state })
    }

    fn register(&self, relay: SocketAddr, key: PacketKey) -> Result<()> {
        let now = Instant::now();
        let mut registration = Registration::new(self.route, GATEWAY, BootId::from_bytes([2; 8]));
        registration.set_key(Some(key), now);
        registration.handle_timeout(now, &mut || [3; 16]);
        let mut buffer = [0; 2_000];
        while let Some((_, packet)) = registration.poll_transmit() {
            self.udp.send_to(&packet, relay)?;
            let give_up = now + Duration::from_secs(5);
            let length = loop {
                match self.udp.recv(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < give_up => {
                        std::thread::yield_now();
                    }
                    received => break received?,
                }
            };
            registration.handle_packet(Carrier::Udp, &buffer[..length], now);
        }
        ensure!(registration.is_registered(Carrier::Udp, now), "the relay did not take the registration");
        Ok(())
    }

    fn send(&self, relay: SocketAddr, to: RouteId, length: usize, burst: Burst) -> Result<()> {
        let mut packet = vec![0x40; length];
        packet[1..9].copy_from_slice(to.as_bytes());
        let contents = packet.repeat(burst.segments);
        let segment_size = (burst.segments > 1).then_some(length);
        let transmit =
            Transmit { destination: relay, ecn: None, contents: &contents, segment_size, src_ip: None };
        for _ in 0..burst.packets / burst.segments {
            self.state.try_send((&self.udp).into(), &transmit)?;
        }
        Ok(())
    }

    /// How many packets the next message has; 0 when there is none.
    fn receive(&self, buffer: &mut [u8]) -> Result<u64> {
        let mut meta = [RecvMeta::default()];
        match self.state.recv((&self.udp).into(), &mut [IoSliceMut::new(buffer)], &mut meta) {
            Ok(_) => Ok(meta[0].len.div_ceil(meta[0].stride.max(1)) as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}
