//! The store's contract for credentials: a lease to renew, a generation for each value, conditional
//! writes, and a shared back-off.
//!
//! A backend implements the few primitives of `versioned.rs`, which provides [`CredentialStore`] on
//! top of them.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::StoreError;
use super::fingerprint::Fingerprint;
use clock::{SteadyMillis, UnixMillis};

/// Which of two values of a credential is the later one. A higher generation is a later value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The lease's number under which the value was written. For a foreign value: the highest
    /// number that the store held beside it.
    pub generation: u64,
    /// Whether another program wrote the value: no companion matches it.
    pub is_foreign: bool,
}

impl Version {
    /// A value that we fetched under a lease with this number.
    pub fn ours(generation: u64) -> Self {
        Self {
            generation,
            is_foreign: false,
        }
    }
}

/// A credential as the store holds it.
#[derive(Clone, Debug)]
pub struct StoredCredential {
    /// The value, as the original writes it.
    pub value: SecretString,
    /// When it expires. Measured from when the store was asked, so that a slow answer makes it
    /// earlier, never later.
    pub ends: SteadyMillis,
    /// Its generation.
    pub version: Version,
    /// Its whole lifetime. `None`: another program wrote it.
    pub lifetime: Option<Duration>,
    /// The value over which it was written, if that was ours.
    pub(crate) replaced: Option<Fingerprint>,
}

impl StoredCredential {
    /// Whether this value was written over `value`. Whoever wrote it had seen `value` before it was
    /// fetched, so it is later, whatever generation `value` has been given since.
    pub(crate) fn has_replaced(&self, value: &SecretString) -> bool {
        self.replaced
            .is_some_and(|replaced| replaced == Fingerprint::of(value.expose_secret()))
    }
}

/// A credential to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewCredential<'a> {
    /// The value.
    pub value: &'a SecretString,
    /// When it expires.
    pub ends: SteadyMillis,
    /// The generation under which it was fetched.
    pub generation: u64,
    /// Its whole lifetime.
    pub lifetime: Duration,
}

/// A value and its companion, as a backend reads them.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// The value that has not expired, and when it expires.
    pub value: Option<(SecretString, SteadyMillis)>,
    /// The companion's text.
    pub companion: Option<String>,
}

/// The right to renew one credential, and the fencing number that comes with it.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The credential's key.
    pub key: String,
    /// The lease's owner.
    pub owner: String,
    /// The number for the value that is fetched under this lease.
    pub generation: u64,
    /// The store's clock when it granted the lease.
    pub(super) granted_at: UnixMillis,
    /// Our clock when the store's answer arrived.
    pub(super) received_at: SteadyMillis,
    /// What was there. Another value found at the write means that two renewals crossed.
    pub(super) seen: Pair,
}

/// The answer to [`CredentialStore::acquire`].
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The lease. `None`: another instance holds it.
    pub lease: Option<Lease>,
    /// The credential as the store holds it now.
    pub current: Option<StoredCredential>,
    /// The back-off that another instance left after a failure.
    pub backoff: Option<Backoff>,
}

/// A pause that all instances keep after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// How long it lasts from now.
    pub left: Duration,
    /// How many attempts in a row have failed.
    pub attempts: u32,
    /// The failure, in a form that the engine reads.
    pub cause: String,
}

/// The answer to a conditional write.
#[derive(Clone, Debug)]
pub enum Committed {
    /// The credential is stored.
    Stored,
    /// Another value is there and stays. `None`: other writers came in between each time.
    Superseded(Option<StoredCredential>),
}

/// Credentials in a store, shared by all instances.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// Reads value, expiry and generation together.
    async fn load(&self, key: &str) -> Result<Option<StoredCredential>, StoreError>;

    /// The value before the current one, if the store has kept it.
    async fn previous(&self, key: &str) -> Result<Option<SecretString>, StoreError>;

    /// Asks for the lease on `key` for `ttl`. It comes with the number `max(stored + 1, at_least +
    /// 1, the store's clock in ms)`. An owner that asks again keeps its lease. A store that is not
    /// shared grants every lease, because one process renews one at a time.
    async fn acquire(
        &self,
        key: &str,
        owner: &str,
        ttl: Duration,
        at_least: u64,
    ) -> Result<Acquired, StoreError>;

    /// Writes what was fetched under `lease`: only over a lower generation, and only over the value
    /// that was there when the lease was granted. A write whose answer was lost may be repeated.
    async fn commit(&self, lease: &Lease, new: NewCredential<'_>) -> Result<Committed, StoreError>;

    /// Writes back, without a lease, what the store has lost: only over a lower generation of ours,
    /// never over a foreign value.
    async fn restore(&self, key: &str, lost: NewCredential<'_>) -> Result<Committed, StoreError>;

    /// Gives the lease back and leaves `backoff` for all instances, if there is one.
    async fn release(&self, lease: &Lease, backoff: Option<&Backoff>) -> Result<(), StoreError>;
}
