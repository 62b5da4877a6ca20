//! Records in this process: a map behind a std mutex that is never held across an await. The file
//! store's logins use the same map.

use std::collections::{BTreeMap, HashMap};
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
        let initial = initial.into_iter();
        let records = RecordMap {
            by_key: initial.map(|(key, record)| (key.into(), record)).collect(),
            ..RecordMap::default()
        };
        Self {
            records: Mutex::new(records),
            apps: Mutex::default(),
            permits: Permits::new(clock.clone()),
            clock,
        }
    }

    fn records(&self) -> MutexGuard<'_, RecordMap> {
        locked(&self.records)
    }
}

/// Records by key; expired ones are dropped within two minutes, if something is written then. There
/// are five for each account in use, so a record takes no more than a key and an entry of the map.
#[derive(Debug, Default)]
pub(super) struct RecordMap {
    by_key: HashMap<Box<str>, Record>,
    /// When expired records were last looked for.
    swept_at: UnixMillis,
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
        // The wall clock may have been set back.
        if now.0.abs_diff(self.swept_at.0) >= SWEEP_EVERY_MS {
            self.forget(now);
        }
        self.by_key.insert(key.into(), record.clone());
    }

    /// Removes the record under `key`, which may have ended.
    pub(super) fn remove(&mut self, key: &str) -> Option<Record> {
        self.by_key.remove(key)
    }

    /// Drops what expired [`FORGET_AFTER`] ago, and the room that it took.
    pub(super) fn forget(&mut self, now: UnixMillis) {
        self.swept_at = now;
        self.by_key
            .retain(|_, record| record.expires_at.plus(FORGET_AFTER) > now);
        if self.by_key.len() < self.by_key.capacity() / 4 {
            self.by_key.shrink_to(2 * self.by_key.len());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Record)> {
        let all = self.by_key.iter();
        all.map(|(key, record)| (&**key, record))
    }
}

/// How much longer expired records are kept, in case the wall clock is set back.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(60);

/// How often expired records are looked for. A sweep over 50,000 records takes a millisecond.
const SWEEP_EVERY_MS: u64 = 60_000;

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
