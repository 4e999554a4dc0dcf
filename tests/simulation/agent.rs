//! One agent: its QUIC endpoint, its tunnels, its paths, and the product's machine of its one connection, whose
//! driver this is, all by deadlines. It can be frozen, as a suspended host is, and restarted.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use adit_core::config::agent::Congestion;
use adit_core::domain::connection::Side;
use adit_core::domain::id::{BootId, KeyFingerprint};
use adit_core::domain::limits::STOP_TIMEOUT;
use adit_core::protocol::admission::{Admission, AdmissionVerdict, PlaceId};
use adit_core::protocol::connection::{
    Action, ConnectionMachine, ConnectionSettings, DialFailure, EndReason, PeerPath, Policy, Proven, Report,
    Terms,
};
use adit_core::protocol::control::{Rule, fixture};
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
use crate::scene::{Cause, End, Scene};
use crate::traffic::{Program, STREAMS_MAX};
use crate::tunnel::{Tunnel, TunnelEvent};
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
    machine: ConnectionMachine,
    tunnels: BTreeMap<usize, Tunnel>,
    /// The one that the machine dials or has up.
    current: Option<usize>,
    /// One that the peer has opened, to be served next.
    admitted: Option<usize>,
    /// Why the one that is up was lost.
    lost: Option<Cause>,
    pub is_port_open: bool,
    /// What tunnels that are not open yet have of the admission.
    dialled: BTreeMap<usize, OwnId>,
    places: BTreeMap<usize, PlaceId>,
    pub paths: PeerPaths,
    pub program: Option<Program>,
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
            machine: machine(node, stall, &mut random, now),
            current: None,
            admitted: None,
            lost: None,
            is_port_open: false,
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
            ping_at: None,
            pinged: None,
            frozen: None,
            random,
        }
    }

    /// The process is killed and started again at the same address.
    pub(crate) fn restart(&mut self, scene: &mut Scene) {
        if let Some(tunnel) = self.current_tunnel().filter(|tunnel| tunnel.is_open()) {
            tunnel.end(scene);
            let why = "this agent was restarted".into();
            scene.ended.push(End { node: self.node, why, cause: Cause::Outage });
        }
        let (random, program) = (self.random.clone(), self.program.take());
        *self = Self::new(self.node, self.settings, self.stall, program, random, scene.now);
    }

    /// Before anything has happened.
    pub(crate) fn set_stall(&mut self, stall: Duration, now: Instant) {
        self.stall = stall;
        self.machine = machine(self.node, stall, &mut self.random, now);
    }

    fn current_tunnel(&mut self) -> Option<&mut Tunnel> {
        self.tunnels.get_mut(&self.current?)
    }

    /// For how long the peer of the tunnel that is up was not heard.
    pub(crate) fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.machine.session().map(|session| session.silent_for(now))
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
        let (machine, program) = (self.machine.poll_timeout(), self.program.as_ref());
        let tunnels = self.tunnels.values_mut().filter_map(|tunnel| tunnel.poll_timeout(program));
        tunnels.chain(self.paths.poll_timeout()).chain(machine).chain(self.ping_at).min()
    }

    pub(crate) fn handle_timeout(&mut self, scene: &mut Scene) {
        if self.thaw(scene) {
            return;
        }
        self.note_mtu();
        self.paths.handle_timeout(scene.now);
        self.follow_paths(scene);
        for tunnel in self.tunnels.values_mut() {
            tunnel.handle_timeout(scene.now);
        }
        self.count_packets(scene.now);
        self.machine.handle_timeout(scene.now);
        self.perform(scene);
        if self.ping_at.is_some_and(|at| at <= scene.now) {
            self.ping(scene);
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
        if change.is_disturbance() {
            self.tunnels.values().for_each(Tunnel::note_path_change);
        }
        self.machine.handle_path(PeerPath { is_there: self.paths.can_send(), boot, heard }, scene.now);
        self.perform(scene);
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

    fn count_packets(&mut self, now: Instant) {
        if let Some(counts) = self.current_tunnel().and_then(|tunnel| tunnel.counts()) {
            self.machine.handle_counts(counts, now);
        }
    }

    /// Does what the machine wants, as `agent/connection.rs` does.
    fn perform(&mut self, scene: &mut Scene) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Dial => self.dial(scene),
                Action::Prove => self.with_current(|tunnel| tunnel.prove(scene)),
                Action::Serve => {
                    self.current = self.admitted.take().or(self.current);
                    self.with_current(|tunnel| tunnel.serve(scene));
                }
                Action::Close(code) => self.with_current(|tunnel| tunnel.close(code, scene.now)),
                Action::End => {
                    self.with_current(|tunnel| tunnel.end(scene));
                    self.current = None;
                }
                Action::Ping => {
                    scene.tally.asked_again += 1;
                    self.with_current(|tunnel| tunnel.note_path_change());
                    self.want_ping(scene.now);
                }
                Action::SendUpstream(answers) => self.with_current(|tunnel| tunnel.tell_mirth(answers)),
                Action::OpenListener { .. } => self.steer(true),
                Action::CloseListener { .. } => self.steer(false),
                Action::Report(Report::Ended { why, .. }) => self.note_end(&why, scene),
                Action::Report(_) => {}
                Action::SendStopping | Action::Audit(_) => {
                    scene.demand(false, Promise::Sound, format_args!("nobody asked for {action:?}"));
                }
            }
        }
    }

    fn with_current(&mut self, act: impl FnOnce(&mut Tunnel)) {
        if let Some(tunnel) = self.current_tunnel() {
            act(tunnel);
        }
    }

    fn steer(&mut self, opens: bool) {
        self.is_port_open = opens;
        self.machine.handle_listener(opens);
    }

    fn note_end(&mut self, why: &EndReason, scene: &mut Scene) {
        let cause = match why {
            EndReason::Stalled | EndReason::Restarted => Cause::Outage,
            EndReason::Forgotten => {
                scene.tally.forgotten += 1;
                Cause::Unanswered
            }
            EndReason::Replaced => Cause::Told,
            EndReason::Lost(_) => self.lost.take().unwrap_or(Cause::Fault),
            EndReason::Revoked
            | EndReason::OtherKey
            | EndReason::NotActive
            | EndReason::Cut
            | EndReason::Expired
            | EndReason::Stops
            | EndReason::StopsHere => Cause::Fault,
        };
        let (node, why) = (self.node, why.to_string());
        scene.note(format_args!("{node:?}: the tunnel ended: {why}"));
        scene.ended.push(End { node, why, cause });
    }

    /// Tells the machine what happened to a tunnel.
    fn hear_of(&mut self, handle: usize, event: TunnelEvent, scene: &mut Scene) {
        let (now, is_current) = (scene.now, self.current == Some(handle));
        match event {
            TunnelEvent::Connected if is_current => self.machine.handle_dialed(Ok(()), now),
            TunnelEvent::Proven if self.node == Node::Target => {
                self.admitted = Some(handle);
                self.machine.handle_incoming(PROVEN, now);
            }
            TunnelEvent::Proven if is_current => self.machine.handle_proven(Ok(PROVEN), now),
            TunnelEvent::Mirth(answers) if is_current => self.machine.handle_upstream(Some(answers), now),
            TunnelEvent::Lost { why, cause } if is_current => {
                self.lost = Some(cause);
                self.machine.handle_dialed(Err(DialFailure::away(why.clone())), now);
                self.machine.handle_proven(Err(DialFailure::away(why.clone())), now);
                self.machine.handle_lost(why, false, now);
            }
            TunnelEvent::Connected
            | TunnelEvent::Proven
            | TunnelEvent::Mirth(_)
            | TunnelEvent::Lost { .. } => {}
        }
        self.perform(scene);
    }

    fn dial(&mut self, scene: &mut Scene) {
        let mut config = client_config(self.settings);
        let ids = self.admission.dial(credentials::route(self.node.peer()), self.random.bytes());
        *self.next_id.lock() = Some(ids.source);
        config.initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&ids.destination)));
        match self.endpoint.connect(scene.now, config, VIRTUAL_PEER, SERVER_NAME) {
            Ok((handle, connection)) => {
                self.dialled.insert(handle.0, ids.source);
                self.current = Some(handle.0);
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
        tunnel.drive(self.program.as_mut(), scene);
        let events = std::mem::take(&mut tunnel.events);
        let has_events = !events.is_empty();
        self.count_packets(scene.now);
        for event in events {
            self.hear_of(handle, event, scene);
        }
        self.perform(scene);
        let Some(tunnel) = self.tunnels.get_mut(&handle) else { return false };
        if tunnel.is_over() || tunnel.is_open() {
            self.dialled.remove(&handle).inspect(|id| self.admission.end_dial(id));
            self.places.remove(&handle).inspect(|place| self.admission.give_back(*place));
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
            return has_events;
        };
        for packet in buffer[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size)) {
            self.paths.send_quic(packet, scene);
        }
        true
    }
}

/// What both ends have proven; nobody revokes or replaces it here.
const PROVEN: Proven =
    Proven { terms: Terms { peer_key: KeyFingerprint::from_bytes([1; 32]), cut_epoch: 0 }, expires: None };

/// The machine of the one connection, which is active all the time; the Mirth at its far end is there.
fn machine(node: Node, stall: Duration, random: &mut Random, now: Instant) -> ConnectionMachine {
    let side = if node == Node::Source { Side::Source } else { Side::Target };
    let mut machine = ConnectionMachine::new(ConnectionSettings {
        side,
        stall_limit: stall,
        stop_limit: STOP_TIMEOUT,
        connections_max: STREAMS_MAX as usize,
        seed: u64::from_be_bytes(random.bytes()),
    });
    machine.handle_bound(now);
    machine.handle_secret(true, now);
    machine.handle_upstream((side == Side::Target).then_some(true), now);
    machine.handle_policy(Policy::Active(Rule { side, ..fixture::rule(1) }), now);
    machine
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
