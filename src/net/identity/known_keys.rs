//! Known keys: whom a connection was first met with, and whether a person compared the key.
//!
//! A pure map; the agent keeps it on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use adit_core::domain::id::{ConnectionId, KeyFingerprint};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownKey {
    pub key: KeyFingerprint,
    /// A person compared it out of band; until then it was only met first.
    pub verified: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KnownKeys {
    by_connection: BTreeMap<ConnectionId, KnownKey>,
}

/// How a presented key compares with what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyVerdict {
    Known {
        verified: bool,
    },
    /// Never met: [`KnownKeys::meet`] it once the tunnel's proofs are verified.
    FirstContact,
    /// Refuse, name both keys, and point to `adit trust`.
    Changed {
        known: KeyFingerprint,
    },
}

impl KeyVerdict {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known { verified: true } => "compared",
            Self::Known { verified: false } => "known",
            Self::FirstContact => "first contact",
            Self::Changed { .. } => "changed",
        }
    }
}

impl KnownKeys {
    #[must_use]
    pub fn check(&self, connection: ConnectionId, presented: KeyFingerprint) -> KeyVerdict {
        match self.by_connection.get(&connection) {
            None => KeyVerdict::FirstContact,
            Some(known) if known.key == presented => KeyVerdict::Known { verified: known.verified },
            Some(known) => KeyVerdict::Changed { known: known.key },
        }
    }

    /// Remembers a first contact as unverified and says how the key compared before. One that is
    /// known by now, the same or another, stays as it is: of two that meet at once, one is first.
    pub fn meet(&mut self, connection: ConnectionId, key: KeyFingerprint) -> KeyVerdict {
        let verdict = self.check(connection, key);
        if verdict == KeyVerdict::FirstContact {
            self.by_connection.insert(connection, KnownKey { key, verified: false });
        }
        verdict
    }

    /// Trusts a key: a person's word, which alone replaces a known key. Tells whether anything changed.
    pub fn trust(&mut self, connection: ConnectionId, key: KeyFingerprint) -> bool {
        let trusted = KnownKey { key, verified: true };
        self.by_connection.insert(connection, trusted) != Some(trusted)
    }

    /// Returns the known keys of all connections.
    pub fn keys(&self) -> impl Iterator<Item = KeyFingerprint> {
        self.by_connection.values().map(|known| known.key)
    }

    #[must_use]
    pub fn get(&self, connection: ConnectionId) -> Option<KnownKey> {
        self.by_connection.get(&connection).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: ConnectionId = ConnectionId::from_bytes([1; 16]);
    const ONE: KeyFingerprint = KeyFingerprint::from_bytes([1; 32]);
    const OTHER: KeyFingerprint = KeyFingerprint::from_bytes([2; 32]);

    #[test]
    fn a_key_met_first_is_known_but_unverified_until_a_person_trusts_it() {
        let mut keys = KnownKeys::default();
        assert_eq!(keys.check(CONNECTION, ONE), KeyVerdict::FirstContact);
        assert_eq!(keys.meet(CONNECTION, ONE), KeyVerdict::FirstContact);
        assert_eq!(keys.meet(CONNECTION, ONE), KeyVerdict::Known { verified: false });
        assert_eq!(keys.check(CONNECTION, ONE), KeyVerdict::Known { verified: false });
        assert!(keys.trust(CONNECTION, ONE));
        assert_eq!(keys.check(CONNECTION, ONE), KeyVerdict::Known { verified: true });
        assert!(!keys.trust(CONNECTION, ONE));
    }

    #[test]
    fn a_changed_key_is_named_until_trust_replaces_the_known_one() {
        let mut keys = KnownKeys::default();
        keys.meet(CONNECTION, ONE);
        assert_eq!(keys.check(CONNECTION, OTHER), KeyVerdict::Changed { known: ONE });
        assert_eq!(keys.meet(CONNECTION, OTHER), KeyVerdict::Changed { known: ONE });
        assert_eq!(keys.check(CONNECTION, OTHER), KeyVerdict::Changed { known: ONE });
        assert!(keys.trust(CONNECTION, OTHER));
        assert_eq!(keys.check(CONNECTION, ONE), KeyVerdict::Changed { known: OTHER });
    }

    #[test]
    fn known_keys_read_back_from_their_file() {
        let mut keys = KnownKeys::default();
        keys.meet(CONNECTION, ONE);
        let file = serde_json::to_string(&keys).unwrap();
        assert_eq!(serde_json::from_str::<KnownKeys>(&file).unwrap(), keys);
    }
}
