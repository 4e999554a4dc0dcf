//! What the access filter costs: microseconds a request in the pure code, and admin sessions through
//! two agents beside the same HTTPS without them: a response of 40 MB and 200 small polls. And what
//! masking costs: over the pure code, and a channel list of 40 MB masked beside one that is not.
//!
//!     cargo bench -p adit-benches --bench filter -- [--rounds 3] [--quick] [--once]
//!
//! `--once` runs the pure code alone and briefly; `--quick` adds sessions with less to carry. Their
//! figures mean nothing but that it works.
//!
//! Mirth is the stand-in of the demo, in a process of its own, as are the gateway and both agents; this
//! program is the client. The machine is shared by all of them, so only ratios within one run mean
//! anything.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to people on the terminal")]

#[path = "../tunnel/figures.rs"]
mod figures;
mod masking;
#[path = "../tunnel/process.rs"]
#[expect(dead_code, reason = "the tunnel's bench watches more of its processes")]
mod process;
mod requests;
mod sessions;
mod stand_in;
#[path = "../codec/timer.rs"]
mod timer;

use anyhow::{Context as _, Result, bail, ensure};

use timer::Timer;

fn main() -> Result<()> {
    // `cargo bench` adds `--bench` to what the user wrote.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--role", stand_in::ROLE] => stand_in::run(),
        options => {
            let options = Options::read(options)?;
            let timer = Timer::new(options.quick || options.once);
            requests::measure(&timer)?;
            masking::measure(&timer)?;
            if options.once { Ok(()) } else { sessions::compare(options.rounds, options.quick) }
        }
    }
}

struct Options {
    rounds: usize,
    quick: bool,
    once: bool,
}

impl Options {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut options = Self { rounds: 3, quick: false, once: false };
        let mut rest = arguments.iter();
        while let Some(&option) = rest.next() {
            match option {
                "--quick" => options.quick = true,
                "--once" => options.once = true,
                "--rounds" => options.rounds = rest.next().context("--rounds needs a number")?.parse()?,
                other => bail!("unknown option `{other}`; there are --rounds N, --quick, --once"),
            }
        }
        ensure!(options.rounds > 0, "--rounds must be at least 1");
        Ok(options)
    }
}
