//! Decisions without I/O: bytes, events and `now` go in, what to do comes out.
//!
//! No socket, clock, randomness or async, so a fault seen anywhere becomes a test that replays it.

pub mod admin;
pub mod admission;
pub mod backoff;
pub mod capability;
pub mod carrier;
pub mod connection;
pub mod control;
pub mod credit;
pub mod dicom;
pub mod enrol;
pub mod frame;
pub mod heartbeat;
pub mod initial;
mod length_prefix;
pub mod liveness;
pub mod mllp;
pub mod open;
pub mod packet;
pub mod registration;
pub mod relay;
pub mod repeat_limiter;
mod replay_window;
pub mod route;
pub mod rule_list;
pub mod rules;
mod sniffer;
pub mod sock_diag;
pub mod text;
pub mod token_bucket;
pub mod token_buckets;
pub mod unacknowledged;
pub mod version_question;
