//! Why packets take none of the paths that an owner wants more, for people and for programs. What is wrong with
//! each is judged in `protocol::route`; here it meets what the peer's owner allows.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::paths::Paths;
use adit_core::domain::id::ServerId;
use adit_core::domain::path::PathKind;
use adit_core::protocol::route::WhyNot;
use adit_net::transport::routes::PathState;

/// The word for what only the peer's owner can change; the others are [`WhyNot`]'s.
const NOT_ALLOWED_BY_PEER: &str = "not-allowed-by-peer";

/// A kind of path that is wanted more than the one in use, or any where none is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BetterPath {
    pub path: PathKind,
    /// One word of a fixed few.
    pub why_not: String,
    /// The same as a sentence.
    pub what: String,
}

impl BetterPath {
    fn new(path: PathKind, why_not: WhyNot, now: Instant) -> Self {
        Self { path, why_not: why_not.as_str().into(), what: why_not.at(now) }
    }

    fn not_allowed_by_peer(path: PathKind) -> Self {
        let what = "the peer's owner does not allow it".into();
        Self { path, why_not: NOT_ALLOWED_BY_PEER.into(), what }
    }

    /// Returns whether this agent's own owner wants it so.
    #[must_use]
    pub fn is_owners_word(&self) -> bool {
        self.why_not == WhyNot::NotAllowed.as_str()
    }
}

/// Writes `direct: it has not answered for 12 seconds`.
impl fmt::Display for BetterPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// Which path the control link's packets take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPath {
    /// `direct` is UDP to the gateway; there is no relay on the way to it.
    pub path: PathKind,
    /// Why it was taken; unknown of the one that was dialled.
    pub reason: Option<String>,
    pub changes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub better: Vec<BetterPath>,
}

impl LinkPath {
    /// Returns how the link stands; `None` while there is none.
    #[must_use]
    pub fn of(state: &PathState, now: Instant) -> Option<Self> {
        let better = why_not(state).filter(|(kind, _)| *kind != PathKind::Relay);
        Some(Self {
            path: state.kind()?,
            reason: state.why.map(|why| why.to_string()),
            changes: state.changes,
            better: better.map(|(kind, why)| BetterPath::new(kind, why, now)).collect(),
        })
    }
}

/// Returns the better paths to `peer`, most wanted first.
#[must_use]
pub fn to_peer(state: &PathState, paths: &Paths, peer: ServerId, now: Instant) -> Vec<BetterPath> {
    let judged = |(kind, why)| match why {
        WhyNot::NoAddress | WhyNot::Asked | WhyNot::Silent { .. } if !paths.peer_meets(peer, kind) => {
            BetterPath::not_allowed_by_peer(kind)
        }
        WhyNot::NotAllowed
        | WhyNot::OtherRelay
        | WhyNot::NoAddress
        | WhyNot::NotRegistered
        | WhyNot::NoCarrier
        | WhyNot::Asked
        | WhyNot::Silent { .. }
        | WhyNot::TooNarrow { .. }
        | WhyNot::Proving { .. } => BetterPath::new(kind, why, now),
    };
    why_not(state).map(judged).collect()
}

fn why_not(state: &PathState) -> impl Iterator<Item = (PathKind, WhyNot)> {
    state.why_not.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use adit_core::domain::id::{RelayId, RouteId};
    use adit_core::domain::path::{Carrier, PathPreference};
    use adit_core::protocol::route::{Path, PathReason};

    const PEER: ServerId = ServerId::from_bytes([2; 16]);

    fn over_tcp(why_not: [Option<(PathKind, WhyNot)>; 3]) -> PathState {
        let relay = RelayId(RouteId::from_bytes([3; 8]));
        PathState {
            path: Some(Path::Relay { relay, carrier: Carrier::Tcp }),
            why: Some(PathReason::Silent),
            why_not,
            changes: 1,
            ..PathState::default()
        }
    }

    fn said(better: &[BetterPath]) -> Vec<String> {
        better.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_better_path_is_named_with_what_is_wrong_with_it() {
        let now = Instant::now();
        let since = now.checked_sub(Duration::from_secs(12)).unwrap();
        let state = over_tcp([
            Some((PathKind::Direct, WhyNot::Silent { since })),
            Some((PathKind::Relay, WhyNot::NotRegistered)),
            None,
        ]);
        let paths = Paths::to_one(PEER, PathPreference::AUTO);
        let better = to_peer(&state, &paths, PEER, now);
        assert_eq!(
            said(&better),
            [
                "direct: it has not answered for 12 seconds",
                "relay: this agent is not registered at the relay over UDP"
            ]
        );
        assert_eq!(better[0].why_not, "silent");
        assert_eq!(said(&to_peer(&PathState::default(), &paths, PEER, now)), [""; 0]);
    }

    #[test]
    fn what_the_peers_owner_does_not_allow_is_no_fault_of_the_network() {
        let now = Instant::now();
        let paths = Paths::to_one(PEER, PathPreference::AUTO);
        paths.note_peers_word(PEER, vec![PathKind::Tcp.into()]);
        let state = over_tcp([
            Some((PathKind::Direct, WhyNot::NoAddress)),
            Some((PathKind::Relay, WhyNot::Asked)),
            None,
        ]);
        let better = to_peer(&state, &paths, PEER, now);
        // Of a relayed tunnel each end takes its own way to the relay.
        assert_eq!(better.iter().map(|it| &*it.why_not).collect::<Vec<_>>(), [NOT_ALLOWED_BY_PEER, "asked"]);
        let ours = over_tcp([Some((PathKind::Direct, WhyNot::NotAllowed)), None, None]);
        let better = to_peer(&ours, &paths, PEER, now);
        assert!(better[0].is_owners_word(), "{better:?}");
    }

    #[test]
    fn the_control_link_knows_no_relay_on_its_way() {
        let now = Instant::now();
        let state = over_tcp([
            Some((PathKind::Direct, WhyNot::Asked)),
            Some((PathKind::Relay, WhyNot::NotRegistered)),
            None,
        ]);
        let link = LinkPath::of(&state, now).unwrap();
        assert_eq!((link.path, link.changes, link.better.len()), (PathKind::Tcp, 1, 1));
        assert_eq!(link.better[0].path, PathKind::Direct);
        assert_eq!(LinkPath::of(&PathState::default(), now), None);
    }
}
