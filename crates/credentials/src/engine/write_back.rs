//! Gives the store back what it lacks: a value that could not be written, or that the store has
//! lost since.

use std::sync::Arc;
use std::time::Duration;

use super::cached::Cached;
use super::credential::Credential;
use super::subject::Subject;
use crate::store::{Committed, StoreError, Version};

/// How long after a write the value is read again: a replica that took over may not have it.
const SETTLED: Duration = Duration::from_secs(3);

impl<S: Subject> Credential<S> {
    /// Whether there is a valid copy that the store lacks.
    pub(super) fn is_unsaved(&self) -> bool {
        self.living().is_some_and(|cached| cached.is_unsaved())
    }

    /// Writes a value that the store lacks, unless the store has a later one.
    pub(super) async fn write_back(self: &Arc<Self>) {
        let Some(unsaved) = self.living().filter(|cached| cached.is_unsaved()) else {
            return;
        };
        let engine = &self.engine;
        let Version {
            generation,
            is_foreign,
        } = unsaved.version;
        let written = if generation == 0 || is_foreign {
            self.write_back_first(&unsaved).await
        } else {
            let key = self.subject.load().store_key();
            let new = unsaved.to_store(generation);
            self.save(|new| engine.store.restore(&key, new), new)
                .await
                .map(|written| (written, generation))
        };
        match written {
            Ok((Committed::Stored, generation)) => {
                engine.store_answered();
                let saved = Arc::new(unsaved.with(
                    Version::ours(generation),
                    unsaved.ends,
                    &engine.clock,
                    engine.outage.faults(),
                ));
                self.swap(&Some(unsaved), Some(saved));
                tracing::info!(credential = %self.key(), "written back to the store");
            }
            Ok((Committed::Superseded(theirs), _)) => {
                self.apply(Some(unsaved), theirs);
            }
            Err(error) => engine.store_failed(&error),
        }
    }

    /// Writes back a value that has no generation of ours: it was fetched without a lease, or
    /// another program wrote it.
    async fn write_back_first(&self, unsaved: &Cached) -> Result<(Committed, u64), StoreError> {
        let (store, key) = (&self.engine.store, self.subject.load().store_key());
        // Another owner than a renewal's, which may run at the same time: neither may use or
        // release the other's lease.
        let owner = format!("{}.w", self.owner());
        let acquired = store.acquire(&key, &owner, self.engine.timeout, 0).await?;
        let Some(lease) = acquired.lease else {
            return Ok((Committed::Superseded(acquired.current), 0));
        };
        let is_free = acquired
            .current
            .as_ref()
            .is_none_or(|current| unsaved.is_value(&current.value));
        let written = match is_free {
            true => {
                self.save(
                    |new| store.commit(&lease, new),
                    unsaved.to_store(lease.generation),
                )
                .await
            }
            false => Ok(Committed::Superseded(acquired.current)),
        };
        self.release(&lease, None).await;
        written.map(|written| (written, lease.generation))
    }

    /// Reads a value again some time after it was written.
    pub(super) fn verify_later(&self) {
        if self.engine.is_shared {
            self.attend_no_later(self.engine.clock.steady().plus(SETTLED));
        }
    }

    /// Schedules the write of a value that the store lacks.
    pub(super) fn write_back_soon(&self) {
        self.attend_no_later(self.engine.clock.steady().plus(self.store_pause()));
    }
}
