//! Records in this process: a map behind a std mutex, which guards only the map's own few instructions and is never held across an
//! await. The file store is built on the same map.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use secrecy::{ExposeSecret, SecretString};

use super::{Apps, Record, Store, StoreError, StoredApp, gives_way};
use crate::clock::{Clock, SteadyMillis, UnixMillis};

/// Keeps records until they or the process end.
#[derive(Debug)]
pub struct MemoryStore {
    records: Mutex<Records>,
    apps: Mutex<BTreeMap<String, StoredApp>>,
    permits: Permits,
    clock: Clock,
}

impl MemoryStore {
    /// A store that begins with `initial`, as `cache: { memo: {…} }` allows.
    pub fn new(initial: BTreeMap<String, Record>, clock: Clock) -> Self {
        let mut records = Records::default();
        for (key, record) in initial {
            records.ends.note(&key, record.expires_at);
            records.by_key.insert(key, record);
        }
        let records = Mutex::new(records);
        Self { records, apps: Mutex::default(), permits: Permits::new(clock.clone()), clock }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        locked(&self.records)
    }
}

/// Records by key, without those that have ended.
#[derive(Debug, Default)]
pub(super) struct Records {
    by_key: BTreeMap<String, Record>,
    ends: Ends,
}

impl Records {
    /// The record under `key`, if it has not ended.
    pub(super) fn get(&self, key: &str, now: UnixMillis) -> Option<&Record> {
        self.by_key.get(key).filter(|record| record.expires_at > now)
    }

    /// Writes over whatever was under `key`.
    pub(super) fn write(&mut self, key: &str, record: &Record, now: UnixMillis) {
        self.forget(now);
        self.ends.note(key, record.expires_at);
        self.by_key.insert(key.to_owned(), record.clone());
    }

    /// Removes the record under `key`, which may have ended.
    pub(super) fn remove(&mut self, key: &str) -> Option<Record> {
        self.by_key.remove(key)
    }

    /// Drops what has ended.
    pub(super) fn forget(&mut self, now: UnixMillis) {
        for (end, key) in self.ends.passed(now) {
            if self.by_key.get(&key).is_some_and(|record| record.expires_at == end) {
                self.by_key.remove(&key);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.by_key.iter()
    }
}

/// When what was written ends, so that a store forgets it without looking at all the rest.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeSet<(UnixMillis, String)>);

impl Ends {
    /// `key` ends at `end` unless it is written again.
    pub(super) fn note(&mut self, key: &str, end: UnixMillis) {
        self.0.insert((end, key.to_owned()));
    }

    /// The keys whose noted end lies [`FORGET_AFTER`] back, each once. A key that was written again since has another end: the
    /// caller compares.
    pub(super) fn passed(&mut self, now: UnixMillis) -> Vec<(UnixMillis, String)> {
        let mut passed = Vec::new();
        while self.0.first().is_some_and(|(end, _)| end.plus(FORGET_AFTER) <= now) {
            passed.extend(self.0.pop_first());
        }
        passed
    }
}

/// What has ended is kept this much longer, should the wall clock be set back.
const FORGET_AFTER: Duration = Duration::from_secs(60);

impl Store for MemoryStore {
    fn is_shared(&self) -> bool {
        false
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let now = self.clock.wall();
        ready(Ok(self.records().get(key, now).cloned())).boxed()
    }

    fn put<'a>(&'a self, key: &'a str, record: &'a Record) -> BoxFuture<'a, Result<(), StoreError>> {
        self.records().write(key, record, self.clock.wall());
        ready(Ok(())).boxed()
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        before: Option<&'a SecretString>,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (now, mut records) = (self.clock.wall(), self.records());
        let may = records.get(key, now).is_none_or(|found| gives_way(found.value.expose_secret(), before, &record.value));
        if may {
            records.write(key, record, now);
        }
        ready(Ok(may)).boxed()
    }

    fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let now = self.clock.wall();
        ready(Ok(self.records().remove(key).filter(|record| record.expires_at > now))).boxed()
    }

    fn claim<'a>(&'a self, _: &'a str, _: &'a str, _: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
        ready(Ok(true)).boxed()
    }

    fn release<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn spend<'a>(&'a self, key: &'a str, limit: u32, window: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
        ready(Ok(self.permits.spend(key, limit, window))).boxed()
    }

    fn refund<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.permits.refund(key);
        ready(Ok(())).boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }
}

impl Apps for MemoryStore {
    fn apps(&self) -> BoxFuture<'_, Result<Vec<StoredApp>, StoreError>> {
        ready(Ok(locked(&self.apps).values().cloned().collect())).boxed()
    }

    fn put_app<'a>(&'a self, app: &'a StoredApp) -> BoxFuture<'a, Result<(), StoreError>> {
        locked(&self.apps).insert(app.app_id.clone(), app.clone());
        ready(Ok(())).boxed()
    }

    fn find_user<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        ready(Ok(None)).boxed()
    }
}

/// Permits counted in this process, for the stores that no other process shares.
#[derive(Debug)]
pub(super) struct Permits {
    taken: Mutex<Taken>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Taken {
    by_key: HashMap<String, (u32, SteadyMillis)>,
    /// How many there may be before those whose window is over are looked for.
    sweep_at: usize,
}

impl Permits {
    pub(super) fn new(clock: Clock) -> Self {
        Self { taken: Mutex::default(), clock }
    }

    /// See [`Store::spend`].
    pub(super) fn spend(&self, key: &str, limit: u32, window: Duration) -> bool {
        let now = self.clock.steady();
        let mut taken = locked(&self.taken);
        if taken.by_key.len() >= taken.sweep_at {
            taken.by_key.retain(|_, (_, ends)| *ends > now);
            // Twice as many as live: each sweep is paid for by as many calls as it walks over.
            taken.sweep_at = (2 * taken.by_key.len()).max(64);
        }
        let (count, ends) = taken.by_key.entry(key.to_owned()).or_insert((0, now.plus(window)));
        if *ends <= now {
            (*count, *ends) = (0, now.plus(window));
        }
        let granted = *count < limit;
        *count += u32::from(granted);
        granted
    }

    pub(super) fn refund(&self, key: &str) {
        let mut taken = locked(&self.taken);
        match taken.by_key.get_mut(key) {
            Some((count, _)) if *count > 1 => *count -= 1,
            // The next window begins with the next permit.
            _ => drop(taken.by_key.remove(key)),
        }
    }
}

/// Locks a mutex whose holders cannot leave the data half-changed, so that one panic elsewhere does not poison everything after it.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
