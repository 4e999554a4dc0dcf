//! Which relays a rule lets its two ends use: none is named where the gateway that gives the rule is the only one
//! that there is.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::RelayId;
use super::limits::RULE_RELAYS_MAX;

/// The relays that both ends of a rule may use. No order counts: which of them is used is decided by what answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<RelayId>")]
pub struct Relays(BTreeSet<RelayId>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{named} relays are named, at most {RULE_RELAYS_MAX} may be")]
pub struct TooManyRelays {
    pub named: usize,
}

impl Relays {
    /// Returns whether no relay is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `relay` may be used; `own` is that of the gateway which gave the rule.
    #[must_use]
    pub fn allows(&self, relay: RelayId, own: RelayId) -> bool {
        if self.is_empty() { relay == own } else { self.0.contains(&relay) }
    }
}

impl TryFrom<Vec<RelayId>> for Relays {
    type Error = TooManyRelays;

    fn try_from(named: Vec<RelayId>) -> Result<Self, TooManyRelays> {
        if named.len() > RULE_RELAYS_MAX {
            return Err(TooManyRelays { named: named.len() });
        }
        Ok(Self(named.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::RouteId;

    const fn relay(number: u8) -> RelayId {
        RelayId(RouteId::from_bytes([number; 8]))
    }

    #[test]
    fn without_a_name_only_the_gateways_own_relay_may_be_used() {
        let unnamed = Relays::default();
        assert!(unnamed.allows(relay(1), relay(1)) && !unnamed.allows(relay(2), relay(1)));
        let named = Relays::try_from(vec![relay(3), relay(2)]).unwrap();
        assert_eq!([1, 2, 3].map(|number| named.allows(relay(number), relay(1))), [false, true, true]);
    }

    #[test]
    fn as_many_relays_as_may_be_named_read_back_where_one_more_is_refused() {
        let named: Vec<_> = (0..u8::try_from(RULE_RELAYS_MAX).unwrap()).map(relay).collect();
        let relays = Relays::try_from(named.clone()).unwrap();
        let json = serde_json::to_string(&relays).unwrap();
        assert_eq!(serde_json::from_str::<Relays>(&json).unwrap(), relays);
        let more: Vec<_> = named.into_iter().chain([relay(99)]).collect();
        assert_eq!(Relays::try_from(more), Err(TooManyRelays { named: RULE_RELAYS_MAX + 1 }));
    }
}
