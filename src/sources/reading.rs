//! What the store says of a source's object, when it is believed, and what it is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use secrecy::SecretString;

use super::Sources;
use super::slot::{Held, Near};
use crate::store::{Record, StoreError};

impl Sources {
    /// What the store holds, read once however many ask; the near copy is brought up to date on the way.
    pub(super) async fn look(&self, held: &Arc<Held>) -> Result<Option<Arc<Near>>, StoreError> {
        let (sources, looking) = (self.clone(), Arc::clone(held));
        let landing = held.slot.look.join(&self.0.runtime, move || async move { sources.read(&looking).await });
        let lost = |_| StoreError { backend: "any", operation: "read", cause: "the reading task ended early".to_owned() };
        landing.result().await.map_err(lost)?
    }

    pub(super) async fn read(&self, held: &Arc<Held>) -> Result<Option<Arc<Near>>, StoreError> {
        self.read_and_see(held).await.map(|(near, _)| near)
    }

    /// As [`Sources::read`], with what the store itself showed.
    pub(super) async fn read_and_see(&self, held: &Arc<Held>) -> Result<(Option<Arc<Near>>, Option<SecretString>), StoreError> {
        let before = held.slot.near.load_full();
        match self.0.store.get(&held.key()).await {
            Ok(record) => {
                self.store_answered();
                self.adopt(held, before, record.as_ref());
                let near = held.slot.near.load_full().filter(|near| near.is_alive(&self.0.clock));
                Ok((near, record.map(|record| record.value)))
            }
            Err(error) => {
                self.store_failed(&error);
                if let Some(near) = before {
                    // Good for another second: each request asking a dead store would make each one wait for it.
                    near.confirm(self.0.clock.steady());
                }
                Err(error)
            }
        }
    }

    /// Takes what the store said for the truth over what was held `before`, but for a value that never reached the store and one that
    /// the store lost while it was down: those are written back instead of being fetched anew.
    fn adopt(&self, held: &Arc<Held>, before: Option<Arc<Near>>, record: Option<&Record>) {
        let (slot, clock) = (&held.slot, &self.0.clock);
        let faults = self.0.store_faults.load(Ordering::Relaxed);
        let theirs = record.and_then(|record| Near::of(record, held.source.reserve, clock)).filter(|near| near.is_alive(clock));
        let ours = before.as_ref().filter(|near| near.is_alive(clock));
        match (ours, theirs) {
            (None, None) => {}
            (Some(ours), None) => {
                let lost_by_the_store = ours.faults_seen.load(Ordering::Relaxed) < faults;
                if lost_by_the_store || ours.unsaved.load(Ordering::Relaxed) {
                    ours.confirm(clock.steady());
                    ours.unsaved.store(true, Ordering::Relaxed);
                    self.soon(held);
                } else {
                    slot.replace(&before, None);
                }
            }
            (Some(ours), Some(theirs)) if ours.ends_with(&theirs) && ours.grants_what(&theirs, None) => {
                ours.confirm(clock.steady());
                ours.faults_seen.store(faults, Ordering::Relaxed);
                ours.unsaved.store(false, Ordering::Relaxed);
            }
            (Some(ours), Some(theirs)) if ours.unsaved.load(Ordering::Relaxed) && ours.expires_at() > theirs.expires_at() => {
                ours.confirm(clock.steady());
                self.soon(held);
            }
            (_, Some(theirs)) => {
                theirs.faults_seen.store(faults, Ordering::Relaxed);
                let due = theirs.renewal_due(rand::random());
                if slot.replace(&before, Some(Arc::new(theirs))) {
                    self.appoint(held, due);
                }
            }
        }
    }

    /// Writes `near` to the store, over what was `seen` there. `false`: something else has come there since, and stays.
    pub(super) async fn write(&self, held: &Held, near: &Near, seen: Option<&SecretString>) -> bool {
        let Some(record) = near.record() else { return true };
        match self.0.store.replace(&held.key(), seen, &record).await {
            Ok(true) => {
                self.store_answered();
                near.faults_seen.store(self.0.store_faults.load(Ordering::Relaxed), Ordering::Relaxed);
                near.unsaved.store(false, Ordering::Relaxed);
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.store_failed(&error);
                near.unsaved.store(true, Ordering::Relaxed);
                true
            }
        }
    }

    /// Writes an object that the store lacks, unless the store has a later one by now.
    pub(super) async fn write_back(&self, held: &Held) {
        let unsaved = held.slot.near.load_full().filter(|near| near.unsaved.load(Ordering::Relaxed));
        let Some(near) = unsaved.filter(|near| near.is_alive(&self.0.clock)) else { return };
        match self.0.store.get(&held.key()).await {
            Ok(Some(record)) if record.expires_at >= near.expires_at() => near.unsaved.store(false, Ordering::Relaxed),
            // Should somebody write meanwhile, the next look tells what.
            Ok(seen) => drop(self.write(held, &near, seen.map(|record| record.value).as_ref()).await),
            Err(error) => self.store_failed(&error),
        }
    }

    fn store_answered(&self) {
        if self.0.store_is_down.load(Ordering::Relaxed) && self.0.store_is_down.swap(false, Ordering::Relaxed) {
            tracing::info!("the store answers for the sources again");
        }
    }

    /// Told to the log once when it begins, and counted, so that a near copy knows whether the store may have lost it.
    pub(super) fn store_failed(&self, error: &StoreError) {
        self.0.store_faults.fetch_add(1, Ordering::Relaxed);
        if !self.0.store_is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the store fails; what this process holds of its sources goes on being served");
        }
    }
}
