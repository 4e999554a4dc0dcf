//! All simulated agents of a run that are there at a time, and the few sockets they share.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::AgentsError;
use super::agent::{DIALS_MAX, GatewayPlace, Noise, SimulatedAgent};
use super::board::Board;
use crate::messages::Draws;
use adit_net::transport::endpoint::Credentials;
use adit_net::transport::many_agents::ManyAgents;

/// Networks of one second byte of 127.0.0.0/8.
const NETWORKS_EACH: usize = 250;
/// Files of this process beside the agents' sockets.
const OTHER_FILES: u64 = 200;

/// The sockets of all agents, each at an address whose network no other shares: the gateway limits both.
pub(super) struct Sockets(Vec<Arc<ManyAgents>>);

impl Sockets {
    pub(super) fn bind(count: usize) -> Result<Self, AgentsError> {
        allow_files(count as u64 + OTHER_FILES)?;
        let bind = |number| ManyAgents::bind(address(number).into()).map(Arc::new);
        Ok(Self((0..count).map(bind).collect::<Result<_, _>>()?))
    }

    fn of(&self, agent: usize) -> Arc<ManyAgents> {
        Arc::clone(&self.0[agent % self.0.len()])
    }
}

/// Returns the address of a socket, below 127.1.1.1.
fn address(number: usize) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, byte(1 + number / NETWORKS_EACH), byte(1 + number % NETWORKS_EACH), 1)
}

/// Lets this process open so many files.
fn allow_files(wanted: u64) -> Result<(), AgentsError> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised)
        .map_err(|source| AgentsError::OpenFiles { wanted, source: source.into() })
}

/// Agents at work. They end when it is dropped.
pub(super) struct Fleet {
    tasks: JoinSet<()>,
    quiet: watch::Sender<Option<Noise>>,
    pub(super) board: Arc<Board>,
}

impl Fleet {
    /// Starts the agents of these numbers at once; those of `noisy` listen to [`Self::set_noise`].
    pub(super) fn start(
        agents: &[Credentials],
        numbers: impl IntoIterator<Item = usize>,
        noisy: &[usize],
        sockets: &Sockets,
        gateway: GatewayPlace,
        seed: u64,
    ) -> Self {
        let (quiet, never) = (watch::Sender::new(None), watch::Sender::new(None));
        let board = Arc::<Board>::default();
        let dials = Arc::new(Semaphore::new(DIALS_MAX));
        let mut tasks = JoinSet::new();
        for number in numbers {
            let word = if noisy.contains(&number) { &quiet } else { &never };
            let agent = SimulatedAgent {
                credentials: agents[number].clone(),
                socket: sockets.of(number),
                gateway,
                board: Arc::clone(&board),
                dials: Arc::clone(&dials),
                noise: word.subscribe(),
                draws: Draws::new(seed.wrapping_add(number as u64)),
            };
            tasks.spawn(agent.run());
        }
        Self { tasks, quiet, board }
    }

    pub(super) fn count(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn set_noise(&self, noise: Option<Noise>) {
        self.quiet.send_replace(noise);
    }

    /// Ends all links; the gateway is told.
    pub(super) async fn end(mut self) {
        self.tasks.shutdown().await;
    }
}
