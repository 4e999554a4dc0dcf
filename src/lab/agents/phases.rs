//! A run from the first organization to the last figure: what is done in which order, and when a clock is read.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::agent::GatewayPlace;
use super::figures::{Figures, Linking, NoiseFigures, PeopleFigures, Storm, Termination};
use super::fleet::{Fleet, Sockets};
use super::gateway::{GatewayProcess, Stopwatch};
use super::people;
use super::setup::{self, TRUST_DOMAIN, Tie, Town};
use super::{AGENTS_MAX, AgentsError, Wanted};
use crate::lab::{free_ports, quoted};
use crate::measure::Histogram;
use crate::messages::Draws;
use adit_core::config::DatabaseUrl;
use adit_gateway::platform::ConnectionCommand;

/// After links came up, or noise began, until it counts.
const SETTLE: Duration = Duration::from_secs(3);
/// Both agents hear of a terminated connection within this, or it counts as unheard.
const HEARD_TIMEOUT: Duration = Duration::from_secs(15);
/// Terminations are apart by up to so much, each by another draw: the gateway looks for changes at a pace of its own.
const APART_MAX_MS: u64 = 300;

/// Measures as `wanted` says; `say` hears what is being done.
pub async fn measure(wanted: &Wanted, say: &dyn Fn(&str)) -> Result<Figures, AgentsError> {
    check(wanted)?;
    let folder = run_folder(wanted.folder.as_deref())?;
    let mut run = Run::set_up(wanted, folder.path(), say).await?;
    let own_noise = match wanted.noisy {
        0 => None,
        _ => Some(run.own_noise().await?),
    };
    let fleet = run.fleet(0..wanted.agents);
    run.link_all(&fleet).await?;
    run.rest(&fleet).await?;
    if let Some(own) = own_noise {
        run.noise(&fleet, own).await?;
    }
    run.people().await?;
    run.terminate(&fleet).await?;
    let (mut figures, gateway) =
        if wanted.storm { run.storm(&fleet).await? } else { (run.figures, run.gateway) };
    figures.ends = fleet.board.read(|tally| tally.ends.clone());
    fleet.end().await;
    gateway.kill();
    Ok(figures)
}

fn check(wanted: &Wanted) -> Result<(), AgentsError> {
    let Wanted { agents, noisy, .. } = *wanted;
    if !(2..=AGENTS_MAX).contains(&agents) || noisy > agents {
        return Err(AgentsError::Count { agents, noisy });
    }
    Ok(())
}

/// Makes a folder that goes with its run.
pub(crate) fn run_folder(folder: Option<&Path>) -> Result<tempfile::TempDir, AgentsError> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("adit-lab-");
    let made = match folder {
        Some(folder) => builder.tempdir_in(folder),
        None => builder.tempdir(),
    };
    made.map_err(|source| AgentsError::Folder { source })
}

/// What all phases have to do with.
struct Run<'a> {
    wanted: &'a Wanted,
    say: &'a dyn Fn(&str),
    folder: PathBuf,
    config: PathBuf,
    town: Town,
    sockets: Sockets,
    place: GatewayPlace,
    gateway: GatewayProcess,
    figures: Figures,
}

impl<'a> Run<'a> {
    async fn set_up(wanted: &'a Wanted, folder: &Path, say: &'a dyn Fn(&str)) -> Result<Self, AgentsError> {
        let (begun, state) = (Instant::now(), folder.join("state"));
        // Some are left when those that are to be terminated are gone.
        let rounds = (2 * wanted.terminations).div_ceil(wanted.agents).clamp(1, wanted.agents - 1);
        say(&format!("{} servers are registered, connected and enrolled", wanted.agents));
        let town =
            setup::fill(&state, wanted.database.as_ref(), wanted.agents, rounds, wanted.people).await?;
        let set_up = begun.elapsed();
        let [port] = free_ports().map_err(|source| AgentsError::NoPort { source })?;
        let config = folder.join("gateway.toml");
        let text = gateway_file(port, &state, wanted.database.as_ref());
        write_private(&config, &text)
            .map_err(|source| AgentsError::Write { path: config.clone(), source })?;
        let sockets = Sockets::bind(wanted.sockets.clamp(1, wanted.agents))?;
        say("the gateway is started");
        let gateway = GatewayProcess::start(&wanted.adit, &config, folder).await?;
        let place = GatewayPlace { route: town.route, address: ([127, 0, 0, 1], port).into() };
        sleep(wanted.window.min(SETTLE)).await;
        let figures = Figures {
            agents: wanted.agents,
            connections: town.connections.len(),
            seed: wanted.seed,
            set_up,
            resident_empty: gateway.resident()?,
            ..Figures::default()
        };
        let folder = folder.into();
        Ok(Self { wanted, say, folder, config, town, sockets, place, gateway, figures })
    }

    fn fleet(&self, numbers: impl IntoIterator<Item = usize>) -> Fleet {
        Fleet::start(&self.town.agents, numbers, &self.noisy(), &self.sockets, self.place, self.wanted.seed)
    }

    /// Returns the noisy agents, as far apart as can be.
    fn noisy(&self) -> Vec<usize> {
        let Wanted { agents, noisy, .. } = *self.wanted;
        (0..noisy).map(|number| number * agents / noisy).collect()
    }

    /// Returns what noise costs, in per cent of a core, while nobody has a link but the noisy ones and the
    /// peers of their connections.
    async fn own_noise(&mut self) -> Result<f64, AgentsError> {
        let noisy = self.noisy();
        let ties = self
            .town
            .connections
            .iter()
            .filter(|tie| noisy.contains(&tie.source) || noisy.contains(&tie.target));
        let numbers: BTreeSet<_> =
            ties.flat_map(|tie| [tie.source, tie.target]).chain(noisy.iter().copied()).collect();
        (self.say)(&format!("the noisy agents and their peers alone, {} in all", numbers.len()));
        let fleet = self.fleet(numbers);
        fleet.board.all_linked(fleet.count(), self.wanted.patience).await;
        let rest = self.percent(SETTLE).await?;
        fleet.set_noise(Some(self.wanted.noise));
        let loud = self.percent(SETTLE).await?;
        fleet.end().await;
        Ok((loud - rest).max(0.0))
    }

    async fn link_all(&mut self, fleet: &Fleet) -> Result<(), AgentsError> {
        (self.say)("all agents dial");
        let watch = Stopwatch::start(&self.gateway)?;
        fleet.board.all_linked(self.wanted.agents, self.wanted.patience).await;
        let (took, spent) = watch.stop(&self.gateway)?;
        self.gateway.check_alive()?;
        let linked = fleet.board.read(|tally| tally.linked);
        let ends = fleet.board.read(|tally| tally.ends.values().sum());
        self.figures.linking = Linking { linked, took, spent, ends };
        Ok(())
    }

    async fn rest(&mut self, fleet: &Fleet) -> Result<(), AgentsError> {
        (self.say)("nobody says anything but heartbeats");
        self.figures.rest_percent = self.percent(SETTLE).await?;
        self.figures.resident_linked = self.gateway.resident()?;
        self.figures.linked_at_rest = fleet.board.read(|tally| tally.linked);
        Ok(())
    }

    async fn noise(&mut self, fleet: &Fleet, own_percent: f64) -> Result<(), AgentsError> {
        (self.say)(&format!("{} noisy: {}", self.wanted.noisy, self.wanted.noise.as_str()));
        fleet.set_noise(Some(self.wanted.noise));
        sleep(self.settle(SETTLE)).await;
        let (said, begun) = (fleet.board.read(|tally| tally.noise), Instant::now());
        let percent = self.percent(Duration::ZERO).await?;
        let said = fleet.board.read(|tally| tally.noise) - said;
        let per_second = per_second(said, begun.elapsed());
        fleet.set_noise(None);
        let more_percent = percent - self.figures.rest_percent;
        let (noisy, what) = (self.wanted.noisy, self.wanted.noise.as_str());
        self.figures.noise =
            Some(NoiseFigures { noisy, what, per_second, percent, more_percent, own_percent });
        sleep(self.settle(SETTLE)).await;
        Ok(())
    }

    /// Has users read and follow over the API.
    async fn people(&mut self) -> Result<(), AgentsError> {
        if self.town.tokens.is_empty() {
            return Ok(());
        }
        (self.say)(&format!("{} people read and follow", self.town.tokens.len()));
        let (before, watch) = (self.gateway.resident()?, Stopwatch::start(&self.gateway)?);
        let asked = people::ask(self.place.address, &self.town.tokens, self.wanted.window).await;
        let (took, spent) = watch.stop(&self.gateway)?;
        self.gateway.check_alive()?;
        let percent = 100.0 * spent.as_secs_f64() / took.as_secs_f64();
        let more_resident = self.gateway.resident()?.saturating_sub(before);
        self.figures.people = Some(PeopleFigures { percent, more_resident, ..asked? });
        Ok(())
    }

    /// Terminates some connections, from this process and not the gateway's.
    async fn terminate(&mut self, fleet: &Fleet) -> Result<(), AgentsError> {
        let mut draws = Draws::new(self.wanted.seed);
        let chosen = chosen(&self.town.connections, self.wanted.terminations, &mut draws);
        (self.say)(&format!("{} connections are terminated, one after another", chosen.len()));
        let (mut acts, mut heard, mut unheard) = (Histogram::default(), Histogram::default(), 0);
        let started = Instant::now();
        // Where nobody hears in time, fewer have to do.
        for tie in chosen.iter().take_while(|_| started.elapsed() < self.wanted.patience) {
            sleep(Duration::from_millis(draws.below(APART_MAX_MS))).await;
            let begun = Instant::now();
            let terminating =
                self.town.platform.command(&tie.actor, tie.connection, ConnectionCommand::Terminate);
            terminating.await?;
            acts.record(begun.elapsed());
            match fleet.board.both_heard(tie.connection, HEARD_TIMEOUT).await {
                Some(at) => heard.record(at.saturating_duration_since(begun)),
                None => unheard += 1,
            }
        }
        self.gateway.check_alive()?;
        self.figures.termination = Termination::of(&acts, &heard, unheard);
        Ok(())
    }

    /// Kills the gateway, starts it again and waits until all are back.
    async fn storm(self, fleet: &Fleet) -> Result<(Figures, GatewayProcess), AgentsError> {
        let Self { wanted, say, folder, config, gateway, mut figures, .. } = self;
        say("the gateway is killed and started again");
        gateway.kill();
        fleet.board.begin_again();
        let begun = Instant::now();
        let mut gateway = GatewayProcess::start(&wanted.adit, &config, &folder).await?;
        let started = begun.elapsed();
        fleet.board.all_linked(wanted.agents, wanted.patience).await;
        let took = begun.elapsed();
        gateway.check_alive()?;
        let linked = fleet.board.read(|tally| tally.linked);
        figures.storm = Some(Storm { linked, started, took, spent: gateway.spent()? });
        Ok((figures, gateway))
    }

    /// Returns what the gateway spends over the window, in per cent of a core, after `settle`.
    async fn percent(&mut self, settle: Duration) -> Result<f64, AgentsError> {
        sleep(self.settle(settle)).await;
        let watch = Stopwatch::start(&self.gateway)?;
        sleep(self.wanted.window).await;
        let (took, spent) = watch.stop(&self.gateway)?;
        self.gateway.check_alive()?;
        Ok(100.0 * spent.as_secs_f64() / took.as_secs_f64())
    }

    /// Returns `settle`, or less where windows are short.
    fn settle(&self, settle: Duration) -> Duration {
        settle.min(self.wanted.window)
    }
}

/// Returns `count` of `ties`, by chance.
fn chosen<'t>(ties: &'t [Tie], count: usize, draws: &mut Draws) -> Vec<&'t Tie> {
    let mut left: Vec<_> = ties.iter().collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let place = draws.below(left.len() as u64);
        chosen.push(left.swap_remove(usize::try_from(place).unwrap_or_default()));
    }
    chosen
}

#[expect(clippy::cast_precision_loss, reason = "no run counts to 2^53")]
fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Returns the gateway's file; `database` is where the platform is, if not in `state`.
pub(crate) fn gateway_file(port: u16, state: &Path, database: Option<&DatabaseUrl>) -> String {
    let database = database.map(|url| format!("database = {}\n", quoted(Path::new(url.reveal()))));
    format!(
        "name = \"127.0.0.1:{port}\"\nlisten = \"127.0.0.1:{port}\"\nstate = {}\ntrust_domain = \"{TRUST_DOMAIN}\"\n{}",
        quoted(state),
        database.unwrap_or_default()
    )
}

/// Writes a file that others may not read: a database's URL may hold a password.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
