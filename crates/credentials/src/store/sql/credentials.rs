//! Credentials in a database: a token or ticket is a row of wetoken's tables, any other value a
//! record in our table, and its companion is another record. No database writes both tables in one
//! statement, so the companion is written first.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::super::companion::SUFFIX;
use super::super::{NewCredential, Pair, StoreError, VersionedRecords, gives_way};
use super::{Found, SqlStore, millis, records, wetoken};
use clock::{SteadyMillis, UnixMillis};

#[async_trait]
impl VersionedRecords for SqlStore {
    async fn read_pair(&self, key: &str) -> Result<Pair, StoreError> {
        let read = move |mut session| async move {
            let value = match wetoken::row_of(key) {
                Some(row) => row.read(&mut session).await?,
                None => records::read(&mut session, key).await?,
            };
            let companion = records::read(&mut session, &format!("{key}{SUFFIX}")).await?;
            Ok(((value, companion), session))
        };
        let asked_at = self.clock.steady();
        let (value, companion) = self.run("read", read).await?;
        let ends = |left| asked_at.plus(Duration::from_millis(u64::try_from(left).unwrap_or(0)));
        let value = value.map(|Found { value, left }| (value, ends(left)));
        // A slow answer may arrive after the end.
        let value = value.filter(|(_, ends)| *ends > self.clock.steady());
        Ok(Pair {
            value,
            companion: companion.map(|found| found.value.expose_secret().to_owned()),
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
        let write = move |mut session| async move {
            let may = |found: &str| gives_way(found, over, new.value);
            let found = match wetoken::row_of(key) {
                Some(row) => row.read(&mut session).await?,
                None => records::read(&mut session, key).await?,
            };
            if found.is_some_and(|found| !may(found.value.expose_secret())) {
                return Ok((false, session));
            }
            let left = || self.clock.steady().until(new.ends);
            records::write(
                &mut session,
                &format!("{key}{SUFFIX}"),
                companion,
                millis(left() + kept),
            )
            .await?;
            let value = new.value.expose_secret();
            let written = match wetoken::row_of(key) {
                Some(row) => {
                    row.replace(&mut session, may, value, millis(left()))
                        .await?
                }
                None => records::replace(&mut session, key, may, value, millis(left())).await?,
            };
            self.sweep(&mut session).await;
            Ok((written, session))
        };
        self.run("write", write).await
    }

    async fn write_companion(
        &self,
        key: &str,
        companion: &str,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let write = move |mut session| async move {
            records::write(
                &mut session,
                &format!("{key}{SUFFIX}"),
                companion,
                millis(ttl),
            )
            .await?;
            Ok(((), session))
        };
        self.run("write", write).await
    }

    async fn take_lease(
        &self,
        key: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let take = move |mut session| async move {
            let is_granted = records::take_lease(&mut session, key, owner, millis(ttl)).await?;
            let now = if is_granted {
                Some(UnixMillis(records::now(&mut session).await?))
            } else {
                None
            };
            self.sweep(&mut session).await;
            Ok((now, session))
        };
        self.run("grant a lease", take).await
    }

    async fn return_lease(&self, key: &str, owner: &str) -> Result<(), StoreError> {
        let release = move |mut session| async move {
            Ok((
                records::return_lease(&mut session, key, owner).await?,
                session,
            ))
        };
        self.run("release a lease", release).await
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}
