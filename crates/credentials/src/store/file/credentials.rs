//! Credentials in the cache file: the value in the original's form, and its companion as an entry
//! of the same form beside it. Both change in one rewrite of the file.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use secrecy::{ExposeSecret, SecretString};

use super::super::companion::SUFFIX;
use super::super::mutex::locked;
use super::super::{NewCredential, Pair, Record, StoreError, VersionedRecords, gives_way};
use super::{FileStore, State, written};
use clock::{SteadyMillis, UnixMillis};

impl FileStore {
    fn found(&self, state: &State, key: &str) -> Option<Record> {
        state
            .entries
            .get(key)
            .and_then(|text| self.living(text, state.ends.get(key).copied()))
    }
}

impl VersionedRecords for FileStore {
    fn read_pair<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Pair, StoreError>> {
        let state = locked(&self.shared.state);
        let ends = |record: &Record| {
            self.clock
                .steady()
                .plus(self.clock.wall().until(record.expires_at))
        };
        let value = self
            .found(&state, key)
            .map(|record| (record.value.clone(), ends(&record)));
        let companion = self.found(&state, &format!("{key}{SUFFIX}"));
        let companion = companion.map(|record| record.value.expose_secret().to_owned());
        ready(Ok(Pair { value, companion })).boxed()
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
            let end = self.clock.wall().plus(self.clock.steady().until(new.ends));
            let text = written(&Record {
                value: new.value.clone(),
                expires_at: end,
            })?;
            let beside = written(&Record {
                value: companion.into(),
                expires_at: end.plus(kept),
            })?;
            self.change("write", |state| {
                let found = self.found(state, key);
                let is_free = found
                    .is_none_or(|found| gives_way(found.value.expose_secret(), over, new.value));
                if is_free {
                    state.write(key, text, end);
                    state.write(&format!("{key}{SUFFIX}"), beside, end.plus(kept));
                }
                is_free
            })
            .await
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
            let end = self.clock.wall().plus(ttl);
            let text = written(&Record {
                value: companion.into(),
                expires_at: end,
            })?;
            self.change("write", |state| {
                state.write(&format!("{key}{SUFFIX}"), text, end)
            })
            .await
        }
        .boxed()
    }

    fn take_lease<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<Option<UnixMillis>, StoreError>> {
        ready(Ok(Some(self.clock.wall()))).boxed()
    }

    fn return_lease<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}
