//! Reads and changes a credential's ledger in the store: one small record, `KEY.ledger`, changed by
//! compare-and-swap. It counts and notes, and locks nothing: when the store fails, a renewal goes on
//! without it.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::credential::Credential;
use super::ledger::Ledger;
use super::subject::Subject;
use crate::store::{Record, Store, StoreError};

/// A ledger without changes is kept this long.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often a change is tried when another instance changes the ledger at the same time.
const ATTEMPTS: u32 = 5;

impl Ledger {
    /// The ledger of the credential that `store` keeps under `key`.
    pub async fn read_from(store: &dyn Store, key: &str) -> Result<Self, StoreError> {
        let found = store.get(&ledger_key(key)).await?;
        Ok(Self::read(found.map(|record| record.value).as_ref()))
    }
}

fn ledger_key(key: &str) -> String {
    format!("{key}.ledger")
}

impl<S: Subject> Credential<S> {
    /// The ledger as this process last saw it; empty if nothing was counted yet.
    pub fn last_ledger(&self) -> Ledger {
        Ledger::read(self.ledger.load().as_deref())
    }

    /// Reads the ledger that all instances share. `None`: the store fails.
    pub async fn read_ledger(&self) -> Option<Ledger> {
        let stored = self.sound(self.load_ledger().await)?;
        Some(Ledger::read(stored.as_deref()))
    }

    /// Changes the ledger; `change` returns whether there is something to write. `None`: the store
    /// fails, or other instances were always faster.
    pub(super) async fn change_ledger(
        &self,
        change: impl Fn(&mut Ledger) -> bool + Send,
    ) -> Option<Ledger> {
        // Nearly always the store still holds what was last seen, and one operation does.
        let mut seen = self.ledger.load_full();
        for _ in 0..ATTEMPTS {
            let mut ledger = Ledger::read(seen.as_deref());
            if !change(&mut ledger) {
                return Some(ledger);
            }
            let record = Record {
                value: ledger.text()?,
                expires_at: self.engine.clock.wall().plus(KEPT),
            };
            let (store, key) = (&self.engine.store, self.ledger_key());
            let replaced = store.replace(&key, seen.as_deref(), &record).await;
            if self.sound(replaced)? {
                self.ledger.store(Some(Arc::new(record.value)));
                return Some(ledger);
            }
            seen = self.sound(self.load_ledger().await)?;
        }
        None
    }

    async fn load_ledger(&self) -> Result<Option<Arc<SecretString>>, StoreError> {
        let found = self.engine.store.get(&self.ledger_key()).await?;
        let stored = found.map(|record| Arc::new(record.value));
        self.ledger.store(stored.clone());
        Ok(stored)
    }

    fn ledger_key(&self) -> String {
        ledger_key(&self.subject.load().store_key())
    }

    fn sound<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        result
            .inspect_err(|error| self.engine.store_failed(error))
            .ok()
    }
}
