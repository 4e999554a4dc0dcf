//! What must hold for any input of the layers that read a partner's requests, and Mirth's answers. `targets/` hands them what
//! libFuzzer makes up; `run.sh` runs them.
//!
//! The modules under test are compiled in as they lie in `src/`, so that their dependencies are few and
//! all of them are watched for coverage.

#[path = "../../../src"]
mod adit {
    pub mod domain;
    pub mod mirth;
}

pub mod body;
pub mod head;
pub mod mask;
pub mod path;

pub use adit::{domain, mirth};
