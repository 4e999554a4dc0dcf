//! The binary `adit-lab`: the demo in one process, and the files of a lab for several.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main()
}
