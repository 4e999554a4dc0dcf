//! What is true of a connection now, independent of what people decided.
//!
//! Three facts are kept, each with the time it came to be; the word people see is derived from them
//! and never from presence alone.

use std::fmt;

use super::connection::Side;
use super::path::PathKind;
use super::side_fault::SideFault;
use super::status::Status;
use super::time::Timestamp;
use super::word::Word;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Connectivity {
    Connected,
    /// Has worked before.
    Disconnected,
    NeverConnected,
}

impl Connectivity {
    pub const ALL: [Self; 3] = [Self::Connected, Self::Disconnected, Self::NeverConnected];

    /// Returns the label, shown to people exactly as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
            Self::NeverConnected => "Never connected",
        }
    }

    /// Returns whether to show the pulsing green dot.
    #[must_use]
    pub fn pulses(self, status: Status) -> bool {
        self == Self::Connected && status == Status::Active
    }
}

impl fmt::Display for Connectivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that holds since a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed<T> {
    pub value: T,
    pub since: Timestamp,
}

/// What one side's agent told of the connection; `None` where it never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SideFacts {
    /// Agent ↔ gateway.
    pub link: Option<Timed<bool>>,
    /// Agent ↔ agent, as this side measures it: the path while it is up.
    pub tunnel: Option<Timed<Option<Word<PathKind>>>>,
    /// Agent ↔ its Mirth; the target side only.
    pub mirth: Option<Timed<bool>>,
    /// What keeps it from carrying, as this side's agent sees it.
    pub fault: Option<Timed<Word<SideFault>>>,
}

/// The facts behind what is shown of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    pub source: SideFacts,
    pub target: SideFacts,
    /// When the tunnel was first up on both sides.
    pub first_connected: Option<Timestamp>,
    pub last_ack: Option<Timestamp>,
}

impl Facts {
    #[must_use]
    pub const fn side(&self, side: Side) -> &SideFacts {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Returns what is true of a connection in this status since then. Over one that has ended no tunnel is up,
    /// whatever its agents told last: their last reports may come after its end. Whether its servers are reached is
    /// no longer the other party's to see.
    #[must_use]
    pub fn in_status(mut self, status: Status, since: Timestamp) -> Self {
        if status.is_terminal() {
            for side in [&mut self.source, &mut self.target] {
                side.tunnel = side
                    .tunnel
                    .map(|told| if told.value.is_some() { Timed { value: None, since } } else { told });
                side.link = None;
                side.mirth = None;
                side.fault = None;
            }
        }
        self
    }

    /// Returns the connectivity: connected is the tunnel up on both sides, told by agents whose word is
    /// current.
    #[must_use]
    pub fn connectivity(&self) -> Connectivity {
        if [self.source, self.target].iter().all(SideFacts::tells_tunnel_up) {
            Connectivity::Connected
        } else if self.first_connected.is_some() {
            Connectivity::Disconnected
        } else {
            Connectivity::NeverConnected
        }
    }
}

impl SideFacts {
    fn tells_tunnel_up(&self) -> bool {
        self.link.is_some_and(|link| link.value) && self.tunnel.is_some_and(|tunnel| tunnel.value.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_is_connected_only_with_the_tunnel_up_on_both_sides() {
        for links in [true, false] {
            for (source, target) in [(false, false), (true, false), (false, true), (true, true)] {
                let facts = Facts {
                    source: side(links, source),
                    target: side(links, target),
                    first_connected: None,
                    last_ack: None,
                };
                let expected = if links && source && target {
                    Connectivity::Connected
                } else {
                    Connectivity::NeverConnected
                };
                assert_eq!(facts.connectivity(), expected, "links {links}, tunnel {source}/{target}");
            }
        }
    }

    #[test]
    fn a_tunnel_that_is_down_says_whether_it_ever_was_up() {
        let facts = Facts { first_connected: Some(AT), ..Facts::default() };
        assert_eq!(facts.connectivity().as_str(), "Disconnected");
        assert_eq!(Facts::default().connectivity().as_str(), "Never connected");
    }

    #[test]
    fn no_tunnel_is_up_over_a_connection_that_has_ended() {
        let told = Facts {
            source: side(true, true),
            target: side(true, true),
            first_connected: None,
            last_ack: None,
        };
        let since = Timestamp::from_millis(2_000);
        for status in Status::ALL {
            let facts = told.in_status(status, since);
            let is_over = status.is_terminal();
            assert_eq!(facts.connectivity() == Connectivity::Connected, !is_over, "{status}");
            let down = Some(Timed { value: None, since });
            assert_eq!(facts.target.tunnel, if is_over { down } else { told.target.tunnel }, "{status}");
            assert_eq!(facts.source.link, if is_over { None } else { told.source.link }, "{status}");
        }
        let down = Facts { target: side(true, false), ..told }.in_status(Status::Terminated, since);
        assert_eq!(down.target.tunnel, side(true, false).tunnel, "what was down is down since then");
    }

    #[test]
    fn the_dot_pulses_only_when_connected_while_active() {
        for status in Status::ALL {
            assert_eq!(Connectivity::Connected.pulses(status), status == Status::Active, "{status}");
            assert!(!Connectivity::Disconnected.pulses(status), "{status}");
            assert!(!Connectivity::NeverConnected.pulses(status), "{status}");
        }
    }

    const AT: Timestamp = Timestamp::from_millis(1_000);

    fn side(link: bool, up: bool) -> SideFacts {
        SideFacts {
            link: Some(Timed { value: link, since: AT }),
            tunnel: Some(Timed { value: up.then_some(PathKind::Direct.into()), since: AT }),
            mirth: None,
            fault: None,
        }
    }
}
