//! Writes everything that a gateway and two agents need to run as separate processes on one
//! machine: files, a provisioned platform, tokens good for a week.

mod admin;

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

pub use self::admin::{InvalidLabAdmin, LabAdmin};

use self::admin::Keys;
use super::admin_client::ClientError;
use adit_agent::state::{AgentState, StateError};
use adit_core::config::connector::Connector;
use adit_core::config::{HostPort, TrustDomain};
use adit_core::domain::connection::{Protocol, Side, UnknownProtocol};
use adit_core::domain::id::KeyFingerprint;
use adit_core::domain::name::{InvalidName, Name};
use adit_core::domain::path::{PathKind, PathPreference};
use adit_gateway::authority::{Authority, AuthorityError};
use adit_gateway::platform::{
    OpenError, Plan, Platform, PlatformError, Provided, Provisioned, TokenLife, agent_entry,
};
use adit_net::host::folder::{Folder, FolderError};
use adit_net::identity::time::{HostClock, TimeSource};

/// One P2P connection of a lab: agent A listens, agent B forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabConnection {
    pub protocol: Protocol,
    pub listen: SocketAddr,
    pub forward_to: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabConnection {
    #[error(
        "expected PROTOCOL:LISTEN:FORWARD, such as mllp:127.0.0.1:6661:127.0.0.1:6662 or tcp:[::1]:9000:[::1]:9001"
    )]
    Shape,
    #[error(transparent)]
    Protocol(#[from] UnknownProtocol),
    #[error("`{found}` is no address with a port; write 127.0.0.1:6661, or [::1]:6661 for IPv6")]
    Address { found: String },
}

impl FromStr for LabConnection {
    type Err = InvalidLabConnection;

    fn from_str(text: &str) -> Result<Self, InvalidLabConnection> {
        let (protocol, addresses) = text.split_once(':').ok_or(InvalidLabConnection::Shape)?;
        let protocol = protocol.parse()?;
        if let Some((listen, forward_to)) = two_addresses(addresses) {
            return Ok(Self { protocol, listen, forward_to });
        }
        if addresses.matches(':').count() < 3 {
            return Err(InvalidLabConnection::Shape);
        }
        Err(InvalidLabConnection::Address { found: addresses.into() })
    }
}

/// Reads two addresses: both hold colons; the second begins where both halves can be read.
fn two_addresses(text: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut splits = text.match_indices(':').map(|(at, _)| (&text[..at], &text[at + 1..]));
    splits.find_map(|(first, second)| Some((first.parse().ok()?, second.parse().ok()?)))
}

/// What a lab is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub connections: Vec<LabConnection>,
    pub admin: Vec<LabAdmin>,
    /// What both agents allow between them.
    pub path: PathPreference,
}

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("`{path}` exists; name a folder that does not, nothing there is overwritten")]
    Exists { path: PathBuf },
    #[error("cannot write `{path}`; name a folder that this user may make and fill")]
    Write { path: PathBuf, source: io::Error },
    #[error("no free port on 127.0.0.1; the lab needs a loopback interface with free ports")]
    NoPort { source: io::Error },
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("the lab's gateway state could not be made")]
    Folder(#[from] FolderError),
    #[error("the lab's certificate authority could not be made")]
    Authority(#[from] AuthorityError),
    #[error("the lab's database could not be made")]
    Open(#[from] OpenError),
    #[error("the lab's platform could not be set up")]
    Platform(#[from] PlatformError),
    #[error("an agent's key could not be made")]
    AgentKey(#[from] StateError),
    #[error("no Mirth shows a certificate at {address}; start it first: the lab's files name its key")]
    NoMirth { address: SocketAddr, source: ClientError },
}

/// What was written.
#[derive(Debug)]
pub struct Lab {
    pub gateway: PathBuf,
    pub agent_a: PathBuf,
    pub agent_b: PathBuf,
    pub provisioned: Provisioned,
}

const TRUST_DOMAIN: &str = "lab.adit.test";

/// Writes a lab into the new folder `dir`. Every Mirth to be managed must run: its key is asked for.
pub async fn write(dir: &Path, wanted: &Wanted) -> Result<Lab, LabError> {
    let mirth_keys = admin::mirth_keys(&wanted.admin).await?;
    make_folder(dir).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => LabError::Exists { path: dir.into() },
        _ => LabError::Write { path: dir.into(), source },
    })?;
    let dir = dir.canonicalize().map_err(|source| LabError::Write { path: dir.into(), source })?;
    let [gateway_port, gateway_metrics, metrics_a, metrics_b] =
        free_ports().map_err(|source| LabError::NoPort { source })?;
    let trust_domain: TrustDomain = TRUST_DOMAIN.parse().expect("a constant that is a trust domain");
    let clock = Arc::new(HostClock);
    let state = dir.join("gateway-state");
    let ca_key = {
        let folder = Folder::open(&state)?;
        Authority::open(&folder, &trust_domain, clock.now())?.trust().ca_key()
    };
    let platform = Platform::open(&state, clock).await?;
    let provisioned = platform.provision(&plan(wanted)?).await?;
    let gateway = dir.join("gateway.toml");
    write_file(&gateway, 0o644, &gateway_file(gateway_port, &state, gateway_metrics))?;
    let writer = AgentWriter { dir: &dir, gateway_port, ca_key, trust_domain, path: wanted.path };
    let keys = if wanted.admin.is_empty() {
        None
    } else {
        Some(Keys { a: writer.agent_key("a")?, b: writer.agent_key("b")?, mirths: mirth_keys })
    };
    let entries = Entries { platform: &platform, provisioned: &provisioned, wanted, keys };
    let entries_a = entries.of(&provisioned.source, Side::Source).await?;
    let agent_a = writer.write("a", &provisioned.source, metrics_a, &entries_a)?;
    let entries_b = entries.of(&provisioned.target, Side::Target).await?;
    let agent_b = writer.write("b", &provisioned.target, metrics_b, &entries_b)?;
    platform.close().await?;
    Ok(Lab { gateway, agent_a, agent_b, provisioned })
}

fn plan(wanted: &Wanted) -> Result<Plan, InvalidName> {
    let channels = wanted
        .connections
        .iter()
        .enumerate()
        .map(|(index, connection)| {
            let name: Name = format!("{} {}", connection.protocol, index + 1).parse()?;
            Ok((name, connection.protocol))
        })
        .collect::<Result<_, InvalidName>>()?;
    Ok(Plan {
        source_organization: "Lakeside Clinic".parse()?,
        source_server: "Lakeside Mirth".parse()?,
        target_organization: "St Mary Hospital".parse()?,
        target_server: "St Mary Mirth".parse()?,
        channels,
        admin: wanted.admin.iter().map(|admin| admin.access).collect(),
        token_life: TokenLife::Week,
    })
}

/// The agent files' entries, as the gateway prints them for operators.
struct Entries<'a> {
    platform: &'a Platform,
    provisioned: &'a Provisioned,
    wanted: &'a Wanted,
    /// What admin entries trust.
    keys: Option<Keys>,
}

impl Entries<'_> {
    async fn of(&self, provided: &Provided, side: Side) -> Result<String, PlatformError> {
        let mut text = String::new();
        for (wanted, id) in self.wanted.connections.iter().zip(&self.provisioned.connections) {
            let view = self.platform.connection(&provided.initiator, *id).await?;
            let address = if side == Side::Source { wanted.listen } else { wanted.forward_to };
            text.extend(agent_entry(&view, side, &address.to_string()).map(|entry| format!("\n{entry}")));
        }
        let Some(keys) = &self.keys else { return Ok(text) };
        for (index, (wanted, id)) in self.wanted.admin.iter().zip(&self.provisioned.admin).enumerate() {
            let view = self.platform.connection(&provided.initiator, *id).await?;
            let address = if side == Side::Source { wanted.listen } else { wanted.mirth };
            let alike = self.wanted.admin[..index].iter().filter(|before| before.access == wanted.access);
            let number = alike.count() + 1;
            let entry = agent_entry(&view, side, &address.to_string());
            let entry = entry.map(|entry| admin::numbered(&entry, number));
            text.extend(entry.map(|entry| format!("\n{entry}{}", keys.lines(side, index))));
        }
        Ok(text)
    }
}

struct AgentWriter<'a> {
    dir: &'a Path,
    gateway_port: u16,
    ca_key: KeyFingerprint,
    trust_domain: TrustDomain,
    path: PathPreference,
}

impl AgentWriter<'_> {
    /// Makes an agent's key before it enrols, which it then keeps: its peer's file can name it.
    fn agent_key(&self, name: &str) -> Result<KeyFingerprint, LabError> {
        let folder = self.folder(name)?;
        Ok(AgentState::open(&folder.join("state"))?.key_pair()?.fingerprint())
    }

    fn folder(&self, name: &str) -> Result<PathBuf, LabError> {
        let folder = self.dir.join(name);
        match make_folder(&folder) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(LabError::Write { path: folder, source })
            }
            _ => Ok(folder),
        }
    }

    /// Writes `NAME/agent.toml` and `NAME/connector.toml`; gives the former's path.
    fn write(
        &self,
        name: &str,
        provided: &Provided,
        metrics: u16,
        entries: &str,
    ) -> Result<PathBuf, LabError> {
        let folder = self.folder(name)?;
        let address = format!("127.0.0.1:{}", self.gateway_port);
        let connector = Connector {
            addresses: vec![address.parse::<HostPort>().expect("an IPv4 address and a port")],
            trust_domain: self.trust_domain.clone(),
            key: self.ca_key,
            server: provided.server,
            token: Some(provided.token.token.clone()),
        };
        let token = &provided.token;
        let connector_path = folder.join("connector.toml");
        let text = connector.render(token.server_name.as_str(), token.expires_at);
        write_file(&connector_path, 0o600, &text)?;
        let agent_path = folder.join("agent.toml");
        // The peers of all entries are one, so one entry speaks for all.
        let kinds: Vec<_> = self.path.iter().map(PathKind::as_str).collect();
        let path =
            if self.path == PathPreference::AUTO { String::new() } else { format!("prefer = {kinds:?}\n") };
        let text = format!(
            "connector = {}\nstate     = {}\nlisten    = \"127.0.0.1:0\"\nmetrics   = \"127.0.0.1:{metrics}\"\n{entries}{path}",
            quoted(&connector_path),
            quoted(&folder.join("state")),
        );
        write_file(&agent_path, 0o644, &text)?;
        Ok(agent_path)
    }
}

fn gateway_file(port: u16, state: &Path, metrics: u16) -> String {
    format!(
        "name         = \"127.0.0.1:{port}\"\nlisten       = \"127.0.0.1:{port}\"\nstate        = {}\ntrust_domain = \"{TRUST_DOMAIN}\"\nmetrics      = \"127.0.0.1:{metrics}\"\n",
        quoted(state)
    )
}

/// Returns a path as TOML writes it, whatever characters it has.
pub(crate) fn quoted(path: &Path) -> String {
    toml::Value::from(path.to_string_lossy().into_owned()).to_string()
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

fn write_file(path: &Path, mode: u32, text: &str) -> Result<(), LabError> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| LabError::Write { path: path.into(), source })
}

/// Returns the ports that were free for TCP and UDP a moment ago, all different.
pub(crate) fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let any: SocketAddr = (IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into();
    let bind = || {
        let tcp = std::net::TcpListener::bind(any)?;
        let udp = std::net::UdpSocket::bind(tcp.local_addr()?)?;
        Ok((tcp, udp))
    };
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        // The kernel's choice for TCP may be taken for UDP.
        let (tcp, udp) = bind().or_else(|_: io::Error| bind())?;
        *port = tcp.local_addr()?.port();
        held.push((tcp, udp));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_read_with_addresses_of_either_family() {
        let read: LabConnection = "mllp:127.0.0.1:6661:[::1]:6662".parse().unwrap();
        assert_eq!(read.protocol, Protocol::Mllp);
        assert_eq!(read.listen, "127.0.0.1:6661".parse().unwrap());
        assert_eq!(read.forward_to, "[::1]:6662".parse().unwrap());
        let read: LabConnection = "tcp:[fd00::1]:1:10.0.0.1:2".parse().unwrap();
        assert_eq!(read.listen, "[fd00::1]:1".parse().unwrap());
        assert_eq!(read.forward_to, "10.0.0.1:2".parse().unwrap());
    }

    #[test]
    fn what_is_no_connection_is_named() {
        assert_eq!("mllp".parse::<LabConnection>(), Err(InvalidLabConnection::Shape));
        assert_eq!("mllp:6661:6662".parse::<LabConnection>(), Err(InvalidLabConnection::Shape));
        let unknown = "hl7:127.0.0.1:1:127.0.0.1:2".parse::<LabConnection>();
        assert!(matches!(unknown, Err(InvalidLabConnection::Protocol(_))));
        let named = "mllp:localhost:1:127.0.0.1:2".parse::<LabConnection>();
        assert!(matches!(named, Err(InvalidLabConnection::Shape | InvalidLabConnection::Address { .. })));
        let port = "mllp:127.0.0.1:99999:127.0.0.1:2".parse::<LabConnection>();
        assert!(matches!(port, Err(InvalidLabConnection::Address { .. })));
    }
}
