//! The changes that the store makes, each as a script and with plain commands. A script touches one
//! key and publishes nothing: many proxies refuse a script that does.

use std::time::Duration;

use redis::RedisResult;

use super::change::Change;
use super::connection::Connection;
use super::fault;
use super::lock::{Lock, set_absent};

/// A key's time to live in ms (-1: no expiry, -2: no key) and its value.
type Left = (i64, Option<Vec<u8>>);

/// Reads and deletes at once; servers before 6.2 have no `GETDEL`.
pub(super) struct Take;

impl Change for Take {
    type Outcome = Left;

    const SCRIPT: &'static str = "local found = { redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1]) } redis.call('DEL', KEYS[1]) return found";

    fn arguments(&self) -> Vec<String> {
        Vec::new()
    }

    /// Of all who read the record, the one whose `DEL` deletes it has it.
    async fn plain(&self, mut connection: Connection, key: &str) -> RedisResult<Left> {
        let found = read(&mut connection, key).await?;
        if found.1.is_none() {
            return Ok(found);
        }
        let deleted: i64 = redis::cmd("DEL")
            .arg(key)
            .query_async(&mut connection)
            .await?;
        Ok(if deleted == 1 { found } else { (-2, None) })
    }
}

/// Writes unless an unexpired value other than `before` (which the caller saw) and `new` is there.
/// Anything but a string is overwritten.
pub(super) struct Replace<'a> {
    pub(super) before: String,
    pub(super) new: String,
    /// `EX` or `PX`, and how many of them.
    pub(super) span: (&'static str, u64),
    pub(super) lock: Lock<'a>,
}

impl Change for Replace<'_> {
    type Outcome = bool;

    const SCRIPT: &'static str = "local found = redis.pcall('GET', KEYS[1]) \
        if type(found) == 'string' and found ~= ARGV[1] and found ~= ARGV[2] then return 0 end \
        redis.call('SET', KEYS[1], ARGV[2], ARGV[3], ARGV[4]) return 1";

    fn arguments(&self) -> Vec<String> {
        vec![
            self.before.clone(),
            self.new.clone(),
            self.span.0.to_owned(),
            self.span.1.to_string(),
        ]
    }

    /// Under a lock that all who write this way take, between reading and writing.
    async fn plain(&self, mut connection: Connection, key: &str) -> RedisResult<bool> {
        loop {
            let mut held = self.lock.take(&mut connection).await?;
            let found = match redis::cmd("GET")
                .arg(key)
                .query_async::<Option<Vec<u8>>>(&mut connection)
                .await
            {
                Err(error) if is_wrong_type(&error) => None,
                found => found?,
            };
            let gives_way = found.is_none_or(|found| {
                found == self.before.as_bytes() || found == self.new.as_bytes()
            });
            if gives_way && !held.is_sure() {
                continue;
            }
            if gives_way {
                let (unit, amount) = self.span;
                redis::cmd("SET")
                    .arg(key)
                    .arg(&self.new)
                    .arg(unit)
                    .arg(amount)
                    .query_async::<()>(&mut connection)
                    .await?;
            }
            held.release(&mut connection).await;
            return Ok(gives_way);
        }
    }
}

/// Takes a lease. An owner that asks again, because the first answer was lost, still has it. A
/// lease with an expiry far too late, because the server's clock was set back or it was made by
/// hand, is shortened.
pub(super) struct TakeLease<'a> {
    pub(super) owner: &'a str,
    pub(super) millis: u64,
}

impl Change for TakeLease<'_> {
    type Outcome = bool;

    const SCRIPT: &'static str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end \
        local found, left = redis.pcall('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) \
        if type(found) ~= 'string' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1 end \
        if found == ARGV[1] or left < 0 or left > 4 * tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
        return found == ARGV[1] and 1 or 0";

    fn arguments(&self) -> Vec<String> {
        vec![self.owner.to_owned(), self.millis.to_string()]
    }

    async fn plain(&self, mut connection: Connection, key: &str) -> RedisResult<bool> {
        // A second time if what was in the way has ended, or was no lease at all.
        for _ in 0..2 {
            if set_absent(&mut connection, key, self.owner, self.millis).await? {
                return Ok(true);
            }
            let (left, found) = match read(&mut connection, key).await {
                Err(error) if is_wrong_type(&error) => {
                    redis::cmd("DEL")
                        .arg(key)
                        .query_async::<()>(&mut connection)
                        .await?;
                    continue;
                }
                found => found?,
            };
            let Some(found) = found else { continue };
            let is_ours = found == self.owner.as_bytes();
            if is_ours
                || left < 0
                || u64::try_from(left).is_ok_and(|left| left > self.millis.saturating_mul(4))
            {
                let mut prolong = redis::pipe();
                prolong
                    .cmd("PEXPIRE")
                    .arg(key)
                    .arg(self.millis)
                    .ignore()
                    .cmd("GET")
                    .arg(key);
                // Read again: it may have ended and become another's in between.
                let (found,) = prolong
                    .query_async::<(Option<Vec<u8>>,)>(&mut connection)
                    .await?;
                return Ok(is_ours && found.is_some_and(|found| found == self.owner.as_bytes()));
            }
            return Ok(false);
        }
        Ok(false)
    }
}

/// Releases a lease if `owner` has it.
pub(super) struct ReleaseLease<'a> {
    pub(super) owner: &'a str,
    /// How long a command may take.
    pub(super) margin: Duration,
}

impl Change for ReleaseLease<'_> {
    type Outcome = bool;

    const SCRIPT: &'static str = "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[1]) return 1";

    fn arguments(&self) -> Vec<String> {
        vec![self.owner.to_owned()]
    }

    /// One that ends soon is left to end, because it could be another's by the time it is deleted.
    async fn plain(&self, mut connection: Connection, key: &str) -> RedisResult<bool> {
        let (left, found) = match read(&mut connection, key).await {
            Err(error) if is_wrong_type(&error) => return Ok(false),
            found => found?,
        };
        let is_safe =
            u64::try_from(left).is_ok_and(|left| Duration::from_millis(left) > self.margin);
        if !is_safe || found.is_none_or(|found| found != self.owner.as_bytes()) {
            return Ok(false);
        }
        redis::cmd("DEL")
            .arg(key)
            .query_async(&mut connection)
            .await
    }
}

/// The time to live is read first, as in [`super::record::read`].
async fn read(connection: &mut Connection, key: &str) -> RedisResult<Left> {
    let mut both = redis::pipe();
    both.cmd("PTTL").arg(key).cmd("GET").arg(key);
    both.query_async(connection).await
}

pub(super) fn is_wrong_type(error: &redis::RedisError) -> bool {
    fault::code(error).as_deref() == Some("WRONGTYPE")
}
