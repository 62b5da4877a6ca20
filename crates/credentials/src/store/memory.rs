//! Records in this process: a map behind a std mutex that is never held across an await. The file
//! store's logins use the same map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use secrecy::{ExposeSecret, SecretString};

use super::companion::SUFFIX;
use super::mutex::locked;
use super::permits::Permits;
use super::{
    Apps, NewCredential, Pair, Record, Records, Store, StoreError, StoredApp, VersionedRecords,
    gives_way,
};
use clock::{Clock, SteadyMillis, UnixMillis};

/// Keeps records until they expire or the process ends.
#[derive(Debug)]
pub struct MemoryStore {
    records: Mutex<RecordMap>,
    apps: Mutex<BTreeMap<String, StoredApp>>,
    permits: Permits,
    clock: Clock,
}

impl MemoryStore {
    /// A store that begins with `initial`, as `cache: { memo: {…} }` allows.
    pub fn new(initial: BTreeMap<String, Record>, clock: Clock) -> Self {
        let mut records = RecordMap::default();
        for (key, record) in initial {
            records.ends.note(&key, record.expires_at);
            records.by_key.insert(key, record);
        }
        let records = Mutex::new(records);
        Self {
            records,
            apps: Mutex::default(),
            permits: Permits::new(clock.clone()),
            clock,
        }
    }

    fn records(&self) -> MutexGuard<'_, RecordMap> {
        locked(&self.records)
    }
}

/// Records by key; expired ones are dropped.
#[derive(Debug, Default)]
pub(super) struct RecordMap {
    by_key: BTreeMap<String, Record>,
    ends: Ends,
}

impl RecordMap {
    /// The record under `key`, if it has not ended.
    pub(super) fn get(&self, key: &str, now: UnixMillis) -> Option<&Record> {
        self.by_key
            .get(key)
            .filter(|record| record.expires_at > now)
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
            if self
                .by_key
                .get(&key)
                .is_some_and(|record| record.expires_at == end)
            {
                self.by_key.remove(&key);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.by_key.iter()
    }
}

/// Expiries in order, so that expired records are found without a scan.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeSet<(UnixMillis, String)>);

impl Ends {
    /// `key` ends at `end` unless it is written again.
    pub(super) fn note(&mut self, key: &str, end: UnixMillis) {
        self.0.insert((end, key.to_owned()));
    }

    /// Removes and returns the keys that expired [`FORGET_AFTER`] ago. A key that was written again
    /// since has another expiry, so the caller compares.
    pub(super) fn passed(&mut self, now: UnixMillis) -> Vec<(UnixMillis, String)> {
        let mut passed = Vec::new();
        while self
            .0
            .first()
            .is_some_and(|(end, _)| end.plus(FORGET_AFTER) <= now)
        {
            passed.extend(self.0.pop_first());
        }
        passed
    }
}

/// How much longer expired records are kept, in case the wall clock is set back.
const FORGET_AFTER: Duration = Duration::from_secs(60);

impl Store for MemoryStore {
    fn is_shared(&self) -> bool {
        false
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }
}

impl VersionedRecords for MemoryStore {
    fn read_pair<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Pair, StoreError>> {
        let (records, wall, steady) = (self.records(), self.clock.wall(), self.clock.steady());
        let living = |key: &str| {
            records
                .by_key
                .get(key)
                .filter(|record| record.expires_at > wall)
        };
        let value = living(key).map(|record| {
            (
                record.value.clone(),
                steady.plus(wall.until(record.expires_at)),
            )
        });
        let companion =
            living(&format!("{key}{SUFFIX}")).map(|record| record.value.expose_secret().to_owned());
        ready(Ok(Pair { value, companion })).boxed()
    }

    fn write_pair<'a>(
        &'a self,
        key: &'a str,
        over: Option<&'a SecretString>,
        new: NewCredential<'a>,
        companion: &'a str,
        kept: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (mut records, now) = (self.records(), self.clock.wall());
        let found = records
            .by_key
            .get(key)
            .filter(|found| found.expires_at > now);
        let is_free =
            found.is_none_or(|found| gives_way(found.value.expose_secret(), over, new.value));
        if is_free {
            let expires_at = now.plus(self.clock.steady().until(new.ends));
            records.write(
                key,
                &Record {
                    value: new.value.clone(),
                    expires_at,
                },
                now,
            );
            let beside = Record {
                value: companion.into(),
                expires_at: expires_at.plus(kept),
            };
            records.write(&format!("{key}{SUFFIX}"), &beside, now);
        }
        ready(Ok(is_free)).boxed()
    }

    fn write_companion<'a>(
        &'a self,
        key: &'a str,
        companion: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let now = self.clock.wall();
        self.records().write(
            &format!("{key}{SUFFIX}"),
            &Record {
                value: companion.into(),
                expires_at: now.plus(ttl),
            },
            now,
        );
        ready(Ok(())).boxed()
    }

    fn take_lease<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<Option<UnixMillis>, StoreError>> {
        ready(Ok(Some(self.clock.wall()))).boxed()
    }

    fn return_lease<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}

impl Records for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let now = self.clock.wall();
        ready(Ok(self.records().get(key, now).cloned())).boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
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
        let may = records
            .get(key, now)
            .is_none_or(|found| gives_way(found.value.expose_secret(), before, &record.value));
        if may {
            records.write(key, record, now);
        }
        ready(Ok(may)).boxed()
    }

    fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let now = self.clock.wall();
        ready(Ok(self
            .records()
            .remove(key)
            .filter(|record| record.expires_at > now)))
        .boxed()
    }

    fn take_permit<'a>(
        &'a self,
        key: &'a str,
        limit: u32,
        window: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        ready(Ok(self.permits.take_permit(key, limit, window))).boxed()
    }

    fn return_permit<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.permits.return_permit(key);
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
}
