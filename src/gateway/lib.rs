//! The gateway: enrols agents, knows who may talk to whom, introduces them. It never sees what is
//! carried.
//!
//! [`service`] starts and stops it, [`authority`] signs, `front_door` lets TCP connections in and `proxied_door` those of
//! a reverse proxy, [`console`] keeps the certificate that browsers see, [`acme`] gets it. `enrolment` takes newcomers
//! in, `carriers` serves agents without UDP, `control` keeps a link to every agent, `relay` says who may use the relay, `presence` knows
//! who is there. `http` has the API, `openid` asks identity providers. [`platform`] has the rules, over `store`;
//! [`database`] says where that is kept, [`migrate`] moves it elsewhere. `feed` tells links what changed, `events` tells
//! people. Nothing here reads a QUIC packet, nor decides by a certificate who somebody is: see `transport` and
//! `identity`.

pub mod acme;
mod attempt_limiter;
pub mod authority;
mod carriers;
pub mod console;
mod control;
pub mod database;
mod enrolment;
mod events;
mod feed;
mod front_door;
mod gateway_id;
mod http;
pub mod identity_providers;
pub mod migrate;
mod openid;
pub mod platform;
mod presence;
mod proxied_door;
mod relay;
mod runs;
pub mod service;
#[cfg(test)]
mod set_clock;
mod store;

use crate::store::Store;
use adit_net::host::folder;

/// Returns every name that is ever opened in a gateway's state folder.
#[must_use]
pub fn state_names() -> Vec<String> {
    let mut files = vec![authority::CA_KEY, authority::AUTHORITY, platform::seal::FILE, gateway_id::FILE];
    files.extend(acme::kept::FILES);
    let mut names = folder::names(&files, &[authority::TURN, platform::seal::TURN]);
    names.extend(Store::file_names(platform::DATABASE));
    names
}
