//! What only one entry of a file may have (a name, an id, a port), and what all entries of a peer
//! must have alike (a path).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::EntryName;
use super::document::Section;
use crate::domain::id::{ConnectionId, ServerId};
use crate::domain::path::PathPreference;

/// Who took what first. A later one is refused and told who.
#[derive(Default)]
pub(super) struct Claims {
    names: BTreeMap<EntryName, String>,
    ids: BTreeMap<ConnectionId, String>,
    paths: BTreeMap<ServerId, (PathPreference, String)>,
    listens: Vec<(SocketAddr, String)>,
}

impl Claims {
    pub(super) fn name(&mut self, section: &mut Section<'_, '_>, name: &EntryName) {
        if let Some(first) = self.names.get(name) {
            section.clash("name", format!("write another name; {first} has this one"));
        } else {
            self.names.insert(name.clone(), section.place());
        }
    }

    pub(super) fn id(&mut self, section: &mut Section<'_, '_>, id: ConnectionId) {
        if let Some(first) = self.ids.get(&id) {
            section.clash("id", format!("keep one entry for a connection; {first} has this id"));
        } else {
            self.ids.insert(id, section.place());
        }
    }

    /// Claims a path by `key`: of all entries with `peer`, those that name a path name the same.
    pub(super) fn path(
        &mut self,
        section: &mut Section<'_, '_>,
        key: &'static str,
        peer: ServerId,
        path: PathPreference,
    ) {
        match self.paths.get(&peer) {
            Some((known, _)) if *known == path => {}
            Some((known, first)) => section
                .clash(key, format!("write one path for all entries of a peer; {first} allows {known}")),
            None => {
                self.paths.insert(peer, (path, section.place()));
            }
        }
    }

    /// Returns what is allowed of the path to `peer`, once every entry was read.
    pub(super) fn path_to(&self, peer: ServerId) -> PathPreference {
        self.paths.get(&peer).map_or_else(PathPreference::default, |(path, _)| *path)
    }

    pub(super) fn listen(&mut self, section: &mut Section<'_, '_>, key: &'static str, address: SocketAddr) {
        if let Some((taken, first)) = self.listens.iter().find(|(taken, _)| overlap(*taken, address)) {
            section.clash(key, format!("write another port; `{first}` listens on {taken}"));
        } else {
            let place = section.place();
            self.listens.push((address, if place.is_empty() { key.into() } else { place }));
        }
    }
}

/// Returns whether two addresses overlap: two TCP listeners get in each other's way on one port when an
/// address is the same or either means every address. `[::]` takes IPv4 too.
fn overlap(left: SocketAddr, right: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, other: SocketAddr| {
        wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4())
    };
    left.port() == right.port() && (left.ip() == right.ip() || covers(left, right) || covers(right, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_listeners_overlap_on_one_port_when_one_covers_the_other() {
        let check = |left: &str, right: &str, expected| {
            let (left, right) = (left.parse().expect("address"), right.parse().expect("address"));
            assert_eq!((overlap(left, right), overlap(right, left)), (expected, expected), "{left} {right}");
        };
        check("127.0.0.1:1", "127.0.0.1:1", true);
        check("127.0.0.1:1", "127.0.0.1:2", false);
        check("127.0.0.1:1", "127.0.0.2:1", false);
        check("0.0.0.0:1", "127.0.0.2:1", true);
        check("[::]:1", "127.0.0.2:1", true);
        check("[::]:1", "[::1]:1", true);
        check("0.0.0.0:1", "[::1]:1", false);
    }
}
