//! A ledger in the store: one small record, `KEY.ledger`, changed by compare-and-swap.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use secrecy::SecretString;

use super::Ledger;
use crate::store::{Record, Store, StoreError};
use clock::UnixMillis;

/// A ledger without changes is kept this long.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often a change is tried when another instance changes the ledger at the same time.
const ATTEMPTS: u32 = 5;

/// The ledger that all instances share: its text as this process last saw it, by which a change
/// compares.
#[derive(Debug, Default)]
pub(crate) struct SharedLedger(ArcSwapOption<SecretString>);

impl Ledger {
    /// The ledger of the credential that `store` keeps under `key`; empty if nothing was counted
    /// yet.
    pub async fn read_from(store: &dyn Store, key: &str) -> Result<Self, StoreError> {
        SharedLedger::default().read(store, key).await
    }
}

impl SharedLedger {
    /// The ledger as it was last seen; empty if nothing was counted yet.
    pub(crate) fn last(&self) -> Ledger {
        Ledger::read(self.0.load().as_deref())
    }

    /// Reads the ledger of the credential `key`.
    pub(crate) async fn read(&self, store: &dyn Store, key: &str) -> Result<Ledger, StoreError> {
        let found = store.get(&ledger_key(key)).await?;
        self.0.store(found.map(|record| Arc::new(record.value)));
        Ok(self.last())
    }

    /// Changes the ledger; `change` returns whether there is something to write. `None`: other
    /// instances were always faster.
    pub(crate) async fn change(
        &self,
        store: &dyn Store,
        key: &str,
        now: UnixMillis,
        change: impl Fn(&mut Ledger) -> bool + Send,
    ) -> Result<Option<Ledger>, StoreError> {
        // Nearly always the store still holds what was last seen, and one operation does.
        for _ in 0..ATTEMPTS {
            let seen = self.0.load_full();
            let mut ledger = Ledger::read(seen.as_deref());
            if !change(&mut ledger) {
                return Ok(Some(ledger));
            }
            let Some(text) = ledger.text() else {
                return Ok(None);
            };
            let record = Record {
                value: text,
                expires_at: now.plus(KEPT),
            };
            let before = seen.as_deref();
            if store.replace(&ledger_key(key), before, &record).await? {
                self.0.store(Some(Arc::new(record.value)));
                return Ok(Some(ledger));
            }
            self.read(store, key).await?;
        }
        Ok(None)
    }
}

fn ledger_key(key: &str) -> String {
    format!("{key}.ledger")
}
