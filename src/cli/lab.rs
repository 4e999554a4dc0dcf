//! `adit lab`: writes a complete set for separate processes and prints the commands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::demo::lab::{self, LabConnection};

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder to write; must not exist
    dir: PathBuf,
    /// A connection: agent A listens at LISTEN, agent B forwards to FORWARD
    #[arg(long, value_name = "PROTOCOL:LISTEN:FORWARD", required = true)]
    p2p: Vec<LabConnection>,
    /// The path between the agents; this version knows the direct one
    #[arg(long, value_enum, default_value_t = Path::Auto)]
    path: Path,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Path {
    Auto,
    Direct,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lab = runtime.block_on(lab::write(&arguments.dir, &arguments.p2p))?;
    println!("adit gateway --config {}", lab.gateway.display());
    println!("adit agent --config {}", lab.agent_a.display());
    println!("adit agent --config {}", lab.agent_b.display());
    Ok(ExitCode::SUCCESS)
}
