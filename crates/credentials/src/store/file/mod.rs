//! Records in one JSON file, in the original's format:
//! `{"APPID.token":{"value":"…","__expires":<unix s>}}`. Foreign entries are kept unchanged. The
//! file is only replaced whole: written aside, synced, renamed, so that it is complete after a kill
//! at any moment. Writes are batched: at most one rewrite in 50 ms, however many records change.
//! Login records, which strangers can create, are in a separate journal.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};

use super::mutex::locked;
use super::permits::Permits;
use super::{OpenError, Record, Records, Store, StoreError, gives_way};
use clock::{Clock, UnixMillis, UnixSeconds};

mod apps;
mod credentials;
mod disk;
mod ends;
mod entry;
mod journal;
mod lock;
mod writer;

use ends::Ends;
use entry::{Entry, written, written_end};
use journal::Journal;
use lock::Lock;
use writer::{GATHER, RETRY, Shared, State, Written, until_written, write_changes};

/// Keeps records in one file, for one process at a time.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    logins: Journal,
    permits: Permits,
    clock: Clock,
    writer: tokio::task::JoinHandle<()>,
    /// Held until the store is dropped and any running write has ended.
    _lock: Arc<Lock>,
}

impl FileStore {
    /// Opens the file at `path`, which need not exist; its directory must. Must be called on a
    /// tokio runtime.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, OpenError> {
        let path = disk::resolve(path)?;
        let lock = Arc::new(Lock::take(&path)?);
        disk::remove_leftovers(&path);
        let mut entries = disk::read(&path, &clock)?;
        let moved = entry::take_out(&mut entries, journal::holds, clock.wall());
        let must_write = !moved.is_empty();
        let logins = Journal::open(&path, moved, &lock, clock.clone())?;
        let mut order = Ends::default();
        for (key, text) in &entries {
            written_end(text)
                .into_iter()
                .for_each(|end| order.note(key, end));
        }
        let state = Mutex::new(State {
            entries,
            order,
            version: u64::from(must_write),
            ..State::default()
        });
        let shared = Arc::new(Shared {
            path,
            state,
            changed: Notify::new(),
            written: watch::Sender::default(),
        });
        if must_write {
            shared.changed.notify_one();
        }
        let writer = tokio::spawn(write_changes(
            Arc::clone(&shared),
            Arc::downgrade(&lock),
            clock.clone(),
        ));
        Ok(Self {
            shared,
            logins,
            permits: Permits::new(clock.clone()),
            clock,
            writer,
            _lock: lock,
        })
    }

    fn living(&self, text: &RawValue, exact_end: Option<UnixMillis>) -> Option<Record> {
        let entry: Entry<'_> = serde_json::from_str(text.get()).ok()?;
        let expires_at = exact_end.unwrap_or(UnixSeconds(entry.__expires).millis());
        (expires_at > self.clock.wall()).then(|| Record {
            value: SecretString::from(entry.value.as_ref()),
            expires_at,
        })
    }

    /// Applies `change`, then waits until a file that has it is on disk.
    async fn change<T>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut State) -> T,
    ) -> Result<T, StoreError> {
        let written = self.shared.written.subscribe();
        let (result, version) = {
            let mut state = locked(&self.shared.state);
            state.version += 1;
            (change(&mut state), state.version)
        };
        self.shared.changed.notify_one();
        until_written(written, version, operation).await?;
        Ok(result)
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

#[async_trait]
impl Store for FileStore {
    fn is_shared(&self) -> bool {
        false
    }

    async fn close(&self) -> Result<(), StoreError> {
        let logins = self.logins.close().await;
        let version = locked(&self.shared.state).version;
        if self.shared.written.borrow().has(version) {
            return logins;
        }
        // One last attempt, also for changes that could not be written before.
        self.change("write", |_| ()).await.and(logins)
    }
}

#[async_trait]
impl Records for FileStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        if journal::holds(key) {
            return Ok(self.logins.get(key));
        }
        let state = locked(&self.shared.state);
        let found = state
            .entries
            .get(key)
            .and_then(|text| self.living(text, state.ends.get(key).copied()));
        Ok(found)
    }

    async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        if journal::holds(key) {
            return self.logins.put(key, record).await;
        }
        let text = written(record)?;
        self.change("write", |state| state.write(key, text, record.expires_at))
            .await
    }

    async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        if journal::holds(key) {
            return self.logins.replace(key, before, record).await;
        }
        let text = written(record)?;
        self.change("write", |state| {
            let found = state
                .entries
                .get(key)
                .and_then(|text| self.living(text, state.ends.get(key).copied()));
            let may = found
                .is_none_or(|found| gives_way(found.value.expose_secret(), before, &record.value));
            if may {
                state.write(key, text, record.expires_at);
            }
            may
        })
        .await
    }

    async fn take(&self, key: &str) -> Result<Option<Record>, StoreError> {
        if journal::holds(key) {
            return self.logins.take(key).await;
        }
        if !locked(&self.shared.state).entries.contains_key(key) {
            return Ok(None);
        }
        let (text, end) = self
            .change("take", |state| {
                (state.entries.remove(key), state.ends.remove(key))
            })
            .await?;
        Ok(text.and_then(|text| self.living(&text, end)))
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
