//! Records in a database: MySQL or MariaDB with the unchanged tables of micro-plat/wetoken,
//! PostgreSQL and SQLite with the same tables. This file bounds every call and classifies errors;
//! the statements are in `wetoken` and `records`.
//!
//! Reading order: `wetoken` and `records` (the statements), `dialect` (the differences between
//! databases), `session` and `pool` (connections), `change_feed` (notices of other processes),
//! `schema` and `install` (the tables).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::broadcast;
use tokio::time::timeout;

use self::change_feed::PostgresFeed;
use self::driver::Cell;
use self::session::{Database, Session};
use super::{Changed, Record, Records, Store, StoreError, Users, gives_way};
use clock::{Clock, SteadyMillis};

mod apps;
mod change_feed;
mod credentials;
mod dialect;
mod driver;
mod fault;
mod foreign;
mod inspect;
mod install;
mod pool;
mod records;
mod schema;
mod session;
mod url;
mod wetoken;

pub use self::foreign::rows_of;
pub use self::inspect::{Inspection, TableFault, inspect};
pub use self::install::install;
pub use self::url::{SqlConfig, TIMEOUTS, from_url};

/// A hundred years; anything longer would exceed the databases' dates.
const LONGEST: Duration = Duration::from_secs(3_155_760_000);

/// How often work is tried that collides with other transactions.
const TRIES: u32 = 4;

/// One write in this many also sweeps; the first of a process does.
const SWEEP_EVERY: u32 = 64;

/// The timeout of a sweep, because the caller waits for it.
const SWEEP_WITHIN: Duration = Duration::from_secs(1);

/// Keeps records in a database that other processes may share.
pub struct SqlStore {
    database: Database,
    feed: Option<PostgresFeed>,
    place: String,
    timeout: Duration,
    clock: Clock,
    writes: AtomicU32,
    is_down: AtomicBool,
}

/// What was found and the milliseconds that it has left by the server's clock.
struct Found {
    value: SecretString,
    left: i64,
}

impl Found {
    /// `None` for what has ended.
    fn new(value: Cell, left: Cell) -> Option<Self> {
        let left = left.number().filter(|left| *left > 0)?;
        Some(Self {
            value: value.secret()?,
            left,
        })
    }
}

impl SqlStore {
    /// Does not connect: a database that is down is not an error. Must be called on a tokio
    /// runtime.
    pub fn open(config: &SqlConfig, clock: &Clock) -> Self {
        let database = Database::new(config, clock);
        Self {
            feed: database.own().and_then(|own| PostgresFeed::of(config, own)),
            database,
            place: config.place(),
            timeout: config.timeout,
            clock: clock.clone(),
            writes: AtomicU32::new(0),
            is_down: AtomicBool::new(false),
        }
    }

    /// Runs `work` on a connection, within the timeout, and retries it after a collision with
    /// another transaction. A session that `work` does not return is closed.
    async fn run<T, F>(
        &self,
        operation: &'static str,
        work: impl Fn(Session) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = sqlx::Result<(T, Session)>>,
    {
        let attempts = async {
            let mut tries = 1;
            loop {
                match work(self.database.session().await?).await {
                    Err(error) if tries < TRIES && fault::is_collision(&error) => tries += 1,
                    ended => return ended,
                }
            }
        };
        let outcome = match timeout(self.timeout, attempts).await {
            Ok(Ok((answer, session))) => {
                session.keep();
                self.note(None);
                return Ok(answer);
            }
            Ok(Err(error)) => fault::words(&error, &self.place),
            Err(_) => fault::silence(&self.place, self.timeout),
        };
        self.note(Some(&outcome));
        Err(StoreError {
            backend: self.database.dialect().name(),
            operation,
            cause: outcome,
        })
    }

    /// Logs the start and the end of an outage, not every failed request.
    fn note(&self, trouble: Option<&str>) {
        let was_down = self.is_down.swap(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            Some(cause) if !was_down => {
                tracing::warn!(store.place = self.place, cause, "the database fails")
            }
            None if was_down => tracing::info!(store.place = self.place, "the database is back"),
            _ => {}
        }
    }

    /// The row as a record. Its time to live is measured from when the request was sent, because
    /// the answer may have been slow.
    fn record(&self, found: Option<Found>, asked_at: SteadyMillis) -> Option<Record> {
        let Found { value, left } = found?;
        let left = Duration::from_millis(u64::try_from(left).ok()?)
            .saturating_sub(asked_at.until(self.clock.steady()));
        Some(Record {
            value,
            expires_at: self.clock.wall().plus(left),
        })
    }

    /// Sometimes deletes expired rows. The write before has succeeded, so a failure here is
    /// ignored.
    async fn sweep(&self, session: &mut Session) {
        if self
            .writes
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(SWEEP_EVERY)
        {
            timeout(SWEEP_WITHIN, records::sweep(session)).await.ok();
        }
    }
}

#[async_trait]
impl Store for SqlStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        self.feed.as_ref().map(PostgresFeed::subscribe)
    }

    fn users(&self) -> Option<&dyn Users> {
        Some(self)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.feed.iter().for_each(PostgresFeed::close);
        // A server that does not answer in time is left alone.
        timeout(self.timeout, self.database.close()).await.ok();
        Ok(())
    }
}

#[async_trait]
impl Records for SqlStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let read = move |mut session| async move {
            let found = match wetoken::row_of(key) {
                Some(row) => row.read(&mut session).await?,
                None => records::read(&mut session, key).await?,
            };
            Ok((found, session))
        };
        let asked_at = self.clock.steady();
        Ok(self.record(self.run("read", read).await?, asked_at))
    }

    async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        let value = record.value.expose_secret();
        let write = move |mut session| async move {
            let left = millis(self.clock.wall().until(record.expires_at));
            match wetoken::row_of(key) {
                Some(row) => row.write(&mut session, value, left).await?,
                None => records::write(&mut session, key, value, left).await?,
            }
            self.sweep(&mut session).await;
            Ok(((), session))
        };
        self.run("write", write).await
    }

    async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        let replace = move |mut session| async move {
            let left = millis(self.clock.wall().until(record.expires_at));
            let may = |found: &str| gives_way(found, before, &record.value);
            let value = record.value.expose_secret();
            let written = match wetoken::row_of(key) {
                Some(row) => row.replace(&mut session, may, value, left).await?,
                None => records::replace(&mut session, key, may, value, left).await?,
            };
            self.sweep(&mut session).await;
            Ok((written, session))
        };
        self.run("write", replace).await
    }

    async fn take(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let take = move |mut session| async move {
            let found = match wetoken::row_of(key) {
                Some(row) => row.take(&mut session).await?,
                None => records::take(&mut session, key).await?,
            };
            Ok((found, session))
        };
        let asked_at = self.clock.steady();
        Ok(self.record(self.run("take", take).await?, asked_at))
    }

    async fn take_permit(
        &self,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Result<bool, StoreError> {
        let take = move |mut session| async move {
            let granted = records::take_permit(&mut session, key, limit, millis(window)).await?;
            self.sweep(&mut session).await;
            Ok((granted, session))
        };
        self.run("take a permit", take).await
    }

    async fn return_permit(&self, key: &str) -> Result<(), StoreError> {
        self.run("return a permit", move |mut session| async move {
            Ok((records::return_permit(&mut session, key).await?, session))
        })
        .await
    }
}

/// Whole milliseconds.
fn millis(span: Duration) -> i64 {
    i64::try_from(span.min(LONGEST).as_millis()).unwrap_or(i64::MAX)
}
