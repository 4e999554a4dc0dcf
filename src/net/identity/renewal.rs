//! Whether a renewed leaf is better than the one in use. The gateway's word alone is not enough: a
//! bad leaf locks its agent out, because nobody takes it.

use std::sync::Arc;

use adit_core::domain::time::Timestamp;

use super::error::IdentityError;
use super::gateway_time::{Validity, is_lawful};
use super::tls::{Identity, Trust};

/// Why a leaf is not taken; the one in use stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafRefused {
    #[error("the gateway sent a certificate that nobody asked for")]
    Unasked,
    #[error("the gateway's new certificate is none of this agent's")]
    NotOurs(#[source] IdentityError),
    #[error("the gateway's new certificate is for another name than the one in use")]
    OtherName,
    #[error("the gateway's new certificate is valid from {from} until {until}, and now it is {now}")]
    NotValid { from: Timestamp, until: Timestamp, now: Timestamp },
    #[error(
        "the gateway's new certificate is valid from {from} until {until}, longer than any gateway signs one"
    )]
    TooLong { from: Timestamp, until: Timestamp },
    #[error("the gateway's new certificate ends at {until}, before the one in use")]
    EndsSooner { until: Timestamp },
}

impl Identity {
    /// Takes `leaf` over the key in use if it has the same name, is valid now, and not for longer
    /// than a gateway signs one, but for longer than a usable one in use.
    pub fn renewed(&self, leaf: &[u8], trust: &Trust, now: Timestamp) -> Result<Self, LeafRefused> {
        let identity = Self::new(leaf, Arc::clone(self.key())).map_err(LeafRefused::NotOurs)?;
        let name = identity.name(trust).map_err(LeafRefused::NotOurs)?;
        if self.name(trust).ok() != Some(name) {
            return Err(LeafRefused::OtherName);
        }
        let validity = identity.validity(trust).map_err(LeafRefused::NotOurs)?;
        let (from, until) = validity;
        if !is_valid(validity, now) {
            return Err(LeafRefused::NotValid { from, until, now });
        }
        if !is_lawful(validity) {
            return Err(LeafRefused::TooLong { from, until });
        }
        let ends_sooner = self.validity(trust).is_ok_and(|(_, own)| until < own);
        if ends_sooner && self.is_usable(trust, now) {
            return Err(LeafRefused::EndsSooner { until });
        }
        Ok(identity)
    }

    /// Returns whether peers take the leaf in use now.
    #[must_use]
    pub fn is_usable(&self, trust: &Trust, now: Timestamp) -> bool {
        self.validity(trust).is_ok_and(|validity| is_valid(validity, now) && is_lawful(validity))
    }
}

fn is_valid((from, until): Validity, now: Timestamp) -> bool {
    from <= now && now <= until
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::ca::CertificateAuthority;
    use crate::identity::csr::VerifiedCsr;
    use crate::identity::key::KeyPair;
    use adit_core::config::TrustDomain;
    use adit_core::domain::id::ServerId;
    use adit_core::domain::limits::{LEAF_BACKDATED, LEAF_LIFE, LEAF_SLACK};

    const NOW: Timestamp = Timestamp::from_millis(1_795_510_800_000);
    const OWN: ServerId = ServerId::from_bytes([1; 16]);

    struct Agent {
        ca: CertificateAuthority,
        key: Arc<KeyPair>,
        before: Identity,
    }

    impl Agent {
        fn new() -> Self {
            let ca = CertificateAuthority::create(domain(), NOW).unwrap();
            let key = Arc::new(KeyPair::generate().unwrap());
            let before = Identity::new(&sign(&ca, &key, OWN, NOW), Arc::clone(&key)).unwrap();
            Self { ca, key, before }
        }

        fn hears(&self, leaf: &[u8], now: Timestamp) -> Result<Identity, LeafRefused> {
            self.before.renewed(leaf, self.ca.trust(), now)
        }

        fn signed(&self, at: Timestamp) -> Vec<u8> {
            sign(&self.ca, &self.key, OWN, at)
        }
    }

    fn domain() -> TrustDomain {
        "example.org".parse().unwrap()
    }

    fn sign(ca: &CertificateAuthority, key: &KeyPair, server: ServerId, at: Timestamp) -> Vec<u8> {
        let csr = VerifiedCsr::from_der(&key.csr_der().unwrap()).unwrap();
        ca.sign_server(&csr, server, at).unwrap()
    }

    #[test]
    fn a_renewed_leaf_of_another_ca_name_or_key_is_not_taken() {
        let agent = Agent::new();
        let other_ca = CertificateAuthority::create(domain(), NOW).unwrap();
        let (other, other_key) = (ServerId::from_bytes([2; 16]), KeyPair::generate().unwrap());
        assert!(agent.hears(&agent.signed(NOW), NOW).is_ok());
        let refused = |leaf: &[u8]| agent.hears(leaf, NOW).unwrap_err();
        assert_eq!(refused(&sign(&agent.ca, &agent.key, other, NOW)), LeafRefused::OtherName);
        for leaf in [sign(&other_ca, &agent.key, OWN, NOW), sign(&agent.ca, &other_key, OWN, NOW), vec![0; 9]]
        {
            assert!(matches!(refused(&leaf), LeafRefused::NotOurs(_)));
        }
    }

    #[test]
    fn a_renewed_leaf_is_taken_only_while_it_is_valid() {
        let agent = Agent::new();
        let leaf = agent.signed(NOW);
        let second = Duration::from_secs(1);
        let (from, until) = (NOW.saturating_sub(LEAF_BACKDATED), NOW.saturating_add(LEAF_LIFE));
        for now in [from, NOW, until] {
            assert!(agent.hears(&leaf, now).is_ok(), "{now}");
        }
        for now in [from.saturating_sub(second), until.saturating_add(second)] {
            assert_eq!(agent.hears(&leaf, now).unwrap_err(), LeafRefused::NotValid { from, until, now });
            assert!(!agent.before.is_usable(agent.ca.trust(), now));
        }
        assert!(agent.before.is_usable(agent.ca.trust(), NOW));
    }

    #[test]
    fn a_leaf_of_unlawful_length_is_neither_taken_nor_usable() {
        let agent = Agent::new();
        let life = LEAF_LIFE + LEAF_BACKDATED + LEAF_SLACK;
        let from = NOW.saturating_sub(LEAF_BACKDATED);
        let of = |life| agent.ca.sign_for(&agent.key, OWN, from, life).unwrap();
        assert!(agent.hears(&of(life), NOW).is_ok());
        let longer = of(life + Duration::from_secs(1));
        assert!(matches!(agent.hears(&longer, NOW), Err(LeafRefused::TooLong { .. })));
        let stored = Identity::new(&longer, Arc::clone(&agent.key)).unwrap();
        assert!(!stored.is_usable(agent.ca.trust(), NOW));
        assert!(stored.renewed(&agent.signed(NOW), agent.ca.trust(), NOW).is_ok(), "it heals");
    }
}
