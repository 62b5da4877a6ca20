//! What a Redis says about itself, for `jsdkd doctor`. Nothing is changed.

use std::collections::HashMap;

use redis::{FromRedisValue, Value, from_redis_value};

use super::RedisStore;
use super::failed;
use crate::store::StoreError;
use clock::UnixMillis;

/// What one server says about itself.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The node of a cluster; `None` for a single server.
    pub node: Option<String>,
    /// The fields of `INFO`: `redis_version`, `maxmemory_policy`, `aof_enabled` and others.
    pub info: HashMap<String, String>,
    /// When it writes snapshots, such as `3600 1`; empty: never. `None`: it does not say.
    pub snapshots: Option<String>,
    /// Its clock, and ours at the same moment. `None`: it does not say.
    pub clock: Option<[UnixMillis; 2]>,
}

impl RedisStore {
    /// Asks the server, or every master of a cluster.
    pub async fn inspect(&self) -> Result<Vec<Inspection>, StoreError> {
        let info = self.ask_all(&["INFO"]).await?;
        // Managed servers and restricted users often refuse these two.
        let snapshots = self.ask_all(&["CONFIG", "GET", "save"]).await;
        let clock = self.ask_all(&["TIME"]).await;
        let ours = self.clock.wall();
        let (snapshots, clock) = (snapshots.unwrap_or_default(), clock.unwrap_or_default());
        let inspections = info.into_iter().map(|(node, text)| Inspection {
            info: fields(&read::<String>(&text).unwrap_or_default()),
            snapshots: of(&snapshots, node.as_ref())
                .and_then(read::<HashMap<String, String>>)
                .and_then(|mut pairs| pairs.remove("save")),
            clock: of(&clock, node.as_ref())
                .and_then(read::<(u64, u64)>)
                .map(|(seconds, micros)| [UnixMillis(seconds * 1000 + micros / 1000), ours]),
            node,
        });
        Ok(inspections.collect())
    }

    /// The answer of each server.
    async fn ask_all(&self, words: &[&str]) -> Result<Vec<(Option<String>, Value)>, StoreError> {
        let (first, rest) = words.split_first().unwrap_or((&"PING", &[]));
        let ask = |mut connection: super::connection::Connection| {
            let mut command = redis::cmd(first);
            rest.iter().for_each(|word| {
                command.arg(*word);
            });
            async move { connection.everywhere(command).await }
        };
        self.link.run(true, ask).await.map_err(failed("ask"))
    }
}

fn of<'v>(answers: &'v [(Option<String>, Value)], node: Option<&String>) -> Option<&'v Value> {
    let found = answers.iter().find(|(one, _)| one.as_ref() == node);
    found.map(|(_, value)| value)
}

fn read<T: FromRedisValue>(value: &Value) -> Option<T> {
    from_redis_value(value.clone()).ok()
}

fn fields(text: &str) -> HashMap<String, String> {
    let pair = |line: &str| {
        let (name, value) = line.trim_end().split_once(':')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(pair).collect()
}
