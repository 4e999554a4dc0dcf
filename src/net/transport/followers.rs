//! The tunnels that follow each route: told when its packets take another path, asked how large
//! their datagrams are. Whether a path changes is not decided here.

use std::collections::BTreeMap;
use std::sync::Weak;

use parking_lot::Mutex;

use super::congestion::PathHandle;
use super::endpoint::Connection;
use adit_core::domain::id::RouteId;

/// Tunnels by route, as long as they live.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<BTreeMap<RouteId, Vec<Weak<PathHandle>>>>);

impl Followers {
    pub(super) fn add(&self, route: RouteId, tunnel: &Connection) {
        if let Some(handle) = tunnel.path_handle() {
            self.0.lock().entry(route).or_default().push(handle);
        }
    }

    /// Notes that packets of `route` take another path from now on: congestion control starts again on it.
    pub(super) fn note_path_change(&self, route: RouteId) {
        self.each(route, PathHandle::note_change);
    }

    /// Returns the largest datagrams in use on `route`; `None` without a tunnel.
    pub(super) fn mtu(&self, route: RouteId) -> Option<u16> {
        let mut largest = None;
        self.each(route, |tunnel| largest = largest.max(Some(tunnel.mtu())));
        largest
    }

    fn each(&self, route: RouteId, mut then: impl FnMut(&PathHandle)) {
        let mut followers = self.0.lock();
        let Some(of_route) = followers.get_mut(&route) else { return };
        of_route.retain(|tunnel| {
            let tunnel = tunnel.upgrade();
            if let Some(tunnel) = &tunnel {
                then(tunnel);
            }
            tunnel.is_some()
        });
        if of_route.is_empty() {
            followers.remove(&route);
        }
    }
}
