//! Pages for people, made on the server and served at `/`.
//!
//! They know the API alone: a page asks it as the browser that wants the page, with its cookies and from its
//! address, so what is shown and done here is what the API lets that browser see and do. Nothing is decided here, and
//! nothing is kept. Every change is a form that works without script; `console.js` keeps pages fresh.

mod account;
mod acts;
mod ask;
mod assets;
mod audit;
mod channels;
mod choose;
mod confirm;
mod connection;
mod connections;
mod diagnose;
mod facts;
mod fields;
mod filters;
mod form;
mod frame;
mod grants;
mod invitation;
mod lists;
mod moments;
mod needs;
mod offers;
mod organization;
mod overview;
mod peerings;
mod plot;
mod sent;
mod servers;
mod sessions;
mod shapes;
mod sign_in;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

/// What every page is given: the API, to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    api: Router,
    /// Where browsers find the pages.
    origin: String,
}

impl Console {
    /// Makes the pages over what [`super::api::routes`] returns.
    pub(crate) fn new(api: Router, origin: String) -> Arc<Self> {
        Arc::new(Self { api, origin })
    }
}

/// Returns every page, the script and the style.
pub(crate) fn routes(console: Arc<Console>) -> Router {
    Router::new()
        .merge(assets::routes())
        .merge(sign_in::routes())
        .merge(invitation::routes())
        .merge(overview::routes())
        .merge(servers::routes())
        .merge(channels::routes())
        .merge(peerings::routes())
        .merge(grants::routes())
        .merge(offers::routes())
        .merge(connections::routes())
        .merge(connection::routes())
        .merge(diagnose::routes())
        .merge(sessions::routes())
        .merge(audit::routes())
        .merge(users::routes())
        .merge(organization::routes())
        .merge(account::routes())
        .method_not_allowed_fallback(frame::to_page_of_form)
        .layer(from_fn_with_state(Arc::clone(&console), sent::keep))
        .with_state(console)
}

pub(crate) use frame::nothing_here;

#[cfg(test)]
mod tests;
