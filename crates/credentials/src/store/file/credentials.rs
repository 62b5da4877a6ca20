//! Credentials in the cache file: the value in the original's form, and its companion as an entry
//! of the same form beside it. Both change in one rewrite of the file.

use std::time::Duration;

use async_trait::async_trait;
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

#[async_trait]
impl VersionedRecords for FileStore {
    async fn read_pair(&self, key: &str) -> Result<Pair, StoreError> {
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
        Ok(Pair { value, companion })
    }

    async fn write_pair(
        &self,
        key: &str,
        over: Option<&SecretString>,
        new: NewCredential<'_>,
        companion: &str,
        kept: Duration,
    ) -> Result<bool, StoreError> {
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
            let is_free =
                found.is_none_or(|found| gives_way(found.value.expose_secret(), over, new.value));
            if is_free {
                state.write(key, text, end);
                state.write(&format!("{key}{SUFFIX}"), beside, end.plus(kept));
            }
            is_free
        })
        .await
    }

    async fn write_companion(
        &self,
        key: &str,
        companion: &str,
        ttl: Duration,
    ) -> Result<(), StoreError> {
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

    async fn take_lease(
        &self,
        _: &str,
        _: &str,
        _: Duration,
    ) -> Result<Option<UnixMillis>, StoreError> {
        Ok(Some(self.clock.wall()))
    }

    async fn return_lease(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}
