//! A gateway in a process of its own, and what that costs.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::ops::Sub;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use adit_core::config::LogFormat;
use adit_core::config::gateway::{GatewayConfig, IdentityProviders, RelayConfig};
use adit_core::domain::id::{KeyFingerprint, OrganizationId, RouteId};
use adit_core::protocol::packet::PacketKey;
use adit_gateway::service::{Gateway, GatewaySockets};
use adit_net::identity::time::HostClock;
use anyhow::{Context as _, Result};
use rustix::process::{Resource, getrlimit, setrlimit};

pub(crate) const TRUST_DOMAIN: &str = "example.org";
const ORGANIZATION: OrganizationId = OrganizationId::from_bytes([1; 16]);

/// Kept until the gateway is to end: it does with its input.
pub(crate) struct GatewayProcess {
    child: Child,
    _input: ChildStdin,
    pub address: SocketAddr,
    pub ca_key: KeyFingerprint,
    pub route: RouteId,
}

/// Processor time of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent(Duration);

impl Sub for Spent {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

pub(crate) fn route(number: usize) -> RouteId {
    // As far from each other as real ones.
    let number = (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    RouteId::from_bytes(number.to_be_bytes())
}

pub(crate) fn key(number: usize) -> PacketKey {
    let mut exported = [0; 32];
    exported[..8].copy_from_slice(&(number as u64).to_be_bytes());
    PacketKey::of_link(&exported)
}

/// Is the gateway: says where it is, and ends with its input.
pub(crate) async fn serve(agents: usize) -> Result<()> {
    allow_files(agents)?;
    let folder = tempfile::tempdir()?;
    let listen = "127.0.0.1:0".parse()?;
    let sockets = GatewaySockets::bind(listen)?;
    let config = GatewayConfig {
        name: sockets.address().into(),
        listen,
        state: folder.path().join("gateway"),
        database: None,
        trust_domain: TRUST_DOMAIN.parse()?,
        metrics: None,
        log: LogFormat::Text,
        relay: RelayConfig::default(),
        identity_providers: IdentityProviders::default(),
        console: None,
    };
    let gateway = Gateway::start(&config, sockets, Arc::new(HostClock)).await?;
    for number in 0..agents {
        gateway.relay().join(route(number), ORGANIZATION, key(number)).await;
        // Neighbours: the first with the second, the third with the fourth.
        gateway.relay().permit(route(number), [route(number ^ 1)].into()).await;
    }
    let authority = gateway.authority();
    println!("{} {} {}", gateway.address(), authority.trust().ca_key(), authority.route());
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await?;
    gateway.shutdown().await;
    Ok(())
}

/// Lets this process hold a connection for every agent.
pub(crate) fn allow_files(agents: usize) -> Result<()> {
    let wanted = agents as u64 + 200;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
    }
    Ok(())
}

impl GatewayProcess {
    pub(crate) fn start(agents: usize) -> Result<Self> {
        allow_files(agents)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", "--carriers", &agents.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut line = String::new();
        BufReader::new(output.context("its output is a pipe")?).read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let mut word = || words.next().context("the gateway did not start");
        let (address, ca_key, route) = (word()?.parse()?, word()?.parse()?, word()?.parse()?);
        Ok(Self { child, _input: input.context("its input is a pipe")?, address, ca_key, route })
    }

    /// Returns the memory that it has now, shared pages left out.
    pub(crate) fn memory_kib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find(|line| line.starts_with("RssAnon:")).context("the kernel says RssAnon")?;
        Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
    }

    pub(crate) fn spent(&self) -> Result<Spent> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().context("a name in parentheses")?;
        let ticks = |field: usize| -> Result<u64> {
            Ok(fields.split_whitespace().nth(field).context("a field")?.parse()?)
        };
        // Ticks of a hundredth, wherever Linux runs today.
        Ok(Spent(Duration::from_millis(10 * (ticks(11)? + ticks(12)?))))
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
