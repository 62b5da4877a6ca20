//! Whether the store answers: told to the log once when it stops and once when it is back, and counted, so that a near copy knows whether
//! the store may have lost it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::SteadyMillis;
use crate::store::StoreError;

/// What was noticed of the store.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// Words of the log that tell whose values are meant.
    whose: &'static str,
    /// How often the store has failed: a copy confirmed before the last fault may be all that is left of a value.
    faults: AtomicU64,
    /// When it was last seen to stop answering, by the steady clock; zero = it answers.
    since: AtomicU64,
}

impl Outage {
    pub(crate) fn of(whose: &'static str) -> Self {
        Self { whose, ..Self::default() }
    }

    /// The store did what it was asked.
    pub(crate) fn answered(&self) {
        if self.since.load(Ordering::Relaxed) != 0 && self.since.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("the store answers again{}", self.whose);
        }
    }

    /// The store did not do what it was asked.
    pub(crate) fn failed(&self, error: &StoreError, now: SteadyMillis) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        if self.since.compare_exchange(0, now.0.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(%error, "the store fails; what this process holds fresh{} goes on being served", self.whose);
        }
    }

    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// How long the store has not answered.
    pub(crate) fn lasts(&self, now: SteadyMillis) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => SteadyMillis(since).until(now),
        }
    }
}
