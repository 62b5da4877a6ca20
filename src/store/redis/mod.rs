//! Records in a Redis, laid out as the original's client lays them out, so that both can run on one Redis during a move. This file
//! knows keys, values and scripts; how a connection comes about and is replaced is `link`'s, what an address means is `url`'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use redis::{RedisError, RedisResult};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::broadcast;

use self::dial::{Connection, Dialer};
use self::link::Link;
use self::names::Names;
use self::script::{PUT, REFUND, SPEND, TAKE, eval};
use super::apps::{self, Apps, StoredApp};
use super::memory::locked;
use super::news::{News, notice, own_name};
use super::{Changed, OpenError, Record, Records, RedisConfig, RedisTopology, Store, StoreError};
use crate::clock::{Clock, SteadyMillis};

mod credentials;
mod dial;
mod fault;
mod link;
mod names;
mod news;
mod options;
mod script;
mod url;

pub use options::from_options;
pub use url::{from_address, from_nodes, from_url};

/// A hundred years: what is longer would overflow Redis's own clock.
const LONGEST: Duration = Duration::from_secs(3_155_760_000);

/// Keeps records in a Redis that other processes may share.
pub struct RedisStore {
    link: Link,
    dialer: Arc<Dialer>,
    names: Names,
    clock: Clock,
    /// Tells what this process told from what others did.
    name: String,
    /// Begun when somebody wants to hear.
    news: Mutex<Option<News>>,
}

impl RedisStore {
    /// Checks what can be checked without a network. A Redis that is down now is no error: the link finds it when it comes.
    pub fn open(config: &RedisConfig, clock: &Clock) -> Result<Self, OpenError> {
        let dialer = Arc::new(Dialer::new(config)?);
        Ok(Self {
            link: Link::new(Arc::clone(&dialer)),
            dialer,
            names: Names::new(&config.prefix, matches!(config.topology, RedisTopology::Cluster(_))),
            clock: clock.clone(),
            name: own_name(),
            news: Mutex::default(),
        })
    }

    async fn read(&self, operation: &'static str, key: &str) -> Result<Option<Record>, StoreError> {
        let (key, asked_at) = (self.names.record(key), self.clock.steady());
        let found = self.link.run(true, |connection| read(connection, &key)).await;
        Ok(self.record(&key, found.map_err(failed(operation))?, asked_at))
    }

    /// What was found, as a record; `None` also for what someone else put there, which the next write replaces. What it has left counts from
    /// the asking: the answer may have been long on its way, or this process held up.
    fn record(&self, key: &str, found: Found, asked_at: SteadyMillis) -> Option<Record> {
        let Found { left, text } = found;
        let text = match text {
            Text::Absent => return None,
            Text::Bytes(text) => text,
            Text::OtherType => return foreign(key, "not a string"),
        };
        // -2: the key came between the two commands. The next read finds it.
        if left == -2 || left == 0 {
            return None;
        }
        let Ok(left) = u64::try_from(left) else { return foreign(key, "without an expiry") };
        let Ok(value) = serde_json::from_slice::<String>(&text) else { return foreign(key, "not a JSON string") };
        let left = Duration::from_millis(left).saturating_sub(asked_at.until(self.clock.steady()));
        Some(Record { value: SecretString::from(value), expires_at: self.clock.wall().plus(left) })
    }

    async fn script(&self, operation: &'static str, code: &str, name: &str, args: &[&str]) -> Result<bool, StoreError> {
        self.link.run(true, async |connection| eval(connection, code, &[name], args).await).await.map_err(failed(operation))
    }
}

impl Store for RedisStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        let mut news = locked(&self.news);
        let begin = || news::listen(&self.dialer, self.names.channel(), &self.name);
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
            let (place, channel, tidings) = (self.names.record(key), self.names.channel(), notice(&self.name, key));
            let write = async |connection| {
                let (text, (unit, amount)) = (text(&record.value)?, span(left));
                eval::<i64>(connection, PUT, &[&place], &[&text, unit, &amount.to_string(), &channel, &tidings]).await
            };
            self.link.run(true, write).await.map(drop).map_err(failed("write"))
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
            let found = self.link.run(false, async |connection| eval::<(i64, Option<Vec<u8>>)>(connection, TAKE, &[&key], &[]).await).await;
            let (left, text) = found.map_err(failed("take"))?;
            Ok(self.record(&key, Found { left, text: text.map_or(Text::Absent, Text::Bytes) }, asked_at))
        }
        .boxed()
    }

    fn spend<'a>(&'a self, key: &'a str, limit: u32, window: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            let name = self.names.permits(key);
            self.script("spend", SPEND, &name, &[&limit.to_string(), &millis(window)]).await
        }
        .boxed()
    }

    fn refund<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { self.script("refund", REFUND, &self.names.permits(key), &[]).await.map(drop) }.boxed()
    }
}

impl Apps for RedisStore {
    fn apps(&self) -> BoxFuture<'_, Result<Vec<StoredApp>, StoreError>> {
        async move {
            let key = self.names.apps();
            let found = self.link.run(true, |connection| read_apps(connection, &key)).await.map_err(failed("read"))?;
            Ok(found.iter().filter_map(|(app_id, text)| apps::from_json(app_id, text)).collect())
        }
        .boxed()
    }

    fn put_app<'a>(&'a self, app: &'a StoredApp) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let key = self.names.apps();
            self.link.run(true, |connection| write_app(connection, &key, app)).await.map_err(failed("write"))
        }
        .boxed()
    }
}

/// What rests under a key and the milliseconds it has left (-1: for ever, -2: it is not there).
struct Found {
    left: i64,
    text: Text,
}

enum Text {
    Absent,
    Bytes(Vec<u8>),
    OtherType,
}

/// The time left is asked first: when someone writes between the two commands, the new value gets the old value's shorter end, and
/// never the old value the new end.
async fn read(mut connection: Connection, key: &str) -> RedisResult<Found> {
    let mut both = redis::pipe();
    both.cmd("PTTL").arg(key).cmd("GET").arg(key);
    match both.query_async::<(i64, Option<Vec<u8>>)>(&mut connection).await {
        Ok((left, text)) => Ok(Found { left, text: text.map_or(Text::Absent, Text::Bytes) }),
        Err(error) if fault::code(&error).as_deref() == Some("WRONGTYPE") => Ok(Found { left: -1, text: Text::OtherType }),
        Err(error) => Err(error),
    }
}

/// The value as the original's client writes it.
fn text(value: &SecretString) -> RedisResult<String> {
    serde_json::to_string(value.expose_secret()).map_err(|_| unwritable())
}

/// The end of a `SET key "…" EX ttl`. In whole seconds rounded down, so that a record never outlives its credential; a last part of a second in ms.
fn span(left: Duration) -> (&'static str, u64) {
    match left.as_secs() {
        0 => ("PX", left.subsec_millis().max(1).into()),
        seconds => ("EX", seconds),
    }
}

async fn read_apps(mut connection: Connection, key: &str) -> RedisResult<BTreeMap<String, String>> {
    redis::cmd("HGETALL").arg(key).query_async(&mut connection).await
}

async fn write_app(mut connection: Connection, key: &str, app: &StoredApp) -> RedisResult<()> {
    let text = apps::to_json(app).map_err(|_| unwritable())?;
    redis::cmd("HSET").arg(key).arg(&app.app_id).arg(text).query_async(&mut connection).await
}

fn unwritable() -> RedisError {
    RedisError::from((redis::ErrorKind::Client, "the value cannot be written as JSON"))
}

fn foreign(key: &str, what: &'static str) -> Option<Record> {
    tracing::warn!(store.key = key, found = what, "redis holds something under our key that is not ours; it counts as absent");
    None
}

/// Whole milliseconds, of which Redis wants at least one.
fn millis(span: Duration) -> String {
    span.min(LONGEST).as_millis().max(1).to_string()
}

fn failed(operation: &'static str) -> impl FnOnce(String) -> StoreError {
    move |cause| StoreError { backend: "redis", operation, cause }
}
