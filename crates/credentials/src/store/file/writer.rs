//! The file's contents in memory, and the task that writes them to disk whenever they have changed.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};

use super::disk;
use super::ends::Ends;
use super::entry::{Entries, written_end};
use super::lock::Lock;
use crate::store::StoreError;
use crate::store::mutex::locked;
use clock::{Clock, UnixMillis};

/// The shortest time between two rewrites of the file.
pub(super) const GATHER: Duration = Duration::from_millis(50);

/// Retry delay after a failed rewrite.
pub(super) const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) state: Mutex<State>,
    pub(super) changed: Notify,
    /// The last version on disk, and whether writing it failed.
    pub(super) written: watch::Sender<Written>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) entries: Entries,
    /// The exact expiry of what this process wrote, because the file has only whole seconds.
    pub(super) ends: HashMap<String, UnixMillis>,
    /// All expiries in order, also of the records that were in the file.
    pub(super) order: Ends,
    pub(super) version: u64,
}

impl State {
    pub(super) fn write(&mut self, key: &str, text: Box<RawValue>, end: UnixMillis) {
        self.entries.insert(key.to_owned(), text);
        self.ends.insert(key.to_owned(), end);
        self.order.note(key, end);
    }

    /// Drops expired records. An entry that is not a record has no expiry and stays.
    fn forget(&mut self, now: UnixMillis) {
        for (end, key) in self.order.passed(now) {
            let written = self
                .ends
                .get(&key)
                .copied()
                .or_else(|| written_end(self.entries.get(&key)?));
            if written == Some(end) {
                self.entries.remove(&key);
                self.ends.remove(&key);
            }
        }
    }
}

/// The entries' texts hold the values.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("entries", &self.entries.len())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) version: u64,
    pub(super) fault: Option<StoreError>,
}

impl Written {
    /// Whether `version` is on disk. One write may cover several notifications; writing again would
    /// keep a closed store's lock longer.
    pub(super) fn has(&self, version: u64) -> bool {
        self.fault.is_none() && self.version >= version
    }
}

/// Waits until `version` is on disk, or until its write has failed.
pub(super) async fn until_written(
    mut written: watch::Receiver<Written>,
    version: u64,
    operation: &'static str,
) -> Result<(), StoreError> {
    let stopped = |_| StoreError {
        backend: "file",
        operation,
        cause: "the store is closed".to_owned(),
    };
    let outcome = written
        .wait_for(|written| written.version >= version)
        .await
        .map_err(stopped)?
        .clone();
    match outcome.fault {
        None => Ok(()),
        Some(fault) => Err(StoreError { operation, ..fault }),
    }
}

/// Writes the entries whenever they have changed, and publishes the result. A failed write is
/// retried. Ends with its store.
pub(super) async fn write_changes(shared: Arc<Shared>, lock: Weak<Lock>, clock: Clock) {
    loop {
        let failed = shared.written.borrow().fault.is_some();
        if failed {
            tokio::time::timeout(RETRY, shared.changed.notified())
                .await
                .ok();
        } else {
            shared.changed.notified().await;
        }
        let (text, version) = {
            let mut state = locked(&shared.state);
            if shared.written.borrow().has(state.version) {
                continue;
            }
            state.forget(clock.wall());
            (serde_json::to_vec(&state.entries), state.version)
        };
        let Some(lock) = lock.upgrade() else { return };
        let path = shared.path.clone();
        let write = move || {
            lock.keep()?;
            disk::replace(&path, &text?).map(drop)
        };
        let written = tokio::task::spawn_blocking(write).await;
        let fault = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let fault = fault.map(|cause| StoreError {
            backend: "file",
            operation: "write",
            cause,
        });
        shared.written.send_replace(Written { version, fault });
        tokio::time::sleep(GATHER).await;
    }
}
