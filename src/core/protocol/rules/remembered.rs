//! What the gateway said for good, within a bound: what concerns this agent stays, of the rest the oldest
//! gives way. No word of a gateway displaces one that matters here.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::word::readable;

/// Ordered by when each was said first. Serialised as a plain list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "VecDeque<T>", bound(serialize = "T: Ord + Copy + Serialize"))]
pub(super) struct Remembered<T: Ord + Copy> {
    known: BTreeSet<T>,
    order: VecDeque<T>,
}

impl<T: Ord + Copy> Default for Remembered<T> {
    fn default() -> Self {
        Self { known: BTreeSet::new(), order: VecDeque::new() }
    }
}

impl<T: Ord + Copy> From<VecDeque<T>> for Remembered<T> {
    fn from(said: VecDeque<T>) -> Self {
        let mut remembered = Self::default();
        for one in said {
            remembered.insert(one);
        }
        remembered
    }
}

/// One that this build cannot read does not cost the others.
impl<'de, T: Ord + Copy + Deserialize<'de>> Deserialize<'de> for Remembered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        readable(deserializer).map(|said: Vec<T>| VecDeque::from(said).into())
    }
}

impl<T: Ord + Copy> From<Remembered<T>> for VecDeque<T> {
    fn from(remembered: Remembered<T>) -> Self {
        remembered.order
    }
}

impl<T: Ord + Copy> Remembered<T> {
    pub(super) fn contains(&self, one: T) -> bool {
        self.known.contains(&one)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Inserts it; returns whether it is new.
    pub(super) fn insert(&mut self, one: T) -> bool {
        let is_new = self.known.insert(one);
        if is_new {
            self.order.push_back(one);
        }
        is_new
    }

    /// Removes it; returns whether it was there.
    pub(super) fn remove(&mut self, one: T) -> bool {
        let was_there = self.known.remove(&one);
        if was_there {
            self.order.retain(|other| *other != one);
        }
        was_there
    }

    pub(super) fn extend(&mut self, other: &Self) {
        for &one in &other.order {
            self.insert(one);
        }
    }

    /// Forgets the oldest of those that do not `concern` until at most `others_max` of them are
    /// left. Returns how many went.
    pub(super) fn trim(&mut self, others_max: usize, concerns: impl Fn(&T) -> bool) -> usize {
        if self.len() <= others_max {
            return 0;
        }
        let others = self.order.iter().filter(|one| !concerns(one)).count();
        let excess = others.saturating_sub(others_max);
        let mut left = excess;
        let Self { known, order } = self;
        order.retain(|one| {
            let goes = left > 0 && !concerns(one);
            if goes {
                left -= 1;
                known.remove(one);
            }
            !goes
        });
        excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u32>) -> Remembered<u32> {
        numbers.into_iter().collect::<VecDeque<_>>().into()
    }

    #[test]
    fn the_oldest_that_concerns_nothing_gives_way() {
        let mut remembered = of([1, 2, 3, 4, 5]);
        assert_eq!(remembered.trim(3, |one| *one == 1), 1);
        assert_eq!(remembered, of([1, 3, 4, 5]));
        assert_eq!(remembered.trim(3, |_| false), 1);
        assert_eq!(remembered, of([3, 4, 5]));
    }

    #[test]
    fn more_than_the_bound_may_concern() {
        let mut remembered = of(0..10);
        assert_eq!(remembered.trim(3, |one| *one < 8), 0);
        assert_eq!(remembered.len(), 10);
    }

    #[test]
    fn it_reads_back_in_its_order_from_a_plain_list() {
        let mut remembered = of([5, 1, 9, 1]);
        let text = serde_json::to_string(&remembered).unwrap();
        assert_eq!(text, "[5,1,9]");
        assert_eq!(serde_json::from_str::<Remembered<u32>>(&text).unwrap(), remembered);
        assert_eq!(serde_json::from_str::<Remembered<u32>>(r#"[5,"newer",1,9]"#).unwrap(), remembered);
        assert!(remembered.remove(1) && !remembered.remove(1) && !remembered.contains(1));
        assert_eq!(remembered, of([5, 9]));
    }
}
