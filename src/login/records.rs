//! Stored login records: JSON under `oauth.…` and `login.…`, prefixes that no appid may have. An
//! unreadable record counts as absent; a store failure is an error.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use clock::UnixMillis;
use credentials::store::{Changed, Record, Store, StoreError};

/// The store, as logins use it.
pub(super) struct Records {
    store: Arc<dyn Store>,
}

/// A record as it was read.
pub(super) struct Found<T> {
    pub(super) record: T,
    written: Record,
}

impl Records {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// True if other processes can change the records.
    pub(super) fn are_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Subscribes to other processes' writes, if the store supports it.
    pub(super) fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        self.store.changes()
    }

    /// Returns the unexpired record.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Found<T>>, StoreError> {
        let found = self.store.get(key).await?;
        Ok(found.and_then(|record| {
            Some(Found {
                record: read(key, &record)?,
                written: record,
            })
        }))
    }

    pub(super) async fn put<T: Serialize>(
        &self,
        key: &str,
        record: &T,
        expires_at: UnixMillis,
    ) -> Result<(), StoreError> {
        self.store
            .put(
                key,
                &Record {
                    value: text(record)?,
                    expires_at,
                },
            )
            .await
    }

    /// Writes `record` unless there is another one under `key`. Returns whether `record` is there.
    pub(super) async fn claim<T: Serialize>(
        &self,
        key: &str,
        record: &T,
        expires_at: UnixMillis,
    ) -> Result<bool, StoreError> {
        let new = Record {
            value: text(record)?,
            expires_at,
        };
        self.store.replace(key, None, &new).await
    }

    /// Writes `record` with the expiry of `found`, unless `key` has changed since it was read.
    pub(super) async fn replace<T: Serialize>(
        &self,
        key: &str,
        found: &Found<T>,
        record: &T,
    ) -> Result<bool, StoreError> {
        let new = Record {
            value: text(record)?,
            expires_at: found.written.expires_at,
        };
        self.store
            .replace(key, Some(&found.written.value), &new)
            .await
    }

    /// Reads and deletes atomically, so that only one caller gets the record.
    pub(super) async fn take<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        Ok(self
            .store
            .take(key)
            .await?
            .and_then(|record| read(key, &record)))
    }

    /// Takes one of `limit` permits, which return after `window`. All instances share them.
    pub(super) async fn take_permit(
        &self,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Result<bool, StoreError> {
        self.store.take_permit(key, limit, window).await
    }

    /// Returns a permit whose use came to nothing.
    pub(super) async fn return_permit(&self, key: &str) -> Result<(), StoreError> {
        self.store.return_permit(key).await
    }
}

fn text<T: Serialize>(record: &T) -> Result<SecretString, StoreError> {
    let failed = |error: serde_json::Error| StoreError {
        backend: "login",
        operation: "write",
        cause: error.to_string(),
    };
    serde_json::to_string(record)
        .map(SecretString::from)
        .map_err(failed)
}

fn read<T: DeserializeOwned>(key: &str, record: &Record) -> Option<T> {
    let read = serde_json::from_str(record.value.expose_secret());
    if read.is_err() {
        // Logs only the key's kind, because the id in it gives access to the record.
        let kind = key.rsplit_once('.').map_or(key, |(kind, _)| kind);
        tracing::warn!(
            record.kind = kind,
            "a login's record cannot be read; it is treated as absent"
        );
    }
    read.ok()
}
