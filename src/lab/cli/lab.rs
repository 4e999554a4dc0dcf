//! `adit-lab lab`: writes a complete set for separate processes and prints the commands.

use std::path::PathBuf;
use std::process::ExitCode;

use adit_core::domain::path::PathPreference;
use adit_lab::lab::{self, LabAdmin, LabConnection, Wanted};
use adit_net::host::privilege;
use adit_observe::print;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder to write; must not exist
    dir: PathBuf,
    /// A connection: agent A listens at LISTEN, agent B forwards to FORWARD
    #[arg(long, value_name = "PROTOCOL:LISTEN:FORWARD", required_unless_present = "admin")]
    p2p: Vec<LabConnection>,
    /// An admin session, view only or with full control: agent A listens at LISTEN for the
    /// Administrator, agent B manages the Mirth at the second address, which must run now
    #[arg(long, value_name = "ro|rw:LISTEN:MIRTH_HTTPS")]
    admin: Vec<LabAdmin>,
    /// The paths that the agents allow: auto, or direct, relay and tcp with commas between, most wanted first
    #[arg(long, default_value_t = PathPreference::AUTO)]
    path: PathPreference,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { dir, p2p, admin, path } = arguments;
    privilege::act_as_owner(dir, dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wanted = Wanted { connections: p2p.clone(), admin: admin.clone(), path: *path };
    let lab = runtime.block_on(lab::write(dir, &wanted))?;
    print::line(format_args!("adit gateway --config {}", lab.gateway.display()))?;
    print::line(format_args!("adit agent --config {}", lab.agent_a.display()))?;
    print::line(format_args!("adit agent --config {}", lab.agent_b.display()))?;
    Ok(ExitCode::SUCCESS)
}
