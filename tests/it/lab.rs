//! A gateway and two agents as processes of the real binary, run from the files `adit-lab lab` writes.
//!
//! Nothing here waits a fixed time: tests wait for what they can see, with a limit that only a hang
//! reaches. A test that fails prints the end of every process's log.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use adit_agent::stats::{AgentStatus, EntryStatus};
use adit_agent::status::{Answer, Request, ask};
use adit_core::domain::access::Access;
use adit_core::domain::connection::Protocol;
use adit_core::domain::path::{PathKind, PathPreference};
use adit_lab::admin_client::{AdminClient, shown_key};
use adit_lab::binaries;
use adit_lab::lab::{LabAdmin, LabConnection};
use adit_lab::messages::Draws;
use adit_lab::mirth::{Behaviour, Mirth};
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Nothing a test waits for takes longer, however busy the machine is.
pub(crate) const HANG_LIMIT: Duration = Duration::from_secs(90);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Libraries too: what must never be in a log must not be in their lines either.
pub(crate) const EVERYTHING: &str =
    "trace,quinn=trace,rustls=trace,tokio=trace,hyper=trace,sqlx=trace,mio=trace";
/// What a failing test shows of a log.
const LOG_LINES_SHOWN: usize = 25;

/// Whether the full counts of the promises are wanted.
pub(crate) fn is_long() -> bool {
    std::env::var_os("ADIT_TEST_LONG").is_some()
}

/// The seed of what a test draws; a failing run is repeated with `ADIT_TEST_SEED`.
pub(crate) fn draws(test: u64) -> Draws {
    let seed = std::env::var("ADIT_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(test);
    println!("ADIT_TEST_SEED={seed}");
    Draws::new(seed)
}

/// Looks again and again until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + HANG_LIMIT;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", HANG_LIMIT.as_secs());
        sleep(POLL_EVERY).await;
    }
}

/// A loopback address of this test alone, below the ports the kernel hands out by itself: a process
/// that comes back finds its port free. The same port is free on `[::1]`.
pub(crate) fn free_address() -> SocketAddr {
    static PORTS: Mutex<Ports> = Mutex::new(Ports { blocks: Vec::new(), left: 0..0 });
    let port = PORTS.lock().take();
    ([127, 0, 0, 1], port).into()
}

/// Ports in blocks. Who has bound a block's first port has the block, also among test processes that
/// run beside each other.
struct Ports {
    blocks: Vec<UdpSocket>,
    left: Range<u16>,
}

impl Ports {
    const FIRST: u16 = 12_000;
    const BLOCK: u16 = 100;
    const BLOCKS: u16 = 200;

    fn take(&mut self) -> u16 {
        loop {
            match self.left.by_ref().find(|port| !is_taken(*port)) {
                Some(port) => return port,
                None => self.take_block(),
            }
        }
    }

    fn take_block(&mut self) {
        let mut blocks = (0..Self::BLOCKS).map(|block| Self::FIRST + block * Self::BLOCK);
        let (first, guard) = blocks
            .find_map(|first| Some((first, UdpSocket::bind(("127.0.0.1", first)).ok()?)))
            .expect("some block of ports is free");
        self.blocks.push(guard);
        self.left = first + 1..first + Self::BLOCK;
    }
}

/// Whether somebody has this port. A process that another test starts in that moment may inherit what is
/// bound to see, and keep it until it runs: so nothing is bound that keeps others from their own.
fn is_taken(port: u16) -> bool {
    is_in_tables(port) || ["127.0.0.1", "::1"].into_iter().any(|ip| bind_beside(ip, port).is_err())
}

fn is_in_tables(port: u16) -> bool {
    let port = format!("{port:04X}");
    let has = |line: &str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port));
    ["tcp", "tcp6", "udp", "udp6"].into_iter().any(|table| {
        fs::read_to_string(format!("/proc/net/{table}")).is_ok_and(|sockets| sockets.lines().any(has))
    })
}

/// Finds what no table has: TCP sockets that are bound and do not listen, as closed ports are.
fn bind_beside(ip: &str, port: u16) -> std::io::Result<()> {
    let address = SocketAddr::new(ip.parse().unwrap(), port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// A stand-in Mirth that accepts everything.
pub(crate) async fn mirth() -> Mirth {
    mirth_at(free_address()).await
}

pub(crate) async fn mirth_at(address: SocketAddr) -> Mirth {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    Mirth::start(listener, Behaviour::ACCEPT).unwrap()
}

/// The three processes of a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Gateway,
    /// Its local senders connect here.
    A,
    /// It forwards to the local Mirth.
    B,
}

impl Part {
    const ALL: [Self; 3] = [Self::Gateway, Self::A, Self::B];

    const fn folder(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// The organizations of a lab: A belongs to the first, B to the second.
pub(crate) const SOURCE_OWNER: &str = "Lakeside Clinic";
pub(crate) const TARGET_OWNER: &str = "St Mary Hospital";

pub(crate) struct Lab {
    folder: TempDir,
    pub connections: Vec<LabConnection>,
    pub admin: Vec<LabAdmin>,
    running: [Option<Daemon>; 3],
}

impl Lab {
    /// One connection of `protocol` to `target`, its port open.
    pub(crate) async fn to(protocol: Protocol, target: SocketAddr) -> Self {
        Self::to_all(&[(protocol, target)]).await
    }

    pub(crate) async fn to_all(targets: &[(Protocol, SocketAddr)]) -> Self {
        let mut lab = Self::written(targets);
        lab.start_all().await;
        for index in 0..targets.len() {
            lab.port_open(index).await;
        }
        lab
    }

    /// Admin connections to the Mirth that serves HTTPS at `mirth` and runs, each with this access.
    pub(crate) async fn managing(mirth: SocketAddr, accesses: &[Access]) -> Self {
        let admin = |&access| LabAdmin { access, listen: free_address(), mirth };
        Self::managing_as(accesses.iter().map(admin).collect()).await
    }

    /// Admin connections, their ports open.
    pub(crate) async fn managing_as(admin: Vec<LabAdmin>) -> Self {
        let mut lab = Self::written_as(&[], admin).await;
        lab.start_all().await;
        for index in 0..lab.admin.len() {
            lab.administrator(index).await;
        }
        lab
    }

    /// The files of P2P connections and of admin connections to the Mirth at `mirth`; nothing runs.
    pub(crate) async fn written_managing(
        targets: &[(Protocol, SocketAddr)],
        mirth: SocketAddr,
        accesses: &[Access],
    ) -> Self {
        let admin = |&access| LabAdmin { access, listen: free_address(), mirth };
        Self::written_as(targets, accesses.iter().map(admin).collect()).await
    }

    async fn written_as(targets: &[(Protocol, SocketAddr)], admin: Vec<LabAdmin>) -> Self {
        let lab = Self::planned(targets, admin);
        let command = lab.lab_command();
        succeeded(&run(command).await);
        lab.use_own_ports();
        lab
    }

    /// The files; nothing runs.
    pub(crate) fn written(targets: &[(Protocol, SocketAddr)]) -> Self {
        let lab = Self::planned(targets, Vec::new());
        succeeded(&lab.lab_command().output().unwrap());
        lab.use_own_ports();
        lab
    }

    fn planned(targets: &[(Protocol, SocketAddr)], admin: Vec<LabAdmin>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connect =
            |&(protocol, forward_to)| LabConnection { protocol, listen: free_address(), forward_to };
        let connections = targets.iter().map(connect).collect();
        Self { folder, connections, admin, running: [None, None, None] }
    }

    /// `adit-lab lab` with all of its options.
    fn lab_command(&self) -> Command {
        let mut command = adit_lab();
        command.arg("lab").arg(self.dir());
        for LabConnection { protocol, listen, forward_to } in &self.connections {
            command.arg("--p2p").arg(format!("{protocol}:{listen}:{forward_to}"));
        }
        for LabAdmin { access, listen, mirth } in &self.admin {
            let access = if *access == Access::ReadOnly { "ro" } else { "rw" };
            command.arg("--admin").arg(format!("{access}:{listen}:{mirth}"));
        }
        command
    }

    /// A client at an admin connection's port, once that is open.
    pub(crate) async fn administrator(&self, index: usize) -> AdminClient {
        let port = self.admin[index].listen;
        eventually(&format!("the admin port {port} opens"), async || {
            AdminClient::connect(port, shown_key(port).await.ok()?).await.ok()
        })
        .await
    }

    /// Replaces ports that were free when the files were written by ones that nothing takes while a
    /// part is down or has not started.
    fn use_own_ports(&self) {
        let written = self.gateway_address().to_string();
        let own = free_address().to_string();
        for path in [self.config(Part::Gateway), self.connector(Part::A), self.connector(Part::B)] {
            edit(&path, |text| text.replace(&written, &own));
        }
        for part in Part::ALL {
            let own = format!("metrics = \"{}\"", free_address());
            edit(&self.config(part), |text| {
                let is_metrics = |line: &str| line.starts_with("metrics");
                text.lines()
                    .map(|line| if is_metrics(line) { &own } else { line })
                    .fold(String::new(), |text, line| text + line + "\n")
            });
        }
    }

    /// Where the gateway listens.
    pub(crate) fn gateway_address(&self) -> SocketAddr {
        let gateway = fs::read_to_string(self.config(Part::Gateway)).unwrap();
        let listen = gateway.lines().find_map(|line| line.strip_prefix("listen")).unwrap();
        listen.trim_matches([' ', '=', '"']).parse().unwrap()
    }

    /// Makes an agent that has not enrolled find the gateway at `address`.
    pub(crate) fn use_gateway_at(&self, part: Part, address: SocketAddr) {
        let written = self.gateway_address().to_string();
        edit(&self.connector(part), |text| text.replace(&written, &address.to_string()));
    }

    fn connector(&self, part: Part) -> PathBuf {
        self.dir().join(part.folder()).join("connector.toml")
    }

    pub(crate) async fn start_all(&mut self) {
        self.start(Part::Gateway);
        self.gateway_serves().await;
        self.start(Part::A);
        self.start(Part::B);
    }

    pub(crate) fn start(&mut self, part: Part) {
        self.start_at(part, None);
    }

    /// With a log that says everything.
    pub(crate) fn start_traced(&mut self, part: Part) {
        self.start_with(part, "ADIT_LOG", OsStr::new(EVERYTHING));
    }

    /// With a variable in its environment.
    pub(crate) fn start_with(&mut self, part: Part, name: &str, value: &OsStr) {
        self.start_at(part, Some((name, value)));
    }

    fn start_at(&mut self, part: Part, variable: Option<(&str, &OsStr)>) {
        let role = if part == Part::Gateway { "gateway" } else { "agent" };
        let daemon = Daemon::start(role, &self.config(part), &self.log_path(part), variable);
        let before = self.running[part as usize].replace(daemon);
        assert!(before.is_none(), "{part:?} runs already");
    }

    /// With its standard error where a test wants it; [`Self::log`] sees nothing of it.
    pub(crate) fn start_logging_to(&mut self, part: Part, level: &str, stderr: Stdio) {
        let role = if part == Part::Gateway { "gateway" } else { "agent" };
        let mut command = adit();
        command.arg(role).arg("--config").arg(self.config(part)).env("ADIT_LOG", level);
        command.stdout(Stdio::null()).stderr(stderr);
        self.start_as(part, command);
    }

    /// As the process that this command becomes; [`Self::log`] sees nothing of it.
    pub(crate) fn start_as(&mut self, part: Part, mut command: Command) {
        let child = command.spawn().unwrap();
        let before = self.running[part as usize].replace(Daemon { child });
        assert!(before.is_none(), "{part:?} runs already");
    }

    /// Sends a signal to a running part.
    pub(crate) fn signal(&self, part: Part, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid(part)).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until a part that was told to stop has ended.
    pub(crate) async fn ended(&mut self, part: Part) -> std::process::ExitStatus {
        let mut daemon = self.running[part as usize].take().expect("it runs");
        eventually(&format!("{part:?} ends"), async || daemon.child.try_wait().unwrap()).await
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, part: Part) {
        drop(self.running[part as usize].take().expect("it runs"));
    }

    /// Resident memory of a running part.
    pub(crate) fn resident_bytes(&self, part: Part) -> u64 {
        let pid = self.pid(part);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }

    /// What a running part's metrics say; `None` while they are not served.
    pub(crate) async fn metrics(&self, part: Part) -> Option<String> {
        let config = fs::read_to_string(self.config(part)).unwrap();
        let address = config.lines().find_map(|line| line.strip_prefix("metrics"))?;
        let mut tcp = TcpStream::connect(address.trim_matches([' ', '=', '"'])).await.ok()?;
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: lab\r\n\r\n").await.ok()?;
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.ok()?;
        Some(text)
    }

    /// Waits until the gateway takes newcomers.
    pub(crate) async fn gateway_serves(&self) {
        self.logs(Part::Gateway, "gateway serves").await;
    }

    /// Waits for a line of the log since the part was started last.
    pub(crate) async fn logs(&self, part: Part, words: &str) -> String {
        eventually(&format!("{part:?} logs `{words}`"), async || {
            let log = self.log(part);
            log.lines().find(|line| line.contains(words)).map(str::to_owned)
        })
        .await
    }

    /// What a part said since it was started last.
    pub(crate) fn log(&self, part: Part) -> String {
        let log = fs::read_to_string(self.log_path(part)).unwrap_or_default();
        log.rsplit(START_MARK).next().unwrap_or_default().to_owned()
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    pub(crate) fn config(&self, part: Part) -> PathBuf {
        match part {
            Part::Gateway => self.dir().join("gateway.toml"),
            Part::A | Part::B => self.dir().join(part.folder()).join("agent.toml"),
        }
    }

    pub(crate) fn state(&self, part: Part) -> PathBuf {
        match part {
            Part::Gateway => self.dir().join("gateway-state"),
            Part::A | Part::B => self.dir().join(part.folder()).join("state"),
        }
    }

    fn log_path(&self, part: Part) -> PathBuf {
        self.folder.path().join(format!("{}.log", part.folder()))
    }

    /// Where local senders connect.
    pub(crate) fn port(&self, index: usize) -> SocketAddr {
        self.connections[index].listen
    }

    /// `None` while the agent does not answer.
    pub(crate) async fn status(&self, part: Part) -> Option<AgentStatus> {
        match ask(&self.state(part), &Request::Status).await {
            Ok(Answer::Status(status)) => Some(*status),
            _ => None,
        }
    }

    /// A connection as an agent shows it.
    pub(crate) async fn entry(&self, part: Part, index: usize) -> Option<EntryStatus> {
        let LabConnection { listen, forward_to, .. } = self.connections[index];
        let address = if part == Part::A { listen } else { forward_to }.to_string();
        let mut entries = self.status(part).await?.entries.into_iter();
        entries.find(|entry| entry.address == address)
    }

    /// Waits until a connection is as `is` says, on that agent.
    pub(crate) async fn entry_becomes(
        &self,
        part: Part,
        index: usize,
        what: &str,
        is: impl Fn(&EntryStatus) -> bool,
    ) -> EntryStatus {
        let mut last = None;
        let what = format!("connection {index} of {part:?}: {what}");
        eventually(&what, async || {
            last = self.entry(part, index).await;
            last.take().filter(&is)
        })
        .await
    }

    /// What `adit path` does: allows only `path` to the peer of a connection.
    pub(crate) async fn choose_path(&self, part: Part, index: usize, path: PathPreference) {
        let connection = self.entry(part, index).await.expect("the agent answers").id;
        let answer = ask(&self.state(part), &Request::Path { connection, path }).await.unwrap();
        assert_eq!(answer, Answer::PathChosen);
    }

    /// Waits until a connection's packets take `path`, at both agents.
    pub(crate) async fn takes_path(&self, index: usize, path: PathKind) {
        for part in [Part::A, Part::B] {
            self.entry_becomes(part, index, path.as_str(), |entry| entry.path == Some(path)).await;
        }
    }

    /// Process id of a running part.
    pub(crate) fn pid(&self, part: Part) -> u32 {
        self.running[part as usize].as_ref().expect("it runs").child.id()
    }

    /// Waits until the source's port of a connection accepts.
    pub(crate) async fn port_open(&self, index: usize) {
        self.entry_becomes(Part::A, index, "the port opens", |entry| entry.port_open).await;
    }

    /// Waits until the source's port of a connection refuses.
    pub(crate) async fn port_refuses(&self, index: usize) {
        eventually(&format!("the port of connection {index} refuses"), async || {
            let refused = TcpStream::connect(self.port(index)).await;
            refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
        })
        .await;
    }

    /// Waits until both agents have their control link.
    pub(crate) async fn linked(&self) {
        for part in [Part::A, Part::B] {
            eventually(&format!("{part:?} has its control link"), async || {
                self.status(part).await.filter(|status| status.gateway.on == Some(true))
            })
            .await;
        }
    }

    /// `adit admin --config gateway.toml …`, which must succeed; gives what it prints.
    pub(crate) async fn admin(&self, arguments: &[&str]) -> String {
        let mut command = adit();
        command.arg("admin").arg("--yes").arg("--config").arg(self.config(Part::Gateway)).args(arguments);
        succeeded(&run(command).await)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for part in Part::ALL {
            let log = fs::read_to_string(self.log_path(part)).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            println!("--- the end of what {part:?} said:");
            for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
                println!("{line}");
            }
        }
    }
}

/// The binary under test.
pub(crate) fn adit() -> Command {
    quiet(binaries::adit())
}

/// The binary that writes the files of a lab.
pub(crate) fn adit_lab() -> Command {
    quiet(binaries::adit_lab())
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end without holding up the test's other tasks.
pub(crate) async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn succeeded(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "adit failed: {out}{err}");
    out
}

pub(crate) fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    fs::write(path, change(fs::read_to_string(path).unwrap())).unwrap();
}

const START_MARK: &str = "--- started\n";

/// A process that is killed when it is dropped; its log stays.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn start(role: &str, config: &Path, log: &Path, variable: Option<(&str, &OsStr)>) -> Self {
        let mut log: File = OpenOptions::new().create(true).append(true).open(log).unwrap();
        std::io::Write::write_all(&mut log, START_MARK.as_bytes()).unwrap();
        let child = adit()
            .arg(role)
            .arg("--config")
            .arg(config)
            .envs(variable)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
