//! How often one realm queries. Queries are as frequent as requests can be, so a few padded cells
//! share the work; each worker writes one of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use clock::UnixMillis;

/// How many cells one realm has.
const CELLS: usize = 8;

/// WeChat counts by the day of China, where no clock is ever changed.
const CHINA: Duration = Duration::from_secs(8 * 3600);

const DAY: u64 = 24 * 3600;

/// The queries of one realm.
#[derive(Debug, Default)]
pub struct RealmUse {
    cells: [CachePadded<Cell>; CELLS],
    midnight: Mutex<Midnight>,
}

#[derive(Debug, Default)]
struct Cell {
    calls: AtomicU64,
    refused: AtomicU64,
    /// When it called last, in milliseconds since 1970.
    last: AtomicU64,
}

/// The totals when the day began.
#[derive(Clone, Copy, Debug, Default)]
struct Midnight {
    day: u64,
    totals: Totals,
}

/// Calls and refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All calls.
    pub calls: u64,
    /// Those of them that were refused.
    pub refused: u64,
}

impl RealmUse {
    /// Counts a query of the realm.
    pub fn count(&self, worker: usize, now: UnixMillis) {
        let cell = &self.cells[worker % CELLS];
        cell.calls.fetch_add(1, Relaxed);
        cell.last.store(now.0, Relaxed);
    }

    /// Notes that a query that was counted is refused.
    pub fn refuse(&self, worker: usize) {
        self.cells[worker % CELLS].refused.fetch_add(1, Relaxed);
    }

    /// When the realm queried last.
    pub fn last_seen(&self) -> Option<UnixMillis> {
        let last = self.cells.iter().map(|cell| cell.last.load(Relaxed)).max();
        last.filter(|at| *at > 0).map(UnixMillis)
    }

    /// Its calls since midnight in Beijing, `more` of other places included. Exact if it is asked
    /// regularly: a day begins when it is asked first on it.
    pub fn today(&self, more: Totals, now: UnixMillis) -> Totals {
        let sum = |read: fn(&Cell) -> &AtomicU64| {
            let cells = self.cells.iter().map(|cell| read(cell).load(Relaxed));
            cells.sum::<u64>()
        };
        let all = Totals {
            calls: sum(|cell| &cell.calls) + more.calls,
            refused: sum(|cell| &cell.refused) + more.refused,
        };
        let day = now.plus(CHINA).seconds().0 / DAY;
        let mut midnight = self.midnight.lock().unwrap_or_else(PoisonError::into_inner);
        // The first day began before the process did, with nothing counted.
        if midnight.day == 0 {
            midnight.day = day;
        } else if midnight.day != day {
            *midnight = Midnight { day, totals: all };
        }
        Totals {
            calls: all.calls.saturating_sub(midnight.totals.calls),
            refused: all.refused.saturating_sub(midnight.totals.refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_beijing() {
        let realm = RealmUse::default();
        // 2026-11-27, 23:59 in Beijing.
        let evening = UnixMillis(1_795_795_140_000);
        assert_eq!(realm.last_seen(), None);
        realm.count(0, evening);
        realm.count(9, evening);
        realm.refuse(9);
        let more = Totals {
            calls: 3,
            refused: 1,
        };
        let today = |now| {
            let Totals { calls, refused } = realm.today(more, now);
            (calls, refused)
        };
        assert_eq!(today(evening), (5, 2));
        let morning = evening.plus(Duration::from_secs(120));
        assert_eq!(today(morning), (0, 0));
        realm.count(1, morning);
        assert_eq!((today(morning), realm.last_seen()), ((1, 0), Some(morning)));
    }
}
