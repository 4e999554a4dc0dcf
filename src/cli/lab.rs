//! `adit lab`: writes a complete set for separate processes and prints the commands.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::demo::lab::{self, LabConnection};
use crate::domain::path::PathChoice;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder to write; must not exist
    dir: PathBuf,
    /// A connection: agent A listens at LISTEN, agent B forwards to FORWARD
    #[arg(long, value_name = "PROTOCOL:LISTEN:FORWARD", required = true)]
    p2p: Vec<LabConnection>,
    /// The path that the agents allow: auto, direct or relay
    #[arg(long, default_value_t = PathChoice::Auto)]
    path: PathChoice,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lab = runtime.block_on(lab::write(&arguments.dir, &arguments.p2p, arguments.path))?;
    println!("adit gateway --config {}", lab.gateway.display());
    println!("adit agent --config {}", lab.agent_a.display());
    println!("adit agent --config {}", lab.agent_b.display());
    Ok(ExitCode::SUCCESS)
}
