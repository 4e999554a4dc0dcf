//! `adit trust`: a person compared a peer's key out of band and says so.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::files;
use crate::agent::AUDIT_FILE;
use crate::agent::state::AgentState;
use crate::agent::status::{Answer, Request, StatusError, ask};
use crate::config::agent::{AgentConfig, Entry};
use crate::domain::id::KeyFingerprint;
use crate::identity::time::{HostClock, LearntClock, TimeSource};
use crate::observe::audit::{AuditEntry, AuditFile};

#[derive(clap::Args)]
pub struct Arguments {
    /// The connection's name or id in the agent's file
    connection: String,
    /// The peer's key as its own `adit status` shows it: sha256:…
    fingerprint: String,
    /// The agent's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_agent(&arguments.config)?;
    let entry = files::find_entry(&config, &arguments.connection)?;
    let key: KeyFingerprint = arguments
        .fingerprint
        .parse()
        .with_context(|| format!("`{}` is no fingerprint", arguments.fingerprint))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(ask(&config.state, &Request::Trust { connection: entry.id, key })) {
        Ok(Answer::Trusted) => {}
        Ok(Answer::Failed { what }) => bail!("the agent could not keep the key: {what}"),
        Ok(Answer::Status(_) | Answer::PathChosen) => bail!("the agent gave an answer to another question"),
        // Without an agent the state is ours to write.
        Err(StatusError::NotRunning { .. }) => write(&config, entry, key)?,
        Err(error) => return Err(error.into()),
    }
    println!("{} trusts {key} from now on", arguments.connection);
    Ok(ExitCode::SUCCESS)
}

fn write(config: &AgentConfig, entry: &Entry, key: KeyFingerprint) -> anyhow::Result<()> {
    let state = AgentState::open(&config.state)?;
    let audit = AuditFile::open(&config.state.join(AUDIT_FILE))?;
    let now = LearntClock::new(HostClock, state.clock_offset_millis()?).now();
    audit.append(&AuditEntry::key_trusted(now, entry.id, entry.peer, key))?;
    let mut keys = state.known_keys()?;
    keys.trust(entry.id, key);
    state.store_known_keys(|| keys)?;
    Ok(())
}
