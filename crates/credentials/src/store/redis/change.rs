//! A change that depends on the current value. A script does it in one step; on a server that
//! refuses scripts, plain commands do it as safely as they can.

use redis::{FromRedisValue, RedisResult};

use super::capabilities::{Capabilities, Feature};
use super::connection::Connection;
use super::fault;

/// A change of one key, in both of its forms. They leave the same behind, so that instances with
/// and without scripts may share a Redis.
pub(super) trait Change: Sync {
    type Outcome: FromRedisValue + Send;

    /// The script; its one key is `KEYS[1]`.
    const SCRIPT: &'static str;

    /// The script's arguments.
    fn arguments(&self) -> Vec<String>;

    /// The same with plain commands.
    fn plain(
        &self,
        connection: Connection,
        key: &str,
    ) -> impl Future<Output = RedisResult<Self::Outcome>> + Send;
}

/// Carries out `change` on `key`.
pub(super) async fn apply<C: Change>(
    capabilities: &Capabilities,
    connection: Connection,
    key: &str,
    change: &C,
) -> RedisResult<C::Outcome> {
    let number = connection.number;
    if !capabilities.allows(Feature::Scripts, number) {
        let outcome = change.plain(connection, key).await?;
        capabilities.confirm(Feature::Scripts);
        return Ok(outcome);
    }
    let error = match eval(connection.clone(), C::SCRIPT, key, &change.arguments()).await {
        Ok(outcome) => {
            capabilities.worked(Feature::Scripts);
            return Ok(outcome);
        }
        Err(error) => error,
    };
    if !fault::is_refusal(&error) {
        capabilities.failed(Feature::Scripts, number, &error);
        return Err(error);
    }
    // An error of a script can have many causes. It is a refusal of scripts if the same change
    // succeeds without.
    let outcome = change.plain(connection, key).await?;
    capabilities.failed(Feature::Scripts, number, &error);
    Ok(outcome)
}

/// Sends the script's text each time: these calls are rare, and a restarted or promoted server has
/// forgotten what it was taught.
async fn eval<T: FromRedisValue>(
    mut connection: Connection,
    code: &str,
    key: &str,
    args: &[String],
) -> RedisResult<T> {
    redis::cmd("EVAL")
        .arg(code)
        .arg(1)
        .arg(key)
        .arg(args)
        .query_async(&mut connection)
        .await
}
