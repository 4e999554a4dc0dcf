//! Carriers: packets for a relay inside the messages of a WebSocket on TCP 443, for networks that let no UDP
//! out.
//!
//! The outer TLS is not trusted: what travels inside is QUIC and our own packets, which need nobody's trust.
//! [`ways`] lead to a gateway's TCP port, through a [`proxy`] where there is one; [`client`] opens a carrier
//! there, and [`pump`] joins its [`websocket`] to the [`queues`] of the agent's socket.

pub mod client;
pub mod outer_tls;
pub mod proxy;
pub mod pump;
pub mod queues;
mod switch;
#[cfg(test)]
mod tests;
pub mod ways;
pub mod websocket;
