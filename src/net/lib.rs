//! What touches the host and the wire: who is who, sockets and timers, and the private folder.
//!
//! Decisions are made in `adit-core`; here they are done. Only this crate names quinn, rustls, rcgen and
//! x509-parser.

pub mod host;
pub mod identity;
pub mod task;
pub mod transport;
