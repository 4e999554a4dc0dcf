//! `adit path`: a person chooses the path to a peer while the agent runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::files;
use super::shown::ask_shown;
use adit_agent::status::{Answer, Request};
use adit_core::domain::path::PathChoice;
use adit_net::host::privilege;
use adit_observe::print;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The connection's name or id in the agent's file; all connections with its peer share the path
    connection: String,
    /// What this agent may use: auto, direct or relay; until it stops or this is called again. Say the
    /// same at both ends
    path: PathChoice,
    /// The agent's file
    #[arg(long, value_name = "FILE", default_value = "/etc/adit/agent.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = files::read_agent(&arguments.config)?;
    privilege::act_as_owner(&arguments.config, &config.state)?;
    let entry = files::find_entry(&config, &arguments.connection)?;
    let request = Request::Path { connection: entry.id, path: arguments.path };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(ask_shown(&config.state, &request))? {
        Answer::PathChosen => {}
        Answer::Failed { what } => bail!("the agent did not take the path: {what}"),
        Answer::Status(_)
        | Answer::Trusted { .. }
        | Answer::Explained(_)
        | Answer::Forgotten { .. }
        | Answer::Waits { .. } => {
            bail!("the agent gave an answer to another question")
        }
    }
    let allowed = match arguments.path {
        PathChoice::Auto => "any path",
        PathChoice::Direct => "only the direct path",
        PathChoice::Relay => "only the relay",
    };
    let connection = &arguments.connection;
    print::line(format_args!(
        "{connection} may use {allowed} until the agent stops; `adit status` shows the path in use"
    ))?;
    Ok(ExitCode::SUCCESS)
}
