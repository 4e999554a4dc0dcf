//! Sockets and timers: everything that touches the kernel on the way of a byte.
//!
//! [`socket`] gives quinn one constant virtual remote address and sends by route, [`endpoint`] wraps quinn with our
//! limits, [`relay`] forwards what the gateway's socket receives, [`routes`] keeps the path to every peer, [`port`] is
//! the local listener with a gate, [`splice`] joins a TCP connection to a stream, [`duplex`] opens a stream to those
//! that look into it, [`congestion`] says how much a tunnel may have under way, [`link`] carries control messages,
//! [`newcomers`] bounds whom anything is done for before they have proven who they are, [`https_client`] asks identity
//! providers. What to do is decided in `protocol`; here it is done.

mod admission;
pub mod any_address;
pub mod carrier;
pub mod congestion;
mod connection_ids;
pub mod control_dial;
pub mod destination;
pub mod duplex;
pub mod endpoint;
mod followers;
pub mod gateway_socket;
mod handshake;
pub mod happy_eyeballs;
pub mod https_client;
pub mod link;
pub mod many_agents;
pub mod newcomers;
pub mod opening;
#[cfg(test)]
mod pair;
pub mod peer_user;
pub mod port;
pub mod relay;
pub mod resolve;
pub mod routes;
pub mod socket;
pub mod splice;
mod stall;
mod stream_window;
pub mod tls;
pub mod tunnel;
mod udp;
pub mod unsent;
