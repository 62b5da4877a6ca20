//! How a record is written in Redis, as the original's client writes it, and how it is read.

use std::time::Duration;

use redis::{RedisError, RedisResult};
use secrecy::{ExposeSecret, SecretString};

use super::super::Record;
use super::connection::Connection;
use super::fault;
use clock::{Clock, SteadyMillis};

/// A hundred years; anything longer would overflow Redis's own clock.
pub(super) const LONGEST: Duration = Duration::from_secs(3_155_760_000);

/// What rests under a key and the milliseconds it has left (-1: for ever, -2: it is not there).
pub(super) struct Found {
    pub(super) left: i64,
    pub(super) text: Text,
}

pub(super) enum Text {
    Absent,
    Bytes(Vec<u8>),
    OtherType,
}

impl From<(i64, Option<Vec<u8>>)> for Found {
    fn from((left, text): (i64, Option<Vec<u8>>)) -> Self {
        Self {
            left,
            text: text.map_or(Text::Absent, Text::Bytes),
        }
    }
}

/// The time to live is read first: if another process writes between the two commands, the new
/// value gets the old value's earlier expiry, and never the reverse.
pub(super) async fn read(mut connection: Connection, key: &str) -> RedisResult<Found> {
    let mut both = redis::pipe();
    both.cmd("PTTL").arg(key).cmd("GET").arg(key);
    match both
        .query_async::<(i64, Option<Vec<u8>>)>(&mut connection)
        .await
    {
        Ok(found) => Ok(found.into()),
        Err(error) if fault::code(&error).as_deref() == Some("WRONGTYPE") => Ok(Found {
            left: -1,
            text: Text::OtherType,
        }),
        Err(error) => Err(error),
    }
}

impl Found {
    /// What was found, as a record; `None` also for what someone else put there, which the next
    /// write replaces. What it has left counts from the asking: the answer may have been long on
    /// its way, or this process held up.
    pub(super) fn record(self, key: &str, asked_at: SteadyMillis, clock: &Clock) -> Option<Record> {
        let text = match self.text {
            Text::Absent => return None,
            Text::Bytes(text) => text,
            Text::OtherType => return foreign(key, "not a string"),
        };
        // -2: the key came between the two commands. The next read finds it.
        if self.left == -2 || self.left == 0 {
            return None;
        }
        let Ok(left) = u64::try_from(self.left) else {
            return foreign(key, "without an expiry");
        };
        let Ok(value) = serde_json::from_slice::<String>(&text) else {
            return foreign(key, "not a JSON string");
        };
        let left = Duration::from_millis(left).saturating_sub(asked_at.until(clock.steady()));
        Some(Record {
            value: SecretString::from(value),
            expires_at: clock.wall().plus(left),
        })
    }
}

/// The value as the original's client writes it.
pub(super) fn text(value: &SecretString) -> RedisResult<String> {
    serde_json::to_string(value.expose_secret()).map_err(|_| unwritable())
}

/// The end of a `SET key "…" EX ttl`. In whole seconds rounded down, so that a record never
/// outlives its credential; a last part of a second in ms.
pub(super) fn span(left: Duration) -> (&'static str, u64) {
    match left.as_secs() {
        0 => ("PX", left.subsec_millis().max(1).into()),
        seconds => ("EX", seconds),
    }
}

/// Whole milliseconds, at least one, as Redis requires.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.min(LONGEST).as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

pub(super) fn unwritable() -> RedisError {
    RedisError::from((
        redis::ErrorKind::Client,
        "the value cannot be written as JSON",
    ))
}

fn foreign(key: &str, what: &'static str) -> Option<Record> {
    tracing::warn!(
        store.key = key,
        found = what,
        "redis has a foreign value under this key; it is treated as absent"
    );
    None
}
