//! The gateway: enrols agents, knows who may talk to whom, introduces them. It never sees what is
//! carried.
//!
//! [`service`] starts and stops it, [`authority`] signs, [`acme`] gets certificates that browsers trust, `front_door` lets TCP connections in,
//! [`database`] says where the platform is kept, [`migrate`] moves it elsewhere, `enrolment` takes newcomers in,
//! `carriers` serves agents without UDP, `control` keeps a link to every agent, `feed` tells it what changed, `events` tells people,
//! `presence` knows who is there, [`platform`] has the
//! rules. Nothing here reads a certificate or a QUIC packet: see `identity` and `transport`.

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
mod identity_providers;
pub mod migrate;
mod openid;
pub mod platform;
mod presence;
mod proxied_door;
mod relay;
mod runs;
pub mod service;
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
