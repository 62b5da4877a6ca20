//! What all credentials of an engine share: the store, the clock, the agenda, and the list of
//! credentials. The engine holds weak references; the caller of [`Engine::set`] owns the
//! credentials.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::agenda::Agenda;
use super::credential::Credential;
use super::outage::Outage;
use super::subject::Subject;
use super::waiters::Waiters;
use crate::observer::Observer;
use crate::rng::Rng;
use crate::store::Store;
use clock::Clock;
use wechat::account::Keep;

type Members<S> = HashMap<<S as Subject>::Key, Weak<Credential<S>>>;

/// An engine for credentials of one kind.
pub struct Engine<S: Subject> {
    members: ArcSwap<Members<S>>,
    pub(super) store: Arc<dyn Store>,
    /// Whether other processes write to the store. Cached, because every request reads it.
    pub(super) is_shared: bool,
    pub(crate) clock: Clock,
    pub(super) keep: Keep,
    pub(super) rng: Rng,
    /// Tells our leases from those of other instances.
    pub(super) owner: String,
    /// The bound on a call to the service.
    pub(super) timeout: Duration,
    pub(super) agenda: Agenda<S::Key>,
    pub(super) wakes_when_due: bool,
    pub(super) waiters: Waiters,
    pub(super) outage: Outage,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// The number of renewals in flight, so that shutdown can wait for them.
    pub(super) renewing: watch::Sender<usize>,
    pub(crate) runtime: Handle,
}

/// What an engine is made of.
pub struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) keep: Keep,
    pub(crate) rng: Rng,
    /// The bound on a call to the service.
    pub(crate) timeout: Duration,
    /// Whether a request for a due credential wakes the agenda, in case the clock was moved. Too
    /// expensive for credentials that are requested a hundred thousand times a second.
    pub(crate) wakes_when_due: bool,
    /// Appended to log lines that name no credential.
    pub(crate) whose: &'static str,
    /// Receives a report of each call to the service.
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl<S: Subject> Engine<S> {
    /// An engine without credentials. Must be called on the runtime that is to do its work.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            members: ArcSwap::default(),
            is_shared: parts.store.is_shared(),
            store: parts.store,
            clock: parts.clock,
            keep: parts.keep,
            owner: parts.rng.name(),
            rng: parts.rng,
            timeout: parts.timeout,
            agenda: Agenda::default(),
            wakes_when_due: parts.wakes_when_due,
            waiters: Waiters::default(),
            outage: Outage::of(parts.whose),
            observer: parts.observer,
            renewing: watch::Sender::new(0),
            runtime: Handle::current(),
        })
    }

    /// Replaces the credentials by those of `subjects`. A credential whose key stays keeps its
    /// cached copy and gets the new subject.
    pub(crate) fn set(
        self: &Arc<Self>,
        subjects: impl IntoIterator<Item = S>,
    ) -> HashMap<S::Key, Arc<Credential<S>>> {
        let before = self.members.load();
        let credentials: HashMap<_, _> = subjects
            .into_iter()
            .map(|subject| {
                let key = subject.key();
                let credential = match before.get(&key).and_then(Weak::upgrade) {
                    Some(known) => {
                        known.subject.store(Arc::new(subject));
                        known
                    }
                    None => Arc::new(Credential::new(Arc::clone(self), subject)),
                };
                (key, credential)
            })
            .collect();
        let members = credentials
            .iter()
            .map(|(key, credential)| (key.clone(), Arc::downgrade(credential)))
            .collect();
        self.members.store(Arc::new(members));
        credentials
    }

    /// The credential of that key, if there is one.
    pub(crate) fn find(&self, key: &S::Key) -> Option<Arc<Credential<S>>> {
        self.members.load().get(key)?.upgrade()
    }

    /// All credentials in the order of their keys, so that runs with the same seed are equal.
    pub(crate) fn all(&self) -> Vec<Arc<Credential<S>>> {
        let mut all: Vec<_> = self
            .members
            .load()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        all
    }

    pub(super) fn jitter(&self) -> f64 {
        self.rng.fraction()
    }
}

/// Counts a renewal while it runs, also if it panics.
pub(super) struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    pub(super) fn new(renewing: &'a watch::Sender<usize>) -> Self {
        renewing.send_modify(|renewing| *renewing += 1);
        Self(renewing)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|renewing| *renewing -= 1);
    }
}
