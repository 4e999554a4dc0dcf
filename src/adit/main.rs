//! The binary `adit`: the agent, the gateway and the commands of those who run them.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
