//! What is compared: nothing in between, stunnel at both ends, adit at both ends.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use adit_lab::binaries;
use adit_lab::shim::{Impairment, Rate, Shim};
use anyhow::{Context as _, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::process::{Process, free_ports, last_words};

/// How long a peer may take until both its ports accept.
const READY_WITHIN: Duration = Duration::from_mins(1);
const WIRE_SEED: u64 = 1;
const WIRE_BITS_PER_SECOND: NonZeroU64 = NonZeroU64::new(1_000_000_000).expect("it is not zero");

/// The servers every peer leads to.
pub(crate) struct Servers {
    mllp: SocketAddr,
    sink: SocketAddr,
    _processes: [Process; 2],
}

impl Servers {
    pub(crate) fn start() -> Result<Self> {
        let (mllp_process, mllp) = Process::start_server("mllp")?;
        let (sink_process, sink) = Process::start_server("sink")?;
        Ok(Self { mllp, sink, _processes: [mllp_process, sink_process] })
    }
}

/// What lies between the ends of a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wire {
    Loopback,
    /// 1 Gbit/s, 50 ms there and back, one packet in a hundred lost each way.
    Wan,
}

/// A running peer and where it takes connections.
pub(crate) struct Peer {
    pub name: String,
    pub mllp: SocketAddr,
    pub sink: SocketAddr,
    pub wire: Wire,
    /// The near and the far end; none for direct TCP.
    ends: Option<[Process; 2]>,
    /// What else must run, and counts for nothing.
    others: Vec<Process>,
    /// Must live as long as the peer.
    shim: Option<Shim>,
}

impl Peer {
    pub(crate) fn start(name: &str, folder: &Path, servers: &Servers) -> Result<Self> {
        let program = binaries::adit().to_str().context("the path of adit is text")?;
        let mut peer = match name {
            "direct" => Self::direct(servers),
            "stunnel" => Self::stunnel(&folder.join("stunnel"), servers)?,
            "adit" => {
                Self::adit(&Build { name, program, path: "auto", wire: Wire::Loopback }, folder, servers)?
            }
            "adit-relay" => {
                Self::adit(&Build { name, program, path: "relay", wire: Wire::Loopback }, folder, servers)?
            }
            "adit-wan" => {
                Self::adit(&Build { name, program, path: "relay", wire: Wire::Wan }, folder, servers)?
            }
            other => match other.split_once('=') {
                Some((name, program)) if name.starts_with("adit") => {
                    Self::adit(&Build { name, program, path: "auto", wire: Wire::Loopback }, folder, servers)?
                }
                _ => bail!(
                    "unknown peer `{other}`; there are direct, stunnel, adit, adit-relay, adit-wan and \
                     adit-NAME=PROGRAM"
                ),
            },
        };
        peer.await_ready().with_context(|| format!("waiting for {name}{}", last_words(folder)))?;
        Ok(peer)
    }

    fn new(name: &str, mllp: SocketAddr, sink: SocketAddr) -> Self {
        let (wire, ends, others, shim) = (Wire::Loopback, None, Vec::new(), None);
        Self { name: name.into(), mllp, sink, wire, ends, others, shim }
    }

    /// Processor time of both ends.
    pub(crate) fn cpu(&self) -> Result<Option<Duration>> {
        let Some([near, far]) = &self.ends else { return Ok(None) };
        Ok(Some(near.cpu()? + far.cpu()?))
    }

    /// Resident memory of the near and the far end, in MB.
    pub(crate) fn resident(&self) -> Result<Option<[f64; 2]>> {
        let Some([near, far]) = &self.ends else { return Ok(None) };
        Ok(Some([near.resident()?, far.resident()?]))
    }

    fn direct(servers: &Servers) -> Self {
        Self::new("direct", servers.mllp, servers.sink)
    }

    /// Mutual TLS 1.3 with a private CA, as one would set it up: default session cache, Nagle off.
    fn stunnel(folder: &Path, servers: &Servers) -> Result<Self> {
        fs::create_dir(folder)?;
        write_certificates(folder)?;
        let [mllp, sink, far_mllp, far_sink] = free_ports()?;
        let far = start_stunnel(folder, "far", [(far_mllp, servers.mllp), (far_sink, servers.sink)])?;
        let near = start_stunnel(folder, "near", [(mllp, far_mllp), (sink, far_sink)])?;
        Ok(Self { ends: Some([near, far]), ..Self::new("stunnel", mllp, sink) })
    }

    /// Two agents and their gateway, from the files `adit-lab lab` writes.
    fn adit(build: &Build, folder: &Path, servers: &Servers) -> Result<Self> {
        let &Build { name, program, path, wire } = build;
        let lab = folder.join(name);
        let [mllp, sink] = free_ports()?;
        let output = Command::new(binaries::adit_lab())
            .arg("lab")
            .arg(&lab)
            .args(["--p2p", &format!("mllp:{mllp}:{}", servers.mllp)])
            .args(["--p2p", &format!("tcp:{sink}:{}", servers.sink)])
            .args(["--path", path])
            .output()
            .with_context(|| format!("running {}", binaries::adit_lab().display()))?;
        ensure!(
            output.status.success(),
            "`adit-lab lab` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let start_by = |program: &Path, part: &str, role: &str, config: &str| {
            let log = folder.join(format!("{name}-{part}.log"));
            Process::start(part, Command::new(program).arg(role).arg("--config").arg(lab.join(config)), &log)
        };
        let start = |part: &str, role: &str, config: &str| start_by(Path::new(program), part, role, config);
        let agents = || {
            Ok::<_, anyhow::Error>([
                start("near", "agent", "a/agent.toml")?,
                start("far", "agent", "b/agent.toml")?,
            ])
        };
        // The database is of this build, and an older one does not read it.
        let gateway = start_by(binaries::adit(), "gateway", "gateway", "gateway.toml")?;
        let mut peer =
            Self { wire, ends: Some(agents()?), others: vec![gateway], ..Self::new(name, mllp, sink) };
        if matches!(wire, Wire::Wan) {
            // Enrolment needs the gateway's TCP port; from then on all goes through the wire.
            peer.await_ready()?;
            peer.ends = None;
            peer.shim = Some(wide_area(&lab)?);
            peer.ends = Some(agents()?);
        }
        Ok(peer)
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        for address in [self.mllp, self.sink] {
            while TcpStream::connect(address).is_err() {
                for process in self.ends.iter_mut().flatten().chain(&mut self.others) {
                    process.check_alive()?;
                }
                ensure!(Instant::now() < deadline, "{address} does not accept within {READY_WITHIN:?}");
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

/// A build of adit and how its agents are joined.
struct Build<'a> {
    name: &'a str,
    program: &'a str,
    path: &'a str,
    wire: Wire,
}

/// Puts 50 ms and 1 % loss between two agents whose packets all pass the gateway: each packet passes
/// the wire before it twice.
fn wide_area(lab: &Path) -> Result<Shim> {
    let enrolments = ["a/state/enrolment.json", "b/state/enrolment.json"].map(|file| lab.join(file));
    let text = fs::read_to_string(&enrolments[0])?;
    let start = text.find("127.0.0.1:").context("no gateway in the agent's state")?;
    let length = text[start..].find('"').context("an address ends with its quotes")?;
    let gateway = &text[start..start + length];
    let shim = Shim::start((Ipv4Addr::LOCALHOST, 0).into(), gateway.parse()?, WIRE_SEED)?;
    shim.impair_both(Impairment {
        loss: 0.005,
        delay: Duration::from_micros(12_500),
        rate: Some(Rate { bits_per_second: WIRE_BITS_PER_SECOND, queue_bytes: 4_000_000 }),
        ..Impairment::NONE
    });
    for enrolment in enrolments {
        let text = fs::read_to_string(&enrolment)?.replace(gateway, &shim.address().to_string());
        fs::write(enrolment, text)?;
    }
    Ok(shim)
}

fn start_stunnel(folder: &Path, end: &str, services: [(SocketAddr, SocketAddr); 2]) -> Result<Process> {
    let show = |file: String| folder.join(file).display().to_string();
    let client = if end == "near" { "yes" } else { "no" };
    let [first, second] = services.map(|(accept, connect)| {
        format!(
            "client = {client}\naccept = {accept}\nconnect = {connect}\n\
             cert = {}\nkey = {}\nCAfile = {}\nverifyChain = yes\nsslVersionMin = TLSv1.3\n",
            show(format!("{end}.pem")),
            show(format!("{end}.key")),
            show("ca.pem".into()),
        )
    });
    let text = format!(
        "foreground = yes\npid =\nsyslog = no\ndebug = warning\n\
         socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n[mllp]\n{first}[sink]\n{second}"
    );
    let config = folder.join(format!("{end}.conf"));
    fs::write(&config, text)?;
    let log = folder.with_file_name(format!("stunnel-{end}.log"));
    Process::start("stunnel", Command::new("stunnel").arg(&config), &log)
        .context("is it installed? On Debian: apt-get install stunnel4")
}

/// A CA and a leaf for each end, all ECDSA P-256 as adit's are.
fn write_certificates(folder: &Path) -> Result<()> {
    let named = |name: &str| -> Result<CertificateParams> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params)
    };
    let mut params = named("bench ca")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(folder.join("ca.pem"), ca.pem())?;
    for end in ["near", "far"] {
        let key = KeyPair::generate()?;
        fs::write(folder.join(format!("{end}.pem")), named(end)?.signed_by(&key, &ca)?.pem())?;
        fs::write(folder.join(format!("{end}.key")), key.serialize_pem())?;
    }
    Ok(())
}
