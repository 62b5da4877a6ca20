//! Records in one JSON file, in the original's own form: `{"APPID.token":{"value":"…","__expires":<unix s>}}`. Entries that are not
//! ours are kept as they stand. The file is only ever replaced whole: written aside, synced, renamed, so that a kill at any moment
//! leaves a whole file. Writes are gathered: at most one rewrite in 50 ms, however many records change.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};

use super::memory::{Permits, locked};
use super::{OpenError, Record, Store, StoreError};
use crate::clock::{Clock, UnixSeconds};

/// The shortest time between two rewrites of the file.
const GATHER: Duration = Duration::from_millis(50);

/// All entries of the file by key, each as the text it has in the file.
type Entries = BTreeMap<String, Box<RawValue>>;

/// One record in the original's form.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    value: std::borrow::Cow<'a, str>,
    __expires: u64,
}

/// Keeps records in one file that no other process may share.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    permits: Permits,
    clock: Clock,
    writer: tokio::task::JoinHandle<()>,
    /// Held for as long as the store lives; the lock goes with the process, however it ends.
    _lock: File,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    changed: Notify,
    /// The last version on disk, and how writing it went.
    written: watch::Sender<Written>,
}

#[derive(Debug, Default)]
struct State {
    entries: Entries,
    version: u64,
}

#[derive(Clone, Debug, Default)]
struct Written {
    version: u64,
    fault: Option<StoreError>,
}

impl FileStore {
    /// Opens the file at `path`, which need not exist; its directory must. Must be called on a tokio runtime.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, OpenError> {
        let path = resolve(path)?;
        let lock = lock(&path)?;
        remove_leftovers(&path);
        let entries = read(&path, &clock)?;
        let state = Mutex::new(State { entries, version: 0 });
        let shared = Arc::new(Shared { path, state, changed: Notify::new(), written: watch::Sender::default() });
        let writer = tokio::spawn(write_changes(Arc::clone(&shared)));
        Ok(Self { shared, permits: Permits::new(clock.clone()), clock, writer, _lock: lock })
    }

    fn living(&self, text: &RawValue) -> Option<Record> {
        let entry: Entry<'_> = serde_json::from_str(text.get()).ok()?;
        let expires_at = UnixSeconds(entry.__expires).millis();
        (expires_at > self.clock.wall()).then(|| Record { value: SecretString::from(entry.value.as_ref()), expires_at })
    }

    /// Applies `change`, then waits until a file that has it is on disk.
    async fn change<T>(&self, operation: &'static str, change: impl FnOnce(&mut Entries) -> T) -> Result<T, StoreError> {
        let mut written = self.shared.written.subscribe();
        let (result, version) = {
            let mut state = locked(&self.shared.state);
            state.version += 1;
            (change(&mut state.entries), state.version)
        };
        self.shared.changed.notify_one();
        let stopped = |_| StoreError { backend: "file", operation, cause: "the store is closed".to_owned() };
        let outcome = written.wait_for(|written| written.version >= version).await.map_err(stopped)?.clone();
        match outcome.fault {
            None => Ok(result),
            Some(fault) => Err(StoreError { operation, ..fault }),
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Store for FileStore {
    fn is_shared(&self) -> bool {
        false
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        ready(Ok(locked(&self.shared.state).entries.get(key).and_then(|text| self.living(text)))).boxed()
    }

    fn put<'a>(&'a self, key: &'a str, record: &'a Record) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let entry = Entry { value: record.value.expose_secret().into(), __expires: record.expires_at.seconds().0 };
            let text = serde_json::value::to_raw_value(&entry).map_err(|error| StoreError {
                backend: "file",
                operation: "write",
                cause: error.to_string(),
            })?;
            self.change("write", |entries| drop(entries.insert(key.to_owned(), text))).await
        }
        .boxed()
    }

    fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        async move {
            if !locked(&self.shared.state).entries.contains_key(key) {
                return Ok(None);
            }
            let taken = self.change("take", |entries| entries.remove(key)).await?;
            Ok(taken.and_then(|text| self.living(&text)))
        }
        .boxed()
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
        async move {
            let version = locked(&self.shared.state).version;
            let settled = self.shared.written.borrow().clone();
            if settled.version >= version && settled.fault.is_none() {
                return Ok(());
            }
            // A last try, also for what could not be written before.
            self.change("write", |_| ()).await
        }
        .boxed()
    }
}

/// Writes the entries whenever they have changed, and tells how it went. Ends with its store.
async fn write_changes(shared: Arc<Shared>) {
    loop {
        shared.changed.notified().await;
        let (text, version) = {
            let state = locked(&shared.state);
            (serde_json::to_vec(&state.entries), state.version)
        };
        let path = shared.path.clone();
        let written =
            tokio::task::spawn_blocking(move || text.map_err(io::Error::from).and_then(|text| replace(&path, &text))).await;
        let fault = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let fault = fault.map(|cause| StoreError { backend: "file", operation: "write", cause });
        shared.written.send_replace(Written { version, fault });
        tokio::time::sleep(GATHER).await;
    }
}

/// Replaces the file at `path` by one with `text`, or leaves it as it was. A temporary file is made with mode 0600.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = directory(path);
    let mut aside = tempfile::Builder::new().prefix(&leftover_prefix(path)).suffix(".tmp").tempfile_in(directory)?;
    aside.write_all(text)?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::ResourceBusy => io::Error::other(format!(
            "{} is a mount point and cannot be replaced: mount its directory instead of the file",
            path.display()
        )),
        _ => error.error,
    })?;
    // The rename itself lives in the directory.
    File::open(directory)?.sync_all()
}

/// The file that is really meant: a link is followed, so that the rename replaces its target and not the link.
fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let misconfigured = |why: String| OpenError::Misconfigured(format!("cache.file {}: {why}", path.display()));
    if let Ok(real) = path.canonicalize() {
        return if real.is_dir() { Err(misconfigured("is a directory; name a file in it".to_owned())) } else { Ok(real) };
    }
    let name = path.file_name().ok_or_else(|| misconfigured("names no file".to_owned()))?;
    let directory = directory(path).canonicalize();
    let directory = directory.map_err(|error| misconfigured(format!("its directory cannot be used ({error}); make it first")))?;
    Ok(directory.join(name))
}

/// Locks the file against a second process. The lock lies on a file beside it, because the file itself is replaced at every write.
fn lock(path: &Path) -> Result<File, OpenError> {
    let beside = sibling(path, ".lock");
    let misconfigured = |error: io::Error| {
        OpenError::Misconfigured(format!(
            "{} cannot be written ({error}); the cache file's directory must be writable",
            beside.display()
        ))
    };
    let lock = File::options().create(true).truncate(false).write(true).open(&beside).map_err(misconfigured)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(format!(
            "another process uses the cache file {}: stop it, give this one a file of its own, or share a Redis instead",
            path.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(misconfigured(error)),
    }
}

/// What a process killed in the middle of a write left aside. Only the holder of the lock may remove it.
fn remove_leftovers(path: &Path) {
    let prefix = leftover_prefix(path);
    for entry in fs::read_dir(directory(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".tmp")) {
            fs::remove_file(entry.path()).ok();
        }
    }
}

/// Reads the file. An empty one is an empty cache; what cannot be read as a JSON object is moved aside, never overwritten.
fn read(path: &Path, clock: &Clock) -> Result<Entries, OpenError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::new()),
        Err(error) => return Err(OpenError::Misconfigured(format!("{} cannot be read: {error}", path.display()))),
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(Entries::new());
    }
    serde_json::from_slice(&bytes).or_else(|error| {
        let seconds = i64::try_from(clock.wall().seconds().0).unwrap_or(i64::MAX);
        let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default().format("%Y%m%dT%H%M%SZ");
        let aside = unused(sibling(path, &format!(".corrupt-{time}")));
        fs::rename(path, &aside)
            .map_err(|rename| OpenError::Misconfigured(format!("{} is damaged and cannot be moved aside: {rename}", path.display())))?;
        // The parser's message tells line and column and quotes nothing.
        tracing::error!(file = %path.display(), moved_to = %aside.display(), %error, "the cache file is torn or not ours; it was moved aside and the cache begins empty");
        Ok(Entries::new())
    })
}

/// `path`, or `path-2`, `path-3` …: an earlier damaged file is evidence too.
fn unused(path: PathBuf) -> PathBuf {
    let numbered = (2..).map(|number| sibling(&path, &format!("-{number}")));
    std::iter::once(path.clone()).chain(numbered).find(|path| !path.exists()).unwrap_or(path)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn leftover_prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}
