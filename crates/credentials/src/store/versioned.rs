//! The credentials' contract on top of a backend's primitives, written once for all backends.
//!
//! The value keeps the format of the original and of its neighbours. Everything of ours is in the
//! companion record (`companion.rs`).

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use secrecy::{ExposeSecret, SecretString};

use super::StoreError;
use super::companion::{Companion, Pause};
use super::credentials::{
    Acquired, Backoff, Committed, CredentialStore, Lease, NewCredential, Pair, StoredCredential,
};
use clock::{SteadyMillis, UnixMillis};

/// How long a companion outlives its value, so that a value that has just expired is still
/// recognized.
const KEPT_LONGER: Duration = Duration::from_secs(3600);

/// How often a conditional write is retried because another write came in between.
const ATTEMPTS: u32 = 4;

/// What a backend provides. Key and companion are read and written together where the backend can;
/// where it cannot, the value is read first and the companion is written first.
pub trait VersionedRecords: Send + Sync {
    /// Reads both.
    fn read_pair<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Pair, StoreError>>;

    /// Writes both if the value is absent, is `over` or is the new one already. `false`: another
    /// value is there. The companion is kept for `kept` longer than the value.
    fn write_pair<'a>(
        &'a self,
        key: &'a str,
        over: Option<&'a SecretString>,
        new: NewCredential<'a>,
        companion: &'a str,
        kept: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Writes the companion alone, for `ttl`.
    fn write_companion<'a>(
        &'a self,
        key: &'a str,
        companion: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes the lease. `None`: another owner has it. Else the store's clock.
    fn take_lease<'a>(
        &'a self,
        key: &'a str,
        owner: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<UnixMillis>, StoreError>>;

    /// Gives the lease back. Does nothing when `owner` no longer has it.
    fn return_lease<'a>(
        &'a self,
        key: &'a str,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The current time of the backend's clock.
    fn steady(&self) -> SteadyMillis;
}

impl<T: VersionedRecords + ?Sized> CredentialStore for T {
    fn load<'a>(
        &'a self,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredCredential>, StoreError>> {
        async move { Ok(current(&self.read_pair(key).await?).0) }.boxed()
    }

    fn previous<'a>(
        &'a self,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<SecretString>, StoreError>> {
        async move {
            let pair = self.read_pair(key).await?;
            Ok(Companion::read(pair.companion.as_deref()).previous())
        }
        .boxed()
    }

    fn acquire<'a>(
        &'a self,
        key: &'a str,
        owner: &'a str,
        ttl: Duration,
        at_least: u64,
    ) -> BoxFuture<'a, Result<Acquired, StoreError>> {
        async move {
            let granted_at = self.take_lease(key, owner, ttl).await?;
            let received_at = self.steady();
            let seen = self.read_pair(key).await?;
            let (current, companion) = current(&seen);
            let Some(granted_at) = granted_at else {
                return Ok(Acquired {
                    lease: None,
                    current,
                    backoff: None,
                });
            };
            let lease = Lease {
                key: key.to_owned(),
                owner: owner.to_owned(),
                generation: (companion.highest().max(at_least) + 1).max(granted_at.0),
                granted_at,
                received_at,
                seen,
            };
            Ok(Acquired {
                backoff: companion.backoff(granted_at),
                lease: Some(lease),
                current,
            })
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        lease: &'a Lease,
        new: NewCredential<'a>,
    ) -> BoxFuture<'a, Result<Committed, StoreError>> {
        async move {
            let (seen, companion) = current(&lease.seen);
            let seen = seen.map(|seen| seen.value);
            let text = companion.committed(seen.as_ref(), &new).text();
            // Nearly always the store still holds what was there when the lease was granted.
            if self
                .write_pair(&lease.key, seen.as_ref(), new, &text, KEPT_LONGER)
                .await?
            {
                return Ok(Committed::Stored);
            }
            let was_seen = |found: &StoredCredential| {
                seen.as_ref()
                    .is_some_and(|seen| is_same(seen, &found.value))
            };
            write(self, &lease.key, new, was_seen).await
        }
        .boxed()
    }

    fn restore<'a>(
        &'a self,
        key: &'a str,
        lost: NewCredential<'a>,
    ) -> BoxFuture<'a, Result<Committed, StoreError>> {
        write(self, key, lost, move |found| {
            !found.version.is_foreign && !found.has_replaced(lost.value)
        })
        .boxed()
    }

    fn release<'a>(
        &'a self,
        lease: &'a Lease,
        backoff: Option<&'a Backoff>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            if let Some(backoff) = backoff {
                let pair = self.read_pair(&lease.key).await?;
                let now = lease
                    .granted_at
                    .plus(lease.received_at.until(self.steady()));
                let pause = Pause {
                    until: now.plus(backoff.left).0,
                    attempts: backoff.attempts,
                    cause: backoff.cause.clone(),
                };
                let left = pair
                    .value
                    .as_ref()
                    .map_or(Duration::ZERO, |(_, ends)| self.steady().until(*ends));
                let companion = Companion::read(pair.companion.as_deref()).paused(pause);
                self.write_companion(
                    &lease.key,
                    &companion.text(),
                    left.max(backoff.left) + KEPT_LONGER,
                )
                .await?;
            }
            self.return_lease(&lease.key, &lease.owner).await
        }
        .boxed()
    }
}

/// Writes `new` over a lower generation, where `may_replace` allows it.
async fn write<T: VersionedRecords + ?Sized>(
    store: &T,
    key: &str,
    new: NewCredential<'_>,
    may_replace: impl Fn(&StoredCredential) -> bool + Send + Sync,
) -> Result<Committed, StoreError> {
    for _ in 0..ATTEMPTS {
        let (current, companion) = current(&store.read_pair(key).await?);
        let over = match current {
            // Ours already, perhaps with another end: a write whose answer was lost, or that took
            // long.
            Some(found) if is_same(&found.value, new.value) => {
                if !found.version.is_foreign && found.version.generation > new.generation {
                    return Ok(Committed::Stored);
                }
                Some(found.value)
            }
            Some(found) => {
                let is_lower = found.version.generation < new.generation;
                if !is_lower || !may_replace(&found) {
                    return Ok(Committed::Superseded(Some(found)));
                }
                Some(found.value)
            }
            None => None,
        };
        let text = companion.committed(over.as_ref(), &new).text();
        if store
            .write_pair(key, over.as_ref(), new, &text, KEPT_LONGER)
            .await?
        {
            return Ok(Committed::Stored);
        }
    }
    Ok(Committed::Superseded(None))
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// The credential that `pair` holds, and its companion.
fn current(pair: &Pair) -> (Option<StoredCredential>, Companion) {
    let companion = Companion::read(pair.companion.as_deref());
    let stored = pair.value.as_ref().map(|(value, ends)| {
        let (version, lifetime) = companion.version_of(value);
        StoredCredential {
            replaced: companion.replaced_by(value),
            value: value.clone(),
            ends: *ends,
            version,
            lifetime,
        }
    });
    (stored, companion)
}
