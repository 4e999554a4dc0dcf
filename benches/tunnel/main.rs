//! One interleaved run of direct TCP, stunnel (mutual TLS 1.3) and adit, each as separate processes:
//! HL7 messages over MLLP, a connection per message, uploads, and memory at rest. Prints a Markdown
//! table of medians.
//!
//!     cargo bench -p adit-benches --bench tunnel -- [--rounds 3] [--quick] [--peers direct,stunnel,adit] [--rows UploadOne]
//!
//! `--peers` may also name `adit-relay`, whose packets all pass the gateway, and `adit-wan`, which has
//! 1 Gbit/s, 50 ms and 1 % loss between its agents and rows of its own.
//!
//! A change is judged beside the build before it: `--peers stunnel,adit,adit-before=/path/of/adit`.
//!
//! Loopback carries datagrams far larger than a hospital's network does, which flatters every tunnel
//! over UDP. Uploads as on Ethernet need a loopback of its MTU, in a network namespace (as root):
//!
//!     unshare -n sh -c 'ip link set lo mtu 1500 up && cargo bench --offline -p adit-benches --bench tunnel'
//!
//! The machine is shared by everything that runs, so only ratios within one run mean anything. The
//! load generator and the servers are this program again, told so by `--role`; they are blocking or
//! epoll loops, so that the tunnel is what limits.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to people on the terminal")]

mod figures;
mod load;
mod peers;
mod process;
mod rows;
mod serve;
mod stand_in;
mod table;

use anyhow::{Context as _, Result, bail, ensure};

use peers::{Peer, Servers};
use process::last_words;
use rows::Row;
use table::Table;

/// Files each process may hold open: a thousand connections take two at each hop, and room.
const OPEN_FILES: u64 = 16_384;

fn main() -> Result<()> {
    // `cargo bench` adds `--bench` to what the user wrote.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--role", "load", shape @ ..] => load::run(shape),
        ["--role", "mllp"] => serve::mllp(),
        ["--role", "sink"] => serve::sink(),
        ["--role", "stand-in"] => stand_in::run(),
        options => compare(&Options::read(options)?),
    }
}

struct Options {
    rounds: usize,
    quick: bool,
    peers: Vec<String>,
    rows: Vec<Row>,
}

impl Options {
    fn read(arguments: &[&str]) -> Result<Self> {
        let peers = ["direct", "stunnel", "adit"].map(String::from).into();
        let mut options = Self { rounds: 3, quick: false, peers, rows: rows::ALL.into() };
        let mut rest = arguments.iter();
        while let Some(&option) = rest.next() {
            match option {
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = rest.next().context("--rounds needs a number")?.parse()?,
                "--peers" => {
                    let names = rest.next().context("--peers needs names, such as direct,stunnel,adit")?;
                    options.peers = names.split(',').map(String::from).collect();
                }
                "--rows" => {
                    let names = rest.next().context("--rows needs names, such as UploadOne,OneConnection")?;
                    options.rows.retain(|row| names.split(',').any(|name| name == format!("{row:?}")));
                    ensure!(!options.rows.is_empty(), "there are the rows {:?}", rows::ALL);
                }
                other => {
                    bail!("unknown option `{other}`; there are --rounds N, --quick, --peers A,B, --rows A,B")
                }
            }
        }
        ensure!(options.rounds > 0, "--rounds must be at least 1");
        Ok(options)
    }
}

fn compare(options: &Options) -> Result<()> {
    process::raise_open_files(OPEN_FILES)?;
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let servers = Servers::start()?;
    let mut peers = Vec::new();
    for name in &options.peers {
        eprintln!("starting {name}");
        peers.push(Peer::start(name, folder.path(), &servers)?);
    }
    let mut table = Table::default();
    if options.rows.len() == rows::ALL.len() {
        // First of all, while nothing has grown by work.
        for peer in &peers {
            rows::idle_memory(peer, &mut table)?;
        }
    }
    for round in 0..options.rounds {
        for &row in &options.rows {
            for turn in 0..peers.len() {
                // Another peer goes first in every round.
                let peer = &peers[(turn + round) % peers.len()];
                rows::measure(row, peer, options.quick, &mut table).with_context(|| {
                    let said = last_words(folder.path());
                    format!("measuring {} in round {}{said}", peer.name, round + 1)
                })?;
            }
        }
        eprintln!("round {} of {} done", round + 1, options.rounds);
    }
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    let (mtu, load) = (process::loopback_mtu(), process::load_average()?);
    println!(
        "\nMedians (least–most) of {} interleaved round(s); loopback MTU {mtu}; load average at the end {load} \
         on {} processors; CPU is that of both ends together.\n",
        options.rounds,
        std::thread::available_parallelism()?,
    );
    println!("{}", table.render(&names));
    Ok(())
}
