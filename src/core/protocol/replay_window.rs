//! Numbers that count once (RFC 4303 §3.4.3): the highest so far, and which of the last few below it
//! were used. What is older counts as used.

use crate::domain::limits::REPLAY_WINDOW;

const WORD_BITS: u32 = u64::BITS;
const WORDS: usize = (REPLAY_WINDOW / WORD_BITS) as usize;

/// A fixed piece of memory, however many numbers are used.
#[derive(Debug, Clone)]
pub(super) struct ReplayWindow {
    highest: u32,
    used: [u64; WORDS],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self { highest: 0, used: [0; WORDS] }
    }
}

impl ReplayWindow {
    /// Counts everything up to `highest` as used.
    pub(super) const fn after(highest: u32) -> Self {
        Self { highest, used: [u64::MAX; WORDS] }
    }

    pub(super) const fn highest(&self) -> u32 {
        self.highest
    }

    /// Returns whether `number` was not used yet. Zero never is.
    pub(super) fn is_fresh(&self, number: u32) -> bool {
        if number > self.highest {
            return true;
        }
        let (word, bit) = place(number);
        number > 0 && self.highest - number < REPLAY_WINDOW && self.used[word] & bit == 0
    }

    /// Uses `number` up, which must be fresh.
    pub(super) fn note(&mut self, number: u32) {
        if number > self.highest {
            // What falls out of the window makes room.
            let skipped = (number - self.highest).min(REPLAY_WINDOW);
            for step in 0..skipped {
                let (word, bit) = place(number - step);
                self.used[word] &= !bit;
            }
            self.highest = number;
        }
        let (word, bit) = place(number);
        self.used[word] |= bit;
    }
}

const fn place(number: u32) -> (usize, u64) {
    let at = number % REPLAY_WINDOW;
    ((at / WORD_BITS) as usize, 1 << (at % WORD_BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_counts_once() {
        let mut window = ReplayWindow::default();
        for number in [1, 2, 5, 4, REPLAY_WINDOW, REPLAY_WINDOW * 3, u32::MAX - 1, u32::MAX] {
            assert!(window.is_fresh(number), "{number}");
            window.note(number);
            assert!(!window.is_fresh(number), "{number}");
        }
    }

    #[test]
    fn a_number_is_fresh_out_of_order_only_within_the_window() {
        let mut window = ReplayWindow::default();
        window.note(REPLAY_WINDOW + 10);
        assert!(window.is_fresh(11));
        assert!(!window.is_fresh(10));
        assert!(!window.is_fresh(0));
        assert!(!ReplayWindow::default().is_fresh(0));
    }

    #[test]
    fn nothing_up_to_where_a_window_begins_is_fresh() {
        for highest in [1, 77, REPLAY_WINDOW * 2 + 5] {
            let mut window = ReplayWindow::after(highest);
            assert!((highest.saturating_sub(REPLAY_WINDOW)..=highest).all(|number| !window.is_fresh(number)));
            for number in [highest + 5, highest + 2, highest + 1] {
                assert!(window.is_fresh(number));
                window.note(number);
                assert!(!window.is_fresh(number));
            }
            assert!(!window.is_fresh(highest));
        }
    }

    proptest! {
        #[test]
        fn no_number_is_ever_fresh_twice(steps in prop::collection::vec(0_u32..REPLAY_WINDOW * 3, 1..300)) {
            let (mut window, mut used) = (ReplayWindow::default(), BTreeSet::new());
            for number in steps {
                let is_old = used.last().is_some_and(|last: &u32| last.saturating_sub(number) >= REPLAY_WINDOW);
                let is_fresh = number > 0 && !is_old && !used.contains(&number);
                prop_assert_eq!(window.is_fresh(number), is_fresh);
                if is_fresh {
                    window.note(number);
                    used.insert(number);
                }
            }
        }
    }
}
