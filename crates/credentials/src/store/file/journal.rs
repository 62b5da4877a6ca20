//! Records of logins, in a journal beside the cache file: every change is one line appended to it,
//! so what a login writes does not depend on how many there are. Once the journal has doubled it is
//! replaced by one with the living records alone, which costs each line at most two more. An append
//! is not synced: it survives a crash of ours, and a power cut may cost the last logins, which
//! begin again. A record of a credential never lies here.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Notify, watch};

use super::lock::Lock;
use super::{GATHER, RETRY, Written, disk, until_written};
use crate::store::memory::RecordMap;
use crate::store::mutex::locked;
use crate::store::{OpenError, Record, StoreError, gives_way};
use clock::Clock;

mod lines;
mod tail;

use tail::{Appended, Tail};

/// What the keys of logins begin with. No appid is such a word.
const LOGINS: [&str; 2] = ["login.", "oauth."];

/// Whether the record of `key` belongs into the journal.
pub(super) fn holds(key: &str) -> bool {
    LOGINS.iter().any(|word| key.starts_with(word))
}

/// Keeps the records of logins.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    clock: Clock,
    writer: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    /// The last version on disk, and how writing it went.
    written: watch::Sender<Written>,
}

#[derive(Default)]
struct State {
    records: RecordMap,
    /// Lines that are on their way to the disk.
    pending: Vec<u8>,
    version: u64,
}

/// The lines hold the values.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("pending", &self.pending.len())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl State {
    fn write(&mut self, key: &str, record: &Record, clock: &Clock) -> Result<(), StoreError> {
        lines::put(&mut self.pending, key, record).map_err(failed("write"))?;
        self.records.write(key, record, clock.wall());
        Ok(())
    }
}

impl Journal {
    /// Opens the journal of the cache file at `cache`, whose lock is held. `moved` are records that
    /// lay in the cache file until now. Must be called on a tokio runtime.
    pub(super) fn open(
        cache: &Path,
        moved: Vec<(String, Record)>,
        lock: &Arc<Lock>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let path = path_of(cache);
        let mut state = State {
            records: lines::read(&path, &clock)?,
            ..State::default()
        };
        for (key, record) in moved {
            state.records.write(&key, &record, clock.wall());
            state.version = 1;
        }
        let must_write = state.version > 0;
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
            written: watch::Sender::default(),
        });
        if must_write {
            shared.changed.notify_one();
        }
        let writer = tokio::spawn(write_changes(
            Arc::clone(&shared),
            path,
            Arc::downgrade(lock),
            clock.clone(),
        ));
        Ok(Self {
            shared,
            clock,
            writer,
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<Record> {
        locked(&self.shared.state)
            .records
            .get(key, self.clock.wall())
            .cloned()
    }

    pub(super) async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        self.change("write", |state| {
            (state.write(key, record, &self.clock), true)
        })
        .await?
    }

    /// See [`crate::store::Store::replace`].
    pub(super) async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        let replace = |state: &mut State| {
            let found = state.records.get(key, self.clock.wall());
            if found
                .is_some_and(|found| !gives_way(found.value.expose_secret(), before, &record.value))
            {
                return (Ok(false), false);
            }
            (state.write(key, record, &self.clock).map(|()| true), true)
        };
        self.change("write", replace).await?
    }

    pub(super) async fn take(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let take = |state: &mut State| {
            let Some(taken) = state.records.remove(key) else {
                return (Ok(None), false);
            };
            let noted = lines::taken(&mut state.pending, key).map_err(failed("take"));
            (
                noted.map(|()| Some(taken).filter(|taken| taken.expires_at > self.clock.wall())),
                true,
            )
        };
        self.change("take", take).await?
    }

    /// Waits until everything is on disk, and retries what could not be written.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let version = locked(&self.shared.state).version;
        if self.shared.written.borrow().has(version) {
            return Ok(());
        }
        self.change("write", |_| ((), true)).await
    }

    /// Applies `change`, which says whether there is anything to write, then waits until it is on
    /// disk.
    async fn change<T>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut State) -> (T, bool),
    ) -> Result<T, StoreError> {
        let written = self.shared.written.subscribe();
        let (result, version) = {
            let mut state = locked(&self.shared.state);
            let (result, is_changed) = change(&mut state);
            if !is_changed {
                return Ok(result);
            }
            state.version += 1;
            (result, state.version)
        };
        self.shared.changed.notify_one();
        until_written(written, version, operation).await?;
        Ok(result)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// Appends what has changed, as much as has come together while the last append ran, and says how
/// it went. What could not be written is tried again until it can. Ends with its store.
async fn write_changes(shared: Arc<Shared>, path: PathBuf, lock: Weak<Lock>, clock: Clock) {
    let mut tail = Tail::new(path.clone());
    loop {
        let failed = shared.written.borrow().fault.is_some();
        if failed {
            tokio::time::timeout(RETRY, shared.changed.notified())
                .await
                .ok();
        } else {
            shared.changed.notified().await;
        }
        let (bytes, is_whole, version) = {
            let mut state = locked(&shared.state);
            if shared.written.borrow().has(state.version) {
                continue;
            }
            let pending = std::mem::take(&mut state.pending);
            let is_whole = !tail.takes(pending.len());
            let bytes = if is_whole {
                lines::all(&mut state.records, clock.wall())
            } else {
                Ok(pending)
            };
            (bytes, is_whole, state.version)
        };
        let Some(lock) = lock.upgrade() else { return };
        let write = move || {
            let written = lock.keep().and_then(|()| {
                let bytes = bytes?;
                if is_whole {
                    tail.replace(&bytes).map(|()| Appended::Yes)
                } else {
                    tail.append(&bytes)
                }
            });
            (tail, written)
        };
        let written = match tokio::task::spawn_blocking(write).await {
            Ok((back, written)) => {
                tail = back;
                written
            }
            Err(lost) => {
                tail = Tail::new(path.clone());
                Err(io::Error::other(lost))
            }
        };
        match written {
            // Somebody removed or replaced the file: the next round writes it whole.
            Ok(Appended::FileIsGone) => shared.changed.notify_one(),
            Ok(Appended::Yes) => drop(shared.written.send_replace(Written {
                version,
                fault: None,
            })),
            Err(error) => {
                let fault = StoreError {
                    backend: "file",
                    operation: "write",
                    cause: error.to_string(),
                };
                shared.written.send_replace(Written {
                    version,
                    fault: Some(fault),
                });
                // The next try writes the whole journal, which not every caller may ask for.
                tokio::time::sleep(GATHER).await;
            }
        }
    }
}

/// Where the journal of the cache file at `cache` is.
fn path_of(cache: &Path) -> PathBuf {
    disk::sibling(cache, ".logins")
}

fn failed(operation: &'static str) -> impl FnOnce(serde_json::Error) -> StoreError {
    move |error| StoreError {
        backend: "file",
        operation,
        cause: error.to_string(),
    }
}
