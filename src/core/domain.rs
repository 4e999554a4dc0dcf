//! The words and rules of the platform: what exists, who may do what, who sees what.
//!
//! Pure values and tables. No clock, socket, file, randomness or async; a caller that needs the time or a
//! random number hands it in.

pub mod access;
pub mod connection;
pub mod connectivity;
pub mod digest;
pub mod email;
pub mod id;
pub mod limits;
pub mod measurement;
pub mod name;
pub mod page;
pub mod path;
pub mod places;
pub mod relays;
pub mod role;
pub mod secret;
pub mod side_fault;
pub mod status;
pub mod tier;
pub mod time;
pub mod visibility;
pub mod visible;
pub mod word;
