//! The handle on one credential, and what a request gets from it: the cached copy, else the store's
//! value, else a new one.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use secrecy::{ExposeSecret, SecretString};

use super::backoff::Failure;
use super::cached::Cached;
use super::engine::Engine;
use super::error::{RenewalError, StoreFault};
use super::ledger::Stored;
use super::renew::{Evidence, Reason};
use super::single_flight::SingleFlight;
use super::subject::Subject;
use crate::engine::freshness::Freshness;
use clock::SteadyMillis;
use wechat::credential::FULL_LIFETIME;

/// At this age a copy is not handed out before the shared store has confirmed it.
const OLD: Duration = Duration::from_secs(1);

/// At this age a copy is handed out and confirmed in the background, so that callers of a busy
/// credential never wait.
const AGING: Duration = Duration::from_millis(500);

/// A caller waits this much longer than a call may take, so that it receives the call's own
/// timeout.
const GRACE: Duration = Duration::from_millis(250);

/// The result of a renewal, with the reason that started it.
pub(super) type Renewed<S> = Result<(Arc<Cached>, Reason), Error<S>>;

pub(super) type Error<S> = RenewalError<<S as Subject>::Key, <S as Subject>::Refusal>;

/// One credential. It outlives a reload of the settings, which replaces only its subject.
pub struct Credential<S: Subject> {
    /// What was last read from the store or written to it.
    pub(super) cached: ArcSwapOption<Cached>,
    /// The value before the current one, as far as this process knows. See `previous.rs`.
    pub(super) previous: ArcSwapOption<SecretString>,
    /// When a caller last asked, plus one; zero = never. `keep: active` renews only credentials
    /// that are asked for.
    asked_at: AtomicU64,
    /// Whether it is on the agenda.
    pub(super) is_scheduled: AtomicBool,
    pub(super) engine: Arc<Engine<S>>,
    pub(super) subject: ArcSwap<S>,
    pub(super) key: S::Key,
    /// The last failure, until a renewal succeeds.
    pub(super) failure: Mutex<Option<Box<Failure<S::Refusal>>>>,
    /// When an unanswered call must have been carried out; zero = there is none.
    pub(super) unanswered_until: AtomicU64,
    /// The ledger as this process last saw it.
    pub(super) ledger: ArcSwapOption<Stored>,
    /// Counts the releases that were not answered.
    pub(super) lost_releases: AtomicU32,
    pub(super) renewal: SingleFlight<Renewed<S>>,
    pub(super) reading: SingleFlight<Result<Option<Arc<Cached>>, StoreFault>>,
}

impl<S: Subject> Credential<S> {
    pub(super) fn new(engine: Arc<Engine<S>>, subject: S) -> Self {
        Self {
            cached: ArcSwapOption::empty(),
            previous: ArcSwapOption::empty(),
            asked_at: AtomicU64::new(0),
            is_scheduled: AtomicBool::new(false),
            engine,
            key: subject.key(),
            subject: ArcSwap::from_pointee(subject),
            failure: Mutex::default(),
            unanswered_until: AtomicU64::new(0),
            ledger: ArcSwapOption::empty(),
            lost_releases: AtomicU32::new(0),
            renewal: SingleFlight::default(),
            reading: SingleFlight::default(),
        }
    }

    /// The cached copy, if it can be handed out without waiting: it is there, young enough and has
    /// not expired. A copy that is due is handed out too; its renewal runs in the background.
    pub fn at_hand(self: &Arc<Self>) -> Option<Arc<Cached>> {
        let now = self.engine.clock.steady();
        self.note_asked(now);
        let cached = self.cached.load();
        let cached = cached.as_ref()?;
        if self.engine.is_shared {
            let age = cached.age(now);
            if age >= OLD {
                return None;
            }
            if age >= AGING {
                drop(self.begin_reading());
            }
        }
        match cached.freshness_at(now, self.engine.clock.wall()) {
            Freshness::Expired => return None,
            Freshness::Due if self.engine.wakes_when_due => self.engine.agenda.wake(),
            Freshness::Due | Freshness::Fresh => {}
        }
        if !self.is_scheduled.load(Relaxed) {
            self.schedule(cached);
        }
        Some(Arc::clone(cached))
    }

    /// The credential, from the cached copy, the store or the service. Returns within the bound on
    /// calls; a renewal that takes longer continues without its caller.
    pub async fn get(self: &Arc<Self>) -> Result<Arc<Cached>, Error<S>> {
        match self.at_hand() {
            Some(cached) => Ok(cached),
            // Boxed, so that the future of the common case stays small.
            None => Box::pin(self.with_timeout(self.read_or_renew())).await,
        }
    }

    /// As [`Credential::get`], for as long as it takes.
    pub(super) async fn get_in_time(self: &Arc<Self>) -> Result<Arc<Cached>, Error<S>> {
        match self.at_hand() {
            Some(cached) => Ok(cached),
            None => self.read_or_renew().await,
        }
    }

    /// "The service refused this value": renews the credential if `refused` is still the current
    /// one, else returns the current one. There is one renewal however many ask. Past the limit on
    /// forced renewals the current value is returned unchanged, and checked again later.
    pub async fn rotate(self: &Arc<Self>, refused: SecretString) -> Result<Arc<Cached>, Error<S>> {
        self.rotate_on(refused, Evidence::Report).await
    }

    /// As [`Credential::rotate`], for a value that the service itself called void when it was asked
    /// about it, so that it is not asked again.
    pub async fn rotate_void(
        self: &Arc<Self>,
        void: SecretString,
    ) -> Result<Arc<Cached>, Error<S>> {
        self.rotate_on(void, Evidence::Probe).await
    }

    async fn rotate_on(
        self: &Arc<Self>,
        refused: SecretString,
        evidence: Evidence,
    ) -> Result<Arc<Cached>, Error<S>> {
        self.note_asked(self.engine.clock.steady());
        let rotated = self.with_timeout(async {
            // The cached copy may be a second old; the store has the current one.
            let current = self.read_or_renew().await?;
            if !self.is_same(current.value(), &refused) {
                return Ok(current);
            }
            self.renew_over(Reason::Refused(refused.clone(), evidence))
                .await
        });
        let rotated = rotated.await;
        if rotated.is_err() {
            self.note_refused(&refused);
        }
        rotated
    }

    /// The value in the store, or the cached one while the store fails. Never asks the service, and
    /// does not count as a request for `keep: active`.
    pub async fn stored(self: &Arc<Self>) -> Result<Option<Arc<Cached>>, Error<S>> {
        self.with_timeout(async {
            match self.read().await {
                Ok(found) => Ok(found),
                Err(fault) => self.living().map(Some).ok_or(fault.into()),
            }
        })
        .await
    }

    /// The credential, renewed first if it is due, within the limit on forced renewals. Past the
    /// limit, and when the renewal fails, the current value for as long as it is valid.
    pub async fn refresh(self: &Arc<Self>) -> Result<Arc<Cached>, Error<S>> {
        let current = self.get().await?;
        if current.freshness(&self.engine.clock) == Freshness::Fresh {
            return Ok(current);
        }
        let renewed = self.rotate(current.value().clone()).await;
        if renewed.is_err() && !current.is_over(&self.engine.clock) {
            Ok(current)
        } else {
            renewed
        }
    }

    /// Bounds `work` as every caller's wait is bounded.
    pub(crate) async fn with_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, Error<S>>>,
    ) -> Result<T, Error<S>> {
        let after = self.engine.timeout;
        let late = || RenewalError::TooSlow {
            key: self.key.clone(),
            after,
        };
        tokio::time::timeout(after + GRACE, work)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn read_or_renew(self: &Arc<Self>) -> Result<Arc<Cached>, Error<S>> {
        match self.read_with_timeout().await {
            Ok(Some(cached)) => {
                self.schedule(&cached);
                return Ok(cached);
            }
            Ok(None) => {}
            Err(fault) => {
                // A store that is down is no reason to refuse what we still hold.
                if let Some(cached) = self.living() {
                    return Ok(cached);
                }
                // Without the lease a renewal could void another instance's value.
                if !self.subject.load().can_ask_freely() {
                    return Err(fault.into());
                }
            }
        }
        self.renew(Reason::Missing).await.map(|(cached, _)| cached)
    }

    /// The cached copy that has not expired.
    pub(super) fn living(&self) -> Option<Arc<Cached>> {
        self.cached
            .load_full()
            .filter(|cached| !cached.is_over(&self.engine.clock))
    }

    pub(super) fn is_same(&self, one: &SecretString, other: &SecretString) -> bool {
        self.subject
            .load()
            .is_same(one.expose_secret(), other.expose_secret())
    }

    fn note_asked(&self, now: SteadyMillis) {
        self.asked_at.store(now.0 + 1, Relaxed);
    }

    /// Whether somebody asked within one lifetime.
    pub(super) fn is_wanted(&self) -> bool {
        let lifetime = self
            .cached
            .load()
            .as_ref()
            .map_or(FULL_LIFETIME, |cached| cached.lifetime);
        match self.asked_at.load(Relaxed) {
            0 => false,
            at => SteadyMillis(at - 1).plus(lifetime) >= self.engine.clock.steady(),
        }
    }
}

impl<S: Subject> std::fmt::Debug for Credential<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credential").field(&self.key).finish()
    }
}
