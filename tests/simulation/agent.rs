//! One agent: its QUIC endpoint, its tunnels, its paths, and the decisions of when to dial and to
//! ping, all by deadlines. It can be frozen, as a suspended host is, and restarted.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use adit_core::config::agent::Congestion;
use adit_core::domain::id::BootId;
use adit_core::domain::limits::{TUNNEL_BACKOFF_MAX, TUNNEL_BACKOFF_MIN, TUNNEL_LASTED};
use adit_core::protocol::admission::{Admission, AdmissionVerdict, PlaceId};
use adit_core::protocol::backoff::Backoff;
use adit_core::protocol::initial::{CONNECTION_ID_BYTES, OwnId, TagKey};
use adit_core::protocol::packet::is_ours;
use adit_core::protocol::route::PathReason;
use adit_net::identity::tls::SERVER_NAME;
use adit_net::transport::endpoint::{
    TunnelSettings, endpoint_config, tunnel_client_config, tunnel_server_config,
};
use adit_net::transport::socket::VIRTUAL_PEER;
use bytes::BytesMut;
use parking_lot::Mutex;
use quinn_proto::{
    ClientConfig, ConnectionHandle, ConnectionId, ConnectionIdGenerator, DatagramEvent, Endpoint,
    EndpointConfig, Incoming, ServerConfig,
};

use crate::credentials;
use crate::log::Promise;
use crate::paths::{PathChange, PeerPaths};
use crate::random::Random;
use crate::scene::Scene;
use crate::traffic::Program;
use crate::tunnel::Tunnel;
use crate::wire::{Datagram, Node};

/// At most one ping of all connections in so long.
const PING_EVERY: Duration = Duration::from_secs(1);
/// What a frozen host's socket holds.
const INBOX_MAX: usize = 256;
/// Connections that can be under way at once with every way of ending them slowly.
const TUNNELS_MAX: usize = 64;
/// Datagrams of one batch, as with GSO.
const BATCH: usize = 10;

#[derive(Debug)]
pub(crate) struct Agent {
    pub node: Node,
    settings: TunnelSettings,
    stall: Duration,
    random: Random,
    endpoint: Endpoint,
    next_id: NextId,
    admission: Admission,
    tunnels: BTreeMap<usize, Tunnel>,
    /// What tunnels that are not open yet have of the admission.
    dialled: BTreeMap<usize, OwnId>,
    places: BTreeMap<usize, PlaceId>,
    pub paths: PeerPaths,
    pub program: Option<Program>,
    backoff: Backoff,
    dial_at: Instant,
    ping_at: Option<Instant>,
    pinged: Option<Instant>,
    pub frozen: Option<Frozen>,
}

/// Until when, and what its socket holds.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub until: Instant,
    inbox: Vec<Datagram>,
}

impl Agent {
    pub(crate) fn new(
        node: Node,
        settings: TunnelSettings,
        stall: Duration,
        program: Option<Program>,
        mut random: Random,
        now: Instant,
    ) -> Self {
        let boot = BootId::from_bytes(random.bytes());
        let mut admission = Admission::new(credentials::route(node), boot);
        let tag = TagKey::of_connection(&credentials::secret());
        admission.set_peer(credentials::route(node.peer()), vec![tag]);
        let next_id = NextId::default();
        Self {
            node,
            settings,
            stall,
            endpoint: endpoint(node, settings, &next_id, &mut random),
            next_id,
            admission,
            tunnels: BTreeMap::new(),
            dialled: BTreeMap::new(),
            places: BTreeMap::new(),
            paths: PeerPaths::new(node, boot, random.fork("ways"), now),
            program,
            backoff: Backoff::new(TUNNEL_BACKOFF_MIN, TUNNEL_BACKOFF_MAX, TUNNEL_LASTED),
            dial_at: now,
            ping_at: None,
            pinged: None,
            frozen: None,
            random,
        }
    }

    /// The process is killed and started again at the same address.
    pub(crate) fn restart(&mut self, scene: &mut Scene) {
        for tunnel in self.tunnels.values_mut() {
            tunnel.die(scene);
        }
        let (random, program) = (self.random.clone(), self.program.take());
        *self = Self::new(self.node, self.settings, self.stall, program, random, scene.now);
    }

    pub(crate) fn set_stall(&mut self, stall: Duration) {
        self.stall = stall;
    }

    pub(crate) fn freeze(&mut self, until: Instant) {
        let inbox = self.frozen.take().map(|frozen| frozen.inbox).unwrap_or_default();
        self.frozen = Some(Frozen { until, inbox });
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    pub(crate) fn open_tunnel(&self) -> Option<&Tunnel> {
        self.tunnels.values().find(|tunnel| tunnel.is_open())
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        if let Some(frozen) = &self.frozen {
            return Some(frozen.until);
        }
        let dial = self.wants_to_dial().then_some(self.dial_at);
        let (stall, program) = (self.stall, self.program.as_ref());
        let tunnels = self.tunnels.values_mut().filter_map(|tunnel| tunnel.poll_timeout(stall, program));
        tunnels.chain(self.paths.poll_timeout()).chain(dial).chain(self.ping_at).min()
    }

    pub(crate) fn handle_timeout(&mut self, scene: &mut Scene) {
        if self.thaw(scene) {
            return;
        }
        self.note_mtu();
        self.paths.handle_timeout(scene.now);
        self.follow_paths(scene);
        for tunnel in self.tunnels.values_mut() {
            tunnel.handle_timeout(self.stall, scene);
        }
        let asking =
            self.tunnels.values_mut().filter_map(|tunnel| tunnel.asks_again(scene.now).then_some(()));
        if asking.count() > 0 {
            scene.tally.asked_again += 1;
            self.want_ping(scene.now);
        }
        if self.ping_at.is_some_and(|at| at <= scene.now) {
            self.ping(scene);
        }
        if self.wants_to_dial() && self.dial_at <= scene.now {
            self.dial(scene);
        }
        self.pump(scene);
    }

    pub(crate) fn receive(&mut self, datagram: Datagram, scene: &mut Scene) {
        if let Some(frozen) = &mut self.frozen {
            if frozen.inbox.len() < INBOX_MAX {
                frozen.inbox.push(datagram);
            }
            return;
        }
        let Some(&first) = datagram.bytes.first() else { return };
        if is_ours(first) {
            self.paths.handle_packet(datagram.from, &datagram.bytes, scene.now);
            self.follow_paths(scene);
        } else if self.paths.takes(datagram.from) {
            self.receive_quic(&datagram.bytes, scene);
        } else {
            scene.tally.unvalidated += 1;
        }
        self.pump(scene);
    }

    /// Does what follows from the latest decisions of the keepers.
    pub(crate) fn follow_paths(&mut self, scene: &mut Scene) {
        let change = self.paths.act(scene);
        let (heard, boot) = (self.paths.heard(), self.paths.peer_boot());
        self.admission.note_peer(credentials::route(self.node.peer()), boot, 0);
        for tunnel in self.tunnels.values_mut() {
            tunnel.hear(heard, boot, scene);
            if change.is_disturbance() {
                tunnel.note_path_change();
            }
        }
        if change.is_disturbance() {
            self.want_ping(scene.now);
            self.count(change, scene);
        }
    }

    fn count(&self, change: PathChange, scene: &mut Scene) {
        if self.open_tunnel().is_none() {
            scene.tally.first += u64::from(change.moved.is_some());
            return;
        }
        scene.tally.resumed += u64::from(change.resumed);
        let Some((_, why)) = change.moved else { return };
        *match why {
            PathReason::First => &mut scene.tally.first,
            PathReason::Better => &mut scene.tally.better,
            PathReason::Silent => &mut scene.tally.silent,
            PathReason::Moved => &mut scene.tally.moved,
            PathReason::Forced => &mut scene.tally.forced,
        } += 1;
    }

    /// A path is left only for one that carries packets as large as those in use.
    fn note_mtu(&mut self) {
        if let Some(mtu) = self.tunnels.values().filter_map(Tunnel::mtu).max() {
            self.paths.set_mtu(mtu.into());
        }
    }

    /// Wakes a host whose time has come: its clock leapt, and its socket is full.
    fn thaw(&mut self, scene: &mut Scene) -> bool {
        let Some(frozen) = &self.frozen else { return false };
        if frozen.until > scene.now {
            return true;
        }
        let inbox = self.frozen.take().map(|frozen| frozen.inbox).unwrap_or_default();
        let node = self.node;
        scene.note(format_args!("{node:?}: wakes, {} datagrams wait", inbox.len()));
        for datagram in inbox {
            self.receive(datagram, scene);
        }
        false
    }

    fn ping(&mut self, scene: &mut Scene) {
        self.ping_at = None;
        self.pinged = Some(scene.now);
        scene.tally.pings += 1;
        self.tunnels.values_mut().for_each(Tunnel::ping);
    }

    fn want_ping(&mut self, now: Instant) {
        let soonest = self.pinged.map_or(now, |pinged| (pinged + PING_EVERY).max(now));
        self.ping_at.get_or_insert(soonest);
    }

    fn wants_to_dial(&self) -> bool {
        let idle = self.tunnels.values().all(Tunnel::is_over);
        self.node == Node::Source && self.paths.can_send() && idle
    }

    fn dial(&mut self, scene: &mut Scene) {
        self.dial_at = scene.now + self.backoff.next_delay(self.random.draw());
        let mut config = client_config(self.settings);
        let ids = self.admission.dial(credentials::route(self.node.peer()), self.random.bytes());
        *self.next_id.lock() = Some(ids.source);
        config.initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&ids.destination)));
        match self.endpoint.connect(scene.now, config, VIRTUAL_PEER, SERVER_NAME) {
            Ok((handle, connection)) => {
                self.dialled.insert(handle.0, ids.source);
                self.adopt(handle, connection, scene);
            }
            Err(error) => scene.demand(false, Promise::Sound, format_args!("cannot dial: {error}")),
        }
    }

    fn adopt(&mut self, handle: ConnectionHandle, connection: quinn_proto::Connection, scene: &mut Scene) {
        self.tunnels.insert(handle.0, Tunnel::new(self.node, connection, scene.now));
        let (node, count) = (self.node, self.tunnels.len());
        scene.demand(count <= TUNNELS_MAX, Promise::Bounded, format_args!("{node:?}: {count} connections"));
    }

    fn receive_quic(&mut self, packet: &[u8], scene: &mut Scene) {
        let is_long = packet.first().is_some_and(|first| first & 0x80 != 0);
        if is_long && self.admission.handle_packet(packet, scene.now) != AdmissionVerdict::Passes {
            scene.tally.unproven += 1;
            return;
        }
        let mut response = Vec::new();
        let bytes = BytesMut::from(packet);
        match self.endpoint.handle(scene.now, VIRTUAL_PEER, None, None, bytes, &mut response) {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(tunnel) = self.tunnels.get_mut(&handle.0) {
                    tunnel.connection.handle_event(event);
                }
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.paths.send_quic(&response[..transmit.size], scene);
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.accept(incoming, scene),
        }
    }

    fn accept(&mut self, incoming: Incoming, scene: &mut Scene) {
        let Some(place) = self.admission.claim(incoming.orig_dst_cid()) else {
            return self.endpoint.ignore(incoming);
        };
        let mut response = Vec::new();
        match self.endpoint.accept(incoming, scene.now, &mut response, None) {
            Ok((handle, connection)) => {
                self.places.insert(handle.0, place);
                self.adopt(handle, connection, scene);
            }
            Err(refused) => {
                self.admission.give_back(place);
                if let Some(transmit) = refused.response {
                    self.paths.send_quic(&response[..transmit.size], scene);
                }
            }
        }
    }

    /// Lets every tunnel do and send what it can.
    fn pump(&mut self, scene: &mut Scene) {
        let handles: Vec<usize> = self.tunnels.keys().copied().collect();
        for handle in handles {
            while self.pump_once(handle, scene) {}
        }
    }

    /// Whether there may be more to do.
    fn pump_once(&mut self, handle: usize, scene: &mut Scene) -> bool {
        let Some(tunnel) = self.tunnels.get_mut(&handle) else { return false };
        let was_open_since = tunnel.open_since();
        tunnel.drive(self.program.as_mut(), scene);
        if tunnel.is_over() || tunnel.is_open() {
            self.dialled.remove(&handle).inspect(|id| self.admission.end_dial(id));
            self.places.remove(&handle).inspect(|place| self.admission.give_back(*place));
        }
        if tunnel.is_over()
            && let Some(since) = was_open_since
        {
            self.backoff.on_lost(scene.now - since);
        }
        while let Some(event) = tunnel.connection.poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(event) = self.endpoint.handle_event(ConnectionHandle(handle), event) {
                tunnel.connection.handle_event(event);
            }
            if drained {
                self.tunnels.remove(&handle);
                return false;
            }
        }
        let mut buffer = Vec::new();
        let Some(transmit) = tunnel.connection.poll_transmit(scene.now, BATCH, &mut buffer) else {
            return false;
        };
        for packet in buffer[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size)) {
            self.paths.send_quic(packet, scene);
        }
        true
    }
}

/// The id that the next dial is answered at.
type NextId = Arc<Mutex<Option<OwnId>>>;

/// As the product's: ids that carry the route, the next one chosen by who dials.
struct Ids {
    next: NextId,
    node: Node,
    random: Random,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id: OwnId = self.random.bytes();
        id[..8].copy_from_slice(credentials::route(self.node).as_bytes());
        ConnectionId::new(&self.next.lock().take().unwrap_or(id))
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn endpoint(node: Node, settings: TunnelSettings, next: &NextId, random: &mut Random) -> Endpoint {
    let mut config = endpoint_config(credentials::route(node), EndpointConfig::default());
    let (next, ids) = (Arc::clone(next), random.fork("ids"));
    config.cid_generator(move || Box::new(Ids { next: Arc::clone(&next), node, random: ids.clone() }));
    config.rng_seed(Some(random.bytes()));
    let server = (node == Node::Target).then(|| server_config(settings));
    Endpoint::new(Arc::new(config), server, true, None)
}

/// Made once for all seeds: keys and certificates are parsed for each.
fn server_config(settings: TunnelSettings) -> Arc<ServerConfig> {
    static CONFIGS: LazyLock<[Arc<ServerConfig>; 2]> = LazyLock::new(|| {
        [Congestion::Bbr, Congestion::Cubic].map(|congestion| {
            let settings = TunnelSettings { congestion };
            Arc::new(tunnel_server_config(credentials::of(Node::Target), settings).unwrap())
        })
    });
    Arc::clone(&CONFIGS[usize::from(settings.congestion == Congestion::Cubic)])
}

fn client_config(settings: TunnelSettings) -> ClientConfig {
    static CONFIGS: LazyLock<[ClientConfig; 2]> = LazyLock::new(|| {
        [Congestion::Bbr, Congestion::Cubic].map(|congestion| {
            let (route, server) = (credentials::route(Node::Target), credentials::server(Node::Target));
            let settings = TunnelSettings { congestion };
            tunnel_client_config(credentials::of(Node::Source), settings, route, server).unwrap()
        })
    });
    CONFIGS[usize::from(settings.congestion == Congestion::Cubic)].clone()
}
