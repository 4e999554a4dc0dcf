//! Agent, gateway and connector files: text in, values out.
//!
//! What comes out is valid: nothing is checked later. A file's problems are all reported at once,
//! each with its line, its key, what was found and what to write. No file is read here and no name
//! resolved; secrets never appear in a problem.

pub mod agent;
mod claims;
pub mod connector;
pub mod console;
mod database;
mod document;
mod entry_name;
#[cfg(test)]
mod examples;
pub mod gateway;
mod host_port;
mod mirth_url;
mod problem;
mod proxy;
mod syntax;
mod trust_domain;
mod value;

pub use database::{DatabaseSetting, DatabaseUrl, InvalidDatabaseUrl};
pub use entry_name::{EntryName, InvalidEntryName};
pub use host_port::{HostPort, InvalidHostPort};
pub use mirth_url::{InvalidMirthUrl, MirthUrl};
pub use problem::{ConfigProblem, ConfigProblems};
pub use proxy::{InvalidProxy, InvalidUnproxied, ProxySettings, ProxyUrl, Unproxied};
pub use trust_domain::{InvalidTrustDomain, TrustDomain};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl LogFormat {
    /// As written in files.
    const WORDS: [(&str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}
