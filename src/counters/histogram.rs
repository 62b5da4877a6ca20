//! Histograms of durations with fixed buckets, for what happens too seldom to need cells of each
//! worker's own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds for calls to WeChat, in milliseconds.
pub const CALL_BOUNDS: [u64; 9] = [10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/// The upper bounds for operations of the store, in milliseconds. The clock shows steps of 4 ms.
pub const STORE_BOUNDS: [u64; 8] = [5, 10, 25, 50, 100, 250, 1000, 5000];

/// A histogram that any thread may write.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    buckets: Box<[AtomicU64]>,
    sum_ms: AtomicU64,
}

/// What a histogram held when it was read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The upper bounds in milliseconds.
    pub bounds: &'static [u64],
    /// How many durations each bucket has; the last one has those above all bounds.
    pub counts: Vec<u64>,
    /// All durations together.
    pub sum_ms: u64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_ms: AtomicU64::new(0),
        }
    }

    /// Counts a duration.
    pub fn record(&self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(self.bounds, millis)].fetch_add(1, Relaxed);
        self.sum_ms.fetch_add(millis, Relaxed);
    }

    /// What it holds now.
    pub fn read(&self) -> Reading {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        Reading {
            bounds: self.bounds,
            counts: counts.collect(),
            sum_ms: self.sum_ms.load(Relaxed),
        }
    }
}

impl Reading {
    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The bucket of a duration: the first whose bound is not below it.
pub(super) fn bucket_of(bounds: &[u64], millis: u64) -> usize {
    bounds
        .iter()
        .position(|bound| millis <= *bound)
        .unwrap_or(bounds.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(&CALL_BOUNDS);
        for millis in [0, 10, 11, 10_000, 10_001] {
            histogram.record(Duration::from_millis(millis));
        }
        let read = histogram.read();
        assert_eq!(read.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((read.count(), read.sum_ms), (5, 20_022));
    }
}
