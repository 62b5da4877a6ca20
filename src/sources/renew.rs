//! One renewal of a source, from what it needs to the write-back. It runs inside the source's flight, in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use secrecy::SecretString;

use super::Sources;
use super::error::SourceError;
use super::reply::Granted;
use super::slot::{Failure, Held, Near};
use super::wire::Results;
use crate::clock::{SteadyMillis, UnixMillis};
use crate::credential::Freshness;
use crate::renewal::{InFlight, backoff};

/// A claim outlives the bound on a call by this much, so that only a dead leader loses it.
const LEASE_SLACK: Duration = Duration::from_secs(2);

/// How often an instance that lost the claim looks for the winner's result.
const LOSER_LOOKS_EVERY: Duration = Duration::from_millis(100);

/// How often a lease is claimed because too much of it has passed before the call.
const TURNS: u32 = 3;

/// Renewals because a service called an object dead come at most once in this span, so that a service that calls everything dead
/// does not spend another's quota.
const FORCED_SPACING: Duration = Duration::from_secs(30);

/// Why a renewal is begun, hence what would make it needless.
#[derive(Clone)]
pub(super) enum Why {
    /// There is none: any living object will do.
    Missing,
    /// Its end is near: only a fresh one will do.
    Ahead,
    /// A service called this one dead: only another will do.
    Refused(Arc<Near>),
}

/// The right to renew, and what was found with it in hand.
struct Lease {
    /// When it was asked for, hence the latest moment from which it counts.
    claimed_at: SteadyMillis,
    /// What is there already, if anything.
    before: Option<Arc<Near>>,
    /// What the store itself showed.
    seen: Option<SecretString>,
}

/// What the claim led to.
enum Leave {
    /// Nobody else renews: go on.
    ToFetch(Lease),
    /// Somebody else has renewed, or it may not be.
    NotNeeded(Arc<Near>),
}

impl Sources {
    /// Joins the source's renewal or begins one.
    pub(super) async fn renew(&self, held: &Arc<Held>, why: Why) -> Result<Arc<Near>, SourceError> {
        let (sources, flying) = (self.clone(), Arc::clone(held));
        let landing = held.slot.renewal.join(&self.0.runtime, || sources.fly(flying, why));
        landing.result().await.unwrap_or_else(|_| Err(SourceError::Lost { name: held.source.name.clone() }))
    }

    /// Renews because a service called `refused` dead. A renewal begun for another reason may bring that very object, hence the second
    /// turn.
    async fn renew_refused(&self, held: &Arc<Held>, refused: &Arc<Near>) -> Result<Arc<Near>, SourceError> {
        let why = Why::Refused(Arc::clone(refused));
        let near = self.renew(held, why.clone()).await?;
        if self.is_met(&why, held, &near) { Ok(near) } else { self.renew(held, why).await }
    }

    /// The body of a flight. Boxed, because a flight waits for those of what it needs.
    fn fly(self, held: Arc<Held>, why: Why) -> BoxFuture<'static, Result<Arc<Near>, SourceError>> {
        async move {
            let _counted = InFlight::new(&self.0.flying);
            self.fetch(&held, &why).await
        }
        .boxed()
    }

    fn is_met(&self, why: &Why, held: &Held, near: &Near) -> bool {
        let freshness = near.freshness(&self.0.clock);
        match why {
            Why::Missing => freshness != Freshness::Expired,
            Why::Ahead => freshness == Freshness::Fresh,
            Why::Refused(refused) => !near.grants_what(refused, held.source.expires_field().as_deref()),
        }
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
        let mut turns = 0;
        let result = loop {
            let lease = match self.claim(held, why).await.map_err(|error| (Results::new(), error))? {
                Leave::NotNeeded(near) => return Ok(near),
                Leave::ToFetch(lease) => lease,
            };
            if lease.claimed_at.until(self.0.clock.steady()) <= LEASE_SLACK {
                break self.call(held, why, &used, lease).await;
            }
            // The store is slow, or this process was held up. Claimed again it lasts again.
            turns += 1;
            if turns == TURNS {
                break Err(SourceError::TooSlow { name: held.source.name.clone(), after: LEASE_SLACK });
            }
        };
        if let Err(error) = self.0.store.release(&held.key(), &self.0.owner).await {
            tracing::debug!(%error, source.name = %held.source.name, "the claim could not be given back; it ends by itself");
        }
        result.map_err(|error| (used, error))
    }

    /// Asks for the right to renew, and looks whether there is still anything to do.
    async fn claim(&self, held: &Arc<Held>, why: &Why) -> Result<Leave, SourceError> {
        let (key, lease) = (held.key(), self.0.wire.timeout() + LEASE_SLACK);
        let give_up = self.0.clock.steady().plus(lease);
        let failed = |error| {
            self.store_failed(&error);
            SourceError::Store(error)
        };
        loop {
            let claimed_at = self.0.clock.steady();
            let claimed = self.0.store.claim(&key, &self.0.owner, lease).await.map_err(failed)?;
            match self.read_and_see(held).await? {
                (Some(near), _) if self.is_met(why, held, &near) => {
                    if claimed {
                        self.0.store.release(&key, &self.0.owner).await.ok();
                    }
                    return Ok(Leave::NotNeeded(near));
                }
                (before, seen) if claimed => return Ok(Leave::ToFetch(Lease { claimed_at, before, seen })),
                _ => {}
            }
            if self.0.clock.steady() >= give_up {
                return Err(SourceError::TooSlow { name: held.source.name.clone(), after: lease });
            }
            tokio::time::sleep(LOSER_LOOKS_EVERY).await;
        }
    }

    async fn call(&self, held: &Arc<Held>, why: &Why, used: &Results, lease: Lease) -> Result<Arc<Near>, SourceError> {
        if let (Why::Refused(_), Some(near)) = (why, &lease.before)
            && !self.0.store.spend(&format!("{}.forced", held.key()), 1, FORCED_SPACING).await?
        {
            tracing::warn!(source.name = %held.source.name, "called dead again within 30 s of its renewal; it is handed out unchanged");
            return Ok(Arc::clone(near));
        }
        let (asked_at, begun) = (self.0.clock.wall(), self.0.clock.steady());
        let name = held.source.name.as_str();
        let granted = self.0.wire.fetch(&held.source, used).await;
        let granted = granted.map_err(|source| SourceError::Upstream { name: name.to_owned(), source })?;
        let duration_ms = u64::try_from(begun.until(self.0.clock.steady()).as_millis()).unwrap_or(u64::MAX);
        let lifetime = granted.lifetime.as_secs();
        let near = self.settle(held, granted, asked_at, lease).await;
        let why = match why {
            Why::Missing => "missing",
            Why::Ahead => "ahead",
            Why::Refused(_) => "refused",
        };
        tracing::info!(source.name = name, why, lifetime, duration_ms, "renewed");
        Ok(near)
    }

    /// Writes a grant to the near copy and to the store. The end counts from the moment of asking.
    async fn settle(&self, held: &Arc<Held>, granted: Granted, asked_at: UnixMillis, lease: Lease) -> Arc<Near> {
        held.slot.set_failure(None);
        let near = Near::new(granted.object, asked_at, granted.lifetime, held.source.reserve, &self.0.clock);
        let same = lease.before.filter(|before| before.grants_what(&near, held.source.expires_field().as_deref()));
        // The service hands back what we had: not yet, and no progress. Its end stays where it was, unless it is said to come earlier:
        // some services, WeCom among them, name the whole lifetime every time.
        let is_no_progress =
            |same: &Arc<Near>| same.is_alive(&self.0.clock) && (near.ends_with(same) || near.expires_at() > same.expires_at());
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
        self.appoint(held, near.renewal_due(rand::random()));
        if near.unsaved.load(std::sync::atomic::Ordering::Relaxed) {
            self.soon(held);
        }
        near
    }

    fn unless_cooling(&self, held: &Held) -> Result<(), SourceError> {
        let now = self.0.clock.steady();
        match held.slot.failure() {
            Some(failure) if failure.until > now => Err(SourceError::CoolingDown {
                name: held.source.name.clone(),
                retry_after: now.until(failure.until),
                cause: failure.cause,
            }),
            _ => Ok(()),
        }
    }

    /// Remembers a failure of the source's own service as the cause of a pause; that of another is remembered there.
    fn remember(&self, held: &Held, error: SourceError) -> SourceError {
        if let SourceError::Upstream { name, source } = &error
            && *name == held.source.name
        {
            let attempts = held.slot.failure().map_or(0, |failure| failure.attempts).saturating_add(1);
            let pause = backoff::delay(source.kind(), attempts, rand::random());
            held.slot.set_failure(Some(Failure { cause: source.clone(), attempts, until: self.0.clock.steady().plus(pause) }));
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(source.name = name, error = %source, attempts, pause_ms, "a source's renewal failed");
        }
        error
    }
}
