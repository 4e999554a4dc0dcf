//! Label values that peers can choose: the first few are kept, the rest is `other`.

use std::collections::BTreeSet;

use parking_lot::RwLock;

const OTHER: &str = "other";

pub(super) struct BoundedLabels {
    known: RwLock<BTreeSet<String>>,
    count_max: usize,
}

impl BoundedLabels {
    pub(super) const fn new(count_max: usize) -> Self {
        Self { known: RwLock::new(BTreeSet::new()), count_max }
    }

    /// Returns the value itself while there is room, else `other`.
    pub(super) fn bound(&self, value: &str) -> String {
        if self.known.read().contains(value) {
            return value.into();
        }
        let mut known = self.known.write();
        if known.len() >= self.count_max && !known.contains(value) {
            return OTHER.into();
        }
        known.insert(value.into());
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_bound_only_a_new_value_is_counted_as_other() {
        let labels = BoundedLabels::new(2);
        for (value, expected) in
            [("A", "A"), ("B", "B"), ("C", "other"), ("A", "A"), ("C", "other"), ("B", "B")]
        {
            assert_eq!(labels.bound(value), expected);
        }
    }
}
