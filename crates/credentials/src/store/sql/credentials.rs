//! Credentials in a database: a token or ticket is a row of wetoken's tables, any other value a
//! record in our table, and its companion is another record. No database writes both tables in one
//! statement, so the companion is written first.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use secrecy::{ExposeSecret, SecretString};

use super::super::companion::SUFFIX;
use super::super::{NewCredential, Pair, StoreError, VersionedRecords, gives_way};
use super::{Found, SqlStore, millis, records, wetoken};
use clock::{SteadyMillis, UnixMillis};

impl VersionedRecords for SqlStore {
    fn read_pair<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Pair, StoreError>> {
        let read = move |mut session| async move {
            let value = match wetoken::row_of(key) {
                Some(row) => row.read(&mut session).await?,
                None => records::read(&mut session, key).await?,
            };
            let companion = records::read(&mut session, &format!("{key}{SUFFIX}")).await?;
            Ok(((value, companion), session))
        };
        async move {
            let asked_at = self.clock.steady();
            let (value, companion) = self.run("read", read).await?;
            let ends =
                |left| asked_at.plus(Duration::from_millis(u64::try_from(left).unwrap_or(0)));
            let value = value.map(|Found { value, left }| (value, ends(left)));
            // A slow answer may arrive after the end.
            let value = value.filter(|(_, ends)| *ends > self.clock.steady());
            Ok(Pair {
                value,
                companion: companion.map(|found| found.value.expose_secret().to_owned()),
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
        self.run("write", write).boxed()
    }

    fn write_companion<'a>(
        &'a self,
        key: &'a str,
        companion: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
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
        self.run("write", write).boxed()
    }

    fn take_lease<'a>(
        &'a self,
        key: &'a str,
        owner: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<UnixMillis>, StoreError>> {
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
        self.run("grant a lease", take).boxed()
    }

    fn return_lease<'a>(
        &'a self,
        key: &'a str,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let release = move |mut session| async move {
            Ok((
                records::return_lease(&mut session, key, owner).await?,
                session,
            ))
        };
        self.run("release a lease", release).boxed()
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}
