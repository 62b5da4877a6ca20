//! Taking and returning permits, each as a script and with plain commands.

use redis::RedisResult;

use super::change::Change;
use super::changes::is_wrong_type;
use super::connection::Connection;
use super::fault;
use super::lock::set_absent;

/// Counts up to the limit; the window starts with the first permit. A value that is not a count, or
/// has no expiry, is reset.
pub(super) struct TakePermit {
    pub(super) limit: u32,
    pub(super) millis: u64,
}

impl Change for TakePermit {
    type Outcome = bool;

    const SCRIPT: &'static str = "local found = redis.pcall('GET', KEYS[1]) \
        local count = type(found) == 'string' and tonumber(found) \
        if not count then redis.call('DEL', KEYS[1]) count = 0 end \
        if count >= tonumber(ARGV[1]) then return 0 end \
        if redis.call('INCR', KEYS[1]) == 1 or redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
        return 1";

    fn arguments(&self) -> Vec<String> {
        vec![self.limit.to_string(), self.millis.to_string()]
    }

    /// `INCR` returns another number to each caller; one above the limit is decremented again.
    async fn plain(&self, mut connection: Connection, key: &str) -> RedisResult<bool> {
        if self.limit == 0 {
            return Ok(false);
        }
        // Created with an expiry, so that a process that dies in between leaves no count without
        // one.
        let count = async |connection: &mut Connection| {
            set_absent(connection, key, "0", self.millis).await?;
            redis::cmd("INCR")
                .arg(key)
                .query_async::<i64>(connection)
                .await
        };
        let number = match count(&mut connection).await {
            Err(error) if is_wrong_type(&error) || fault::is_no_number(&error) => {
                redis::cmd("DEL")
                    .arg(key)
                    .query_async::<()>(&mut connection)
                    .await?;
                count(&mut connection).await?
            }
            number => number?,
        };
        if number > i64::from(self.limit) {
            redis::cmd("DECR")
                .arg(key)
                .query_async::<()>(&mut connection)
                .await?;
            return Ok(false);
        }
        let is_endless = number > 1
            && redis::cmd("PTTL")
                .arg(key)
                .query_async::<i64>(&mut connection)
                .await?
                < 0;
        if number <= 1 || is_endless {
            redis::cmd("PEXPIRE")
                .arg(key)
                .arg(self.millis)
                .query_async::<()>(&mut connection)
                .await?;
        }
        Ok(true)
    }
}

/// The window stays as it is; without permits taken, the next one starts a new window.
pub(super) struct ReturnPermit;

impl Change for ReturnPermit {
    type Outcome = bool;

    const SCRIPT: &'static str = "local found = redis.pcall('GET', KEYS[1]) \
        local count = type(found) == 'string' and tonumber(found) \
        if count and count > 1 then redis.call('DECR', KEYS[1]) else redis.call('DEL', KEYS[1]) end return 1";

    fn arguments(&self) -> Vec<String> {
        Vec::new()
    }

    async fn plain(&self, mut connection: Connection, key: &str) -> RedisResult<bool> {
        let found = redis::cmd("GET")
            .arg(key)
            .query_async::<Option<String>>(&mut connection)
            .await;
        let count = match found {
            Ok(None) => return Ok(true),
            Ok(Some(text)) => text.parse::<i64>().unwrap_or(-1),
            Err(error) if is_wrong_type(&error) => -1,
            Err(error) => return Err(error),
        };
        let left = match count {
            0 => return Ok(true),
            1.. => {
                redis::cmd("DECR")
                    .arg(key)
                    .query_async::<i64>(&mut connection)
                    .await?
            }
            _ => -1,
        };
        if left < 0 {
            redis::cmd("DEL")
                .arg(key)
                .query_async::<()>(&mut connection)
                .await?;
        }
        Ok(true)
    }
}
