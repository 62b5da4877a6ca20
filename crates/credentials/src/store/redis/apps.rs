//! Apps in Redis: one hash beside the records, an object by appid, which has no end and so never
//! goes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use redis::RedisResult;

use super::super::apps::{self, Apps, StoredApp};
use super::connection::Connection;
use super::record::unwritable;
use super::{RedisStore, StoreError, failed};

#[async_trait]
impl Apps for RedisStore {
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        let key = self.names.apps();
        let found = self
            .link
            .run(true, |connection| read_apps(connection, &key))
            .await
            .map_err(failed("read"))?;
        Ok(found
            .iter()
            .filter_map(|(app_id, text)| apps::from_json(app_id, text))
            .collect())
    }

    async fn find_app(&self, app_id: &str) -> Result<Option<StoredApp>, StoreError> {
        let key = self.names.apps();
        let found = self
            .link
            .run(true, |connection| read_app(connection, &key, app_id))
            .await
            .map_err(failed("read"))?;
        Ok(found.and_then(|text| apps::from_json(app_id, &text)))
    }

    async fn put_app(&self, app: &StoredApp) -> Result<(), StoreError> {
        let key = self.names.apps();
        self.link
            .run(true, |connection| write_app(connection, &key, app))
            .await
            .map_err(failed("write"))
    }
}

async fn read_apps(mut connection: Connection, key: &str) -> RedisResult<BTreeMap<String, String>> {
    redis::cmd("HGETALL")
        .arg(key)
        .query_async(&mut connection)
        .await
}

async fn read_app(
    mut connection: Connection,
    key: &str,
    app_id: &str,
) -> RedisResult<Option<String>> {
    redis::cmd("HGET")
        .arg(key)
        .arg(app_id)
        .query_async(&mut connection)
        .await
}

async fn write_app(mut connection: Connection, key: &str, app: &StoredApp) -> RedisResult<()> {
    let text = apps::to_json(app).map_err(|_| unwritable())?;
    redis::cmd("HSET")
        .arg(key)
        .arg(&app.app_id)
        .arg(text)
        .query_async(&mut connection)
        .await
}
