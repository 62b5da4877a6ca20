//! Reads and changes a credential's ledger in the store: one small record, `KEY.ledger`, changed by
//! compare-and-swap. It counts and notes, and locks nothing: when the store fails, a renewal goes on
//! without it.

use std::time::Duration;

use secrecy::SecretString;

use super::credential::Credential;
use super::ledger::Ledger;
use super::subject::Subject;
use crate::store::{Record, StoreError};

/// A ledger without changes is kept this long.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often a change is tried when another instance changes the ledger at the same time.
const ATTEMPTS: u32 = 5;

impl<S: Subject> Credential<S> {
    /// The ledger as this process last saw it; empty if nothing was counted yet.
    pub fn last_ledger(&self) -> Ledger {
        self.ledger.load().as_deref().cloned().unwrap_or_default()
    }

    /// Reads the ledger that all instances share. `None`: the store fails.
    pub async fn read_ledger(&self) -> Option<Ledger> {
        self.sound(self.load_ledger().await)
            .map(|(ledger, _)| ledger)
    }

    /// Changes the ledger; `change` returns whether there is something to write. `None`: the store
    /// fails, or other instances were always faster.
    pub(super) async fn change_ledger(
        &self,
        change: impl Fn(&mut Ledger) -> bool + Send,
    ) -> Option<Ledger> {
        for _ in 0..ATTEMPTS {
            let (mut ledger, before) = self.sound(self.load_ledger().await)?;
            if !change(&mut ledger) {
                return Some(ledger);
            }
            let text = serde_json::to_string(&ledger).ok()?;
            let record = Record {
                value: SecretString::from(text),
                expires_at: self.engine.clock.wall().plus(KEPT),
            };
            let key = self.ledger_key();
            let store = &self.engine.store;
            if self.sound(store.replace(&key, before.as_ref(), &record).await)? {
                self.ledger.store(Some(ledger.clone().into()));
                return Some(ledger);
            }
        }
        None
    }

    async fn load_ledger(&self) -> Result<(Ledger, Option<SecretString>), StoreError> {
        let found = self.engine.store.get(&self.ledger_key()).await?;
        let text = found.map(|record| record.value);
        let ledger = text.as_ref().map(Ledger::read).unwrap_or_default();
        self.ledger.store(Some(ledger.clone().into()));
        Ok((ledger, text))
    }

    fn ledger_key(&self) -> String {
        format!("{}.ledger", self.subject.load().store_key())
    }

    fn sound<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        result
            .inspect_err(|error| {
                self.engine.outage.failed(error, self.engine.clock.steady());
            })
            .ok()
    }
}
