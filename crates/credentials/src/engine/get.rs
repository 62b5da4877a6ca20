//! What a request gets: the cached copy, else the store's value, else a new one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use secrecy::SecretString;

use super::cached::Cached;
use super::credential::{Credential, Error};
use super::error::RenewalError;
use super::reason::{Evidence, Reason};
use super::subject::Subject;
use crate::engine::freshness::Freshness;

/// At this age a copy is not handed out before the shared store has confirmed it.
const OLD: Duration = Duration::from_secs(1);

/// At this age a copy is handed out and confirmed in the background, so that callers of a busy
/// credential never wait.
const AGING: Duration = Duration::from_millis(500);

/// A caller waits this much longer than a call may take, so that it receives the call's own
/// timeout.
const GRACE: Duration = Duration::from_millis(250);

impl<S: Subject> Credential<S> {
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
            Freshness::Due if S::WAKES_WHEN_DUE => self.engine.agenda.wake(),
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
        tokio::time::timeout(after + GRACE, work)
            .await
            .unwrap_or_else(|_| Err(self.too_slow(after)))
    }

    pub(super) fn too_slow(&self, after: Duration) -> Error<S> {
        RenewalError::TooSlow {
            key: self.key(),
            after,
        }
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
}
