//! The credentials' contract on top of a backend's primitives, written once for all backends.
//!
//! The value keeps the format of the original and of its neighbours. Everything of ours is in the
//! companion record (`companion.rs`).

use std::time::Duration;

use async_trait::async_trait;
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
#[async_trait]
pub trait VersionedRecords: Send + Sync {
    /// Reads both.
    async fn read_pair(&self, key: &str) -> Result<Pair, StoreError>;

    /// Writes both if the value is absent, is `over` or is the new one already. `false`: another
    /// value is there. The companion is kept for `kept` longer than the value.
    async fn write_pair(
        &self,
        key: &str,
        over: Option<&SecretString>,
        new: NewCredential<'_>,
        companion: &str,
        kept: Duration,
    ) -> Result<bool, StoreError>;

    /// Writes the companion alone, for `ttl`.
    async fn write_companion(
        &self,
        key: &str,
        companion: &str,
        ttl: Duration,
    ) -> Result<(), StoreError>;

    /// Takes the lease. `None`: another owner has it. Else the store's clock.
    async fn take_lease(
        &self,
        key: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<UnixMillis>, StoreError>;

    /// Gives the lease back. Does nothing when `owner` no longer has it.
    async fn return_lease(&self, key: &str, owner: &str) -> Result<(), StoreError>;

    /// The current time of the backend's clock.
    fn steady(&self) -> SteadyMillis;
}

#[async_trait]
impl<T: VersionedRecords + ?Sized> CredentialStore for T {
    async fn load(&self, key: &str) -> Result<Option<StoredCredential>, StoreError> {
        Ok(current(&self.read_pair(key).await?).0)
    }

    async fn previous(&self, key: &str) -> Result<Option<SecretString>, StoreError> {
        let pair = self.read_pair(key).await?;
        Ok(Companion::read(pair.companion.as_deref()).previous())
    }

    async fn acquire(
        &self,
        key: &str,
        owner: &str,
        ttl: Duration,
        at_least: u64,
    ) -> Result<Acquired, StoreError> {
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

    async fn commit(&self, lease: &Lease, new: NewCredential<'_>) -> Result<Committed, StoreError> {
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

    async fn restore(&self, key: &str, lost: NewCredential<'_>) -> Result<Committed, StoreError> {
        write(self, key, lost, move |found| {
            !found.version.is_foreign && !found.has_replaced(lost.value)
        })
        .await
    }

    async fn release(&self, lease: &Lease, backoff: Option<&Backoff>) -> Result<(), StoreError> {
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
