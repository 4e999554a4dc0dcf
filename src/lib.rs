//! adit carries HL7v2 and DICOM between hospitals' Mirth Connect servers through mutually
//! authenticated QUIC tunnels: no VPN, no inbound firewall port, nothing readable on the way.
//!
//! One binary, two roles. The **agent** stands beside a Mirth server and carries; the **gateway**
//! enrols agents, knows who may talk to whom, and introduces them. Read `ARCHITECTURE.md` for the
//! map; imports between these modules go downward only and `tests/architecture.rs` keeps it so.

pub mod agent;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod gateway;
pub mod identity;
pub mod mirth;
pub mod observe;
pub mod protocol;
pub mod store;
pub mod transport;
