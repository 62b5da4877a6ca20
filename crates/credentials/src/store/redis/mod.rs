//! Records in a Redis, laid out as the original's client lays them out, so that both can run on one Redis during a move. This file
//! knows keys, values and changes; how a connection comes about and is replaced is `link`'s, what an address means is `url`'s.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use secrecy::SecretString;
use tokio::sync::broadcast;
use tokio::time::timeout;

use self::capabilities::{Capabilities, Feature};
use self::change::Change;
use self::changes::{Refund, Replace, Spend, Take};
use self::dial::Dialer;
use self::link::Link;
use self::lock::Lock;
use self::names::Names;
use self::record::{Found, LONGEST, millis, span};
use super::memory::locked;
use super::news::{News, notice, own_name};
use super::{Changed, OpenError, Record, Records, RedisConfig, RedisTopology, Store, StoreError};
use clock::Clock;

mod apps;
mod capabilities;
mod change;
mod changes;
mod connection;
mod credentials;
mod dial;
mod fault;
mod idle;
mod link;
mod lock;
mod names;
mod news;
mod options;
mod record;
mod tls;
mod tls_options;
mod url;

pub use options::{UNKNOWN_OPTION, from_options};
pub use url::{from_address, from_nodes, from_url, together};

/// Keeps records in a Redis that other processes may share.
pub struct RedisStore {
    link: Link,
    dialer: Arc<Dialer>,
    names: Names,
    clock: Clock,
    /// Tells what this process told from what others did.
    name: String,
    /// Shared with the listener.
    capabilities: Arc<Capabilities>,
    /// Begun when somebody wants to hear.
    news: Mutex<Option<News>>,
}

impl RedisStore {
    /// Checks what can be checked without a network. A Redis that is down now is no error: the link finds it when it comes.
    pub fn open(config: &RedisConfig, clock: &Clock) -> Result<Self, OpenError> {
        let dialer = Arc::new(Dialer::new(config)?);
        let capabilities = Arc::new(Capabilities::new(dialer.place(), clock.clone()));
        Ok(Self {
            link: Link::new(Arc::clone(&dialer)),
            dialer,
            names: Names::new(&config.prefix, matches!(config.topology, RedisTopology::Cluster(_))),
            clock: clock.clone(),
            name: own_name(),
            capabilities,
            news: Mutex::default(),
        })
    }

    async fn read(&self, operation: &'static str, key: &str) -> Result<Option<Record>, StoreError> {
        let (key, asked_at) = (self.names.record(key), self.clock.steady());
        let found = self.link.run(true, |connection| record::read(connection, &key)).await;
        Ok(found.map_err(failed(operation))?.record(&key, asked_at, &self.clock))
    }

    async fn change<C: Change>(&self, operation: &'static str, name: &str, change: C) -> Result<C::Outcome, StoreError> {
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
        self.link.run(repeatable, apply).await.map_err(failed(operation))
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
            lock: Lock { key: self.names.lock(key), lasts: self.dialer.timeout() / 4, clock: &self.clock },
        };
        self.change("write", &self.names.record(key), replace).await
    }

    /// Tells the other instances of a write that is done. Nothing depends on it, so it is short of patience and no fault of the write.
    async fn announce(&self, key: &str) {
        let Some(mut connection) = self.link.current() else { return };
        let number = connection.number;
        if !self.capabilities.allows(Feature::Publish, number) {
            return;
        }
        let (channel, text) = (self.names.channel(), notice(&self.name, key));
        match timeout(self.dialer.timeout() / 4, connection.publish(&channel, &text)).await {
            Ok(Ok(())) => self.capabilities.worked(Feature::Publish),
            Ok(Err(error)) => self.capabilities.failed(Feature::Publish, number, &error),
            Err(_) => {}
        }
    }
}

impl Store for RedisStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        let mut news = locked(&self.news);
        let begin = || news::listen(&self.dialer, &self.capabilities, self.names.channel(), &self.name);
        Some(news.get_or_insert_with(begin).subscribe())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        locked(&self.news).take();
        self.link.close();
        ready(Ok(())).boxed()
    }
}

impl Records for RedisStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.read("read", key).boxed()
    }

    fn put<'a>(&'a self, key: &'a str, record: &'a Record) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let left = self.clock.wall().until(record.expires_at).min(LONGEST);
            let place = self.names.record(key);
            let write = async |mut connection| {
                let (text, (unit, amount)) = (record::text(&record.value)?, span(left));
                redis::cmd("SET").arg(&place).arg(text).arg(unit).arg(amount).query_async::<()>(&mut connection).await
            };
            self.link.run(true, write).await.map_err(failed("write"))?;
            self.announce(key).await;
            Ok(())
        }
        .boxed()
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        before: Option<&'a SecretString>,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            let left = self.clock.wall().until(record.expires_at);
            if self.write_over(key, before, &record.value, left).await? {
                self.announce(key).await;
                return Ok(true);
            }
            // What is there may be no record at all; that is nobody's.
            match self.read("write", key).await? {
                Some(_) => Ok(false),
                None => self.put(key, record).await.map(|()| true),
            }
        }
        .boxed()
    }

    fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        async move {
            // The taking itself must not be repeated when its answer is lost. A read, which may be, goes first and finds out
            // whether the connection died while it was idle.
            if self.read("take", key).await?.is_none() {
                return Ok(None);
            }
            let (key, asked_at) = (self.names.record(key), self.clock.steady());
            let found = Found::from(self.apply(false, "take", &key, &Take).await?);
            Ok(found.record(&key, asked_at, &self.clock))
        }
        .boxed()
    }

    fn spend<'a>(&'a self, key: &'a str, limit: u32, window: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move { self.change("spend", &self.names.permits(key), Spend { limit, millis: millis(window) }).await }.boxed()
    }

    fn refund<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { self.change("refund", &self.names.permits(key), Refund).await.map(drop) }.boxed()
    }
}

fn failed(operation: &'static str) -> impl FnOnce(String) -> StoreError {
    move |cause| StoreError { backend: "redis", operation, cause }
}
