//! What adit knows of Mirth's HTTP surface: how a request is read and written again, what it would do,
//! and whether a partner's view or control covers it. Bytes in, verdicts out.
//!
//! Nothing here does I/O, keeps time or decides who the partner is. Facts are in MIRTH.md and in the
//! tables under `mirth/data/`, which the verdicts are compiled from.

pub mod body;
pub mod credentials;
pub mod expected;
pub mod http;
pub mod known_channel;
pub mod mask;
pub mod method;
mod operation;
mod path;
mod query;
mod refusal;
pub mod rewrite;
mod rule;
mod sensitive;
pub mod side_effect;
mod surface;
mod unknown;
pub mod verdict;
pub mod version;
pub mod wadl;
