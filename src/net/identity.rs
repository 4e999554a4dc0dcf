//! Who is who: the private CA, the leaves it signs, and the TLS handshakes that accept nothing else.
//!
//! An identity comes from the verified leaf alone and is known to the rest of the program as a
//! [`peer::VerifiedPeer`]. Whether that peer is still welcome (its key on file, not revoked, allowed
//! on a connection) is decided above. No file is read or written here.

pub mod acme_challenge;
pub mod ca;
pub mod csr;
pub mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod gateway_time;
#[cfg(test)]
mod handshake_tests;
pub mod jws;
pub mod key;
pub mod known_keys;
mod leaf;
pub mod local_https;
pub(crate) mod mirth_key;
pub mod name;
pub mod outer;
pub mod peer;
pub mod random;
pub mod renewal;
pub mod time;
pub mod tls;
mod verifier;
pub mod web;
