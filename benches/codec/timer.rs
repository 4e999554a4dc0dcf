//! How long a call takes that is too short for one look at the clock: medians of equal batches.

use std::hint::black_box;
use std::time::{Duration, Instant};

const BATCHES: usize = 15;

pub(crate) struct Timer {
    /// How long one batch of calls is to last.
    batch: Duration,
}

impl Timer {
    /// `once`: runs every loop briefly, to show that it works.
    pub(crate) const fn new(once: bool) -> Self {
        Self { batch: if once { Duration::from_micros(200) } else { Duration::from_millis(100) } }
    }

    /// Nanoseconds a call.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub(crate) fn nanoseconds<T>(&self, mut call: impl FnMut() -> T) -> f64 {
        let calls = self.calls_in_a_batch(&mut call);
        let mut nanoseconds: Vec<f64> = (0..BATCHES)
            .map(|_| {
                let started = Instant::now();
                for _ in 0..calls {
                    black_box(call());
                }
                started.elapsed().as_nanos() as f64 / calls as f64
            })
            .collect();
        nanoseconds.sort_by(f64::total_cmp);
        nanoseconds[BATCHES / 2]
    }

    fn calls_in_a_batch<T>(&self, call: &mut impl FnMut() -> T) -> u64 {
        let mut calls = 1;
        loop {
            let started = Instant::now();
            for _ in 0..calls {
                black_box(call());
            }
            if started.elapsed() * 2 >= self.batch {
                return calls;
            }
            calls *= 2;
        }
    }
}
