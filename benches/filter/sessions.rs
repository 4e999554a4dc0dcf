//! Whole sessions: the same requests over HTTPS straight to the stand-in Mirth, and through two agents
//! with a view-only connection between them, a round of each in turn.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use adit_lab::admin_client::{AdminClient, shown_key};
use adit_lab::admin_mirth::{PASSWORD, USER};
use adit_lab::binaries;
use adit_lab::measure::Histogram;
use anyhow::{Context as _, Result, ensure};

use crate::figures::{cell, median};
use crate::masking::Rates;
use crate::process::{Process, free_ports, last_words, load_average};
use crate::stand_in;

/// How long the agents may take until the first request passes.
const READY_WITHIN: Duration = Duration::from_mins(1);
const POLL: &str = "/api/4.5.2/channels/statuses";
const POLLS: usize = 200;
/// Kibibytes.
const RESPONSE: u64 = 40 * 1024;

/// The table's lines, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Metric {
    Response,
    ResponseCpu,
    PollP50,
    PollP99,
    Polls,
    PollCpu,
}

impl Metric {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response of 40 MB: MB/s",
            Self::ResponseCpu => "response of 40 MB: CPU of both agents, s/GB",
            Self::PollP50 => "small polls on a kept connection: p50, µs",
            Self::PollP99 => "small polls on a kept connection: p99, µs",
            Self::Polls => "200 small polls: ms",
            Self::PollCpu => "small polls: CPU of both agents, µs each",
        }
    }
}

/// Runs everything and prints the table.
pub(crate) fn compare(rounds: usize, quick: bool) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let (_mirth, mirth) = Process::start_server(stand_in::ROLE)?;
        let agents = Agents::start(folder.path(), mirth)?;
        let mut direct = log_in(mirth).await?;
        let ready = async |number: usize| agents.ready(number).await.with_context(|| last_words(folder.path()));
        let [mut adit, mut unmasked] = [ready(0).await?, ready(1).await?];
        let mut lists = Rates::default();
        let response = if quick { RESPONSE / 8 } else { RESPONSE };
        let mut table = Table::default();
        for round in 0..rounds {
            let mut order = [("direct", &mut direct), ("adit", &mut adit)];
            // The other goes first in every round.
            order.rotate_left(round % 2);
            for (name, client) in order {
                let measured = Measured::of(client, &agents, response).await;
                measured.with_context(|| format!("measuring {name}"))?.note(name, &mut table);
            }
            lists.round(&mut adit, &mut unmasked, round % 2 == 0).await?;
            eprintln!("round {} of {rounds} done", round + 1);
        }
        let processors = std::thread::available_parallelism()?;
        println!(
            "\nMedians (least–most) of {rounds} interleaved round(s); load average at the end {} on {processors} \
             processors.\n\n{}",
            load_average()?,
            table.render()
        );
        lists.print();
        Ok(())
    })
}

/// What `adit-lab lab` wrote, running.
struct Agents {
    /// Masked, and not.
    listen: [SocketAddr; 2],
    ends: [Process; 2],
    _gateway: Process,
}

impl Agents {
    fn start(folder: &Path, mirth: SocketAddr) -> Result<Self> {
        let program = binaries::adit();
        let lab = folder.join("lab");
        let listen: [SocketAddr; 2] = free_ports()?;
        let output = Command::new(binaries::adit_lab())
            .arg("lab")
            .arg(&lab)
            .args(listen.iter().flat_map(|listen| ["--admin".into(), format!("ro:{listen}:{mirth}")]))
            .output()
            .with_context(|| format!("running {}", binaries::adit_lab().display()))?;
        ensure!(
            output.status.success(),
            "`adit-lab lab` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let managed = lab.join("b/agent.toml");
        let text = std::fs::read_to_string(&managed).context("reading what `adit-lab lab` wrote")?;
        let (first, second) = text.rsplit_once("max_access").context("an entry says `max_access`")?;
        std::fs::write(&managed, [first, "mask = false\nmax_access", second].concat())?;
        let start = |part: &str, role: &str, config: &str| {
            let log = folder.join(format!("{part}.log"));
            Process::start(part, Command::new(program).arg(role).arg("--config").arg(lab.join(config)), &log)
        };
        let gateway = start("gateway", "gateway", "gateway.toml")?;
        let ends = [start("managing", "agent", "a/agent.toml")?, start("managed", "agent", "b/agent.toml")?];
        Ok(Self { listen, ends, _gateway: gateway })
    }

    /// A client that has logged in through them.
    async fn ready(&self, number: usize) -> Result<AdminClient> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match log_in(self.listen[number]).await {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Processor time of both.
    fn cpu(&self) -> Result<Duration> {
        let [near, far] = &self.ends;
        Ok(near.cpu()? + far.cpu()?)
    }
}

async fn log_in(address: SocketAddr) -> Result<AdminClient> {
    let mut client = AdminClient::connect(address, shown_key(address).await?).await?;
    let reply = client.log_in("/api/4.5.2", USER, PASSWORD).await?;
    ensure!(reply.status == 200, "the login was answered with {}", reply.status);
    Ok(client)
}

/// One round of one way.
struct Measured {
    megabytes: f64,
    response: Duration,
    response_cpu: Duration,
    polls: Duration,
    polls_cpu: Duration,
    latencies: Histogram,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    async fn of(client: &mut AdminClient, agents: &Agents, kibibytes: u64) -> Result<Self> {
        let target = format!("/api/4.5.2/channels/{}/messages?limit={kibibytes}", super::stand_in::CHANNEL);
        let (cpu, started) = (agents.cpu()?, Instant::now());
        let (status, bytes) = client.download(&target).await?;
        ensure!(status == 200 && bytes > kibibytes * 1024, "status {status} with {bytes} bytes");
        let (response, response_cpu) = (started.elapsed(), agents.cpu()?.saturating_sub(cpu));
        let (cpu, started) = (agents.cpu()?, Instant::now());
        let mut latencies = Histogram::default();
        for _ in 0..POLLS {
            let asked = Instant::now();
            let reply = client.get(POLL).await?;
            ensure!(reply.status == 200, "a poll was answered with {}", reply.status);
            latencies.record(asked.elapsed());
        }
        let (polls, polls_cpu) = (started.elapsed(), agents.cpu()?.saturating_sub(cpu));
        let megabytes = bytes as f64 / 1e6;
        Ok(Self { megabytes, response, response_cpu, polls, polls_cpu, latencies })
    }

    fn note(&self, name: &'static str, table: &mut Table) {
        let mut note = |metric, value| table.note(metric, name, value);
        note(Metric::Response, self.megabytes / self.response.as_secs_f64());
        note(Metric::PollP50, self.latencies.quantile(0.5).as_secs_f64() * 1e6);
        note(Metric::PollP99, self.latencies.quantile(0.99).as_secs_f64() * 1e6);
        note(Metric::Polls, self.polls.as_secs_f64() * 1e3);
        if name == "adit" {
            note(Metric::ResponseCpu, self.response_cpu.as_secs_f64() / (self.megabytes / 1e3));
            #[expect(clippy::cast_precision_loss, reason = "two hundred")]
            note(Metric::PollCpu, self.polls_cpu.as_secs_f64() * 1e6 / POLLS as f64);
        }
    }
}

/// Samples, one a round.
#[derive(Default)]
struct Table(BTreeMap<Metric, BTreeMap<&'static str, Vec<f64>>>);

impl Table {
    fn note(&mut self, metric: Metric, way: &'static str, value: f64) {
        self.0.entry(metric).or_default().entry(way).or_default().push(value);
    }

    fn render(&self) -> String {
        let mut text = String::from("| | direct | adit | adit ÷ direct |\n|---|---:|---:|---:|\n");
        for (metric, samples) in &self.0 {
            let shown = |way| samples.get(way).map_or_else(|| "–".into(), |values: &Vec<f64>| cell(values));
            let value = |way| samples.get(way).and_then(|values: &Vec<f64>| median(values));
            let ratio = match (value("adit"), value("direct")) {
                (Some(adit), Some(direct)) if direct > 0.0 => format!("{:.2}", adit / direct),
                _ => "–".into(),
            };
            let cells = [metric.as_str().to_owned(), shown("direct"), shown("adit"), ratio];
            text.extend(["| ", &cells.join(" | "), " |\n"]);
        }
        text
    }
}
