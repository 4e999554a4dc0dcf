//! What the outside may see of a running process: log lines, metrics, the agent's own audit,
//! and what a command prints.
//!
//! Nothing here ever holds message content, a secret, a token or a key; what passes by mistake is
//! masked before it is written. Decisions are not made here, and nothing waits for a reader.

pub mod audit;
pub mod http;
pub mod log;
pub mod metrics;
pub mod print;
pub mod unknown;
