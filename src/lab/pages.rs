//! The console at size: a platform with many servers and connections, most of them one organization's, a real gateway
//! that serves it, and somebody who looks at every page; then many who only listen while things change.
//!
//! The gateway is the binary `adit` as a child, and everything in its platform was written through the calls that
//! operators, people and agents make. No agent has a link to it: what agents would say is written in their name.

mod browser;
mod crowd;
mod figures;
mod listeners;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use self::browser::{Browser, Failed};
use self::crowd::Crowd;
use self::figures::Tally;
pub use self::figures::{Figures, PageFigures, StreamFigures};
use crate::agents::AgentsError;
use crate::agents::gateway::GatewayProcess;
use crate::agents::phases::{gateway_file, run_folder, write_private};
use crate::lab::free_ports;
use adit_core::config::DatabaseUrl;

/// After the start, until the gateway is at rest.
const SETTLE: Duration = Duration::from_secs(2);

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub servers: usize,
    pub connections: usize,
    /// Of how many connections the last hour was measured.
    pub measured: usize,
    /// How often each page is asked for by one alone, and then by each of `at_once`.
    pub rounds: usize,
    pub at_once: usize,
    /// Streams of events that are open at once.
    pub streams: usize,
    /// How long the gateway's processor time is counted, each time.
    pub window: Duration,
    /// The binary that is the gateway.
    pub adit: PathBuf,
    /// Where the gateway keeps its platform instead of its state folder.
    pub database: Option<DatabaseUrl>,
    /// Where the run's folder is made; absent: where temporary files go.
    pub folder: Option<PathBuf>,
}

/// Measures as `wanted` says; `say` hears what is being done.
pub async fn measure(wanted: &Wanted, say: &dyn Fn(&str)) -> Result<Figures, AgentsError> {
    let begun = Instant::now();
    let folder = run_folder(wanted.folder.as_deref())?;
    let state = folder.path().join("state");
    say(&format!("{} servers and {} connections are written", wanted.servers, wanted.connections));
    let crowd = Crowd::fill(&state, wanted).await?;
    let set_up = begun.elapsed();
    let [port] = free_ports().map_err(|source| AgentsError::NoPort { source })?;
    let config = folder.path().join("gateway.toml");
    write_private(&config, &gateway_file(port, &state, wanted.database.as_ref()))
        .map_err(|source| AgentsError::Write { path: config.clone(), source })?;
    say("the gateway is started");
    let mut gateway = GatewayProcess::start(&wanted.adit, &config, folder.path()).await?;
    let living = crowd.keep_alive();
    sleep(SETTLE.min(wanted.window)).await;
    let resident_empty = gateway.resident()?;
    let address = ([127, 0, 0, 1], port).into();
    let asking = |source: Failed| AgentsError::People { source };
    let browser = Browser::sign_in(address, &crowd.person).await.map_err(asking)?;
    say("every page, one after another");
    let alone = look(&browser, &crowd, wanted.rounds, 1).await.map_err(asking)?;
    say(&format!("every page, {} at once", wanted.at_once));
    let together = look(&browser, &crowd, wanted.rounds, wanted.at_once).await.map_err(asking)?;
    let resident_pages = gateway.resident()?;
    say(&format!("{} streams of events", wanted.streams));
    let streams = listeners::listen(&crowd, &gateway, address, wanted).await?;
    gateway.check_alive()?;
    drop(living);
    gateway.kill();
    Ok(Figures {
        servers: wanted.servers,
        connections: wanted.connections,
        set_up,
        resident_empty,
        resident_pages,
        at_once: wanted.at_once,
        pages: PageFigures::of(&alone, &together),
        streams,
    })
}

/// Asks for every page, `rounds` times by each of so many connections of one browser.
async fn look(
    browser: &Browser,
    crowd: &Crowd,
    rounds: usize,
    at_once: usize,
) -> Result<Vec<(String, Tally)>, Failed> {
    let mut looking = JoinSet::new();
    for number in 0..at_once {
        let (mut browser, mut paths) = (browser.again().await?, crowd.paths());
        let first = number * paths.len() / at_once;
        looking.spawn(async move {
            paths.rotate_left(first);
            let mut seen: Vec<_> = paths.into_iter().map(|path| (path, Tally::default())).collect();
            for _ in 0..rounds {
                for (path, tally) in &mut seen {
                    tally.note(browser.get(path).await?);
                }
            }
            Ok::<_, Failed>(seen)
        });
    }
    let mut all: Vec<_> = crowd.paths().into_iter().map(|path| (path, Tally::default())).collect();
    while let Some(seen) = looking.join_next().await {
        for (path, tally) in seen?? {
            if let Some((_, known)) = all.iter_mut().find(|(known, _)| *known == path) {
                known.add(&tally);
            }
        }
    }
    Ok(all)
}
