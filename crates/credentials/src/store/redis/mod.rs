//! Records in Redis, in the original client's format, so that both can run on one Redis during a
//! move. Here are keys, values and changes; `link` connects and reconnects, `url` parses addresses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;
use secrecy::SecretString;
use tokio::sync::broadcast;
use tokio::time::timeout;

use self::capabilities::{Capabilities, Feature};
use self::change::Change;
use self::changes::{Replace, Take};
use self::dial::Dialer;
use self::link::Link;
use self::lock::Lock;
use self::names::Names;
use self::permits::{ReturnPermit, TakePermit};
use self::record::{Found, LONGEST, millis, span};
use super::change_feed::{ChangeFeed, notice, own_name};
use super::mutex::locked;
use super::{Changed, OpenError, Record, Records, RedisConfig, RedisTopology, Store, StoreError};
use clock::Clock;

mod address;
mod apps;
mod capabilities;
mod change;
mod change_feed;
mod changes;
mod connection;
mod credentials;
mod dial;
mod fault;
mod idle;
mod inspect;
mod link;
mod lock;
mod names;
mod option;
mod options;
mod permits;
mod reconnect;
mod record;
mod sentinel;
mod tls;
mod tls_options;
mod url;

pub use idle::UNKNOWN_OPTION;
pub use inspect::Inspection;
pub use options::from_options;
pub use url::{from_address, from_nodes, from_url, together};

/// Keeps records in a Redis that other processes may share.
pub struct RedisStore {
    link: Link,
    dialer: Arc<Dialer>,
    names: Names,
    clock: Clock,
    /// Our name in notices.
    name: String,
    /// Shared with the listener.
    capabilities: Arc<Capabilities>,
    /// Started by the first subscriber.
    feed: Mutex<Option<ChangeFeed>>,
}

impl RedisStore {
    /// Validates the configuration without connecting. A Redis that is down is not an error; the
    /// link connects when it is back.
    pub fn open(config: &RedisConfig, clock: &Clock) -> Result<Self, OpenError> {
        let dialer = Arc::new(Dialer::new(config)?);
        let capabilities = Arc::new(Capabilities::new(dialer.place(), clock.clone()));
        Ok(Self {
            link: Link::new(Arc::clone(&dialer)),
            dialer,
            names: Names::new(
                &config.prefix,
                matches!(config.topology, RedisTopology::Cluster(_)),
            ),
            clock: clock.clone(),
            name: own_name(),
            capabilities,
            feed: Mutex::default(),
        })
    }

    async fn read(&self, operation: &'static str, key: &str) -> Result<Option<Record>, StoreError> {
        let (key, asked_at) = (self.names.record(key), self.clock.steady());
        let found = self
            .link
            .run(true, |connection| record::read(connection, &key))
            .await;
        Ok(found
            .map_err(failed(operation))?
            .record(&key, asked_at, &self.clock))
    }

    async fn change<C: Change>(
        &self,
        operation: &'static str,
        name: &str,
        change: C,
    ) -> Result<C::Outcome, StoreError> {
        self.apply(true, operation, name, &change).await
    }

    async fn apply<C: Change>(
        &self,
        repeatable: bool,
        operation: &'static str,
        name: &str,
        change: &C,
    ) -> Result<C::Outcome, StoreError> {
        let apply = |connection| change::apply(&self.capabilities, connection, name, change);
        self.link
            .run(repeatable, apply)
            .await
            .map_err(failed(operation))
    }

    /// Writes `value` for `left` unless a living value other than `before` and itself is there.
    async fn write_over(
        &self,
        key: &str,
        before: Option<&SecretString>,
        value: &SecretString,
        left: Duration,
    ) -> Result<bool, StoreError> {
        let words = |value| record::text(value).map_err(|error| failed("write")(error.to_string()));
        let replace = Replace {
            // The empty text is no JSON, so nothing that we wrote.
            before: before.map_or(Ok(String::new()), words)?,
            new: words(value)?,
            span: span(left.min(LONGEST)),
            lock: Lock {
                key: self.names.lock(key),
                lasts: self.dialer.timeout() / 4,
                clock: &self.clock,
            },
        };
        self.change("write", &self.names.record(key), replace).await
    }

    /// Carries out `change` of `key` and notifies the other instances. Where the change is one
    /// script, the notice is sent right behind it without waiting for the answer, because a Redis
    /// may be far away; a notice of a change that failed costs the others one read. Before
    /// anything of the kind has worked here, the notice follows the answer: a proxy may end the
    /// connection on `PUBLISH`.
    async fn announced<T>(&self, key: &str, change: impl Future<Output = T>) -> T {
        let works = |feature| self.capabilities.is_known_to_work(feature);
        if works(Feature::Scripts) && (works(Feature::Publish) || works(Feature::Subscribe)) {
            return join(change, self.announce(key)).await.0;
        }
        let outcome = change.await;
        self.announce(key).await;
        outcome
    }

    /// Notifies the other instances. Nothing depends on it, so its timeout is short and its failure
    /// is ignored.
    async fn announce(&self, key: &str) {
        let Some(mut connection) = self.link.current() else {
            return;
        };
        let number = connection.number;
        if !self.capabilities.allows(Feature::Publish, number) {
            return;
        }
        let (channel, text) = (self.names.channel(), notice(&self.name, key));
        match timeout(
            self.dialer.timeout() / 4,
            connection.publish(&channel, &text),
        )
        .await
        {
            Ok(Ok(())) => self.capabilities.worked(Feature::Publish),
            Ok(Err(error)) => self.capabilities.failed(Feature::Publish, number, &error),
            Err(_) => {}
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        let mut feed = locked(&self.feed);
        let begin = || {
            change_feed::listen(
                &self.dialer,
                &self.capabilities,
                self.names.channel(),
                &self.name,
            )
        };
        Some(feed.get_or_insert_with(begin).subscribe())
    }

    async fn close(&self) -> Result<(), StoreError> {
        locked(&self.feed).take();
        self.link.close();
        Ok(())
    }
}

#[async_trait]
impl Records for RedisStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.read("read", key).await
    }

    async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        let left = self.clock.wall().until(record.expires_at).min(LONGEST);
        let place = self.names.record(key);
        let write = async |mut connection| {
            let (text, (unit, amount)) = (record::text(&record.value)?, span(left));
            redis::cmd("SET")
                .arg(&place)
                .arg(text)
                .arg(unit)
                .arg(amount)
                .query_async::<()>(&mut connection)
                .await
        };
        let written = self.announced(key, self.link.run(true, write)).await;
        written.map_err(failed("write"))
    }

    async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        let left = self.clock.wall().until(record.expires_at);
        let written = self.write_over(key, before, &record.value, left);
        if self.announced(key, written).await? {
            return Ok(true);
        }
        // The key may hold something that is not a record, which may be overwritten.
        match self.read("write", key).await? {
            Some(_) => Ok(false),
            None => self.put(key, record).await.map(|()| true),
        }
    }

    async fn take(&self, key: &str) -> Result<Option<Record>, StoreError> {
        // Taking must not be repeated when its answer is lost. A read, which can be repeated,
        // comes first and detects a connection that died while it was idle.
        if self.read("take", key).await?.is_none() {
            return Ok(None);
        }
        let (key, asked_at) = (self.names.record(key), self.clock.steady());
        let found = Found::from(self.apply(false, "take", &key, &Take).await?);
        Ok(found.record(&key, asked_at, &self.clock))
    }

    async fn take_permit(
        &self,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Result<bool, StoreError> {
        self.change(
            "take a permit",
            &self.names.permits(key),
            TakePermit {
                limit,
                millis: millis(window),
            },
        )
        .await
    }

    async fn return_permit(&self, key: &str) -> Result<(), StoreError> {
        self.change("return a permit", &self.names.permits(key), ReturnPermit)
            .await
            .map(drop)
    }
}

fn failed(operation: &'static str) -> impl FnOnce(String) -> StoreError {
    move |cause| StoreError {
        backend: "redis",
        operation,
        cause,
    }
}
