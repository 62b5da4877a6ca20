//! Records of logins as they rest in the store: JSON under `oauth.…` and `login.…`, words that no appid may be. A record that cannot be
//! read counts as absent; a store that fails does not.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use crate::clock::{Clock, UnixMillis};
use crate::store::{Changed, Record, Store, StoreError};

/// The store, as logins use it.
pub(super) struct Records {
    store: Arc<dyn Store>,
    clock: Clock,
}

impl Records {
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Whether another process may change what rests here.
    pub(super) fn are_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// What other processes write, where the store can tell.
    pub(super) fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        self.store.changes()
    }

    /// The living record and its end.
    pub(super) async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, UnixMillis)>, StoreError> {
        let found = self.store.get(key).await?;
        Ok(found.and_then(|record| Some((read(key, &record)?, record.expires_at))))
    }

    pub(super) async fn put<T: Serialize>(&self, key: &str, record: &T, expires_at: UnixMillis) -> Result<(), StoreError> {
        let text = serde_json::to_string(record).map_err(|error| StoreError {
            backend: "login",
            operation: "write",
            cause: error.to_string(),
        })?;
        self.store.put(key, &Record { value: SecretString::from(text), expires_at }).await
    }

    /// Reads and deletes at once: of many takers one gets it.
    pub(super) async fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        Ok(self.store.take(key).await?.and_then(|record| read(key, &record)))
    }

    /// `true` for the first who asks within `window`, across all instances.
    pub(super) async fn is_first(&self, key: &str, window: Duration) -> Result<bool, StoreError> {
        self.spend(key, 1, window).await
    }

    pub(super) async fn spend(&self, key: &str, limit: u32, window: Duration) -> Result<bool, StoreError> {
        self.store.spend(key, limit, window).await
    }

    /// How long until `end`.
    pub(super) fn left(&self, end: UnixMillis) -> Duration {
        self.clock.wall().until(end)
    }
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
