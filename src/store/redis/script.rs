//! What must happen at once in Redis: scripts, each of which touches one key and may tell of it.

use redis::RedisResult;

use super::dial::Connection;

/// Sends the script's text each time: these calls are rare, and a restarted or promoted server has forgotten what it was taught.
pub(super) async fn eval<T: redis::FromRedisValue>(
    mut connection: Connection,
    code: &str,
    key: &str,
    args: &[&str],
) -> RedisResult<T> {
    redis::cmd("EVAL").arg(code).arg(1).arg(key).arg(args).query_async(&mut connection).await
}

/// Reads and deletes at once; older servers have no `GETDEL`.
pub(super) const TAKE: &str =
    "local found = { redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1]) } redis.call('DEL', KEYS[1]) return found";

/// Writes unless a living value other than `ARGV[1]` (seen before) and `ARGV[2]` (the new one) is there. What is no string at all is
/// none of ours.
pub(super) const REPLACE: &str = "local found = redis.pcall('GET', KEYS[1]) \
    if type(found) == 'string' and found ~= ARGV[1] and found ~= ARGV[2] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[2], ARGV[3], ARGV[4]) \
    redis.pcall('PUBLISH', ARGV[5], ARGV[6]) return 1";

/// Writes and tells of it. An ACL may forbid the telling; then nobody hears.
pub(super) const PUT: &str =
    "redis.call('SET', KEYS[1], ARGV[1], ARGV[2], ARGV[3]) redis.pcall('PUBLISH', ARGV[4], ARGV[5]) return 1";

/// An owner that asks again (because the first answer was lost on the way) is told that it has the claim.
pub(super) const CLAIM: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end \
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
    redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1";

/// Who waits for the claim is told that it is free.
pub(super) const RELEASE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[1]) \
    redis.pcall('PUBLISH', ARGV[2], ARGV[3]) return 1";

/// Counts up to the limit and no further. A count that lost its end, which nothing of ours can do, gets a new one.
pub(super) const SPEND: &str = "if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end \
    redis.call('INCR', KEYS[1]) \
    if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 1";
