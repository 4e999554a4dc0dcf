//! HTTP for people and their programs: who asks, what is answered, how it is described.
//!
//! [`api`] has a file for each kind of thing; what all of them share is here: `caller` knows who asks, [`problem`]
//! says why not, `input` reads what is sent, `output` writes what is shown, `tag` knows its states, `once` makes a
//! thing once. How long a connection may take is in `connection`, and how often one may ask in `limits`. Rules are
//! the platform's: nothing here decides who may do what.

mod api;
mod caller;
mod client;
mod connection;
mod console;
mod cookies;
mod event_stream;
mod headers;
mod input;
mod known_places;
mod limits;
mod once;
mod output;
mod pace;
mod problem;
mod tag;

use std::sync::Arc;

use axum::Router;

use super::events::EventHub;
use super::platform::{GatewayPlace, Platform};

pub(crate) use api::routes;
pub(crate) use client::{Client, Whence};
pub(crate) use connection::{BrokenOff, Connection, Paced, serve};
pub(crate) use limits::{Limits, Proof, ProvenHere};

/// What every endpoint is given.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) platform: Arc<Platform>,
    /// Where browsers find this gateway, as in `https://console.example.org`; what they say they come from must be it.
    pub(crate) origin: String,
    /// What connector files say of this gateway.
    pub(crate) gateway: GatewayPlace,
    /// What streams of events are fed from.
    pub(crate) events: Arc<EventHub>,
}

/// Returns what is served to everybody over HTTP, beside carriers.
pub(crate) fn router(api: Arc<Api>, limits: &Arc<Limits>) -> Router {
    let origin = api.origin.clone();
    let api = routes(api);
    let pages = console::routes(console::Console::new(api.clone(), origin));
    limits.around(api.merge(pages).fallback(console::nothing_here))
}

#[cfg(test)]
impl Api {
    /// Makes one over a platform that nothing else follows.
    pub(crate) fn over(platform: Arc<Platform>, origin: &str) -> Self {
        let gateway = GatewayPlace {
            addresses: vec!["gateway.example.org:443".parse().unwrap()],
            trust_domain: "example.org".parse().unwrap(),
            ca_key: adit_core::domain::id::KeyFingerprint::from_bytes([7; 32]),
        };
        Self { platform, origin: origin.to_owned(), gateway, events: Arc::default() }
    }
}

#[cfg(test)]
mod tests;
