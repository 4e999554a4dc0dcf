//! Which channels Mirth has said it has, for a while: one that was removed must be asked for again.

use std::collections::BTreeMap;
use std::time::Instant;

use adit_core::domain::limits::{ADMIN_CHANNEL_KNOWN_FOR, ADMIN_CHANNELS_KNOWN_MAX};

/// What one client's connection was told.
#[derive(Debug, Default)]
pub(super) struct KnownChannels(BTreeMap<String, Instant>);

impl KnownChannels {
    /// Returns whether Mirth said so not long ago.
    #[must_use]
    pub(super) fn has(&self, channel: &str, now: Instant) -> bool {
        self.0.get(channel).is_some_and(|told| is_recent(*told, now))
    }

    /// Remembers that Mirth has the channel. Where there is no more room it is asked for each time.
    pub(super) fn learn(&mut self, channel: String, now: Instant) {
        if self.0.len() >= ADMIN_CHANNELS_KNOWN_MAX {
            self.0.retain(|_, told| is_recent(*told, now));
        }
        if self.0.len() < ADMIN_CHANNELS_KNOWN_MAX || self.0.contains_key(&channel) {
            self.0.insert(channel, now);
        }
    }
}

fn is_recent(told: Instant, now: Instant) -> bool {
    now.saturating_duration_since(told) < ADMIN_CHANNEL_KNOWN_FOR
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_counts_for_half_a_minute() {
        let start = Instant::now();
        let mut known = KnownChannels::default();
        assert!(!known.has("a", start));
        known.learn("a".into(), start);
        let last = ADMIN_CHANNEL_KNOWN_FOR.saturating_sub(Duration::from_millis(1));
        assert!(known.has("a", start + last));
        assert!(!known.has("a", start + ADMIN_CHANNEL_KNOWN_FOR));
        assert!(!known.has("b", start));
    }

    #[test]
    fn beyond_the_bound_only_old_answers_make_room() {
        let start = Instant::now();
        let mut known = KnownChannels::default();
        for number in 0..=ADMIN_CHANNELS_KNOWN_MAX {
            known.learn(number.to_string(), start);
        }
        assert!(!known.has(&ADMIN_CHANNELS_KNOWN_MAX.to_string(), start));
        let later = start + ADMIN_CHANNEL_KNOWN_FOR;
        known.learn("new".into(), later);
        assert!(known.has("new", later));
        assert_eq!(known.0.len(), 1);
    }
}
