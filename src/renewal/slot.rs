//! The place of one value in this process: what was last seen of it, who asked, what failed, and the work that is under way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::backoff;
use super::flights::{Flight, Lost};
use crate::clock::SteadyMillis;
use crate::credential::FULL_LIFETIME;
use crate::store::StoreError;
use crate::wechat::Kind;

/// The place of one value `V`, whose renewal comes to an `R`; of a failure the cause `C` is remembered. It fills one cache line: with ten
/// thousand accounts each line that a request touches has to come from far away.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Slot<V, R: Clone, C> {
    /// What was last read from or written to the store.
    pub(crate) near: ArcSwapOption<V>,
    /// When somebody last asked, plus one; zero = never. `keep: active` renews only what is asked for.
    asked: AtomicU64,
    /// Whether the refresher has this slot on its list.
    pub(crate) scheduled: AtomicBool,
    /// What failed last, until a renewal succeeds.
    failure: Mutex<Option<Box<Failure<C>>>>,
    /// The whole lifetime of what was granted here last, in ms; zero = none yet. A store keeps only the end.
    lifetime: AtomicU64,
    pub(crate) renewal: Flight<R>,
    pub(crate) look: Flight<Result<Option<Arc<V>>, StoreError>>,
}

/// A failed renewal and the pause after it.
#[derive(Clone, Debug)]
pub(crate) struct Failure<C> {
    pub(crate) cause: C,
    pub(crate) attempts: u32,
    pub(crate) until: SteadyMillis,
}

impl<V, R: Clone, C> Default for Slot<V, R, C> {
    fn default() -> Self {
        Self {
            near: ArcSwapOption::empty(),
            asked: AtomicU64::new(0),
            scheduled: AtomicBool::new(false),
            failure: Mutex::default(),
            lifetime: AtomicU64::new(0),
            renewal: Flight::default(),
            look: Flight::default(),
        }
    }
}

impl<V, R: Clone, C: Clone> Slot<V, R, C> {
    pub(crate) fn note_asked(&self, now: SteadyMillis) {
        self.asked.store(now.0 + 1, Ordering::Relaxed);
    }

    /// Whether somebody asked within one lifetime.
    pub(crate) fn is_wanted(&self, now: SteadyMillis) -> bool {
        match self.asked.load(Ordering::Relaxed) {
            0 => false,
            at => SteadyMillis(at - 1).plus(self.lifetime()) >= now,
        }
    }

    pub(crate) fn failure(&self) -> Option<Failure<C>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).as_deref().cloned()
    }

    /// Remembers `failure` instead of what was remembered before.
    pub(crate) fn set_failure(&self, failure: Option<Failure<C>>) -> Option<Failure<C>> {
        let mut remembered = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *remembered, failure.map(Box::new)).map(|before| *before)
    }

    /// Remembers one failure more: how many in a row that makes, and how long the pause is.
    pub(crate) fn failed(&self, cause: C, kind: Kind, seed: f64, now: SteadyMillis) -> (u32, Duration) {
        let attempts = self.failure().map_or(0, |failure| failure.attempts).saturating_add(1);
        let pause = backoff::delay(kind, attempts, seed);
        self.set_failure(Some(Failure { cause, attempts, until: now.plus(pause) }));
        (attempts, pause)
    }

    /// What is left of the pause at `now`, and its cause.
    pub(crate) fn pause(&self, now: SteadyMillis) -> Option<(Duration, C)> {
        let failure = self.failure().filter(|failure| failure.until > now)?;
        Some((now.until(failure.until), failure.cause))
    }

    /// Whether `held` is still the near copy.
    pub(crate) fn holds(&self, held: &Option<Arc<V>>) -> bool {
        self.near.load().as_ref().map(Arc::as_ptr) == held.as_ref().map(Arc::as_ptr)
    }

    /// Puts `new` where `held` is, unless something else has come there meanwhile.
    pub(crate) fn replace(&self, held: &Option<Arc<V>>, new: Option<Arc<V>>) -> bool {
        let before = self.near.compare_and_swap(held, new);
        before.as_ref().map(Arc::as_ptr) == held.as_ref().map(Arc::as_ptr)
    }

    /// The whole lifetime of what this slot holds, as far as it is known.
    pub(crate) fn lifetime(&self) -> Duration {
        match self.lifetime.load(Ordering::Relaxed) {
            0 => FULL_LIFETIME,
            millis => Duration::from_millis(millis),
        }
    }

    pub(crate) fn learn_lifetime(&self, lifetime: Duration) {
        self.lifetime.store(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl From<Lost> for StoreError {
    fn from(Lost: Lost) -> Self {
        Self { backend: "any", operation: "read", cause: "the reading task ended early".to_owned() }
    }
}
