//! A gateway on loopback with a clock that tests set, and agents as the wire sees them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use adit_agent::enrol::{EnrolError, identify};
use adit_agent::state::{AgentState, Enrolment};
use adit_core::config::LogFormat;
use adit_core::config::agent::Congestion;
use adit_core::config::connector::Connector;
use adit_core::config::gateway::{GatewayConfig, IdentityProviders, RelayConfig};
use adit_core::domain::connection::Protocol;
use adit_core::domain::id::{BootId, ConnectionId, OrganizationId, ServerId};
use adit_core::domain::role::UserRole;
use adit_core::domain::tier::Tier;
use adit_core::domain::time::Timestamp;
use adit_core::protocol::capability::Capabilities;
use adit_core::protocol::control::{ToAgent, ToGateway, VERSION};
use adit_core::protocol::packet::PacketKey;
use adit_gateway::platform::{Initiator, IssuedToken, Plan, ServerText, TokenLife};
use adit_gateway::service::{Gateway, GatewaySockets};
use adit_net::identity::random;
use adit_net::identity::time::TimeSource;
use adit_net::identity::tls::{Identity, Trust};
use adit_net::transport::carrier::proxy::Proxies;
use adit_net::transport::endpoint::{AgentEndpoint, Credentials, TransportError, TunnelSettings};
use adit_net::transport::link::{self, LinkReceiver, LinkSender};
use adit_net::transport::socket::{AgentSocket, OwnPacket};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub(crate) const DAY: Duration = Duration::from_hours(24);
/// Nothing on loopback takes longer, however busy the machine is.
const SOON: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn pass(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl TimeSource for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Waits until something is so, because it will be soon.
pub(crate) async fn eventually(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, waiting).await.expect("it becomes so");
}

pub(crate) struct World {
    folder: TempDir,
    pub gateway: Gateway,
    relay: RelayConfig,
    pub clock: Arc<SetClock>,
    pub operator: Initiator,
    pub owner: Initiator,
    pub organization: OrganizationId,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(RelayConfig::default()).await
    }

    pub(crate) async fn start_with(relay: RelayConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(1_795_510_800_000)));
        let gateway = start_gateway(folder.path(), "127.0.0.1:0".parse().unwrap(), relay, &clock).await;
        let operator = Initiator::Host { name: "test".into() };
        let name = "Lakeside".parse().unwrap();
        let organization =
            gateway.platform().add_organization(&operator, &name, Tier::Enterprise).await.unwrap();
        let owner =
            Initiator::Member { organization, role: UserRole::Owner, name: "owner".into(), proof: None };
        Self { folder, gateway, relay, clock, operator, owner, organization }
    }

    /// The gateway's state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("gateway")
    }

    /// The same state served again at the same address.
    pub(crate) async fn restart_gateway(self) -> Self {
        let Self { folder, gateway, relay, clock, operator, owner, organization } = self;
        let address = gateway.address();
        gateway.shutdown().await;
        let gateway = start_gateway(folder.path(), address, relay, &clock).await;
        Self { folder, gateway, relay, clock, operator, owner, organization }
    }

    pub(crate) async fn server(&self, name: &str) -> ServerId {
        let text = ServerText {
            name: name.parse().unwrap(),
            description: "".parse().unwrap(),
            version: "".parse().unwrap(),
        };
        self.gateway.platform().add_server(&self.owner, &text).await.unwrap()
    }

    /// A connector file's content with a fresh token.
    pub(crate) async fn connector(&self, server: ServerId) -> Connector {
        self.connector_of(self.issue(&self.owner, server).await)
    }

    pub(crate) async fn issue(&self, owner: &Initiator, server: ServerId) -> IssuedToken {
        self.gateway.platform().issue_token(owner, server, TokenLife::Hour).await.unwrap()
    }

    /// Every refusal in the audit log: who, what, why.
    pub(crate) async fn audited_refusals(&self) -> Vec<String> {
        let rows = self.gateway.platform().audit(&self.operator, 1_000).await.unwrap();
        rows.iter()
            .filter(|row| row.outcome != "done")
            .map(|row| format!("{}: {}", row.action, row.detail))
            .collect()
    }

    fn connector_of(&self, issued: IssuedToken) -> Connector {
        let trust = self.gateway.authority().trust();
        Connector {
            addresses: vec![self.gateway.address().into()],
            trust_domain: trust.trust_domain().clone(),
            key: trust.ca_key(),
            server: issued.server,
            token: Some(issued.token),
        }
    }

    /// A host beside a Mirth, whose state is empty.
    pub(crate) fn host(&self, name: &str) -> Host {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let state = AgentState::open(&folder.join("state")).unwrap();
        Host { connector: folder.join("connector.toml"), state }
    }

    /// Two enrolled agents of two organizations with one active connection between them.
    pub(crate) async fn pair(&self) -> Pair {
        let plan = Plan {
            source_organization: "St Mary".parse().unwrap(),
            source_server: "source".parse().unwrap(),
            target_organization: "Hillside".parse().unwrap(),
            target_server: "target".parse().unwrap(),
            channels: vec![("ADT".parse().unwrap(), Protocol::Mllp)],
            admin: Vec::new(),
            token_life: TokenLife::Hour,
        };
        let provisioned = self.gateway.platform().provision(&plan).await.unwrap();
        let (source, target) = (provisioned.source, provisioned.target);
        Pair {
            source_initiator: source.initiator.clone(),
            target_initiator: target.initiator.clone(),
            source: self.enrolled_with(source.token, "source").await,
            target: self.enrolled_with(target.token, "target").await,
            connection: provisioned.connections[0],
        }
    }

    /// A new server whose agent has enrolled through real TLS.
    pub(crate) async fn enrolled(&self, name: &str) -> Agent {
        let server = self.server(name).await;
        let issued = self.issue(&self.owner, server).await;
        self.enrolled_with(issued, name).await
    }

    pub(crate) async fn enrolled_with(&self, issued: IssuedToken, name: &str) -> Agent {
        let host = self.host(name);
        host.write(&self.connector_of(issued));
        let enrolment = host.enrol().await.unwrap();
        Agent { host, enrolment }
    }
}

async fn start_gateway(
    folder: &Path,
    listen: SocketAddr,
    relay: RelayConfig,
    clock: &Arc<SetClock>,
) -> Gateway {
    let sockets = GatewaySockets::bind(listen).unwrap();
    let config = GatewayConfig {
        name: sockets.address().into(),
        listen,
        state: folder.join("gateway"),
        database: None,
        trust_domain: "example.org".parse().unwrap(),
        metrics: None,
        log: LogFormat::Text,
        relay,
        identity_providers: IdentityProviders::default(),
        console: None,
    };
    Gateway::start(&config, sockets, Arc::clone(clock) as Arc<dyn TimeSource>).await.unwrap()
}

pub(crate) struct Host {
    pub connector: PathBuf,
    pub state: AgentState,
}

impl Host {
    pub(crate) fn write(&self, connector: &Connector) {
        let text = connector.render("a server", Timestamp::from_millis(0));
        std::fs::write(&self.connector, text.as_bytes()).unwrap();
    }

    pub(crate) async fn enrol(&self) -> Result<Enrolment, EnrolError> {
        identify(&self.state, Some(&self.connector), &Proxies::default()).await
    }
}

pub(crate) struct Pair {
    pub source_initiator: Initiator,
    pub target_initiator: Initiator,
    pub source: Agent,
    pub target: Agent,
    pub connection: ConnectionId,
}

pub(crate) struct Agent {
    pub host: Host,
    pub enrolment: Enrolment,
}

impl Agent {
    pub(crate) fn server(&self) -> ServerId {
        self.enrolment.server
    }

    /// A control link, its hello not yet said.
    pub(crate) async fn dial(&self, world: &World) -> Result<Link, TransportError> {
        let (identity, trust) = self.host.state.identity(&self.enrolment).unwrap();
        self.dial_as(world, identity, trust).await
    }

    pub(crate) async fn dial_as(
        &self,
        world: &World,
        identity: Identity,
        trust: Trust,
    ) -> Result<Link, TransportError> {
        self.dial_at(world, world.gateway.address(), identity, trust).await
    }

    /// Dials the one who is at `gateway`.
    pub(crate) async fn dial_at(
        &self,
        world: &World,
        gateway: SocketAddr,
        identity: Identity,
        trust: Trust,
    ) -> Result<Link, TransportError> {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let (socket, own_packets) = AgentSocket::new(udp, self.enrolment.route).unwrap();
        socket.set_route(self.enrolment.gateway_route, gateway);
        let credentials = Credentials { identity, trust, clock: world.clock.clone() };
        let settings = TunnelSettings { congestion: Congestion::Bbr };
        let endpoint =
            AgentEndpoint::new(Arc::clone(&socket), self.enrolment.route, credentials, settings).unwrap();
        let connection = endpoint.connect_control(self.enrolment.gateway_route).await?;
        let (sender, receiver) = link::open(&connection).await?;
        let registration = PacketKey::of_link(&connection.registration_secret()?);
        Ok(Link { address, socket, own_packets: Some(own_packets), registration, sender, receiver, endpoint })
    }

    /// A control link that has said hello.
    pub(crate) async fn link(&self, world: &World) -> Link {
        let mut link = self.dial(world).await.unwrap();
        link.hello().await;
        link
    }

    /// A control link that is up: welcomed, its snapshot read.
    pub(crate) async fn welcomed(&self, world: &World) -> Link {
        let mut link = self.link(world).await;
        assert!(matches!(link.next().await, Ok(ToAgent::Welcome { version: VERSION, .. })));
        assert!(matches!(link.next().await, Ok(ToAgent::Snapshot { revision: 1, .. })));
        link
    }
}

pub(crate) struct Link {
    /// Of the agent's socket.
    pub address: SocketAddr,
    pub socket: Arc<AgentSocket>,
    pub own_packets: Option<mpsc::Receiver<OwnPacket>>,
    /// Authenticates the agent at the relay.
    pub registration: PacketKey,
    pub sender: LinkSender,
    pub receiver: LinkReceiver,
    pub endpoint: AgentEndpoint,
}

impl Link {
    pub(crate) async fn hello(&mut self) {
        self.hello_with(Capabilities::default()).await;
    }

    /// Says hello as a build that can do so much.
    pub(crate) async fn hello_with(&mut self, capabilities: Capabilities) {
        let boot = BootId::from_bytes(random::bytes());
        self.send(ToGateway::Hello {
            version: VERSION,
            versions: Vec::new(),
            capabilities,
            software: "adit test".into(),
            boot,
        })
        .await;
    }

    pub(crate) async fn send(&mut self, message: ToGateway) {
        self.sender.send(&message).await.unwrap();
    }

    /// The next message but heartbeats.
    pub(crate) async fn next(&mut self) -> Result<ToAgent, TransportError> {
        let next = async {
            loop {
                match self.receiver.receive().await {
                    Ok(ToAgent::Heartbeat { .. }) => {}
                    other => return other,
                }
            }
        };
        timeout(SOON, next).await.expect("the gateway says something")
    }

    /// The reason of the goodbye that must come next.
    pub(crate) async fn goodbye(&mut self) -> String {
        match self.next().await {
            Ok(ToAgent::Goodbye { reason, .. }) => reason,
            other => panic!("expected a goodbye, got {other:?}"),
        }
    }
}
