//! Reads the store, and applies what `reconcile` decides about the answer.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::cached::{Cached, Parts};
use super::credential::Credential;
use super::error::StoreFault;
use super::reconcile::{Decision, reconcile};
use super::single_flight::{Pending, SingleFlight};
use super::subject::{Effect, Subject};
use crate::engine::freshness::renewal_window;
use crate::store::{StoredCredential, Version};
use clock::SteadyMillis;

/// Read timeout for callers that have a fallback.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The same for a store that did not answer the last time. A store that has recovered answers
/// within this.
const SHORT_TIMEOUT: Duration = Duration::from_millis(50);

/// A copy younger than this was read a moment ago, so its store's latest state is known.
const RECENT: Duration = Duration::from_secs(10);

impl<S: Subject> Credential<S> {
    /// The value that the store holds, read once however many ask. The cached copy is brought up to
    /// date.
    pub(super) async fn read(self: &Arc<Self>) -> Result<Option<Arc<Cached>>, StoreFault> {
        self.begin_reading()
            .result()
            .await
            .unwrap_or(Err(StoreFault::Interrupted))
    }

    pub(super) fn begin_reading(
        self: &Arc<Self>,
    ) -> Pending<Result<Option<Arc<Cached>>, StoreFault>> {
        let (credential, runtime) = (Arc::clone(self), &self.engine.runtime);
        let read = move || async move { credential.read_now().await };
        SingleFlight::join(self, |one| &one.reading, runtime, read)
    }

    /// As [`Credential::read`], with a short timeout if there is a fallback: a valid copy, or a
    /// service that can be asked without a lease.
    pub(super) async fn read_with_timeout(
        self: &Arc<Self>,
    ) -> Result<Option<Arc<Cached>>, StoreFault> {
        let (engine, held) = (&self.engine, self.living());
        if held.is_none() && !self.subject.load().can_ask_freely() {
            return self.read().await;
        }
        let age = held
            .as_ref()
            .map_or(Duration::ZERO, |held| held.age(engine.clock.steady()));
        let timeout = if age < RECENT {
            self.store_timeout()
        } else {
            TIMEOUT
        };
        tokio::time::timeout(timeout, self.read())
            .await
            .unwrap_or_else(|_| {
                let fault = StoreFault::Silent {
                    operation: "read",
                    after: timeout,
                };
                engine.store_failed(&fault);
                if let Some(held) = held {
                    held.touch(engine.clock.steady());
                }
                Err(fault)
            })
    }

    /// The read timeout for callers that have a fallback: short while the store is known to be
    /// silent.
    pub(super) fn store_timeout(&self) -> Duration {
        match self.engine.outage.lasts(self.engine.clock.steady()) {
            Duration::ZERO => TIMEOUT,
            _ => SHORT_TIMEOUT,
        }
    }

    async fn read_now(self: &Arc<Self>) -> Result<Option<Arc<Cached>>, StoreFault> {
        let (engine, held) = (&self.engine, self.cached.load_full());
        let key = self.subject.load().store_key();
        match engine.store.load(&key).await {
            Ok(stored) => {
                engine.store_answered();
                Ok(self.apply(held, stored))
            }
            Err(error) => {
                engine.store_failed(&error);
                if let Some(cached) = &*self.cached.load() {
                    // Counts as young for another second, so that not every request waits for a
                    // dead store.
                    cached.touch(engine.clock.steady());
                }
                Err(error.into())
            }
        }
    }

    /// Brings the cached copy up to date with what the store showed, where `held` was the copy when
    /// the store was asked. Returns the copy that is valid now.
    pub(super) fn apply(
        self: &Arc<Self>,
        held: Option<Arc<Cached>>,
        stored: Option<StoredCredential>,
    ) -> Option<Arc<Cached>> {
        let (engine, now) = (&self.engine, self.engine.clock.steady());
        if !self.holds(&held) {
            // A renewal ended while the store was being read.
            return self.living();
        }
        let stored = stored.filter(|stored| {
            stored.ends > now && self.subject.load().accepts(stored.value.expose_secret())
        });
        let faults = engine.outage.faults();
        // An expired copy is compared only with its own value, which the store may keep longer.
        let compared = held.as_ref().filter(|held| {
            !held.is_over(&engine.clock)
                || stored
                    .as_ref()
                    .is_some_and(|stored| held.is_value(&stored.value))
        });
        match (
            reconcile(compared.map(|held| held.held(faults)), stored.as_ref()),
            stored,
        ) {
            (Decision::Keep, Some(stored)) => self.confirm(&held, &stored, faults),
            (Decision::Keep, None) => {}
            (Decision::WriteBack, _) => {
                if let Some(held) = held.as_ref().filter(|held| !held.is_over(&engine.clock)) {
                    held.set_unsaved(now);
                    self.write_back_soon();
                }
            }
            (Decision::Replace | Decision::Suspect, None) => drop(self.swap(&held, None)),
            (Decision::Replace, Some(stored)) => drop(self.take_over(&held, stored)),
            (Decision::Suspect, Some(stored)) => {
                let taken = self.take_over(&held, stored);
                if let Some(taken) =
                    taken.filter(|_| self.subject.load().effect() == Effect::Supersedes)
                {
                    self.doubt(&taken);
                }
            }
        }
        self.living()
    }

    /// The store has the same value.
    fn confirm(
        self: &Arc<Self>,
        held: &Option<Arc<Cached>>,
        stored: &StoredCredential,
        faults: u64,
    ) {
        let Some(same) = held else { return };
        match same.merged(stored, &self.engine.clock, faults) {
            None => same.set_saved(self.engine.clock.steady(), faults),
            Some(merged) => {
                let merged = Arc::new(merged);
                if self.swap(held, Some(Arc::clone(&merged))) && !merged.is_over(&self.engine.clock)
                {
                    // Never later than before, because a suspect copy is due soon.
                    self.attend_no_later(merged.renewal_due(self.engine.jitter()));
                }
            }
        }
    }

    /// Puts the store's value in the place of `held`, unless something else has come there.
    fn take_over(
        self: &Arc<Self>,
        held: &Option<Arc<Cached>>,
        stored: StoredCredential,
    ) -> Option<Arc<Cached>> {
        let now = self.engine.clock.steady();
        let lifetime = stored
            .lifetime
            .or_else(|| self.subject.load().usual_lifetime());
        let lifetime = lifetime.unwrap_or_else(|| now.until(stored.ends));
        // Never valid for longer than its lifetime, whatever expiry another program wrote.
        let ends = stored.ends.min(now.plus(lifetime));
        let cached = Arc::new(self.copy(stored.value, stored.version, ends, lifetime, false));
        if !self.swap(held, Some(Arc::clone(&cached))) {
            return None;
        }
        // Another instance has succeeded: old failures must not lengthen the next back-off.
        self.set_failure(None);
        self.reschedule(&cached);
        Some(cached)
    }

    /// A copy that the store has.
    pub(super) fn copy(
        &self,
        value: secrecy::SecretString,
        version: Version,
        ends: SteadyMillis,
        lifetime: Duration,
        is_first_hand: bool,
    ) -> Cached {
        let window = renewal_window(self.subject.load().reserve(), lifetime);
        let parts = Parts {
            value,
            version,
            ends,
            lifetime,
            window,
            is_first_hand,
        };
        Cached::new(parts, &self.engine.clock, self.engine.outage.faults())
    }

    /// Whether `held` is still the cached copy.
    fn holds(&self, held: &Option<Arc<Cached>>) -> bool {
        self.cached.load().as_ref().map(Arc::as_ptr) == held.as_ref().map(Arc::as_ptr)
    }

    /// Puts `new` where `held` is, unless something else has come there.
    pub(super) fn swap(&self, held: &Option<Arc<Cached>>, new: Option<Arc<Cached>>) -> bool {
        let before = self.cached.compare_and_swap(held, new);
        let is_swapped = before.as_ref().map(Arc::as_ptr) == held.as_ref().map(Arc::as_ptr);
        if is_swapped {
            self.keep_previous(before.as_ref());
        }
        is_swapped
    }
}
