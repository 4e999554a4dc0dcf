//! When an agent wants a carrier: whenever UDP may not do, and for a while after it does. No clock here.

use std::fmt;
use std::time::Instant;

use adit_core::domain::limits::CARRIER_KEPT_FOR;
use adit_core::domain::path::{PathKind, PathPreference};

/// Why a carrier is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CarrierNeed {
    /// No control link is up: the gateway is dialled over whatever leads there.
    NoLink,
    /// The control link's packets take it, or nothing answers on the path that they take.
    Gateway,
    /// An owner wants it more than any other path.
    Preferred,
    /// Packets for a peer take it.
    InUse,
    /// A peer has begun to be silent a moment ago.
    PeerInDoubt,
    /// UDP to the gateway has not answered for long enough without a gap.
    UdpUnproven,
}

impl fmt::Display for CarrierNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLink => "no control link is up",
            Self::Gateway => "the control link takes it, or its path is in doubt",
            Self::Preferred => "an owner wants tcp most",
            Self::InUse => "packets for a peer take it",
            Self::PeerInDoubt => "a peer is silent since a moment ago",
            Self::UdpUnproven => "UDP to the gateway has not answered for long enough",
        })
    }
}

/// How a route stands, as far as a carrier is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RouteHealth {
    pub(super) active: Option<PathKind>,
    pub(super) is_in_doubt: bool,
}

/// Since when a route is in doubt. A peer that is not there at all is no reason to keep a carrier for ever.
#[derive(Debug, Default)]
pub(super) struct Doubt(Option<Instant>);

impl Doubt {
    /// Returns why this peer wants a carrier now, if it does.
    pub(super) fn need(
        &mut self,
        health: RouteHealth,
        preference: PathPreference,
        now: Instant,
    ) -> Option<CarrierNeed> {
        self.0 = health.is_in_doubt.then(|| self.0.unwrap_or(now));
        let is_fresh = self.0.is_some_and(|since| now.saturating_duration_since(since) < CARRIER_KEPT_FOR);
        match preference.rank(PathKind::Tcp)? {
            _ if health.active == Some(PathKind::Tcp) => Some(CarrierNeed::InUse),
            0 => Some(CarrierNeed::Preferred),
            _ => is_fresh.then_some(CarrierNeed::PeerInDoubt),
        }
    }
}

/// Since when the gateway answers over UDP without a gap.
#[derive(Debug, Default)]
pub(super) struct UdpProof(Option<Instant>);

impl UdpProof {
    /// Returns why the control link wants a carrier now, if it does.
    pub(super) fn need(&mut self, gateway: RouteHealth, now: Instant) -> Option<CarrierNeed> {
        let is_good = gateway.active == Some(PathKind::Direct) && !gateway.is_in_doubt;
        self.0 = is_good.then(|| self.0.unwrap_or(now));
        match self.0 {
            None => Some(CarrierNeed::Gateway),
            Some(since) => {
                (now.saturating_duration_since(since) < CARRIER_KEPT_FOR).then_some(CarrierNeed::UdpUnproven)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const GOOD: RouteHealth = RouteHealth { active: Some(PathKind::Direct), is_in_doubt: false };
    const DOUBT: RouteHealth = RouteHealth { is_in_doubt: true, ..GOOD };

    #[test]
    fn a_carrier_is_kept_until_udp_has_answered_for_a_minute_without_a_gap() {
        let (mut proof, start) = (UdpProof::default(), Instant::now());
        assert_eq!(proof.need(GOOD, start), Some(CarrierNeed::UdpUnproven));
        let gap = start + CARRIER_KEPT_FOR.saturating_sub(MS);
        assert_eq!(proof.need(GOOD, gap), Some(CarrierNeed::UdpUnproven));
        assert_eq!(proof.need(DOUBT, gap), Some(CarrierNeed::Gateway));
        assert_eq!(proof.need(GOOD, gap), Some(CarrierNeed::UdpUnproven));
        assert_eq!(proof.need(GOOD, start + CARRIER_KEPT_FOR), Some(CarrierNeed::UdpUnproven));
        assert_eq!(proof.need(GOOD, gap + CARRIER_KEPT_FOR), None);
        let carried = RouteHealth { active: Some(PathKind::Tcp), is_in_doubt: false };
        assert_eq!(proof.need(carried, gap + CARRIER_KEPT_FOR), Some(CarrierNeed::Gateway));
    }

    #[test]
    fn a_peer_that_stays_away_is_no_reason_after_a_minute() {
        let (mut doubt, start) = (Doubt::default(), Instant::now());
        let away = RouteHealth { active: None, is_in_doubt: true };
        let mut need = |health, after| doubt.need(health, PathPreference::AUTO, start + after);
        assert_eq!(need(away, Duration::ZERO), Some(CarrierNeed::PeerInDoubt));
        assert_eq!(need(away, CARRIER_KEPT_FOR.saturating_sub(MS)), Some(CarrierNeed::PeerInDoubt));
        assert_eq!(need(away, CARRIER_KEPT_FOR), None);
        assert_eq!(need(GOOD, CARRIER_KEPT_FOR), None);
        assert_eq!(need(DOUBT, CARRIER_KEPT_FOR + MS), Some(CarrierNeed::PeerInDoubt));
    }

    #[test]
    fn what_an_owner_does_not_allow_is_never_wanted_for_a_peer() {
        let now = Instant::now();
        let need = |health, kinds: &[PathKind]| {
            Doubt::default().need(health, PathPreference::new(kinds).unwrap(), now)
        };
        let carried = RouteHealth { active: Some(PathKind::Tcp), is_in_doubt: false };
        assert_eq!(need(carried, &[PathKind::Direct, PathKind::Relay]), None);
        assert_eq!(need(carried, &PathKind::ALL), Some(CarrierNeed::InUse));
        assert_eq!(need(GOOD, &[PathKind::Tcp, PathKind::Direct]), Some(CarrierNeed::Preferred));
        assert_eq!(need(DOUBT, &[PathKind::Relay]), None);
    }
}
