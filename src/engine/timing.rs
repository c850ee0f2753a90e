//! How long things took, as a histogram that many threads write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of its buckets, in seconds.
pub const BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, f64::INFINITY];

/// A histogram of durations.
#[derive(Default)]
pub(super) struct Timing {
    buckets: [AtomicU64; BOUNDS.len()],
    nanos: AtomicU64,
}

/// What a histogram holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timed {
    /// How many times.
    pub count: u64,
    /// How long in all.
    pub total: Duration,
    /// For each of [`BOUNDS`], how many were longer than the one before it, and not longer than it.
    pub buckets: [u64; BOUNDS.len()],
}

impl Timing {
    /// Notes one duration.
    pub fn note(&self, took: Duration) {
        if let Some(bucket) = self.buckets.get(place(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn read(&self) -> Timed {
        let buckets = std::array::from_fn(|at| self.buckets.get(at).map_or(0, |b| b.load(Ordering::Relaxed)));
        let total = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        Timed { count: buckets.iter().sum(), total, buckets }
    }
}

impl Timed {
    /// Notes one duration, where one thread at a time does.
    pub(super) fn note(&mut self, took: Duration) {
        self.count += 1;
        self.total += took;
        if let Some(bucket) = self.buckets.get_mut(place(took)) {
            *bucket += 1;
        }
    }
}

/// The bucket of a duration.
fn place(took: Duration) -> usize {
    let seconds = took.as_secs_f64();
    BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let timing = Timing::default();
        for millis in [0, 1, 3, 3, 900, 60_000] {
            timing.note(Duration::from_millis(millis));
        }
        let timed = timing.read();
        assert_eq!((timed.count, timed.total), (6, Duration::from_millis(60_907)));
        assert_eq!(timed.buckets, [1, 1, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
    }
}
