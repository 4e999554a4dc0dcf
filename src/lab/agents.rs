//! Many simulated agents with real control links to one real gateway, and what they cost it.
//!
//! The gateway is the binary `adit` as a child, its platform is filled through the same calls as operators make,
//! and every agent has a certificate and a link of its own. What they do not do: register at the relay, open
//! tunnels, keep anything on disk.

mod agent;
mod board;
mod figures;
mod fleet;
pub(crate) mod gateway;
pub(crate) mod people;
pub(crate) mod phases;
pub(crate) mod setup;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use adit_core::config::DatabaseUrl;
use adit_core::domain::name::InvalidName;
use adit_gateway::authority::AuthorityError;
use adit_gateway::migrate::MigrateError;
use adit_gateway::platform::{EnrolRefusal, OpenError, PlatformError};
use adit_net::host::folder::FolderError;
use adit_net::identity::error::IdentityError;
use adit_net::transport::endpoint::TransportError;

pub use self::agent::Noise;
pub use self::figures::{Figures, Linking, NoiseFigures, PeopleFigures, Storm, Termination};
pub use self::phases::measure;

/// Agents of one run at most; the gateway itself may serve fewer.
pub const AGENTS_MAX: usize = 50_000;

/// What is to be measured, and how long.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub agents: usize,
    /// Agents that say all the gateway lets them while noise is measured; none: noise is not measured.
    pub noisy: usize,
    pub noise: Noise,
    /// Users of the API at once; none: that is not measured.
    pub people: usize,
    /// Of all that is left to chance: back-offs, which connections are terminated and when.
    pub seed: u64,
    /// How long the gateway's processor time is counted, each time.
    pub window: Duration,
    pub terminations: usize,
    /// Whether the gateway is killed and started again at the end.
    pub storm: bool,
    /// How long all agents may take to have a link, each time, and all terminations together.
    pub patience: Duration,
    /// UDP sockets that the agents share, each at a loopback address and in a network of its own.
    pub sockets: usize,
    /// The binary that is the gateway.
    pub adit: PathBuf,
    /// Where the gateway keeps its platform instead of its state folder.
    pub database: Option<DatabaseUrl>,
    /// Where the run's folder is made; absent: where temporary files go.
    pub folder: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum AgentsError {
    #[error(
        "expected from 2 to {AGENTS_MAX} agents, of which at most all are noisy; found {agents} and {noisy} noisy"
    )]
    Count { agents: usize, noisy: usize },
    #[error("cannot make a folder for the run; name one with room that this user may write with `--folder`")]
    Folder { source: io::Error },
    #[error("cannot write `{path}`; free space there, or name another place with `--folder`")]
    Write { path: PathBuf, source: io::Error },
    #[error("no free port on 127.0.0.1; the lab needs a loopback interface with free ports")]
    NoPort { source: io::Error },
    #[error(
        "cannot raise the limit of open files to {wanted}; raise `ulimit -n`, or ask for fewer `--sockets`"
    )]
    OpenFiles { wanted: u64, source: io::Error },
    #[error("cannot start `{adit}`; build it, or name it with `--adit`")]
    Start { adit: PathBuf, source: io::Error },
    #[error("the gateway did not start within {} s; its last words: {words}", after.as_secs())]
    NotReady { after: Duration, words: String },
    #[error("the gateway has ended by itself; its last words: {words}")]
    Ended { words: String },
    #[error("cannot read what the gateway has spent from `{path}`; the lab needs /proc")]
    Spent { path: PathBuf, source: io::Error },
    #[error("the gateway's state folder could not be made")]
    State(#[from] FolderError),
    #[error("the gateway's certificate authority could not be made")]
    Authority(#[from] AuthorityError),
    #[error("the gateway's platform could not be opened")]
    Open(#[from] OpenError),
    #[error("the gateway's platform could not be filled")]
    Platform(#[from] PlatformError),
    #[error("the platform could not be moved to the database; `--database` must name an empty one")]
    Move { source: Box<MigrateError> },
    #[error("a user could not be served over the API")]
    People { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("an agent could not be enrolled")]
    Enrol(#[from] EnrolRefusal),
    #[error("an agent's key or certificate could not be made")]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("the agents' sockets could not be bound; the lab needs all of 127.0.0.0/8")]
    Sockets(#[from] TransportError),
}
