//! Credentials in Redis: the value as the original writes it, and its companion under a key of
//! ours, in the same slot of a cluster. No change touches two keys, because proxies refuse scripts
//! that do, so the companion is written first.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;
use redis::RedisResult;
use secrecy::{ExposeSecret, SecretString};

use super::super::companion::SUFFIX;
use super::super::{NewCredential, Pair, Record, StoreError, VersionedRecords, gives_way};
use super::capabilities::Feature;
use super::changes::{ReleaseLease, TakeLease};
use super::connection::Connection;
use super::record::{self, millis};
use super::{RedisStore, failed};
use clock::{SteadyMillis, UnixMillis};

impl RedisStore {
    fn companion_of(&self, key: &str) -> String {
        self.names.record(&format!("{key}{SUFFIX}"))
    }

    /// The server's clock. Some proxies close the connection on an unknown command, so `TIME` is
    /// sent only where scripts work; elsewhere our own clock is used.
    async fn now(&self) -> UnixMillis {
        if !self.capabilities.is_known_to_work(Feature::Scripts) {
            return self.clock.wall();
        }
        let ask = async |mut connection: Connection| -> RedisResult<(u64, u64)> {
            redis::cmd("TIME").query_async(&mut connection).await
        };
        match self.link.run(true, ask).await {
            Ok((seconds, micros)) => {
                UnixMillis(seconds.saturating_mul(1000).saturating_add(micros / 1000))
            }
            Err(_) => self.clock.wall(),
        }
    }

    /// Deletes something that is not a record.
    async fn discard(&self, key: &str) -> Result<(), StoreError> {
        let place = self.names.record(key);
        let discard = async |mut connection: Connection| -> RedisResult<()> {
            redis::cmd("DEL")
                .arg(&place)
                .query_async(&mut connection)
                .await
        };
        self.link.run(true, discard).await.map_err(failed("write"))
    }
}

#[async_trait]
impl VersionedRecords for RedisStore {
    async fn read_pair(&self, key: &str) -> Result<Pair, StoreError> {
        let (place, beside, asked_at) = (
            self.names.record(key),
            self.companion_of(key),
            self.clock.steady(),
        );
        let both = async |mut connection: Connection| {
            // Pipelined; the value is read first.
            let mut get = redis::cmd("GET");
            get.arg(&beside);
            let value = record::read(connection.clone(), &place);
            let (found, companion) =
                join(value, get.query_async::<Option<String>>(&mut connection)).await;
            // A companion that is no text counts as absent.
            Ok((found?, companion.unwrap_or(None)))
        };
        let (found, companion) = self.link.run(true, both).await.map_err(failed("read"))?;
        let (wall, steady) = (self.clock.wall(), self.clock.steady());
        let ends = |record: &Record| steady.plus(wall.until(record.expires_at));
        let record = found.record(&place, asked_at, &self.clock);
        Ok(Pair {
            value: record.map(|record| (record.value.clone(), ends(&record))),
            companion,
        })
    }

    async fn write_pair(
        &self,
        key: &str,
        over: Option<&SecretString>,
        new: NewCredential<'_>,
        companion: &str,
        kept: Duration,
    ) -> Result<bool, StoreError> {
        // A write that cannot succeed must not replace the current value's companion.
        let found = self.read("write", key).await?;
        if found.is_some_and(|found| !gives_way(found.value.expose_secret(), over, new.value)) {
            return Ok(false);
        }
        let left = || self.clock.steady().until(new.ends);
        // Pipelined; the companion is written first.
        let written = join(
            self.write_companion(key, companion, left() + kept),
            self.write_over(key, over, new.value, left()),
        );
        let (beside, is_written) = self.announced(key, written).await;
        beside?;
        if is_written? {
            return Ok(true);
        }
        if self.read("write", key).await?.is_some() {
            return Ok(false);
        }
        // What is there is no record and may be overwritten.
        self.discard(key).await?;
        let written = self.write_over(key, over, new.value, left());
        self.announced(key, written).await
    }

    async fn write_companion(
        &self,
        key: &str,
        companion: &str,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let beside = self.companion_of(key);
        let write = async |mut connection: Connection| -> RedisResult<()> {
            redis::cmd("SET")
                .arg(&beside)
                .arg(companion)
                .arg("PX")
                .arg(millis(ttl))
                .query_async(&mut connection)
                .await
        };
        self.link.run(true, write).await.map_err(failed("write"))
    }

    async fn take_lease(
        &self,
        key: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let take = TakeLease {
            owner,
            millis: millis(ttl),
        };
        let lease = self.names.lease(key);
        let (is_granted, now) = join(self.change("grant a lease", &lease, take), self.now()).await;
        Ok(is_granted?.then_some(now))
    }

    async fn return_lease(&self, key: &str, owner: &str) -> Result<(), StoreError> {
        let release = ReleaseLease {
            owner,
            margin: self.dialer.timeout(),
        };
        let lease = self.names.lease(key);
        let released = self.change("release a lease", &lease, release);
        self.announced(key, released).await.map(drop)
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}
