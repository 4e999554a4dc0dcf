//! A newtype for every identity, so that a server can never be passed for a connection.
//!
//! Making an identity needs randomness, which does not live here: callers hand in random bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a version 4 UUID (RFC 9562 §5.4) from 16 random bytes.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// Takes the 16 bytes exactly as given, for identities read back from disk or the wire.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { expected: "a UUID such as 0d5c2a7e-93c1-4b6f-8d15-6a1e2f3b4c5d" })
            }
        }
    };
}

uuid_id! {
    /// A healthcare entity; owns everything else.
    OrganizationId
}
uuid_id! {
    /// One Mirth Connect / Open Integration Engine instance with its agent.
    ServerId
}
uuid_id! {
    /// A published receiving endpoint of a server.
    ChannelId
}
uuid_id! {
    /// The relationship of two organizations.
    AgreementId
}
uuid_id! {
    /// Permission for one peer on one channel.
    GrantId
}
uuid_id! {
    /// A person who acts for one organization.
    UserId
}
uuid_id! {
    /// A link that makes somebody a user, or sets a user's password anew.
    InvitationId
}
uuid_id! {
    /// A user being signed in with one browser.
    SessionId
}
uuid_id! {
    /// What a program of a user shows; not the token itself.
    ApiTokenId
}
uuid_id! {
    /// An admin session as the gateway keeps it; its agents number theirs anew with each run.
    KeptSessionId
}
uuid_id! {
    /// One attempt of an act at the gateway: tells, when the answer to its commit was lost, whether it was made.
    ActId
}
uuid_id! {
    /// A secure tunnel between two servers, of one type for life.
    ConnectionId
}

/// A text that is not the identity it was given for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct InvalidId {
    expected: &'static str,
}

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $prefix:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; $len];
                text.strip_prefix($prefix)
                    .and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok())
                    .map(|()| Self(bytes))
                    .ok_or(InvalidId { expected: $expected })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_bytes! {
    /// Where packets go: the first eight bytes of every QUIC connection id an agent or gateway
    /// hands out. Random, given at enrolment, stable for the life of the server.
    RouteId, 8, "", "16 hexadecimal digits"
}
hex_bytes! {
    /// One run of an agent process; a new one tells peers that every older connection is dead.
    BootId, 8, "", "16 hexadecimal digits"
}
hex_bytes! {
    /// One gateway of a platform, for as long as its state folder lasts. Random; gateways that share a CA and a
    /// database differ in it.
    GatewayId, 8, "", "16 hexadecimal digits"
}
hex_bytes! {
    /// SHA-256 over a public key's `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
    KeyFingerprint, 32, "sha256:", "`sha256:` followed by 64 hexadecimal digits"
}

/// Names a relay: by the route id of the gateway that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelayId(pub RouteId);

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a carrier at the gateway that serves it: each that is accepted gets another, for the gateway's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CarrierId(pub u64);

impl fmt::Display for CarrierId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_what_it_prints() {
        let server = ServerId::from_random([7; 16]);
        assert_eq!(server.to_string().parse(), Ok(server));
        let key = KeyFingerprint::from_bytes([0xab; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn a_fingerprint_of_another_length_or_without_its_prefix_is_refused() {
        let full = KeyFingerprint::from_bytes([1; 32]).to_string();
        for text in [&full[..full.len() - 2], &full[7..], "sha256:", "", &format!("{full}00")] {
            assert!(text.parse::<KeyFingerprint>().is_err(), "{text:?} was accepted");
        }
    }
}
