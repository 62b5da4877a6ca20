//! A short lock in Redis for a change that takes several plain commands. It expires, so a process
//! that dies does not block others for long.
//!
//! The lock has the usual limit of an expiring lock: if the holder's last command is delayed for
//! longer than the lock lasts, another process may write in between.

use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::sleep;

use super::connection::Connection;
use clock::{Clock, SteadyMillis};

/// One lock; take it as often as you like.
pub(super) struct Lock<'a> {
    pub(super) key: String,
    /// How long it lasts. Whoever waits gives up after twice as long.
    pub(super) lasts: Duration,
    pub(super) clock: &'a Clock,
}

/// A lock that was taken.
pub(super) struct Held<'a> {
    lock: &'a Lock<'a>,
    /// When it was requested.
    since: SteadyMillis,
    owner: String,
}

impl Lock<'_> {
    pub(super) async fn take(&self, connection: &mut Connection) -> RedisResult<Held<'_>> {
        let (begun, owner) = (
            self.clock.steady(),
            format!("{:016x}", rand::random::<u64>()),
        );
        let millis = u64::try_from(self.lasts.as_millis())
            .unwrap_or(u64::MAX)
            .max(2);
        loop {
            let since = self.clock.steady();
            if set_absent(connection, &self.key, &owner, millis).await? {
                return Ok(Held {
                    lock: self,
                    since,
                    owner,
                });
            }
            if begun.until(self.clock.steady()) >= self.lasts * 2 {
                return Err(RedisError::from((
                    ErrorKind::Client,
                    "locked",
                    "other instances are writing the same record".to_owned(),
                )));
            }
            sleep(Duration::from_millis(
                3 + u64::from(rand::random::<u8>() % 8),
            ))
            .await;
        }
    }
}

impl Held<'_> {
    /// Whether there is time for a command before the lock ends.
    pub(super) fn is_sure(&mut self) -> bool {
        self.since.until(self.lock.clock.steady()) < self.lock.lasts / 2
    }

    /// Releases the lock. It may have expired and belong to another process, and an error does not
    /// matter, because it expires.
    pub(super) async fn release(mut self, connection: &mut Connection) {
        if !self.is_sure() {
            return;
        }
        if let Err(error) = redis::cmd("DEL")
            .arg(&self.lock.key)
            .query_async::<()>(connection)
            .await
        {
            tracing::debug!(
                lock = self.owner,
                cause = error.category(),
                "a lock in redis could not be released; it will expire"
            );
        }
    }
}

/// Writes `text` with an expiry in milliseconds, unless the key exists. Returns whether it wrote.
pub(super) async fn set_absent(
    connection: &mut Connection,
    key: &str,
    text: &str,
    millis: u64,
) -> RedisResult<bool> {
    let mut set = redis::cmd("SET");
    set.arg(key).arg(text).arg("NX").arg("PX").arg(millis);
    Ok(set
        .query_async::<Option<String>>(connection)
        .await?
        .is_some())
}
