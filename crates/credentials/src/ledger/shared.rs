//! A ledger in the store: one small record, `KEY.ledger`, changed by compare-and-swap.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret, SecretString};

use super::Ledger;
use crate::store::{Record, Store, StoreError};
use clock::UnixMillis;

/// A ledger without changes is kept this long.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often a change is tried when another instance changes the ledger at the same time.
const ATTEMPTS: u32 = 5;

/// The ledger that all instances share, as this process last saw it.
#[derive(Debug, Default)]
pub(crate) struct SharedLedger(ArcSwapOption<Seen>);

/// A ledger with its text, by which a change compares it.
#[derive(Debug)]
struct Seen {
    ledger: Ledger,
    text: SecretString,
}

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
        let seen = self.0.load();
        seen.as_ref()
            .map_or_else(Ledger::default, |seen| seen.ledger.clone())
    }

    /// Reads the ledger of the credential `key`.
    pub(crate) async fn read(&self, store: &dyn Store, key: &str) -> Result<Ledger, StoreError> {
        let found = store.get(&ledger_key(key)).await?;
        self.0.store(found.map(|record| {
            // A text that is no ledger counts as an empty one, which the next change replaces.
            let ledger = serde_json::from_str(record.value.expose_secret()).unwrap_or_default();
            let text = record.value;
            Arc::new(Seen { ledger, text })
        }));
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
            let (mut ledger, seen) = (self.last(), self.0.load_full());
            if !change(&mut ledger) {
                return Ok(Some(ledger));
            }
            let Ok(text) = serde_json::to_string(&ledger) else {
                return Ok(None);
            };
            let record = Record {
                value: text.into(),
                expires_at: now.plus(KEPT),
            };
            let before = seen.as_ref().map(|seen| &seen.text);
            if store.replace(&ledger_key(key), before, &record).await? {
                let (changed, text) = (ledger.clone(), record.value);
                self.0.store(Some(Arc::new(Seen { ledger, text })));
                return Ok(Some(changed));
            }
            self.read(store, key).await?;
        }
        Ok(None)
    }
}

fn ledger_key(key: &str) -> String {
    format!("{key}.ledger")
}
