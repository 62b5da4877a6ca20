//! The lease: the right to renew one credential, across all instances. It is not used when too
//! little of it is left for a call.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::cached::Cached;
use super::credential::{Credential, Error};
use super::error::StoreFault;
use super::reason::Reason;
use super::subject::Subject;
use crate::store::{Acquired, Backoff, Lease};
use clock::SteadyMillis;

/// A lease outlasts the bound on a call by this much, so that only a dead holder loses it.
const SLACK: Duration = Duration::from_secs(2);

/// How often an instance without the lease polls for the holder's result, if no notice comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What asking for the lease led to.
pub(super) enum Answer {
    /// Another instance has renewed.
    NotNeeded(Arc<Cached>),
    /// Go on.
    Right(Right),
}

/// The right to renew, and what was found with it in hand.
pub(super) struct Right {
    /// `None`: the store is down, and the service can be asked without a lease.
    pub(super) lease: Option<Lease>,
    /// When it was requested; it was granted no earlier.
    asked_at: SteadyMillis,
    /// The value that is there already.
    pub(super) current: Option<Arc<Cached>>,
}

impl Right {
    /// Whether enough of the lease is left for a call.
    pub(super) fn outlasts_a_call(&self, now: SteadyMillis) -> bool {
        self.lease.is_none() || self.asked_at.until(now) <= SLACK
    }
}

impl<S: Subject> Credential<S> {
    /// Takes the lease, and checks whether the renewal is still needed. While another instance
    /// holds the lease, waits for its result.
    pub(super) async fn acquire(self: &Arc<Self>, reason: &Reason) -> Result<Answer, Error<S>> {
        let (engine, lasts) = (&self.engine, self.engine.timeout + SLACK);
        let give_up = engine.clock.steady().plus(lasts);
        let key = self.subject.load().store_key();
        loop {
            let (asked_at, held) = (engine.clock.steady(), self.cached.load_full());
            let acquired = match self.ask_store(&key, lasts, reason, held.as_ref()).await {
                Ok(acquired) => acquired,
                Err(fault) => {
                    return self
                        .without_lease(reason, fault, asked_at)
                        .map(Answer::Right);
                }
            };
            engine.store_answered();
            let current = self.apply(held, acquired.current);
            if let Some(current) = current
                .as_ref()
                .filter(|current| self.is_met(reason, current))
            {
                if let Some(lease) = &acquired.lease {
                    self.release(lease, None).await;
                }
                return Ok(Answer::NotNeeded(Arc::clone(current)));
            }
            if let Some(lease) = acquired.lease {
                if let Some(backoff) = acquired.backoff {
                    self.release(&lease, None).await;
                    self.keep_backoff(backoff);
                    self.unless_backing_off()?;
                    continue;
                }
                return Ok(Answer::Right(Right {
                    lease: Some(lease),
                    asked_at,
                    current,
                }));
            }
            if engine.clock.steady() >= give_up {
                return Err(self.too_slow(lasts));
            }
            engine.waiters.wait(&key, LOOK_EVERY).await;
        }
    }

    async fn ask_store(
        &self,
        key: &str,
        lasts: Duration,
        reason: &Reason,
        held: Option<&Arc<Cached>>,
    ) -> Result<Acquired, StoreFault> {
        let (engine, at_least) = (&self.engine, held.map_or(0, |held| held.version.generation));
        let owner = self.owner();
        let asking = engine.store.acquire(key, &owner, lasts, at_least);
        if !(self.subject.load().can_ask_freely() && matches!(reason, Reason::Missing)) {
            return Ok(asking.await?);
        }
        let after = self.store_timeout();
        match tokio::time::timeout(after, asking).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(StoreFault::Silent {
                operation: "grant a lease",
                after,
            }),
        }
    }

    /// The store is down. A service whose plain fetch voids nothing is asked without a lease; any
    /// other call could void another instance's value.
    fn without_lease(
        &self,
        reason: &Reason,
        fault: StoreFault,
        asked_at: SteadyMillis,
    ) -> Result<Right, Error<S>> {
        self.engine.store_failed(&fault);
        match reason {
            Reason::Missing | Reason::Ahead if self.subject.load().can_ask_freely() => Ok(Right {
                lease: None,
                asked_at,
                current: self.living(),
            }),
            _ => Err(fault.into()),
        }
    }

    /// The owner name for leases. It changes after each unanswered release, which may arrive late
    /// and must not release a newer lease.
    pub(super) fn owner(&self) -> String {
        format!("{}.{}", self.engine.owner, self.lost_releases.load(Relaxed))
    }

    /// Releases the lease. If that fails, it expires.
    pub(super) async fn release(&self, lease: &Lease, backoff: Option<&Backoff>) {
        if let Err(error) = self.engine.store.release(lease, backoff).await {
            self.lost_releases.fetch_add(1, Relaxed);
            tracing::debug!(%error, credential = %self.key(), "the lease could not be released; it will expire");
        }
    }
}
