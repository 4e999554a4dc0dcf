//! Carriers: packets for a relay inside the messages of a WebSocket on TCP 443, for networks that let no UDP
//! out.
//!
//! The outer TLS is not trusted: what travels inside is QUIC and our own packets, which need nobody's trust.

pub mod queues;
pub mod websocket;
