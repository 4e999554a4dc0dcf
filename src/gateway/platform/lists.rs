//! What people read of the platform: lists in pages and single things, as far as the viewer may see them.
//!
//! A page costs one statement; what may be shown of a row is decided here, by the visibility table. Views are
//! plain data: how they are written for people or programs is each outlet's own.

mod admin_sessions;
mod audit;
mod channels;
mod connections;
mod details;
mod grants;
mod organizations;
mod overview;
mod peerings;
mod servers;

use tracing::debug;

use adit_core::domain::id::OrganizationId;
use adit_core::domain::name::Name;
use adit_core::domain::page::Page;

pub use admin_sessions::{AdminSessionState, AdminSessionView, SessionEnd};
pub use audit::AuditView;
pub use channels::ChannelView;
pub use connections::{CarriedView, ConnectionView, EndView, TimedState};
pub use grants::GrantView;
pub use organizations::OrganizationView;
pub use overview::{Group, OverviewView};
pub use peerings::PeeringView;
pub use servers::ServerView;

pub(super) use channels::view as channel_view;
pub(super) use organizations::view as organization_view;
pub(super) use servers::view as server_view;

/// What an organization is called by itself where another would be named.
pub(super) const SELF: &str = "Self";

/// Returns the other one of two parties, as `own` calls it.
pub(super) fn peer_name(
    own: OrganizationId,
    [one, other]: [(OrganizationId, &Name); 2],
) -> (OrganizationId, String) {
    match (one.0 == own, other.0 == own) {
        (true, true) => (own, SELF.to_owned()),
        (true, false) => (other.0, other.1.to_string()),
        (false, _) => (one.0, one.1.to_string()),
    }
}

/// Returns what a party calls the other one; the operator is none and calls it nothing.
fn peer_of(viewpoint: Option<OrganizationId>, ends: [(OrganizationId, &Name); 2]) -> Option<String> {
    viewpoint.map(|own| peer_name(own, ends).1)
}

/// Returns the page, noted for whoever follows what was read.
fn listed<T>(list: &'static str, viewpoint: Option<OrganizationId>, page: Page<T>) -> Page<T> {
    let by = viewpoint.map_or_else(|| "the operator".to_owned(), |it| it.to_string());
    debug!(list, by, rows = page.rows.len(), goes_on = page.next.is_some(), "a page of a list is read");
    page
}

/// The views of single things, for who reads lists the slow way.
#[cfg(test)]
pub(super) mod slow {
    pub(in super::super) use super::connections::view as connection;
    pub(in super::super) use super::grants::view_of as grant;
}
