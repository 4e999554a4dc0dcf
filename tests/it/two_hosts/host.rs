//! Hosts made of Linux namespaces: a network, processes, `/etc`, `/usr/bin` and `/var` of their own,
//! the rest of the machine's files to read.
//!
//! Nothing of it stays: a host's first process waits for its standard input to end, and takes
//! everything on the host with it. systemd does not run in there and nobody answers scp: stand-ins
//! do what the walk-through needs of them.

#![expect(clippy::print_stdout, reason = "a failed test shows the logs")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use adit_agent::stats::AgentStatus;
use adit_lab::admin_mirth::AdminMirth;
use adit_lab::binaries;
use adit_lab::messages::Message;
use adit_lab::mirth::{Behaviour, Mirth};
use adit_lab::sender::{Report, Sender};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpListener;

const NEEDED: &str = "this test needs root, and Debian's iproute2, nftables and util-linux; where proxies are tried \
    also squid-openssl, tinyproxy and openssl";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
const SYSTEMCTL: &str = include_str!("systemctl");
const SCP: &str = include_str!("scp");

/// A first process and its namespaces.
struct Namespaces {
    holder: Child,
    /// As this process calls it.
    first: String,
}

impl Namespaces {
    /// `script` runs as the first process and says "ready".
    fn start(script: &str, argument: &Path) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-euc", &format!("{script}\necho ready\nread -r _"), "sh"])
            .arg(argument)
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect(NEEDED);
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "{NEEDED}");
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let first = fs::read_to_string(children).unwrap().trim().to_owned();
        Self { holder, first }
    }

    /// A command in this network and nothing else of the host.
    fn in_network(&self, command: &str, input: &str) {
        let mut entering = Command::new("nsenter");
        entering.args(["--target", &self.first, "--net", "sh", "-euc", command]);
        succeeded(command, run(entering, input));
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // Already gone is as good.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Private addresses are hidden behind the router's, and only answers reach them.
const NAT: &str = "table ip router {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr 10.0.0.0/8 masquerade
    }
    chain forward {
        type filter hook forward priority 0;
        ip daddr 10.0.0.0/8 ct state new drop
    }
}
";

/// The network between the hosts.
pub(crate) struct Router(Namespaces);

impl Router {
    pub(crate) fn start() -> Self {
        let namespaces = Namespaces::start("echo 1 > /proc/sys/net/ipv4/ip_forward", Path::new("."));
        namespaces.in_network("nft -f -", NAT);
        Self(namespaces)
    }

    /// A cable to `host`, in a network of its own, with its firewall.
    pub(crate) fn connect(&self, host: &Host, address: [u8; 4], firewall: Firewall) {
        let Host { name, namespaces, .. } = host;
        let [a, b, c, _] = address;
        let (address, gate) = (Ipv4Addr::from(address), Ipv4Addr::new(a, b, c, 1));
        let to_host = format!(
            "ip link add to-{name} type veth peer name eth0 netns {}
             ip address add {gate}/24 dev to-{name}
             ip link set to-{name} up",
            namespaces.first
        );
        self.0.in_network(&to_host, "");
        let to_router = format!(
            "ip link set lo up
             ip address add {address}/24 dev eth0
             ip link set eth0 up
             ip route add default via {gate}"
        );
        namespaces.in_network(&to_router, "");
        host.stands_behind(firewall);
    }
}

/// A host's firewall, in the words of nftables. Nothing passes but answers and what is said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Firewall {
    pub lets_in: &'static str,
    pub lets_out: &'static str,
    /// Not even in answers, and not of what has begun: on its way in, on its way out.
    pub never: [&'static str; 2],
}

impl Firewall {
    /// What README asks for at the least of those who only dial.
    pub(crate) const HTTPS_AND_UDP: Self =
        Self { lets_in: "", lets_out: "tcp dport 443 accept; meta l4proto udp accept;", never: ["", ""] };

    /// The same, and no UDP passes at all.
    pub(crate) const fn without_udp(self) -> Self {
        Self { never: ["meta l4proto udp drop;", "meta l4proto udp drop;"], ..self }
    }
}

pub(crate) struct Host {
    pub name: &'static str,
    /// Where a person works on it.
    home: PathBuf,
    namespaces: Namespaces,
}

/// Folders that are the host's own: what is written there goes to memory.
const OWN_FOLDERS: &str = r#"
mount -t tmpfs tmpfs "$1"
for folder in etc usr/bin var; do
    mkdir -p "$1/$folder/upper" "$1/$folder/work"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$1/$folder/upper,workdir=$1/$folder/work" "/$folder"
done
echo "192.0.2.10 gateway.example.org" >> /etc/hosts
echo "198.51.100.10 proxy.example.org" >> /etc/hosts"#;

impl Host {
    /// A host with what the walk-through says must be at hand: the binary and `deploy/`.
    pub(crate) fn start(folder: &Path, name: &'static str) -> Self {
        let (home, own) = (folder.join(name), folder.join(format!("{name}.own")));
        for folder in [&home.join("target/release"), &own] {
            fs::create_dir_all(folder).unwrap();
        }
        symlink(binaries::adit(), home.join("target/release/adit")).unwrap();
        symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy"), home.join("deploy")).unwrap();
        let host = Self { name, home, namespaces: Namespaces::start(OWN_FOLDERS, &own) };
        for (name, script) in [("systemctl", SYSTEMCTL), ("scp", SCP)] {
            let written = host.home.join(name);
            fs::write(&written, script).unwrap();
            fs::set_permissions(&written, PermissionsExt::from_mode(0o755)).unwrap();
            host.types(&format!("mv {name} /usr/bin/"), &[]);
        }
        host
    }

    /// What a person types as root, and what it prints. It must succeed, line by line.
    pub(crate) fn types(&self, commands: &str, variables: &[(&str, String)]) -> String {
        let mut shell = self.enter();
        shell.args(["bash", "-euo", "pipefail"]).envs(variables.iter().cloned());
        let output = run(shell, commands);
        succeeded(&format!("on {}:\n{commands}", self.name), output)
    }

    /// Puts a firewall in the place of the one before.
    pub(crate) fn stands_behind(&self, firewall: Firewall) {
        let Firewall { lets_in, lets_out, never: [never_in, never_out] } = firewall;
        let table = format!(
            "table inet firewall {{}}
             delete table inet firewall
             table inet firewall {{
                 chain input {{
                     type filter hook input priority 0; policy drop;
                     iif lo accept; {never_in} ct state established,related accept; {lets_in}
                 }}
                 chain output {{
                     type filter hook output priority 0; policy drop;
                     oif lo accept; {never_out} ct state established,related accept; {lets_out}
                 }}
             }}\n"
        );
        self.namespaces.in_network("nft -f -", &table);
    }

    pub(crate) fn status(&self) -> AgentStatus {
        serde_json::from_str(&self.types("adit status --json", &[])).unwrap()
    }

    /// Takes another address in its network; its cable and its gate stay.
    pub(crate) fn moves(&self, from: [u8; 4], to: [u8; 4]) {
        let [a, b, c, _] = to;
        let (from, to, gate) = (Ipv4Addr::from(from), Ipv4Addr::from(to), Ipv4Addr::new(a, b, c, 1));
        let commands = format!(
            "ip address del {from}/24 dev eth0
             ip address add {to}/24 dev eth0
             ip route replace default via {gate}"
        );
        self.namespaces.in_network(&commands, "");
    }

    /// A stand-in Mirth that listens on this host.
    pub(crate) fn mirth(&self, address: &'static str) -> Mirth {
        Mirth::start(self.listener(address), Behaviour::ACCEPT).unwrap()
    }

    /// A stand-in for the HTTPS side of one.
    pub(crate) fn admin_mirth(&self, address: &'static str) -> AdminMirth {
        AdminMirth::start(self.listener(address)).unwrap()
    }

    fn listener(&self, address: &'static str) -> TcpListener {
        let listener = self.inside(move || {
            let listener = std::net::TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        });
        TcpListener::from_std(listener).unwrap()
    }

    /// Sends from this host.
    pub(crate) fn sends(
        &self,
        sender: Sender,
        messages: impl Iterator<Item = Message> + Send + 'static,
    ) -> Report {
        self.inside(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(sender.send(messages))
        })
    }

    /// Runs on a thread of this process that is in the host's network: so are the sockets it makes.
    fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.begins(job).join().unwrap()
    }

    /// Begins the same, and does not wait for its end.
    pub(crate) fn begins<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let network = File::open(format!("/proc/{}/ns/net", self.namespaces.first)).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            job()
        })
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.namespaces.first, "--net", "--mount", "--pid"])
            .arg(format!("--wd={}", self.home.display()))
            .env("PATH", PATH);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut shell = self.enter();
            shell.args(["sh", "-c", "tail -n 30 /var/log/adit-*.log; adit status || true"]);
            let logs = run(shell, "");
            println!("--- what {} said:\n{}", self.name, String::from_utf8_lossy(&logs.stdout));
        }
    }
}

fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect(NEEDED);
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn succeeded(what: &str, output: Output) -> String {
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{what}\nprinted {out}\nand failed: {err}\n{NEEDED}");
    out
}
