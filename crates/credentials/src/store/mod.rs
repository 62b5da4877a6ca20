//! Storage for credentials, small records and apps: three contracts, one file or folder per
//! backend. Only this folder does storage I/O. It does not depend on WeChat or HTTP; its callers
//! decide what a miss or a fault means.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::broadcast;

use clock::{Clock, UnixMillis};

mod apps;
mod change_feed;
mod companion;
mod credentials;
mod file;
mod fingerprint;
mod memory;
mod mutex;
mod observed;
mod permits;
pub mod redis;
#[cfg(feature = "sql")]
pub mod sql;
mod versioned;

pub use apps::{Apps, Payment, StoredApp, Users};
pub use credentials::{
    Acquired, Backoff, Committed, CredentialStore, Lease, NewCredential, Pair, StoredCredential,
    Version,
};
pub use file::FileStore;
pub(crate) use fingerprint::Fingerprint;
pub use memory::MemoryStore;
pub use observed::{OPERATIONS, observed};
pub use redis::RedisStore;
#[cfg(feature = "sql")]
pub use sql::{SqlConfig, SqlStore};
pub use versioned::VersionedRecords;

/// One stored value and when it ends.
#[derive(Clone, Debug)]
pub struct Record {
    /// The text itself; a store never shows it.
    pub value: SecretString,
    /// When the record expires, by the wall clock, to a second at least.
    pub expires_at: UnixMillis,
}

/// A store: credentials, small records and apps in one place. Every call ends within a time that
/// the store itself bounds.
#[async_trait]
pub trait Store: CredentialStore + Records + Apps + 'static {
    /// Whether other processes may write here too, so that a cached copy can become stale.
    fn is_shared(&self) -> bool;

    /// Notices of what other processes write from now on, if this store sends any. Some may be
    /// lost.
    fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        None
    }

    /// The followers of the apps, if this store knows any.
    fn users(&self) -> Option<&dyn Users> {
        None
    }

    /// Finishes pending work before the process ends.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Small records with an expiry: logins, messages, permits. A miss is `Ok(None)`, never an error,
/// and an error is never a miss: a dead store must not look empty. A credential's value can be read
/// and written here too, without a generation.
#[async_trait]
pub trait Records: Send + Sync {
    /// The record under `key` that has not ended, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError>;

    /// Writes `record` under `key`, over whatever was there. When this returns the record would
    /// survive a crash of ours.
    async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError>;

    /// As [`Records::put`], unless something else has come there since the caller looked: `before`
    /// is the value that it saw, `None` = none. `false`: a record with another value is there, and
    /// stays. A write whose answer was lost may be repeated.
    async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError>;

    /// Reads and deletes at once: of two callers at most one gets the record.
    async fn take(&self, key: &str) -> Result<Option<Record>, StoreError>;

    /// Takes one of `limit` permits named `key`, which come back `window` after the first of them
    /// was taken. `false`: all are taken. All instances draw on one count.
    async fn take_permit(
        &self,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Result<bool, StoreError>;

    /// Gives back what [`Records::take_permit`] took last, because it came to nothing. The window
    /// of the last one given back ends with it.
    async fn return_permit(&self, key: &str) -> Result<(), StoreError>;
}

/// The fingerprint that identifies `value` in a companion.
pub fn fingerprint_of(value: &str) -> String {
    Fingerprint::of(value).to_string()
}

/// A change by another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The record under this key was written, or its lease released.
    Key(Arc<str>),
    /// The connection was interrupted; anything may have changed.
    Unknown,
}

/// A fault of a store, named by what was tried; it never holds a value or a password.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the {backend} store failed to {operation}: {cause}")]
pub struct StoreError {
    /// `memory`, `file`, `redis`, `mysql`, `postgres` or `sqlite`.
    pub backend: &'static str,
    /// `read`, `write`, `take`, `grant a lease` …
    pub operation: &'static str,
    /// The cause in words.
    pub cause: String,
}

/// Whether `new` may replace `found` for a caller that saw `before`; see [`Records::replace`].
fn gives_way(found: &str, before: Option<&SecretString>, new: &SecretString) -> bool {
    found == new.expose_secret() || before.is_some_and(|before| found == before.expose_secret())
}

/// Why a store could not be opened at start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What was configured can never work; the operator must change it.
    #[error("{0}")]
    Misconfigured(String),
    /// Another process holds it.
    #[error("{0}")]
    InUse(String),
}

/// The store that the settings name, validated.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "sql"),
    allow(clippy::large_enum_variant, reason = "there is one of it")
)]
pub enum StoreConfig {
    /// In this process, beginning with these records.
    Memory(BTreeMap<String, Record>),
    /// One JSON file.
    File(PathBuf),
    /// A Redis, in whichever arrangement.
    Redis(RedisConfig),
    /// A database.
    #[cfg(feature = "sql")]
    Sql(SqlConfig),
}

impl StoreConfig {
    /// Whether it is a database.
    pub fn is_sql(&self) -> bool {
        !matches!(self, Self::Memory(_) | Self::File(_) | Self::Redis(_))
    }
}

/// How to reach a Redis: what an URL or the original client's options object came to.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// One server, a sentinel-watched master, or a cluster.
    pub topology: RedisTopology,
    /// The ACL user, if any.
    pub username: Option<String>,
    /// The password, if any.
    pub password: Option<SecretString>,
    /// The logical database; 0 on a cluster.
    pub db: i64,
    /// Put before every key.
    pub prefix: String,
    /// TLS with the system's trusted roots; `None` = plain.
    pub tls: Option<RedisTls>,
    /// Bound on connecting and on every command.
    pub timeout: Duration,
    /// The sentinels' own user, if they have another than the servers.
    pub sentinel_username: Option<String>,
    /// The sentinels' own password; without one the servers' is tried.
    pub sentinel_password: Option<SecretString>,
    /// Options that were given and have no effect, and why.
    pub notes: Vec<(String, &'static str)>,
}

/// Choices of a TLS connection to Redis.
#[derive(Clone, Debug, Default)]
pub struct RedisTls {
    /// PEM of the only authority to trust, instead of the system's.
    pub ca: Option<String>,
    /// The name for SNI and the certificate, if it differs from the host.
    pub server_name: Option<String>,
    /// Our own certificate and its private key, as PEM.
    pub client: Option<(String, SecretString)>,
}

/// The arrangements of Redis servers that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisTopology {
    /// `host` and `port`.
    Standalone(String, u16),
    /// A unix socket.
    Unix(PathBuf),
    /// Sentinels (`host`, `port`) and the name of the master they watch.
    Sentinel(Vec<(String, u16)>, String),
    /// Nodes of a cluster.
    Cluster(Vec<(String, u16)>),
}

/// Opens the store that `config` names. Reading the clock is the store's only way to know what has
/// ended.
pub async fn open(config: &StoreConfig, clock: &Clock) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match config {
        StoreConfig::Memory(initial) => Arc::new(MemoryStore::new(initial.clone(), clock.clone())),
        StoreConfig::File(path) => {
            let (path, clock) = (path.clone(), clock.clone());
            // The file system may hang; a blocking task lets the caller be cancelled.
            let opened = tokio::task::spawn_blocking(move || FileStore::open(&path, clock)).await;
            Arc::new(opened.map_err(|lost| {
                OpenError::Misconfigured(format!("cache.file was not opened: {lost}"))
            })??)
        }
        StoreConfig::Redis(config) => Arc::new(RedisStore::open(config, clock)?),
        #[cfg(feature = "sql")]
        StoreConfig::Sql(config) => Arc::new(SqlStore::open(config, clock)),
    })
}
