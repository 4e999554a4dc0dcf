//! How much each organization may send through the relay: a bucket each, refilled at a fixed rate.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::domain::id::OrganizationId;
use crate::domain::limits::{RELAY_BURST, RELAY_MEMBERS_MAX};
use crate::protocol::token_bucket::TokenBucket;
use crate::protocol::token_buckets::TokenBuckets;

#[derive(Debug)]
pub(super) struct BandwidthLimiter {
    bits_per_second: NonZeroU64,
    /// As many as there are members at most: only they send.
    organizations: TokenBuckets<OrganizationId>,
}

impl BandwidthLimiter {
    pub(super) const fn new(bits_per_second: NonZeroU64) -> Self {
        let burst = TokenBucket::every(1, RELAY_BURST);
        Self { bits_per_second, organizations: TokenBuckets::of(burst, RELAY_MEMBERS_MAX) }
    }

    /// Returns whether so many bytes more may be sent now.
    pub(super) fn take(&mut self, organization: OrganizationId, bytes: usize, now: Instant) -> bool {
        let nanoseconds = bytes as u128 * 8 * 1_000_000_000 / u128::from(self.bits_per_second.get());
        let sent_in = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.organizations.try_spend(organization, sent_in, now)
    }

    /// Forgets the idle: what all that they sent took at their rate is over.
    pub(super) fn forget_idle(&mut self, now: Instant) {
        self.organizations.forget_full(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: OrganizationId = OrganizationId::from_bytes([1; 16]);
    const OTHER: OrganizationId = OrganizationId::from_bytes([2; 16]);

    #[test]
    fn what_passes_in_a_second_is_the_rate_plus_one_burst() {
        let start = Instant::now();
        let mut limiter = BandwidthLimiter::new(NonZeroU64::new(8_000_000).unwrap());
        let mut passed = 0;
        for ms in 0..1_000 {
            let now = start + Duration::from_millis(ms);
            passed += (0..100).filter(|_| limiter.take(ONE, 1_000, now)).count() * 1_000;
        }
        // A million bytes a second; a tenth of it at once; a packet on the edge.
        assert!((1_098_000..=1_102_000).contains(&passed), "{passed}");
        assert!(limiter.take(OTHER, 1_000, start), "others are not held back");
    }

    #[test]
    fn an_organization_is_forgotten_only_once_it_owes_nothing() {
        let start = Instant::now();
        let mut limiter = BandwidthLimiter::new(NonZeroU64::new(8_000).unwrap());
        assert!(limiter.take(ONE, 1_000, start));
        limiter.forget_idle(start + Duration::from_millis(999));
        assert!(!limiter.take(ONE, 1_000, start));
        limiter.forget_idle(start + Duration::from_millis(1_000));
        assert!(limiter.organizations.is_empty());
    }
}
