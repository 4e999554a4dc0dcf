//! The paths a tunnel can take between two agents, in the words of DOMAIN §4, and what an owner
//! allows of them. How a path is chosen is decided in `protocol::route`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kinds of path, as most owners want them: the better one is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// UDP between the agents, to an address the peer announced or was seen at.
    Direct,
    /// UDP through a relay, which forwards and cannot read.
    Relay,
    /// The same relay over TCP 443: a WebSocket that every network lets out.
    Tcp,
}

impl PathKind {
    pub const ALL: [Self; 3] = [Self::Direct, Self::Relay, Self::Tcp];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Tcp => "tcp",
        }
    }

    /// Returns the place of this kind in [`Self::ALL`].
    #[must_use]
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Direct => 0,
            Self::Relay => 1,
            Self::Tcp => 2,
        }
    }
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What takes packets to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// A datagram each.
    Udp,
    /// Batches of packets in the messages of a WebSocket.
    Tcp,
}

impl Carrier {
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// The kinds of path an owner allows, most wanted first: at least one, and none twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathPreference([Option<PathKind>; PathKind::ALL.len()]);

impl PathPreference {
    /// The best that answers, as most owners want them.
    pub const AUTO: Self = Self([Some(PathKind::Direct), Some(PathKind::Relay), Some(PathKind::Tcp)]);

    pub fn new(kinds: &[PathKind]) -> Result<Self, BadPreference> {
        let mut preference = Self([None; PathKind::ALL.len()]);
        for (place, kind) in kinds.iter().enumerate() {
            if preference.allows(*kind) {
                return Err(BadPreference::Twice(*kind));
            }
            // One that is there already is refused above, so there is room for each.
            preference.0[place] = Some(*kind);
        }
        if kinds.is_empty() { Err(BadPreference::Empty) } else { Ok(preference) }
    }

    #[must_use]
    pub const fn only(kind: PathKind) -> Self {
        Self([Some(kind), None, None])
    }

    #[must_use]
    pub fn allows(self, kind: PathKind) -> bool {
        self.rank(kind).is_some()
    }

    /// Returns how many kinds are wanted more than this one; `None` where it is not allowed.
    #[must_use]
    pub fn rank(self, kind: PathKind) -> Option<usize> {
        self.0.iter().position(|allowed| *allowed == Some(kind))
    }

    /// Returns the kinds that are allowed, most wanted first.
    pub fn iter(self) -> impl Iterator<Item = PathKind> {
        self.0.into_iter().flatten()
    }
}

impl Default for PathPreference {
    fn default() -> Self {
        Self::AUTO
    }
}

/// Writes `auto`, or the kinds with a comma between them; reads the same.
impl fmt::Display for PathPreference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::AUTO {
            return f.write_str("auto");
        }
        for (place, kind) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{kind}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPreference {
    #[error("no path is allowed; name at least one of direct, relay and tcp")]
    Empty,
    #[error("{0} is named twice; name each path once, most wanted first")]
    Twice(PathKind),
    #[error(
        "`{found}` is no path; write auto, or direct, relay and tcp, with commas between those you allow"
    )]
    Unknown { found: String },
}

impl FromStr for PathPreference {
    type Err = BadPreference;

    fn from_str(text: &str) -> Result<Self, BadPreference> {
        if text == "auto" {
            return Ok(Self::AUTO);
        }
        let kind = |word: &str| {
            let word = word.trim();
            PathKind::ALL
                .into_iter()
                .find(|kind| kind.as_str() == word)
                .ok_or_else(|| BadPreference::Unknown { found: word.into() })
        };
        let kinds: Vec<_> = text.split(',').map(kind).collect::<Result<_, _>>()?;
        Self::new(&kinds)
    }
}

impl Serialize for PathPreference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathPreference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_allows_and_ranks_what_its_text_names() {
        for (text, shown, ranks) in [
            ("auto", "auto", [Some(0), Some(1), Some(2)]),
            ("direct,relay,tcp", "auto", [Some(0), Some(1), Some(2)]),
            ("direct", "direct", [Some(0), None, None]),
            ("relay", "relay", [None, Some(0), None]),
            ("tcp", "tcp", [None, None, Some(0)]),
            ("tcp, relay ,direct", "tcp,relay,direct", [Some(2), Some(1), Some(0)]),
            ("relay,direct", "relay,direct", [Some(1), Some(0), None]),
        ] {
            let preference: PathPreference = text.parse().unwrap();
            assert_eq!(preference.to_string(), shown);
            assert_eq!(PathKind::ALL.map(|kind| preference.rank(kind)), ranks, "{text}");
            assert_eq!(PathKind::ALL.map(|kind| preference.allows(kind)), ranks.map(|rank| rank.is_some()));
            assert!(preference.iter().zip(0..).all(|(kind, rank)| preference.rank(kind) == Some(rank)));
            let json = serde_json::to_string(&preference).unwrap();
            assert_eq!(
                (json.as_str(), serde_json::from_str(&json).unwrap()),
                (&*format!("{shown:?}"), preference)
            );
        }
        assert_eq!(PathPreference::default(), PathPreference::AUTO);
        assert_eq!("relay".parse(), Ok(PathPreference::only(PathKind::Relay)));
    }

    #[test]
    fn a_preference_that_is_none_says_what_to_write() {
        for (text, error) in [
            ("", "`` is no path; write auto, or direct, relay and tcp, with commas between those you allow"),
            (
                "udp",
                "`udp` is no path; write auto, or direct, relay and tcp, with commas between those you allow",
            ),
            (
                "tcp,auto",
                "`auto` is no path; write auto, or direct, relay and tcp, with commas between those you allow",
            ),
            ("tcp,relay,tcp", "tcp is named twice; name each path once, most wanted first"),
            ("tcp,relay,direct,tcp", "tcp is named twice; name each path once, most wanted first"),
        ] {
            assert_eq!(text.parse::<PathPreference>().unwrap_err().to_string(), error);
            assert!(serde_json::from_str::<PathPreference>(&format!("{text:?}")).is_err());
        }
        assert_eq!(PathPreference::new(&[]), Err(BadPreference::Empty));
    }

    #[test]
    fn a_direct_path_is_better_than_the_relay_and_the_relay_than_tcp() {
        assert!(PathKind::ALL.is_sorted());
        assert!(PathKind::ALL.iter().zip(0..).all(|(kind, place)| kind.index() == place));
    }
}
