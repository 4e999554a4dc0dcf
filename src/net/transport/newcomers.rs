//! Places before authentication as tasks hold them: who loses theirs hears of it, and a limit bounds each
//! step. Who goes is decided in `domain::places`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::debug;

use adit_core::domain::places::{Bounds, PlaceId, Places, Progress};

/// Everybody who is served and has not proven who they are.
#[derive(Debug)]
pub struct Newcomers {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    places: Places,
    /// Dropped when the place is given to somebody else.
    kept: BTreeMap<PlaceId, oneshot::Sender<()>>,
}

/// Why a newcomer is served no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    #[error("its place was needed for somebody else")]
    Displaced,
    #[error("nothing came within {} s", after.as_secs())]
    Late { after: Duration },
}

/// Says how far a newcomer has come, from within one of its steps.
#[derive(Debug, Clone)]
pub struct Advance {
    newcomers: Arc<Newcomers>,
    place: PlaceId,
}

impl Advance {
    pub fn to(&self, progress: Progress) {
        self.newcomers.state.lock().places.advance(self.place, progress, Instant::now());
    }
}

/// A newcomer's place; dropping it gives it back.
#[derive(Debug)]
pub struct Newcomer {
    advance: Advance,
    displaced: oneshot::Receiver<()>,
    is_displaced: bool,
}

impl Newcomers {
    #[must_use]
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { places: Places::new(bounds), kept: BTreeMap::new() }) })
    }

    /// Gives the one that comes from `from` a place, if need be that of another.
    #[must_use]
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> Newcomer {
        let (keep, displaced) = oneshot::channel();
        let mut state = self.state.lock();
        let (place, gone) = state.places.take(from, Instant::now());
        gone.inspect(|gone| {
            debug!(%from, held = state.kept.len(), "the place of another who has not proven who they are was needed");
            state.kept.remove(gone);
        });
        state.kept.insert(place, keep);
        drop(state);
        Newcomer { advance: Advance { newcomers: Arc::clone(self), place }, displaced, is_displaced: false }
    }

    /// Returns how many places are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.lock().places.held()
    }
}

impl Newcomer {
    /// Waits for `step`, as long as the place is kept and no longer than `limit`.
    pub async fn within<T>(&mut self, limit: Duration, step: impl Future<Output = T>) -> Result<T, Gone> {
        if self.is_displaced {
            return Err(Gone::Displaced);
        }
        tokio::select! {
            // The sender is never used, only dropped.
            _ = &mut self.displaced => {
                self.is_displaced = true;
                Err(Gone::Displaced)
            }
            done = timeout(limit, step) => done.map_err(|_| Gone::Late { after: limit }),
        }
    }

    #[must_use]
    pub const fn advance(&self) -> &Advance {
        &self.advance
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let Advance { newcomers, place } = &self.advance;
        let mut state = newcomers.state.lock();
        state.places.leave(*place);
        state.kept.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::Ipv4Addr;

    use super::*;

    const BOUNDS: Bounds = Bounds { all: 2, of_network: 2, of_address: 2 };
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_loses_the_place_hears_of_it_at_once() {
        let newcomers = Newcomers::new(BOUNDS);
        let mut silent = newcomers.enter(HERE);
        let mut speaking = newcomers.enter(HERE);
        speaking.advance().to(Progress::Speaking);
        let _third = newcomers.enter(HERE);
        for _ in 0..2 {
            assert_eq!(silent.within(LONG, pending::<()>()).await, Err(Gone::Displaced));
        }
        assert_eq!(speaking.within(LONG, async { 7 }).await, Ok(7));
        assert_eq!(newcomers.held(), 2);
        drop(silent);
        drop(speaking);
        assert_eq!(newcomers.held(), 1);
    }

    #[tokio::test]
    async fn a_step_that_takes_too_long_is_over() {
        let after = Duration::from_millis(1);
        let late = Newcomers::new(BOUNDS).enter(HERE).within(after, pending::<()>()).await;
        assert_eq!(late, Err(Gone::Late { after }));
    }
}
