//! Records of logins as they rest in the store: JSON under `oauth.…` and `login.…`, words that no appid may be. A record that cannot be
//! read counts as absent; a store that fails does not.

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

/// A record as it was found.
pub(super) struct Found<T> {
    pub(super) record: T,
    written: Record,
}

impl Records {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Whether another process may change what rests here.
    pub(super) fn are_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// What other processes write, where the store can tell.
    pub(super) fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        self.store.changes()
    }

    /// The living record.
    pub(super) async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Found<T>>, StoreError> {
        let found = self.store.get(key).await?;
        Ok(found.and_then(|record| Some(Found { record: read(key, &record)?, written: record })))
    }

    pub(super) async fn put<T: Serialize>(&self, key: &str, record: &T, expires_at: UnixMillis) -> Result<(), StoreError> {
        self.store.put(key, &Record { value: text(record)?, expires_at }).await
    }

    /// Writes `record` with the end of `found`, unless something else was written under `key` since that was found.
    pub(super) async fn replace<T: Serialize>(&self, key: &str, found: &Found<T>, record: &T) -> Result<bool, StoreError> {
        let new = Record { value: text(record)?, expires_at: found.written.expires_at };
        self.store.replace(key, Some(&found.written.value), &new).await
    }

    /// Reads and deletes at once: of many takers one gets it.
    pub(super) async fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        Ok(self.store.take(key).await?.and_then(|record| read(key, &record)))
    }

    /// Takes one of `limit` permits, which come back after `window`; all instances draw on them.
    pub(super) async fn take_permit(&self, key: &str, limit: u32, window: Duration) -> Result<bool, StoreError> {
        self.store.take_permit(key, limit, window).await
    }
}

fn text<T: Serialize>(record: &T) -> Result<SecretString, StoreError> {
    let failed = |error: serde_json::Error| StoreError { backend: "login", operation: "write", cause: error.to_string() };
    serde_json::to_string(record).map(SecretString::from).map_err(failed)
}

fn read<T: DeserializeOwned>(key: &str, record: &Record) -> Option<T> {
    let read = serde_json::from_str(record.value.expose_secret());
    if read.is_err() {
        // The key holds an id that opens the record, so only its kind is told.
        let kind = key.rsplit_once('.').map_or(key, |(kind, _)| kind);
        tracing::warn!(record.kind = kind, "a login's record cannot be read; it counts as absent");
    }
    read.ok()
}
