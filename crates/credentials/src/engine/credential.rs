//! One credential, and the engine that credentials of one kind share: the store, the clock, the
//! agenda. The engine holds weak references; the caller of [`Engine::set`] owns the credentials.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::agenda::Agenda;
use super::cached::Cached;
use super::error::{Failure, RenewalError, StoreFault};
use super::outage::Outage;
use super::reason::Reason;
use super::single_flight::SingleFlight;
use super::subject::Subject;
use super::waiters::Waiters;
use crate::ledger::SharedLedger;
use crate::observer::Observer;
use crate::rng::Rng;
use crate::store::Store;
use clock::{Clock, SteadyMillis};
use wechat::account::Keep;
use wechat::credential::FULL_LIFETIME;

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
    /// The last failure, until a renewal succeeds.
    pub(super) failure: ArcSwapOption<Failure<S::Refusal>>,
    /// When an unanswered call must have been carried out; zero = there is none.
    pub(super) unanswered_until: AtomicU64,
    /// What all instances count together.
    pub(super) ledger: SharedLedger,
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
            subject: ArcSwap::from_pointee(subject),
            failure: ArcSwapOption::empty(),
            unanswered_until: AtomicU64::new(0),
            ledger: SharedLedger::default(),
            lost_releases: AtomicU32::new(0),
            renewal: SingleFlight::default(),
            reading: SingleFlight::default(),
        }
    }

    pub(super) fn key(&self) -> S::Key {
        self.subject.load().key()
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

    pub(super) fn note_asked(&self, now: SteadyMillis) {
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
        f.debug_tuple("Credential").field(&self.key()).finish()
    }
}

type Members<S> = BTreeMap<<S as Subject>::Key, Weak<Credential<S>>>;

/// An engine for credentials of one kind.
pub struct Engine<S: Subject> {
    members: ArcSwap<Members<S>>,
    pub(super) store: Arc<dyn Store>,
    /// Whether other processes write to the store. Cached, because every request reads it.
    pub(super) is_shared: bool,
    pub(crate) clock: Clock,
    pub(crate) keep: Keep,
    pub(super) rng: Rng,
    /// Tells our leases from those of other instances.
    pub(super) owner: String,
    /// The bound on a call to the service.
    pub(super) timeout: Duration,
    pub(super) agenda: Agenda<S::Key>,
    pub(super) waiters: Waiters,
    pub(super) outage: Outage,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// The number of renewals in flight, so that shutdown can wait for them.
    pub(super) renewing: watch::Sender<usize>,
    pub(crate) runtime: Handle,
}

/// What an engine is made of.
pub struct Parts {
    /// Where the credentials are kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// Which credentials are renewed ahead.
    pub keep: Keep,
    /// Jitter and names of owners; a seeded one makes runs reproducible.
    pub rng: Rng,
    /// Receives a report of each call to the service.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Parts {
    /// With true random numbers and without an observer.
    pub fn new(store: Arc<dyn Store>, clock: Clock, keep: Keep) -> Self {
        Self {
            store,
            clock,
            keep,
            rng: Rng::system(),
            observer: None,
        }
    }
}

impl<S: Subject> Engine<S> {
    /// An engine without credentials, each call bounded by `timeout`. Must be called on the runtime
    /// that is to do its work.
    pub(crate) fn new(parts: Parts, timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            members: ArcSwap::default(),
            is_shared: parts.store.is_shared(),
            store: parts.store,
            clock: parts.clock,
            keep: parts.keep,
            owner: parts.rng.name(),
            rng: parts.rng,
            timeout,
            agenda: Agenda::default(),
            waiters: Waiters::default(),
            outage: Outage::of(S::WHOSE),
            observer: parts.observer,
            renewing: watch::Sender::new(0),
            runtime: Handle::current(),
        })
    }

    /// Replaces the credentials by those of `subjects`, which it returns in the same order. A
    /// credential whose key stays keeps its cached copy and gets the new subject.
    pub(crate) fn set(
        self: &Arc<Self>,
        subjects: impl IntoIterator<Item = S>,
    ) -> Vec<Arc<Credential<S>>> {
        let before = self.members.load();
        let credentials: Vec<_> = subjects
            .into_iter()
            .map(
                |subject| match before.get(&subject.key()).and_then(Weak::upgrade) {
                    Some(known) => {
                        known.subject.store(Arc::new(subject));
                        known
                    }
                    None => Arc::new(Credential::new(Arc::clone(self), subject)),
                },
            )
            .collect();
        let members = credentials
            .iter()
            .map(|credential| (credential.key(), Arc::downgrade(credential)))
            .collect();
        self.members.store(Arc::new(members));
        if self.keep == Keep::Always {
            self.schedule_all();
        }
        credentials
    }

    /// The credential of that key, if there is one.
    pub(crate) fn find(&self, key: &S::Key) -> Option<Arc<Credential<S>>> {
        self.members.load().get(key)?.upgrade()
    }

    /// All credentials in the order of their keys, so that runs with the same seed are equal.
    pub(crate) fn all(&self) -> Vec<Arc<Credential<S>>> {
        let members = self.members.load();
        members.values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn jitter(&self) -> f64 {
        self.rng.fraction()
    }

    /// An operation of the store has succeeded.
    pub(super) fn store_answered(&self) {
        self.outage.answered(self.clock.steady());
    }

    /// An operation of the store has failed.
    pub(super) fn store_failed(&self, error: &dyn std::fmt::Display) {
        self.outage.failed(error, self.clock.steady());
    }
}
