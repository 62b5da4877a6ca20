//! Credentials in Redis: the value as the original writes it, and its companion under a key of
//! ours, in the same slot of a cluster. No change touches two keys, because proxies refuse scripts
//! that do, so the companion is written first.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join};
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

impl VersionedRecords for RedisStore {
    fn read_pair<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Pair, StoreError>> {
        async move {
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
        .boxed()
    }

    fn write_pair<'a>(
        &'a self,
        key: &'a str,
        over: Option<&'a SecretString>,
        new: NewCredential<'a>,
        companion: &'a str,
        kept: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            // A write that cannot succeed must not replace the current value's companion.
            let found = self.read("write", key).await?;
            if found.is_some_and(|found| !gives_way(found.value.expose_secret(), over, new.value)) {
                return Ok(false);
            }
            // Pipelined; the companion is written first.
            let beside =
                self.write_companion(key, companion, self.clock.steady().until(new.ends) + kept);
            let (beside, is_written) = join(
                beside,
                self.write_over(key, over, new.value, self.clock.steady().until(new.ends)),
            )
            .await;
            beside?;
            let mut is_written = is_written?;
            if !is_written && self.read("write", key).await?.is_none() {
                self.discard(key).await?;
                is_written = self
                    .write_over(key, over, new.value, self.clock.steady().until(new.ends))
                    .await?;
            }
            if is_written {
                self.announce(key).await;
            }
            Ok(is_written)
        }
        .boxed()
    }

    fn write_companion<'a>(
        &'a self,
        key: &'a str,
        companion: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
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
        .boxed()
    }

    fn take_lease<'a>(
        &'a self,
        key: &'a str,
        owner: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<UnixMillis>, StoreError>> {
        async move {
            let take = TakeLease {
                owner,
                millis: millis(ttl),
            };
            let lease = self.names.lease(key);
            let (is_granted, now) =
                join(self.change("grant a lease", &lease, take), self.now()).await;
            Ok(is_granted?.then_some(now))
        }
        .boxed()
    }

    fn return_lease<'a>(
        &'a self,
        key: &'a str,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let release = ReleaseLease {
                owner,
                margin: self.dialer.timeout(),
            };
            if self
                .change("release a lease", &self.names.lease(key), release)
                .await?
            {
                self.announce(key).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}
