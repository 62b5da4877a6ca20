//! One renewal, from the lease to the call. At most one runs per credential, in its own task.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;
use tracing::Instrument;

use super::cached::Cached;
use super::credential::{Credential, Error, Renewed};
use super::error::RenewalError;
use super::lease::{Answer, Right};
use super::reason::{Evidence, Reason};
use super::settle::Settled;
use super::single_flight::SingleFlight;
use super::subject::{Needed, Refusal, Subject};
use crate::engine::freshness::Freshness;
use wechat::Kind;

/// How often the lease is taken because too little of it was left for the call.
const TURNS: u32 = 3;

impl<S: Subject> Credential<S> {
    /// Joins the renewal in flight or starts one.
    pub(super) async fn renew(self: &Arc<Self>, reason: Reason) -> Renewed<S> {
        let credential = Arc::clone(self);
        let runtime = &self.engine.runtime;
        let begun =
            SingleFlight::join(self, |one| &one.renewal, runtime, || credential.run(reason));
        begun
            .result()
            .await
            .unwrap_or_else(|_| Err(RenewalError::Lost { key: self.key() }))
    }

    /// Renews because a value is void, or may be. A renewal that started for another reason may
    /// return that very value; then there is a second one.
    pub(super) async fn renew_over(
        self: &Arc<Self>,
        reason: Reason,
    ) -> Result<Arc<Cached>, Error<S>> {
        let (cached, begun_for) = self.renew(reason.clone()).await?;
        if self.is_met(&reason, &cached) || self.satisfies(&begun_for, &reason) {
            return Ok(cached);
        }
        self.renew(reason).await.map(|(cached, _)| cached)
    }

    /// Whether `cached` makes a renewal unnecessary.
    pub(super) fn is_met(&self, reason: &Reason, cached: &Cached) -> bool {
        match reason {
            Reason::Missing => !cached.is_over(&self.engine.clock),
            Reason::Ahead => cached.freshness(&self.engine.clock) == Freshness::Fresh,
            Reason::Refused(value, _) | Reason::Doubted(value) => {
                !self.is_same(cached.value(), value)
            }
        }
    }

    /// Whether a renewal for `one` did all that can be done for `other`: the same value, and an
    /// equal or stronger reason.
    fn satisfies(&self, one: &Reason, other: &Reason) -> bool {
        match (one, other) {
            (Reason::Refused(ours, _), Reason::Refused(theirs, _) | Reason::Doubted(theirs))
            | (Reason::Doubted(ours), Reason::Doubted(theirs)) => self.is_same(ours, theirs),
            _ => false,
        }
    }

    /// The renewal's task. Boxed, because it waits for the renewals of what it needs.
    fn run(self: Arc<Self>, reason: Reason) -> BoxFuture<'static, Renewed<S>> {
        // A child of the request that began it, if there is one, so that one id leads through the log.
        let span = tracing::info_span!(
            "renewal",
            credential = %self.key(),
            why = reason.name()
        );
        async move {
            let _counted = Counted::new(&self.engine.renewing);
            let cached = self.renew_now(&reason).await?;
            Ok((cached, reason))
        }
        .instrument(span)
        .boxed()
    }

    async fn renew_now(self: &Arc<Self>, reason: &Reason) -> Result<Arc<Cached>, Error<S>> {
        self.unless_backing_off()?;
        // Before the lease, which lasts only as long as one call.
        let mut needed = self.gather().await?;
        let (mut force, mut turns, mut has_renewed_needed) = (None, 0, false);
        loop {
            turns += 1;
            let right = match self.acquire(reason).await? {
                Answer::NotNeeded(cached) => return Ok(cached),
                Answer::Right(right) => right,
            };
            match self.permit(reason, &right, &mut force).await {
                Ok(None) => {}
                Ok(Some(current)) => return self.end(&right, Ok(current)).await,
                Err(error) => return self.end(&right, Err(error)).await,
            }
            if !right.outlasts_a_call(self.engine.clock.steady()) {
                if turns < TURNS {
                    // Taking the lease again extends it, and shows what happened in between.
                    continue;
                }
                let slow = self.too_slow(self.engine.timeout);
                return self.end(&right, Err(slow)).await;
            }
            match self
                .call(&needed, force.unwrap_or(false), reason, &right)
                .await
            {
                Settled::Granted(cached) => return self.end(&right, Ok(cached)).await,
                Settled::Refused(refusal)
                    if refusal.kind() == Kind::StaleToken
                        && !needed.is_empty()
                        && !has_renewed_needed =>
                {
                    // The lease is kept meanwhile, so that no other instance asks with the value
                    // that was just refused.
                    match self.renew_needed(&needed).await {
                        Ok(Some(renewed)) => {
                            (needed, has_renewed_needed, turns) = (renewed, true, 0)
                        }
                        Ok(None) => return self.fail(&right, refusal).await,
                        Err(error) => return self.end(&right, Err(error)).await,
                    }
                }
                Settled::Refused(refusal) => return self.fail(&right, refusal).await,
            }
        }
    }

    /// Releases the lease.
    async fn end(
        &self,
        right: &Right,
        result: Result<Arc<Cached>, Error<S>>,
    ) -> Result<Arc<Cached>, Error<S>> {
        if let Some(lease) = &right.lease {
            self.release(lease, None).await;
        }
        result
    }

    /// Remembers a refusal, and releases the lease with the back-off that all instances keep.
    async fn fail(&self, right: &Right, refusal: S::Refusal) -> Result<Arc<Cached>, Error<S>> {
        let backoff = self.remember(&refusal);
        if let Some(lease) = &right.lease {
            self.release(lease, backoff.as_ref().filter(|_| self.engine.is_shared))
                .await;
        }
        Err(RenewalError::Upstream {
            key: self.key(),
            source: refusal,
        })
    }

    /// Fetches the values that the call needs.
    async fn gather(&self) -> Result<Needed<S>, Error<S>> {
        let mut needed = Needed::<S>::new();
        for key in self.subject.load_full().needs() {
            // A reload may have removed it; the call then fails with what it lacks.
            let Some(credential) = self.engine.find(&key) else {
                continue;
            };
            needed.insert(key, credential.get_in_time().await?);
        }
        Ok(needed)
    }

    /// The service refused what the call needed as stale: renews that by comparison, once. `None`:
    /// the values are still the same.
    async fn renew_needed(&self, needed: &Needed<S>) -> Result<Option<Needed<S>>, Error<S>> {
        let (mut renewed, mut is_changed) = (needed.clone(), false);
        for (key, dead) in needed {
            let Some(credential) = self.engine.find(key) else {
                continue;
            };
            let successor = credential
                .renew_over(Reason::Refused(dead.value().clone(), Evidence::Report))
                .await?;
            is_changed |= !credential.is_same(successor.value(), dead.value());
            renewed.insert(key.clone(), successor);
        }
        Ok(is_changed.then_some(renewed))
    }
}

/// Counts a renewal while it runs, also if it panics.
struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(renewing: &'a watch::Sender<usize>) -> Self {
        renewing.send_modify(|renewing| *renewing += 1);
        Self(renewing)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|renewing| *renewing -= 1);
    }
}
