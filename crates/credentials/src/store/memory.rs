//! Records in this process: a map behind a std mutex that is never held across an await. The file
//! store's logins use the same map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
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

#[async_trait]
impl Store for MemoryStore {
    fn is_shared(&self) -> bool {
        false
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VersionedRecords for MemoryStore {
    async fn read_pair(&self, key: &str) -> Result<Pair, StoreError> {
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
        Ok(Pair { value, companion })
    }

    async fn write_pair(
        &self,
        key: &str,
        over: Option<&SecretString>,
        new: NewCredential<'_>,
        companion: &str,
        kept: Duration,
    ) -> Result<bool, StoreError> {
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
        Ok(is_free)
    }

    async fn write_companion(
        &self,
        key: &str,
        companion: &str,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let now = self.clock.wall();
        self.records().write(
            &format!("{key}{SUFFIX}"),
            &Record {
                value: companion.into(),
                expires_at: now.plus(ttl),
            },
            now,
        );
        Ok(())
    }

    async fn take_lease(
        &self,
        _: &str,
        _: &str,
        _: Duration,
    ) -> Result<Option<UnixMillis>, StoreError> {
        Ok(Some(self.clock.wall()))
    }

    async fn return_lease(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}

#[async_trait]
impl Records for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let now = self.clock.wall();
        Ok(self.records().get(key, now).cloned())
    }

    async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        self.records().write(key, record, self.clock.wall());
        Ok(())
    }

    async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        let (now, mut records) = (self.clock.wall(), self.records());
        let may = records
            .get(key, now)
            .is_none_or(|found| gives_way(found.value.expose_secret(), before, &record.value));
        if may {
            records.write(key, record, now);
        }
        Ok(may)
    }

    async fn take(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let now = self.clock.wall();
        Ok(self
            .records()
            .remove(key)
            .filter(|record| record.expires_at > now))
    }

    async fn take_permit(
        &self,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Result<bool, StoreError> {
        Ok(self.permits.take_permit(key, limit, window))
    }

    async fn return_permit(&self, key: &str) -> Result<(), StoreError> {
        self.permits.return_permit(key);
        Ok(())
    }
}

#[async_trait]
impl Apps for MemoryStore {
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        Ok(locked(&self.apps).values().cloned().collect())
    }

    async fn put_app(&self, app: &StoredApp) -> Result<(), StoreError> {
        locked(&self.apps).insert(app.app_id.clone(), app.clone());
        Ok(())
    }
}
