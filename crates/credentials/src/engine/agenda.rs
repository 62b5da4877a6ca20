//! A priority queue of due times, one per credential.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use tokio::sync::Notify;

use super::sync::{Mutex, MutexGuard, PoisonError};
use clock::SteadyMillis;

/// What is due when.
#[derive(Debug)]
pub(crate) struct Agenda<K> {
    entries: Mutex<Entries<K>>,
    /// Notified when a new entry is the earliest, or may be due.
    earlier: Notify,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        let entries = Entries {
            by_time: BTreeSet::new(),
            by_key: HashMap::new(),
        };
        Self {
            entries: Mutex::new(entries),
            earlier: Notify::new(),
        }
    }
}

#[derive(Debug)]
struct Entries<K> {
    by_time: BTreeSet<(SteadyMillis, K)>,
    by_key: HashMap<K, SteadyMillis>,
}

impl<K: Clone + Eq + Hash + Ord> Agenda<K> {
    fn entries(&self) -> MutexGuard<'_, Entries<K>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Schedules `key` for `due`, instead of its previous time.
    pub(crate) fn set(&self, key: K, due: SteadyMillis) {
        self.place(self.entries(), key, due);
    }

    /// As [`Agenda::set`], unless `key` is scheduled for an earlier time.
    pub(crate) fn set_no_later(&self, key: K, due: SteadyMillis) {
        let entries = self.entries();
        if entries.by_key.get(&key).is_none_or(|set| *set > due) {
            self.place(entries, key, due);
        }
    }

    fn place(&self, mut entries: MutexGuard<'_, Entries<K>>, key: K, due: SteadyMillis) {
        if let Some(before) = entries.by_key.insert(key.clone(), due) {
            entries.by_time.remove(&(before, key.clone()));
        }
        let is_earliest = entries
            .by_time
            .first()
            .is_none_or(|(first, _)| due < *first);
        entries.by_time.insert((due, key));
        drop(entries);
        if is_earliest {
            self.earlier.notify_one();
        }
    }

    /// When `key` is due, if it is scheduled.
    pub(crate) fn due(&self, key: &K) -> Option<SteadyMillis> {
        self.entries().by_key.get(key).copied()
    }

    pub(crate) fn earliest(&self) -> Option<SteadyMillis> {
        self.entries().by_time.first().map(|(due, _)| *due)
    }

    /// Returns once another entry has become the earliest, also if that happened since the last
    /// call of [`Agenda::earliest`].
    pub(crate) async fn earlier(&self) {
        self.earlier.notified().await;
    }

    /// Wakes the waiting task to check again, because moving a clock wakes no timer.
    pub(crate) fn wake(&self) {
        self.earlier.notify_one();
    }

    /// Removes and returns what is due at `now`.
    pub(crate) fn take_due(&self, now: SteadyMillis) -> Vec<K> {
        let mut entries = self.entries();
        let mut due = Vec::new();
        while let Some((at, _)) = entries.by_time.first()
            && *at <= now
        {
            if let Some((_, key)) = entries.by_time.pop_first() {
                entries.by_key.remove(&key);
                due.push(key);
            }
        }
        due
    }
}
