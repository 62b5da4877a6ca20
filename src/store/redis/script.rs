//! What must happen at once in Redis: scripts, each of which touches one key and may tell of it.

use redis::RedisResult;

use super::dial::Connection;

/// Sends the script's text each time: these calls are rare, and a restarted or promoted server has forgotten what it was taught.
pub(super) async fn eval<T: redis::FromRedisValue>(
    mut connection: Connection,
    code: &str,
    keys: &[&str],
    args: &[&str],
) -> RedisResult<T> {
    redis::cmd("EVAL").arg(code).arg(keys.len()).arg(keys).arg(args).query_async(&mut connection).await
}

/// Reads and deletes at once; older servers have no `GETDEL`.
pub(super) const TAKE: &str =
    "local found = { redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1]) } redis.call('DEL', KEYS[1]) return found";

/// Writes a value and its companion unless a living value other than `ARGV[1]` (seen before) and `ARGV[2]` (the new one) is there. A key
/// that is no string is none of ours.
pub(super) const WRITE_PAIR: &str = "local found = redis.pcall('GET', KEYS[1]) \
    if type(found) == 'string' and found ~= ARGV[1] and found ~= ARGV[2] then return 0 end \
    redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6]) \
    redis.call('SET', KEYS[1], ARGV[2], ARGV[3], ARGV[4]) return 1";

/// Writes and tells of it. An ACL may forbid the telling; then nobody hears.
pub(super) const PUT: &str =
    "redis.call('SET', KEYS[1], ARGV[1], ARGV[2], ARGV[3]) redis.pcall('PUBLISH', ARGV[4], ARGV[5]) return 1";

/// An owner that asks again (because the first answer was lost on the way) is told that it has the claim. One that ends much later than
/// claims do, because the server's clock was set back or somebody made it by hand, ends in time after all.
pub(super) const CLAIM: &str = "local time = redis.call('TIME') local now = time[1] * 1000 + math.floor(time[2] / 1000) \
    if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return now end \
    local found, left = redis.pcall('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) \
    if type(found) ~= 'string' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return now end \
    if found == ARGV[1] or left < 0 or left > 4 * tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
    return found == ARGV[1] and now or 0";

/// Only its owner gives a lease back.
pub(super) const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[1]) return 1";

/// Counts up to the limit and no further. What is no count, or lost its end, which nothing of ours can do, begins anew.
pub(super) const SPEND: &str = "local found = redis.pcall('GET', KEYS[1]) \
    local count = type(found) == 'string' and tonumber(found) \
    if not count then redis.call('DEL', KEYS[1]) count = 0 end \
    if count >= tonumber(ARGV[1]) then return 0 end \
    redis.call('INCR', KEYS[1]) \
    if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 1";

/// The window ends as it did; when nothing is left to count the next one begins with the next permit.
pub(super) const REFUND: &str = "local found = redis.pcall('GET', KEYS[1]) \
    local count = type(found) == 'string' and tonumber(found) \
    if count and count > 1 then redis.call('DECR', KEYS[1]) else redis.call('DEL', KEYS[1]) end return 1";
