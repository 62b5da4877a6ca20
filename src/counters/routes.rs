//! Requests by route, status and duration. Every request counts here, so each worker thread has
//! cells of its own. A usual request is one relaxed addition on a cache line that no other thread
//! writes: it was answered with 200 before the clock had moved.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::histogram::{Reading, bucket_of};

/// The upper bounds of the buckets, in milliseconds.
pub const REQUEST_BOUNDS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

const BUCKETS: usize = REQUEST_BOUNDS.len() + 1;

/// The statuses that are counted one by one. The gateway passes on whatever WeChat sends, so the
/// others are counted by their class.
const STATUSES: [(u16, &str); 30] = [
    (200, "200"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (307, "307"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (413, "413"),
    (415, "415"),
    (416, "416"),
    (421, "421"),
    (429, "429"),
    (431, "431"),
    (499, "499"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (505, "505"),
    (507, "507"),
];

/// The classes behind them.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

const COLUMNS: usize = STATUSES.len() + CLASSES.len();

/// The cells of all workers.
#[derive(Debug)]
pub struct RouteCounters {
    patterns: Vec<&'static str>,
    workers: Vec<Box<[CachePadded<Row>]>>,
    /// How many workers have taken cells.
    taken: AtomicUsize,
}

/// One route in one worker.
#[derive(Debug)]
struct Row {
    /// Those with status 200 that took no measurable time, which stand in no other cell.
    usual: AtomicU64,
    statuses: [AtomicU64; COLUMNS],
    buckets: [AtomicU64; BUCKETS],
    sum_ms: AtomicU64,
}

/// The sums of one route.
#[derive(Clone, Debug)]
pub struct RouteReading {
    /// The pattern.
    pub route: &'static str,
    /// How often each status was sent; only those that were.
    pub statuses: Vec<(&'static str, u64)>,
    /// How long requests took.
    pub durations: Reading,
}

impl RouteCounters {
    pub(super) fn new(mut patterns: Vec<&'static str>, workers: usize) -> Self {
        patterns.sort_unstable();
        patterns.dedup();
        let zero = |_| AtomicU64::new(0);
        let row = |_| {
            CachePadded::new(Row {
                usual: AtomicU64::new(0),
                statuses: std::array::from_fn(zero),
                buckets: std::array::from_fn(zero),
                sum_ms: AtomicU64::new(0),
            })
        };
        let rows = |_| (0..patterns.len()).map(row).collect();
        Self {
            workers: (0..workers.max(1)).map(rows).collect(),
            patterns,
            taken: AtomicUsize::new(0),
        }
    }

    /// The cells for another worker. More workers than expected share cells.
    pub fn take_worker(&self) -> usize {
        self.taken.fetch_add(1, Relaxed) % self.workers.len()
    }

    /// The row of a pattern.
    pub fn row_of(&self, pattern: &str) -> usize {
        self.patterns.binary_search(&pattern).unwrap_or(usize::MAX)
    }

    /// Counts a request.
    pub fn count(&self, worker: usize, row: usize, status: u16, took: Duration) {
        let Some(row) = self.workers.get(worker).and_then(|rows| rows.get(row)) else {
            return;
        };
        if status == 200 && took.is_zero() {
            row.usual.fetch_add(1, Relaxed);
            return;
        }
        row.statuses[column_of(status)].fetch_add(1, Relaxed);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        row.buckets[bucket_of(&REQUEST_BOUNDS, millis)].fetch_add(1, Relaxed);
        if millis > 0 {
            row.sum_ms.fetch_add(millis, Relaxed);
        }
    }

    /// The sums over all workers, in the order of the patterns.
    pub fn read(&self) -> Vec<RouteReading> {
        let read = |(index, route): (usize, &&'static str)| {
            let rows = || self.workers.iter().map(move |rows| &rows[index]);
            // Read once, so that statuses and durations agree.
            let usual: u64 = rows().map(|row| row.usual.load(Relaxed)).sum();
            let names = STATUSES
                .iter()
                .map(|(_, name)| *name)
                .chain(CLASSES)
                .enumerate();
            let statuses = names
                .map(|(column, name)| {
                    let counts = rows().map(|row| row.statuses[column].load(Relaxed));
                    let usual = if column == 0 { usual } else { 0 };
                    (name, counts.sum::<u64>() + usual)
                })
                .filter(|(_, count)| *count > 0);
            let bucket = |bucket: usize| {
                let counts = rows().map(|row| row.buckets[bucket].load(Relaxed));
                counts.sum::<u64>() + if bucket == 0 { usual } else { 0 }
            };
            RouteReading {
                route,
                statuses: statuses.collect(),
                durations: Reading {
                    bounds: &REQUEST_BOUNDS,
                    counts: (0..BUCKETS).map(bucket).collect(),
                    sum_ms: rows().map(|row| row.sum_ms.load(Relaxed)).sum(),
                },
            }
        };
        self.patterns.iter().enumerate().map(read).collect()
    }
}

fn column_of(status: u16) -> usize {
    let known = STATUSES.iter().position(|(known, _)| *known == status);
    known.unwrap_or_else(|| {
        let class = usize::from(status / 100).clamp(1, CLASSES.len());
        STATUSES.len() + class - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_and_patterns_stand_once() {
        let routes = RouteCounters::new(vec!["/b", "/a", "/b"], 2);
        let (first, second) = (routes.take_worker(), routes.take_worker());
        assert_eq!((first, second, routes.take_worker()), (0, 1, 0));
        let row = routes.row_of("/b");
        routes.count(first, row, 200, Duration::ZERO);
        routes.count(second, row, 200, Duration::from_millis(7));
        routes.count(first, row, 200, Duration::ZERO);
        routes.count(second, row, 404, Duration::ZERO);
        routes.count(second, row, 418, Duration::from_secs(60));
        routes.count(second, routes.row_of("/other"), 200, Duration::ZERO);
        let read = routes.read();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].statuses, [("200", 3), ("404", 1), ("4xx", 1)]);
        let durations = &read[1].durations;
        assert_eq!((durations.count(), durations.sum_ms), (5, 60_007));
        assert_eq!((durations.counts[0], durations.counts[11]), (3, 1));
        assert!(read[0].statuses.is_empty());
    }
}
