//! What a Redis says about itself, for `jsdkd doctor`.

use std::collections::HashMap;

use super::RedisStore;
use super::failed;
use crate::store::StoreError;

impl RedisStore {
    /// The fields of `INFO`: `redis_version`, `maxmemory_policy`, `aof_enabled` and others.
    pub async fn info(&self) -> Result<HashMap<String, String>, StoreError> {
        let ask = |mut connection| async move {
            redis::cmd("INFO")
                .query_async::<String>(&mut connection)
                .await
        };
        let text = self.link.run(true, ask).await.map_err(failed("ask"))?;
        let pair = |line: &str| {
            let (name, value) = line.trim_end().split_once(':')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Ok(text.lines().filter_map(pair).collect())
    }
}
