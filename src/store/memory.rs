//! Records in this process: a map behind a std mutex, which guards only the map's own few instructions and is never held across an
//! await. The file store is built on the same map.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::{Record, Store, StoreError};
use crate::clock::{Clock, SteadyMillis};

/// Keeps records until the process ends.
#[derive(Debug)]
pub struct MemoryStore {
    records: Mutex<BTreeMap<String, Record>>,
    permits: Permits,
    clock: Clock,
}

impl MemoryStore {
    /// A store that begins with `initial`, as `cache: { memo: {…} }` allows.
    pub fn new(initial: BTreeMap<String, Record>, clock: Clock) -> Self {
        Self { records: Mutex::new(initial), permits: Permits::new(clock.clone()), clock }
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        locked(&self.records)
    }
}

impl Store for MemoryStore {
    fn is_shared(&self) -> bool {
        false
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let now = self.clock.wall();
        ready(Ok(self.records().get(key).filter(|record| record.expires_at > now).cloned())).boxed()
    }

    fn put<'a>(&'a self, key: &'a str, record: &'a Record) -> BoxFuture<'a, Result<(), StoreError>> {
        self.records().insert(key.to_owned(), record.clone());
        ready(Ok(())).boxed()
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

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }
}

/// Permits counted in this process, for the stores that no other process shares.
#[derive(Debug)]
pub(super) struct Permits {
    taken: Mutex<HashMap<String, (u32, SteadyMillis)>>,
    clock: Clock,
}

impl Permits {
    pub(super) fn new(clock: Clock) -> Self {
        Self { taken: Mutex::default(), clock }
    }

    /// See [`Store::spend`].
    pub(super) fn spend(&self, key: &str, limit: u32, window: Duration) -> bool {
        let now = self.clock.steady();
        let mut taken = locked(&self.taken);
        taken.retain(|_, (_, ends)| *ends > now);
        let (count, _) = taken.entry(key.to_owned()).or_insert((0, now.plus(window)));
        let granted = *count < limit;
        *count += u32::from(granted);
        granted
    }
}

/// Locks a mutex whose holders cannot leave the data half-changed, so that one panic elsewhere does not poison everything after it.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
