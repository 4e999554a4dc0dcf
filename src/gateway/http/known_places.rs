//! Places for those who have proven who they are: so many for all, so many for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::gauge;
use parking_lot::Mutex;

use adit_core::domain::id::UserId;

#[derive(Debug)]
pub(super) struct KnownPlaces {
    all_max: usize,
    each_max: usize,
    /// The gauge that says how many are held.
    metric: &'static str,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    of: BTreeMap<UserId, usize>,
}

/// One place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct KnownPlace {
    places: Arc<KnownPlaces>,
    user: UserId,
}

impl KnownPlaces {
    pub(super) fn new(all_max: usize, each_max: usize, metric: &'static str) -> Arc<Self> {
        Arc::new(Self { all_max, each_max, metric, held: Mutex::default() })
    }

    /// Gives `user` a place, unless all are taken, or all of this user's.
    pub(super) fn take(self: &Arc<Self>, user: UserId) -> Option<KnownPlace> {
        let mut held = self.held.lock();
        let own = held.of.get(&user).copied().unwrap_or(0);
        if held.all >= self.all_max || own >= self.each_max {
            return None;
        }
        held.all += 1;
        held.of.insert(user, own + 1);
        self.measure(held.all);
        drop(held);
        Some(KnownPlace { places: Arc::clone(self), user })
    }

    fn measure(&self, all: usize) {
        gauge!(self.metric).set(f64::from(u32::try_from(all).unwrap_or(u32::MAX)));
    }
}

impl Drop for KnownPlace {
    fn drop(&mut self) {
        let mut held = self.places.held.lock();
        held.all = held.all.saturating_sub(1);
        let own = held.of.get(&self.user).copied().unwrap_or(0);
        if own > 1 {
            held.of.insert(self.user, own - 1);
        } else {
            held.of.remove(&self.user);
        }
        self.places.measure(held.all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_their_own_places_nor_all_together_more_than_there_are() {
        let user = |number: u8| UserId::from_bytes([number; 16]);
        let places = KnownPlaces::new(3, 2, "test");
        let mut held: Vec<_> = (0..5).filter_map(|_| places.take(user(1))).collect();
        assert_eq!(held.len(), 2);
        held.extend((0..5).filter_map(|_| places.take(user(2))));
        assert_eq!(held.len(), 3);
        held.remove(0);
        assert!(places.take(user(3)).is_some());
        held.clear();
        assert!(places.held.lock().of.is_empty(), "who holds none is forgotten");
    }
}
