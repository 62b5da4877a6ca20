//! One renewal of a source, from what it needs to the write-back. It runs inside the source's flight, in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use super::Sources;
use super::error::SourceError;
use super::reply::Granted;
use super::slot::{Held, Near, Renewed, Why};
use super::wire::Results;
use crate::clock::UnixMillis;
use crate::renewal::{Claims, Errand, InFlight, Lease, Seen};
use crate::store::StoreError;

/// Renewals because a service called an object dead come at most once in this span, so that a service that calls everything dead
/// does not spend another's quota.
const FORCED_SPACING: Duration = Duration::from_secs(30);

impl Sources {
    /// Joins the source's renewal or begins one.
    pub(super) async fn renew(&self, held: &Arc<Held>, why: Why) -> Result<Renewed, SourceError> {
        let (sources, flying) = (self.clone(), Arc::clone(held));
        let landing = held.slot.renewal.join(&self.0.runtime, || sources.fly(flying, why));
        landing.result().await.unwrap_or_else(|_| Err(SourceError::Lost { name: held.source.name.clone() }))
    }

    /// Renews because a service called `refused` dead. A renewal begun for another reason may bring that very object, hence the second
    /// turn.
    async fn renew_refused(&self, held: &Arc<Held>, refused: &Arc<Near>) -> Result<Arc<Near>, SourceError> {
        let why = Why::Refused(Arc::clone(refused));
        let (near, begun_for) = self.renew(held, why.clone()).await?;
        if self.is_met(&why, held, &near) || begun_for.answers(&why, Arc::ptr_eq) {
            return Ok(near);
        }
        self.renew(held, why).await.map(|(near, _)| near)
    }

    /// The body of a flight. Boxed, because a flight waits for those of what it needs.
    fn fly(self, held: Arc<Held>, why: Why) -> BoxFuture<'static, Result<Renewed, SourceError>> {
        async move {
            let _counted = InFlight::new(&self.0.flying);
            let near = self.fetch(&held, &why).await?;
            Ok((near, why))
        }
        .boxed()
    }

    fn is_met(&self, why: &Why, held: &Held, near: &Near) -> bool {
        let is_another = |dead: &Arc<Near>| !near.grants_what(dead, held.source.expires_field().as_deref());
        why.is_met_by(&near.life, &self.0.clock, is_another)
    }

    async fn fetch(&self, held: &Arc<Held>, why: &Why) -> Result<Arc<Near>, SourceError> {
        self.unless_cooling(held)?;
        let (used, error) = match self.fetch_once(held, why).await {
            Err((used, error)) if error.is_stale(&held.source.name) && !used.is_empty() => (used, error),
            Err((_, error)) => return Err(self.remember(held, error)),
            Ok(near) => return Ok(near),
        };
        // The service called what it was sent dead: renew that by comparison, once, then ask once more.
        let mut progress = false;
        for (name, dead) in &used {
            let Some(needed) = self.0.directory.load().get(name).cloned() else { continue };
            let successor = self.renew_refused(&needed, dead).await?;
            progress |= self.is_met(&Why::Refused(Arc::clone(dead)), &needed, &successor);
        }
        if !progress {
            return Err(self.remember(held, error));
        }
        self.fetch_once(held, why).await.map_err(|(_, error)| self.remember(held, error))
    }

    /// One try: what is needed, the claim, the call, the write. An error comes with what was used.
    async fn fetch_once(&self, held: &Arc<Held>, why: &Why) -> Result<Arc<Near>, (Results, SourceError)> {
        // Before the claim, because the claim lasts only as long as one call.
        let mut used = Results::new();
        for name in held.source.needs() {
            // A reload may have taken it away meanwhile; what cannot be filled is then said by the request.
            let Some(needed) = self.0.directory.load().get(name).cloned() else { continue };
            let near = self.needed(&needed).await.map_err(|error| (Results::new(), error))?;
            used.insert(name.to_owned(), near);
        }
        let claims = Claims {
            store: &*self.0.store,
            clock: &self.0.clock,
            owner: &self.0.owner,
            key: held.key(),
            timeout: self.0.wire.timeout(),
        };
        let result = claims.renew(Try { sources: self, held, why, used: &used, may_force: false }).await;
        result.map_err(|error| (used, error))
    }

    /// Writes a grant to the near copy and to the store. The end counts from the moment of asking.
    async fn settle(&self, held: &Arc<Held>, granted: Granted, asked_at: UnixMillis, lease: Lease<Near>) -> Arc<Near> {
        held.slot.set_failure(None);
        let near = Near::new(granted.object, asked_at, granted.lifetime, held.source.reserve, &self.0.clock);
        let same = lease.before.filter(|before| before.grants_what(&near, held.source.expires_field().as_deref()));
        // The service hands back what we had: not yet, and no progress. Its end stays where it was, unless it is said to come earlier:
        // some services, WeCom among them, name the whole lifetime every time.
        let is_no_progress = |same: &Arc<Near>| {
            !same.life.is_over(&self.0.clock)
                && (near.life.ends_with(same.life.expires_at) || near.life.expires_at > same.life.expires_at)
        };
        if let Some(same) = same.filter(is_no_progress) {
            held.slot.near.store(Some(Arc::clone(&same)));
            return same;
        }
        let near = Arc::new(near);
        if !self.write(held, &near, lease.seen.as_ref()).await
            && let Ok(Some(theirs)) = self.read(held).await
        {
            tracing::warn!(source.name = %held.source.name, "two renewals crossed; the other one stays");
            return theirs;
        }
        held.slot.near.store(Some(Arc::clone(&near)));
        held.slot.learn_lifetime(near.lifetime());
        self.reschedule(held, &near);
        if near.life.is_unsaved() {
            self.soon(held);
        }
        near
    }

    fn unless_cooling(&self, held: &Held) -> Result<(), SourceError> {
        match held.slot.pause(self.0.clock.steady()) {
            Some((retry_after, cause)) => Err(SourceError::CoolingDown { name: held.source.name.clone(), retry_after, cause }),
            None => Ok(()),
        }
    }

    /// Remembers a failure of the source's own service as the cause of a pause; that of another is remembered there.
    fn remember(&self, held: &Held, error: SourceError) -> SourceError {
        if let SourceError::Upstream { name, source } = &error
            && *name == held.source.name
        {
            let (seed, now) = (rand::random(), self.0.clock.steady());
            let (attempts, pause) = held.slot.failed(source.clone(), source.kind(), seed, now);
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(source.name = name, error = %source, attempts, pause_ms, "a source's renewal failed");
        }
        error
    }
}

/// One try of a renewal.
struct Try<'a> {
    sources: &'a Sources,
    held: &'a Arc<Held>,
    why: &'a Why,
    used: &'a Results,
    /// Whether a renewal because of a refusal has been permitted.
    may_force: bool,
}

impl Errand for Try<'_> {
    type Near = Near;
    type Error = SourceError;

    async fn look(&self) -> Result<Seen<Near>, StoreError> {
        self.sources.read_and_see(self.held).await
    }

    fn is_met_by(&self, near: &Near) -> bool {
        self.sources.is_met(self.why, self.held, near)
    }

    fn without_a_claim(&self, error: StoreError) -> Result<Lease<Near>, SourceError> {
        self.sources.0.outage.failed(&error, self.sources.0.clock.steady());
        Err(error.into())
    }

    async fn permit(&mut self, lease: &Lease<Near>) -> Result<Option<Arc<Near>>, SourceError> {
        let (Why::Refused(_), Some(near), false) = (self.why, &lease.before, self.may_force) else { return Ok(None) };
        self.may_force = self.sources.0.store.spend(&format!("{}.forced", self.held.key()), 1, FORCED_SPACING).await?;
        if !self.may_force {
            tracing::warn!(source.name = %self.held.source.name, "called dead again within 30 s of its renewal; it is handed out unchanged");
            return Ok(Some(Arc::clone(near)));
        }
        Ok(None)
    }

    async fn call(&self, lease: Lease<Near>) -> Result<Arc<Near>, SourceError> {
        let (sources, source) = (self.sources, &self.held.source);
        let (asked_at, begun) = (sources.0.clock.wall(), sources.0.clock.steady());
        let granted = sources.0.wire.fetch(source, self.used).await;
        let granted = granted.map_err(|error| SourceError::Upstream { name: source.name.clone(), source: error })?;
        let duration_ms = u64::try_from(begun.until(sources.0.clock.steady()).as_millis()).unwrap_or(u64::MAX);
        let lifetime = granted.lifetime.as_secs();
        let near = sources.settle(self.held, granted, asked_at, lease).await;
        tracing::info!(source.name = source.name, why = self.why.name(), lifetime, duration_ms, "renewed");
        Ok(near)
    }

    fn too_slow(&self, after: Duration) -> SourceError {
        SourceError::TooSlow { name: self.held.source.name.clone(), after }
    }
}
