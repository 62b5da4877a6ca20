//! What the store says of a source's object, when it is believed, and what it is told.

use std::sync::Arc;

use secrecy::SecretString;

use super::Sources;
use super::slot::{Held, Near};
use crate::renewal::Seen;
use crate::store::{Record, StoreError};

impl Sources {
    /// What the store holds, read once however many ask; the near copy is brought up to date on the way.
    pub(super) async fn look(&self, held: &Arc<Held>) -> Result<Option<Arc<Near>>, StoreError> {
        let (sources, looking) = (self.clone(), Arc::clone(held));
        held.slot.look.join(&self.0.runtime, move || async move { sources.read(&looking).await }).result().await?
    }

    pub(super) async fn read(&self, held: &Arc<Held>) -> Result<Option<Arc<Near>>, StoreError> {
        self.read_and_see(held).await.map(|(near, _)| near)
    }

    /// As [`Sources::read`], with what the store itself showed.
    pub(super) async fn read_and_see(&self, held: &Arc<Held>) -> Result<Seen<Near>, StoreError> {
        let before = held.slot.near.load_full();
        match self.0.store.get(&held.key()).await {
            Ok(record) => {
                self.0.outage.answered(self.0.clock.steady());
                self.adopt(held, before, record.as_ref());
                let near = held.slot.near.load_full().filter(|near| !near.life.is_over(&self.0.clock));
                Ok((near, record.map(|record| record.value)))
            }
            Err(error) => {
                self.0.outage.failed(&error, self.0.clock.steady());
                if let Some(near) = before {
                    // Good for another second: each request asking a dead store would make each one wait for it.
                    near.life.confirm(self.0.clock.steady());
                }
                Err(error)
            }
        }
    }

    /// Takes what the store said for the truth over what was held `before`, but for a value that never reached the store and one that
    /// the store lost while it was down: those are written back instead of being fetched anew.
    fn adopt(&self, held: &Arc<Held>, before: Option<Arc<Near>>, record: Option<&Record>) {
        let (slot, clock) = (&held.slot, &self.0.clock);
        let faults = self.0.outage.faults();
        let theirs = record.and_then(|record| Near::of(record, held.source.reserve, clock));
        let theirs = theirs.filter(|near| !near.life.is_over(clock));
        let ours = before.as_ref().filter(|near| !near.life.is_over(clock));
        match (ours, theirs) {
            (None, None) => {}
            (Some(ours), None) => {
                if ours.life.is_missed(faults) {
                    ours.life.missed(clock.steady());
                    self.soon(held);
                } else {
                    slot.replace(&before, None);
                }
            }
            (Some(ours), Some(theirs)) if ours.life.ends_with(theirs.life.expires_at) && ours.grants_what(&theirs, None) => {
                ours.life.confirm(clock.steady());
                ours.life.saved(faults);
            }
            (Some(ours), Some(theirs)) if ours.life.is_unsaved() && ours.life.expires_at > theirs.life.expires_at => {
                ours.life.missed(clock.steady());
                self.soon(held);
            }
            (_, Some(theirs)) => {
                theirs.life.saved(faults);
                let theirs = Arc::new(theirs);
                if slot.replace(&before, Some(Arc::clone(&theirs))) {
                    slot.learn_lifetime(theirs.lifetime());
                    self.reschedule(held, &theirs);
                }
            }
        }
    }

    /// Writes `near` to the store, over what was `seen` there. `false`: something else has come there since, and stays.
    pub(super) async fn write(&self, held: &Held, near: &Near, seen: Option<&SecretString>) -> bool {
        let Some(record) = near.record() else { return true };
        match self.0.store.replace(&held.key(), seen, &record).await {
            Ok(true) => {
                self.0.outage.answered(self.0.clock.steady());
                near.life.saved(self.0.outage.faults());
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.0.outage.failed(&error, self.0.clock.steady());
                near.life.missed(self.0.clock.steady());
                true
            }
        }
    }

    /// Writes an object that the store lacks, unless the store has a later one by now.
    pub(super) async fn write_back(&self, held: &Held) {
        let unsaved = held.slot.near.load_full().filter(|near| near.life.is_unsaved());
        let Some(near) = unsaved.filter(|near| !near.life.is_over(&self.0.clock)) else { return };
        match self.0.store.get(&held.key()).await {
            Ok(Some(record)) if record.expires_at >= near.life.expires_at => near.life.saved(self.0.outage.faults()),
            // Should somebody write meanwhile, the next look tells what.
            Ok(seen) => drop(self.write(held, &near, seen.map(|record| record.value).as_ref()).await),
            Err(error) => self.0.outage.failed(&error, self.0.clock.steady()),
        }
    }
}
