//! What must hold for any input of the layers that read a partner's requests, and Mirth's answers. `targets/` hands them what
//! libFuzzer makes up; `run.sh` runs them.
//!
//! `run.sh` builds the crates under test with coverage counters too.

pub mod body;
pub mod head;
pub mod mask;
pub mod path;
