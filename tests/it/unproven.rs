//! Nobody shuts an agent by handshakes that never end: neither a partner, who holds the secret of a
//! connection of its own, nor a stranger, who sends from an address that the agent takes packets from.
//! While they try, an honest agent that restarts gets its tunnel.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_agent::enrol::identify;
use adit_agent::state::AgentState;
use adit_core::config::agent::Congestion;
use adit_core::config::connector::Connector;
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{BootId, ConnectionId, RouteId, ServerId};
use adit_core::domain::page::Paging;
use adit_core::domain::path::PathPreference;
use adit_core::domain::role::UserRole;
use adit_core::domain::secret::Secret;
use adit_core::domain::tier::Tier;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::initial::{CONNECTION_ID_BYTES, INITIAL_ID_BYTES};
use adit_gateway::platform::{
    ConnectionCommand, Initiator, IssuedToken, NewChannel, Platform, ServerFilter, ServerText, TokenLife,
};
use adit_lab::messages::Generator;
use adit_lab::sender::Sender;
use adit_net::identity::random;
use adit_net::identity::time::HostClock;
use adit_net::transport::carrier::proxy::Proxies;
use adit_net::transport::endpoint::{
    AgentEndpoint, Credentials, TunnelSettings, endpoint_config, tunnel_client_config,
};
use adit_net::transport::routes::{OwnEnd, Routes, WantedPeer};
use adit_net::transport::socket::{AgentSocket, VIRTUAL_PEER};
use quinn_proto::{ConnectionIdGenerator, EndpointConfig};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::lab::{HANG_LIMIT, Lab, Part, edit, mirth};

const SETTINGS: TunnelSettings = TunnelSettings { congestion: Congestion::Bbr };
/// Long enough for every place that there is to be taken, had it none of its own.
const AHEAD: Duration = Duration::from_secs(4);

type OwnId = [u8; CONNECTION_ID_BYTES];
type InitialId = [u8; INITIAL_ID_BYTES];

/// A partner of B, set up and enrolled as any other, before it turns.
struct Partner {
    socket: Arc<AgentSocket>,
    /// The same socket, for packets of its own making.
    raw: UdpSocket,
    credentials: Credentials,
    at: SocketAddr,
    server: ServerId,
    route: RouteId,
    _running: (Routes, AgentEndpoint, JoinSet<()>, AgentState),
}

/// What the platform says of it.
struct Membership {
    connection: ConnectionId,
    token: IssuedToken,
    target: ServerId,
}

async fn platform(lab: &Lab) -> Platform {
    Platform::open(&lab.state(Part::Gateway), Arc::new(HostClock)).await.unwrap()
}

/// Gives B one more partner. Nothing runs yet.
async fn join_platform(lab: &Lab) -> Membership {
    let platform = platform(lab).await;
    let host = Initiator::Host { name: "test".into() };
    let owner = |organization| Initiator::Member {
        organization,
        role: UserRole::Owner,
        name: "test".into(),
        proof: None,
    };
    let servers = platform.list_servers(&host, &ServerFilter::default(), &Paging::default()).await;
    let servers = servers.unwrap().rows;
    let target = servers.iter().find(|server| server.name.as_str() == "St Mary Mirth").unwrap();
    let at_target = owner(target.organization_id);
    let clinic =
        platform.add_organization(&host, &"Turncoat".parse().unwrap(), Tier::Enterprise).await.unwrap();
    let at_clinic = owner(clinic);
    let text = ServerText {
        name: "Turncoat Mirth".parse().unwrap(),
        description: "".parse().unwrap(),
        version: "".parse().unwrap(),
    };
    let server = platform.add_server(&at_clinic, &text).await.unwrap();
    let peering = platform.request_peering(&at_clinic, target.organization_id).await.unwrap();
    platform.accept_peering(&at_target, peering).await.unwrap();
    let channel = NewChannel {
        server: target.id,
        name: "for the turncoat".parse().unwrap(),
        description: "".parse().unwrap(),
        protocol: Protocol::Mllp,
        published: true,
    };
    let channel = platform.add_channel(&at_target, &channel).await.unwrap();
    let grant = platform.request_grant(&at_clinic, channel, server).await.unwrap();
    let connection = platform.approve_grant(&at_target, grant, None).await.unwrap();
    platform.command(&at_clinic, connection, ConnectionCommand::Activate).await.unwrap();
    let token = platform.issue_token(&at_clinic, server, TokenLife::Hour).await.unwrap();
    let target = target.id;
    platform.close().await.unwrap();
    Membership { connection, token, target }
}

impl Partner {
    /// Enrols, and has B hear it.
    async fn start(lab: &Lab, membership: Membership, connector: &str) -> Self {
        let Membership { connection, token, target } = membership;
        let folder = lab.dir().join("turncoat");
        std::fs::create_dir(&folder).unwrap();
        let file: PathBuf = folder.join("connector.toml");
        let known = Connector::parse(connector).unwrap();
        let connector = Connector { server: token.server, token: Some(token.token), ..known };
        let text = connector.render("Turncoat Mirth", Timestamp::from_millis(0));
        std::fs::write(&file, text.as_bytes()).unwrap();
        let state = AgentState::open(&folder.join("state")).unwrap();
        let enrolment = identify(&state, Some(&file), &Proxies::default()).await.unwrap();
        let (identity, trust) = state.identity(&enrolment).unwrap();

        let platform = platform(lab).await;
        let rules = platform.rules_for(enrolment.server).await.unwrap();
        let peer_route = rules.0[0].peer_route;
        let (_, secret) = platform.fetch_secret(enrolment.server, connection).await.unwrap();
        let secret = Secret::from_hex(&secret.reveal_hex()).unwrap();
        platform.close().await.unwrap();

        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let raw = udp.try_clone().unwrap();
        let (socket, own_packets) = AgentSocket::new(udp, enrolment.route).unwrap();
        let boot = BootId::from_bytes(random::bytes());
        let own = OwnEnd { route: enrolment.route, gateway: enrolment.gateway_route, boot };
        let (routes, driver) = Routes::new(Arc::clone(&socket), own_packets, own);
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run());
        let kept = std::fs::read_to_string(lab.state(Part::B).join("udp-port.json")).unwrap();
        let at: SocketAddr = (Ipv4Addr::LOCALHOST, kept.trim().parse().unwrap()).into();
        let (secrets, candidates) = (vec![secret], vec![at]);
        let wanted = WantedPeer {
            route: peer_route,
            name: "peer".into(),
            secrets,
            candidates,
            path: PathPreference::AUTO,
            relays: Vec::new(),
        };
        routes.want([(target, wanted)].into());
        let credentials = Credentials { identity, trust, clock: Arc::new(HostClock) };
        let endpoint =
            AgentEndpoint::new(Arc::clone(&socket), enrolment.route, credentials.clone(), SETTINGS).unwrap();
        let mut path_state = routes.path_state(target);
        timeout(HANG_LIMIT, path_state.wait_for(|state| state.path.is_some()))
            .await
            .expect("B answers")
            .unwrap();
        Self {
            socket,
            raw,
            credentials,
            at,
            server: target,
            route: peer_route,
            _running: (routes, endpoint, tasks, state),
        }
    }

    /// The first datagram of a handshake that nobody will go on with.
    fn initial(&self, source: OwnId, destination: InitialId) -> Vec<u8> {
        let mut config = endpoint_config(self.route, EndpointConfig::default());
        config.cid_generator(move || Box::new(Fixed(source)));
        let mut endpoint = quinn_proto::Endpoint::new(Arc::new(config), None, true, None);
        let mut client = tunnel_client_config(&self.credentials, SETTINGS, self.route, self.server).unwrap();
        client.initial_dst_cid_provider(Arc::new(move || quinn_proto::ConnectionId::new(&destination)));
        let now = Instant::now();
        let (_, mut connection) = endpoint.connect(now, client, VIRTUAL_PEER, "adit").unwrap();
        let mut buffer = Vec::new();
        let transmit = connection.poll_transmit(now, 1, &mut buffer).unwrap();
        buffer.truncate(transmit.size);
        buffer
    }

    fn send(&self, packet: &[u8]) {
        // A full socket is as good a flood.
        let _ = self.raw.send_to(packet, self.at);
    }

    /// As many unfinished handshakes as an issue counted, each with all that the partner knows.
    async fn floods(&self) {
        let mut turns = interval(Duration::from_secs(1) / 32);
        loop {
            turns.tick().await;
            let ids = self.socket.dial(self.route).ids;
            self.send(&self.initial(ids.source, ids.destination));
        }
    }

    /// As who holds no key but has seen one packet of `victim`, and can send from where it sends.
    async fn pretends(&self, victim: RouteId) {
        let mut turns = interval(Duration::from_secs(1) / 40);
        loop {
            turns.tick().await;
            let (mut source, mut destination): (OwnId, InitialId) = (random::bytes(), random::bytes());
            source[..8].copy_from_slice(victim.as_bytes());
            destination[..8].copy_from_slice(self.route.as_bytes());
            self.send(&self.initial(source, destination));
        }
    }
}

struct Fixed(OwnId);

impl ConnectionIdGenerator for Fixed {
    fn generate_cid(&mut self) -> quinn_proto::ConnectionId {
        quinn_proto::ConnectionId::new(&self.0)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A lab whose B has a second partner.
async fn lab() -> (adit_lab::mirth::Mirth, Lab, Partner) {
    let mirth = mirth().await;
    let mut lab = Lab::written(&[(Protocol::Mllp, mirth.address())]);
    let connector = std::fs::read_to_string(lab.dir().join("a").join("connector.toml")).unwrap();
    let membership = join_platform(&lab).await;
    let (id, peer) = (membership.connection, membership.token.server);
    edit(&lab.config(Part::B), |text| {
        let entry = format!(
            "\n[[p2p_target]]\nname = \"turncoat\"\nid = \"{id}\"\npeer = \"{peer}\"\n\
             protocol = \"mllp\"\nforward_to = \"{}\"\n",
            mirth.address()
        );
        text + &entry
    });
    lab.start_all().await;
    lab.port_open(0).await;
    let partner = Partner::start(&lab, membership, &connector).await;
    (mirth, lab, partner)
}

/// Kills A and starts it again; how long it then takes until a message was acknowledged.
async fn restarted(lab: &mut Lab) -> Duration {
    lab.kill(Part::A);
    tokio::time::sleep(AHEAD).await;
    let started = Instant::now();
    lab.start(Part::A);
    lab.port_open(0).await;
    let report = Sender::to(lab.port(0)).send(Generator::new(91).take(1)).await;
    assert_eq!(report.accepted(), 1, "{:?}", report.sent);
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partners_unfinished_handshakes_keep_no_restarted_agent_out() {
    let (_mirth, mut lab, partner) = lab().await;
    let took = tokio::select! {
        took = restarted(&mut lab) => took,
        () = partner.floods() => unreachable!("it never ends"),
    };
    println!("first message {:.1} s after the start, under 32 handshakes a second", took.as_secs_f64());
    assert!(!lab.log(Part::B).contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_handshakes_keep_no_restarted_agent_out() {
    let (_mirth, mut lab, partner) = lab().await;
    let victim = route(&lab, Part::A);
    let took = tokio::select! {
        took = restarted(&mut lab) => took,
        () = partner.pretends(victim) => unreachable!("it never ends"),
    };
    println!(
        "first message {:.1} s after the start, under 40 forged handshakes a second",
        took.as_secs_f64()
    );
    assert!(!lab.log(Part::B).contains("panicked"));
}

/// The route in the packets of a part.
fn route(lab: &Lab, part: Part) -> RouteId {
    let enrolment = std::fs::read_to_string(lab.state(part).join("enrolment.json")).unwrap();
    let enrolment: serde_json::Value = serde_json::from_str(&enrolment).unwrap();
    enrolment["route"].as_str().unwrap().parse().unwrap()
}
