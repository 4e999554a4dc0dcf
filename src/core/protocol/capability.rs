//! What the two ends of a control link agree on before they talk: a version, and what each can do beyond it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::control::VERSIONS;
use crate::domain::limits::{CAPABILITIES_TOLD_MAX, VERSIONS_TOLD_MAX};
use crate::domain::word::Word;

/// What an end can do that not every build of its version can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// It reads past messages, changes, reasons and words that it does not know, so that they may be said.
    SkipsUnknown,
    /// It serves carriers (`GET /api/v1/carrier`), and its relay answers the probes that an agent with a link
    /// sends to the gateway's own route, over UDP and carriers alike.
    Carrier,
    /// It tells the peer's agent which kinds of path an owner allows, and is told.
    AllowedPaths,
    /// It is told, or tells, that the gateway's database is away (`ToAgent::Database`).
    DatabaseAway,
    /// A gateway's: it acknowledges the notes that are numbered (`ToAgent::Noted`), and takes each once.
    AcknowledgesNotes,
    /// A gateway's: it keeps what agents measure (`ToGateway::Measured`).
    KeepsMeasurements,
}

/// What one end can do. What the other does not know of it is of no use, and harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Capabilities(BTreeSet<Word<Capability>>);

impl Capabilities {
    /// Returns those of this build.
    #[must_use]
    pub fn own() -> Self {
        let own = [
            Capability::SkipsUnknown,
            Capability::Carrier,
            Capability::AllowedPaths,
            Capability::DatabaseAway,
        ];
        Self(own.map(Word::Known).into())
    }

    /// Returns them with one more, which only one of the two ends has.
    #[must_use]
    pub fn with(mut self, capability: Capability) -> Self {
        self.0.insert(Word::Known(capability));
        self
    }

    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&Word::Known(capability))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<Word<Capability>>::deserialize(deserializer)?;
        Ok(Self(words.into_iter().take(CAPABILITIES_TOLD_MAX).collect()))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, capability) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match capability {
                Word::Known(Capability::SkipsUnknown) => write!(f, "{comma}skips-unknown")?,
                Word::Known(Capability::Carrier) => write!(f, "{comma}carrier")?,
                Word::Known(Capability::AllowedPaths) => write!(f, "{comma}allowed-paths")?,
                Word::Known(Capability::DatabaseAway) => write!(f, "{comma}database-away")?,
                Word::Known(Capability::AcknowledgesNotes) => write!(f, "{comma}acknowledges-notes")?,
                Word::Known(Capability::KeepsMeasurements) => write!(f, "{comma}keeps-measurements")?,
                Word::Other(word) => write!(f, "{comma}{word}")?,
            }
        }
        Ok(())
    }
}

/// The versions that an agent told, as many as make sense.
pub(super) fn versions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    let mut told: Vec<u16> = crate::domain::word::readable(deserializer)?;
    told.truncate(VERSIONS_TOLD_MAX);
    Ok(told)
}

/// Agent and gateway have no version in common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the agent speaks {}, this gateway {}; update the one that has only lower numbers",
    listed(.agent), listed(.gateway)
)]
pub struct NoCommonVersion {
    pub agent: Vec<u16>,
    pub gateway: Vec<u16>,
}

/// Picks the highest version that both speak. An agent of 0.1.0 tells one, and no list.
pub fn pick(version: u16, versions: &[u16]) -> Result<u16, NoCommonVersion> {
    pick_of(VERSIONS, version, versions)
}

fn pick_of(own: &[u16], version: u16, versions: &[u16]) -> Result<u16, NoCommonVersion> {
    let told = if versions.is_empty() { vec![version] } else { versions.to_vec() };
    let common = own.iter().copied().filter(|own| told.contains(own)).max();
    common.ok_or_else(|| NoCommonVersion { agent: told, gateway: own.to_vec() })
}

fn listed(versions: &[u16]) -> String {
    let numbers: Vec<_> = versions.iter().map(ToString::to_string).collect();
    match &numbers[..] {
        [one] => format!("control version {one}"),
        all => format!("control versions {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_picked() {
        assert_eq!(pick_of(&[1, 2, 3], 1, &[1, 2]), Ok(2));
        assert_eq!(pick_of(&[1, 2, 3], 1, &[3, 1]), Ok(3));
        assert_eq!(pick_of(&[1, 2], 1, &[1, 2, 3]), Ok(2));
        assert_eq!(pick_of(&[2, 3], 2, &[]), Ok(2));
        assert_eq!(pick(1, &[1, 2]), Ok(1));
    }

    #[test]
    fn without_a_common_version_both_lists_are_said() {
        let refused = pick_of(&[1], 2, &[2, 3]).unwrap_err().to_string();
        assert!(
            refused.contains("the agent speaks control versions 2, 3, this gateway control version 1;"),
            "{refused}"
        );
        assert!(pick_of(&[1], 99, &[]).unwrap_err().to_string().contains("control version 99,"));
    }

    #[test]
    fn a_capability_of_a_newer_build_is_kept_apart() {
        let read = |json: &str| serde_json::from_str::<Capabilities>(json).unwrap();
        let both = read(r#"["skips-unknown","reads-minds"]"#);
        assert!(both.has(Capability::SkipsUnknown));
        assert_eq!(both.to_string(), "skips-unknown,reads-minds");
        assert!(!read(r#"["reads-minds"]"#).has(Capability::SkipsUnknown));
        assert_eq!(read(&serde_json::to_string(&Capabilities::own()).unwrap()), Capabilities::own());
        let many: Vec<_> = (0..1_000).map(|number| format!("word-{number}")).collect();
        assert_eq!(read(&serde_json::to_string(&many).unwrap()).0.len(), CAPABILITIES_TOLD_MAX);
    }

    #[test]
    fn a_capability_is_shown_as_the_wire_spells_it() {
        let all = Capabilities::own().with(Capability::AcknowledgesNotes).with(Capability::KeepsMeasurements);
        let wire: Vec<String> = serde_json::from_value(serde_json::to_value(&all).unwrap()).unwrap();
        assert_eq!(all.to_string(), wire.join(","));
        assert!(!Capabilities::own().has(Capability::AcknowledgesNotes));
        assert!(all.has(Capability::AcknowledgesNotes) && all.has(Capability::DatabaseAway));
    }
}
