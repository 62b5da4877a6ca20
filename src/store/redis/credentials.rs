//! Credentials in Redis: the value as the original writes it, and its companion under a key of ours in the same slot of a cluster.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use redis::RedisResult;
use secrecy::SecretString;

use super::super::companion::SUFFIX;
use super::super::news::notice;
use super::super::{NewCredential, Pair, StoreError, VersionedRecords};
use super::dial::Connection;
use super::script::{CLAIM, RELEASE, WRITE_PAIR, eval};
use super::{LONGEST, RedisStore, failed, millis, read, span, text};
use crate::clock::{SteadyMillis, UnixMillis};

impl RedisStore {
    /// Notifies the other processes. Without it they see the change when their cached copy has aged.
    async fn announce(&self, key: &str) {
        let (channel, notice) = (self.names.channel(), notice(&self.name, key));
        let publish = async |mut connection: Connection| -> RedisResult<()> {
            redis::cmd("PUBLISH").arg(&channel).arg(&notice).query_async(&mut connection).await
        };
        self.link.run(false, publish).await.ok();
    }

    async fn discard(&self, place: &str) -> Result<(), StoreError> {
        let discard = async |mut connection: Connection| -> RedisResult<()> {
            redis::cmd("DEL").arg(place).query_async(&mut connection).await
        };
        self.link.run(true, discard).await.map_err(failed("write"))
    }

    async fn companion(mut connection: Connection, name: &str) -> RedisResult<Option<String>> {
        redis::cmd("GET").arg(name).query_async(&mut connection).await
    }
}

impl VersionedRecords for RedisStore {
    fn read_pair<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Pair, StoreError>> {
        async move {
            let (place, beside) = (self.names.record(key), self.names.record(&format!("{key}{SUFFIX}")));
            let asked_at = self.clock.steady();
            let both = async |connection: Connection| {
                let found = read(connection.clone(), &place).await?;
                // What somebody else put under our name counts as absent.
                Ok((found, Self::companion(connection, &beside).await.unwrap_or(None)))
            };
            let (found, companion) = self.link.run(true, both).await.map_err(failed("read"))?;
            let record = self.record(&place, found, asked_at);
            let ends = |record: &super::Record| self.clock.steady().plus(self.clock.wall().until(record.expires_at));
            Ok(Pair { value: record.map(|record| (record.value.clone(), ends(&record))), companion })
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
            let (place, beside) = (self.names.record(key), self.names.record(&format!("{key}{SUFFIX}")));
            let write = async |connection: Connection| -> RedisResult<bool> {
                // The empty text is no JSON, so nothing that we wrote.
                let (over, value) = (over.map_or(Ok(String::new()), text)?, text(new.value)?);
                let left = self.clock.steady().until(new.ends).min(LONGEST);
                let (unit, amount) = span(left);
                let args = [&*over, &*value, unit, &amount.to_string(), companion, &millis(left + kept)];
                eval(connection, WRITE_PAIR, &[&place, &beside], &args).await
            };
            let mut written = self.link.run(true, write).await.map_err(failed("write"))?;
            if !written && self.read("write", key).await?.is_none() {
                // It is no record at all, so it is nobody's.
                self.discard(&place).await?;
                written = self.link.run(true, write).await.map_err(failed("write"))?;
            }
            if written {
                self.announce(key).await;
            }
            Ok(written)
        }
        .boxed()
    }

    fn write_companion<'a>(&'a self, key: &'a str, companion: &'a str, ttl: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let beside = self.names.record(&format!("{key}{SUFFIX}"));
            let write = async |mut connection: Connection| -> RedisResult<()> {
                redis::cmd("SET").arg(&beside).arg(companion).arg("PX").arg(millis(ttl)).query_async(&mut connection).await
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
            let lease = self.names.lease(key);
            let take = async |connection: Connection| eval::<u64>(connection, CLAIM, &[&lease], &[owner, &millis(ttl)]).await;
            let now = self.link.run(true, take).await.map_err(failed("claim"))?;
            Ok((now > 0).then_some(UnixMillis(now)))
        }
        .boxed()
    }

    fn return_lease<'a>(&'a self, key: &'a str, owner: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let lease = self.names.lease(key);
            let give = async |connection: Connection| eval::<bool>(connection, RELEASE, &[&lease], &[owner]).await;
            if self.link.run(true, give).await.map_err(failed("release"))? {
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
