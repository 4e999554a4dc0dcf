//! The agent's file: what this host serves, to whom, and how far. The gateway may narrow it, never
//! widen it.

mod admin;
mod users;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::claims::Claims;
use super::document::{self, Section};
use super::problem::ConfigProblems;
use super::{EntryName, HostPort, LogFormat, ProxySettings, ProxyUrl, value};
use crate::domain::access::Access;
use crate::domain::connection::{Protocol, Side};
use crate::domain::id::{ConnectionId, KeyFingerprint, ServerId};
use crate::domain::limits;
use crate::domain::path::{PathKind, PathPreference};
use crate::domain::secret::Secret;

pub use self::admin::{AdminManaged, AdminManaging};
pub use self::users::{KnownUsers, LocalUser};

use self::users::read_allow_users;

pub const STATE_DEFAULT: &str = "/var/lib/adit";
/// Any free port, on both address families where the host has them.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Needed until the state folder holds an identity.
    pub connector: Option<PathBuf>,
    pub state: PathBuf,
    /// Loopback; absent: no metrics are served.
    pub metrics: Option<SocketAddr>,
    /// UDP, for all tunnels and the control link.
    pub listen: SocketAddr,
    /// Where peers reach `listen` besides the addresses the agent finds by itself.
    pub direct_addresses: Vec<SocketAddr>,
    /// What stands between this host and the gateway's TCP port.
    pub proxies: ProxySettings,
    pub congestion: Congestion,
    pub log: LogFormat,
    pub sources: Vec<P2pSource>,
    pub targets: Vec<P2pTarget>,
    pub managing: Vec<AdminManaging>,
    pub managed: Vec<AdminManaged>,
}

/// How a tunnel shares a path with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Congestion {
    #[default]
    Bbr,
    Cubic,
}

impl Congestion {
    const WORDS: [(&str, Self); 2] = [("bbr", Self::Bbr), ("cubic", Self::Cubic)];
}

/// The local Mirth connects here, and the far one receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct P2pSource {
    pub entry: Entry,
    pub listen: SocketAddr,
    /// Whose connections are taken; `None`: anybody's.
    pub allow_users: Option<Vec<LocalUser>>,
}

/// What the far Mirth sends goes to the local one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct P2pTarget {
    pub entry: Entry,
    pub forward_to: HostPort,
    /// Whether the local Mirth is dialled now and then while nothing is sent, so that the far port
    /// is open only while it answers.
    pub probe: bool,
}

/// What an entry is for, and how far it lets the gateway's rule go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// P2P: channel data in this protocol.
    Channel(Protocol),
    /// Admin sessions, with at most this access.
    Admin { access_max: Access },
}

impl Service {
    /// Returns the protocol of a P2P entry.
    #[must_use]
    pub const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Channel(protocol) => Some(protocol),
            Self::Admin { .. } => None,
        }
    }

    /// Returns the silence after which what runs is cut, unless the entry says otherwise.
    #[must_use]
    pub const fn stall_limit(self) -> Duration {
        match self {
            Self::Channel(protocol) => limits::stall_limit(protocol),
            Self::Admin { .. } => limits::ADMIN_STALL_LIMIT,
        }
    }
}

/// What every entry has, whatever it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: EntryName,
    pub id: ConnectionId,
    pub peer: ServerId,
    pub service: Service,
    /// Compared out of band: no first contact has to be trusted.
    pub peer_key: Option<KeyFingerprint>,
    /// From `adit admin connection view-secret`; absent: fetched over the control link.
    pub secret: Option<Secret>,
    pub streams_max: u32,
    pub stall_limit: Duration,
    /// What any entry of its peer says: all connections with it share the path.
    pub path: PathPreference,
}

impl AgentConfig {
    /// Reads a whole file; relative paths start at `base`, the folder it stands in. Whether the host has
    /// the users it names is not asked.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigProblems> {
        Self::parse_on_host(text, base, &|_| true)
    }

    /// Does as [`Self::parse`]; a user that the host does not have is a problem.
    pub fn parse_on_host(text: &str, base: &Path, knows: KnownUsers<'_>) -> Result<Self, ConfigProblems> {
        document::parse(text, document::Kind::Agent, |file| Some(read_file(file, base, knows)))
    }

    /// Returns every entry, P2P first, with the end of the connection this host stands at.
    pub fn entries(&self) -> impl Iterator<Item = (Side, &Entry)> {
        let sources = self.sources.iter().map(|source| (Side::Source, &source.entry));
        let targets = self.targets.iter().map(|target| (Side::Target, &target.entry));
        let managing = self.managing.iter().map(|managing| (Side::Source, &managing.entry));
        let managed = self.managed.iter().map(|managed| (Side::Target, &managed.entry));
        sources.chain(targets).chain(managing).chain(managed)
    }

    /// Returns whether the file itself holds a secret and must be readable by its owner alone.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        let is_secret = self.proxies.proxy.as_ref().is_some_and(ProxyUrl::holds_secret);
        is_secret || self.entries().any(|(_, entry)| entry.secret.is_some())
    }
}

fn read_file(file: &mut Section<'_, '_>, base: &Path, knows: KnownUsers<'_>) -> AgentConfig {
    let mut claims = Claims::default();
    let metrics = file.optional("metrics", value::loopback_address);
    if let Some(address) = metrics {
        claims.listen(file, "metrics", address);
    }
    let mut config = AgentConfig {
        connector: file.optional("connector", |value| value::path(base, value)),
        state: file
            .optional("state", |value| value::path(base, value))
            .unwrap_or_else(|| STATE_DEFAULT.into()),
        metrics,
        listen: file.optional("listen", value::address).unwrap_or(LISTEN_DEFAULT),
        direct_addresses: file.optional("direct_addresses", direct_addresses).unwrap_or_default(),
        proxies: file.optional_table("gateway", |section| Some(read_proxies(section))).unwrap_or_default(),
        congestion: file
            .optional("congestion", |value| value::word(&Congestion::WORDS, value))
            .unwrap_or_default(),
        log: file.optional("log", |value| value::word(&LogFormat::WORDS, value)).unwrap_or_default(),
        sources: file.each_table("p2p_source", limits::ENTRIES_MAX, |section| {
            let entry = read_channel_entry(section, &mut claims);
            let listen = section.required(
                "listen",
                "write the address the local Mirth connects to, such as \"127.0.0.1:6661\"",
                value::fixed_address,
            );
            if let Some(listen) = listen {
                claims.listen(section, "listen", listen);
            }
            let allow_users = read_allow_users(section, listen, knows);
            Some(P2pSource { entry: entry?, listen: listen?, allow_users })
        }),
        targets: file.each_table("p2p_target", limits::ENTRIES_MAX, |section| {
            let entry = read_channel_entry(section, &mut claims);
            let forward_to = section.required(
                "forward_to",
                "write the address the local Mirth listens on, such as \"127.0.0.1:6661\"",
                value::text,
            );
            let probe = section.optional("probe", value::boolean).unwrap_or(true);
            Some(P2pTarget { entry: entry?, forward_to: forward_to?, probe })
        }),
        managing: file.each_table("admin_managing", limits::ENTRIES_MAX, |section| {
            admin::read_managing(section, &mut claims, knows)
        }),
        managed: file.each_table("admin_managed", limits::ENTRIES_MAX, |section| {
            admin::read_managed(section, &mut claims)
        }),
    };
    share_paths(&mut config, &claims);
    config
}

fn read_proxies(section: &mut Section<'_, '_>) -> ProxySettings {
    ProxySettings {
        proxy: section.optional("proxy", value::text),
        no_proxy: section
            .optional("no_proxy", |value| value::list(0..=limits::NO_PROXY_MAX, value, value::text)),
    }
}

/// Shares the path of an entry: one entry speaks for all of its peer.
fn share_paths(config: &mut AgentConfig, claims: &Claims) {
    let sources = config.sources.iter_mut().map(|source| &mut source.entry);
    let targets = config.targets.iter_mut().map(|target| &mut target.entry);
    let managing = config.managing.iter_mut().map(|managing| &mut managing.entry);
    let managed = config.managed.iter_mut().map(|managed| &mut managed.entry);
    for entry in sources.chain(targets).chain(managing).chain(managed) {
        entry.path = claims.path_to(entry.peer);
    }
}

fn read_channel_entry(section: &mut Section<'_, '_>, claims: &mut Claims) -> Option<Entry> {
    let protocol = section.required("protocol", "write \"mllp\", \"dicom\" or \"tcp\"", |value| {
        value::word(&Protocol::ALL.map(|protocol| (protocol.as_str(), protocol)), value)
    });
    read_entry(section, claims, protocol.map(Service::Channel))
}

/// Reads an entry; `service` is `None` after a problem with what says so.
fn read_entry(section: &mut Section<'_, '_>, claims: &mut Claims, service: Option<Service>) -> Option<Entry> {
    let name = section.required("name", "write a short local name, such as \"adt-to-stmary\"", value::text);
    let id =
        section.required("id", "write the connection's id from `adit admin connection entry`", value::text);
    let peer = section.required(
        "peer",
        "write the other server's id from `adit admin connection entry`",
        value::text,
    );
    let peer_key = section.optional("peer_key", value::text);
    let secret = section.optional("secret", |value| {
        let expected = || {
            value::Expected(
                "expected the 64 hexadecimal digits that `adit admin connection view-secret` shows".into(),
            )
        };
        value.as_str().and_then(|text| Secret::from_hex(text).ok()).ok_or_else(expected)
    });
    let streams_max = section
        .optional("streams_max", |value| value::number(1..=limits::TUNNEL_STREAMS_ALLOWED, value))
        .unwrap_or(match service {
            Some(Service::Admin { .. }) => limits::ADMIN_STREAMS_MAX,
            Some(Service::Channel(_)) | None => limits::TUNNEL_STREAMS_MAX,
        });
    let stall_limit = section
        .optional("stall_limit_seconds", |value| value::number(1..=limits::STALL_LIMIT_SECONDS_MAX, value))
        .map(|seconds| Duration::from_secs(seconds.into()));
    let path = read_path(section);
    if let Some(name) = &name {
        claims.name(section, name);
    }
    if let Some(id) = id {
        claims.id(section, id);
    }
    if let (Some(peer), Some((key, path))) = (peer, path) {
        claims.path(section, key, peer, path);
    }
    let service = service?;
    Some(Entry {
        name: name?,
        id: id?,
        peer: peer?,
        service,
        peer_key,
        secret,
        streams_max,
        stall_limit: stall_limit.unwrap_or(service.stall_limit()),
        path: path.map(|(_, path)| path).unwrap_or_default(),
    })
}

/// Reads what is allowed of the path, and the key that says so: `prefer`, or `path` for one kind or all.
fn read_path(section: &mut Section<'_, '_>) -> Option<(&'static str, PathPreference)> {
    const PATH: &str = "path";
    const PREFER: &str = "prefer";
    let path = section.optional(PATH, |value| {
        let all = ("auto", PathPreference::AUTO);
        let [direct, relay, tcp] = PathKind::ALL.map(|kind| (kind.as_str(), PathPreference::only(kind)));
        value::word(&[all, direct, relay, tcp], value)
    });
    let prefer = section.optional(PREFER, |value| {
        let words = PathKind::ALL.map(|kind| (kind.as_str(), kind));
        let kinds = value::list(1..=words.len(), value, |element| value::word(&words, element))?;
        PathPreference::new(&kinds).map_err(|bad| value::Expected(bad.to_string()))
    });
    match (path, prefer) {
        (Some(path), None) => Some((PATH, path)),
        (None, prefer) => prefer.map(|prefer| (PREFER, prefer)),
        (Some(path), Some(prefer)) => {
            if path != prefer {
                section
                    .clash(PREFER, format!("keep this or `path`, which says \"{path}\"; they mean the same"));
            }
            Some((PATH, path))
        }
    }
}

fn direct_addresses(value: &toml::de::DeValue<'_>) -> Result<Vec<SocketAddr>, value::Expected> {
    value::list(0..=limits::DIRECT_ADDRESSES_MAX, value, |element| {
        let address = value::fixed_address(element)?;
        if address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(value::Expected("expected an address that peers can send to".into()));
        }
        Ok(address)
    })
}

#[cfg(test)]
mod tests;
