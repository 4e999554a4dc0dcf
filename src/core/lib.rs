//! What adit knows and decides: its words and rules, what goes over the wire, and the files people
//! write.
//!
//! Nothing here does I/O, reads a clock or draws random bytes; `clippy.toml` names what is forbidden and
//! what to do instead. Whoever needs the time or random bytes hands them in.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests have a clock of their own: any instant does as a start"
    )
)]

pub mod config;
pub mod domain;
pub mod protocol;
