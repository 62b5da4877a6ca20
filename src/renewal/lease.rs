//! The right to renew one value, across all instances: asked for, waited for, and never used when too little of it is left.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::timeout;

use super::life::Life;
use crate::clock::{Clock, SteadyMillis};
use crate::credential::Freshness;
use crate::store::{Store, StoreError};

/// A claim outlives the bound on a call by this much, so that only a dead leader loses it.
const SLACK: Duration = Duration::from_secs(2);

/// How often a lease is claimed because too much of it has passed before the call.
const TURNS: u32 = 3;

/// How often an instance that lost the claim looks for the winner's result, should nobody tell it.
const LOSER_LOOKS_EVERY: Duration = Duration::from_millis(100);

/// Why a renewal is begun, hence what would make it needless. `V` tells a value from others.
#[derive(Clone, Debug)]
pub(crate) enum Why<V> {
    /// There is none: any living value will do.
    Missing,
    /// Its end is near: only a fresh value will do.
    Ahead,
    /// This value was refused where it was used: only another will do.
    Refused(V),
    /// This value may have been voided: only another will do, or its own confirmation.
    Doubted(V),
}

impl<V> Why<V> {
    pub(crate) fn is_met_by(&self, life: &Life, clock: &Clock, is_another: impl FnOnce(&V) -> bool) -> bool {
        match self {
            Self::Missing => !life.is_over(clock),
            Self::Ahead => life.freshness(clock) == Freshness::Fresh,
            Self::Refused(value) | Self::Doubted(value) => is_another(value),
        }
    }

    /// Whether a renewal that was begun for this reason has done for `other` what can be done: it was about the same value, and no lesser reason.
    pub(crate) fn answers(&self, other: &Self, is_same: impl FnOnce(&V, &V) -> bool) -> bool {
        match (self, other) {
            (Self::Refused(ours), Self::Refused(theirs) | Self::Doubted(theirs)) | (Self::Doubted(ours), Self::Doubted(theirs)) => {
                is_same(ours, theirs)
            }
            _ => false,
        }
    }

    /// The word for it in the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ahead => "ahead",
            Self::Refused(_) => "refused",
            Self::Doubted(_) => "doubted",
        }
    }
}

/// What a store was found to hold: the living copy that it came to, and the value that it showed.
pub(crate) type Seen<V> = (Option<Arc<V>>, Option<SecretString>);

/// The right to renew, and what was found with it in hand.
pub(crate) struct Lease<V> {
    /// When it was asked for, hence the latest moment from which it counts; `None` = the store is down, and we go on without.
    pub(crate) claimed_at: Option<SteadyMillis>,
    /// The value that is there already, if any.
    pub(crate) before: Option<Arc<V>>,
    /// What the store itself showed.
    pub(crate) seen: Option<SecretString>,
}

/// One try of a renewal, as [`Claims::renew`] goes about it.
pub(crate) trait Errand: Send + Sync {
    type Near: Send + Sync;
    type Error: Send;

    /// Looks what the store holds.
    fn look(&self) -> impl Future<Output = Result<Seen<Self::Near>, StoreError>> + Send;

    /// Whether `near` makes the renewal needless.
    fn is_met_by(&self, near: &Self::Near) -> bool;

    /// Waits for another instance's result, at most `longest`.
    fn wait(&self, longest: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(longest)
    }

    /// How long the store may take to grant the right, where there is a way without it.
    fn store_patience(&self) -> Option<Duration> {
        None
    }

    /// How to go on when the store neither grants nor refuses, or does not show what it holds; perhaps not at all.
    fn without_a_claim(&self, error: StoreError) -> Result<Lease<Self::Near>, Self::Error>;

    /// Whether the call may be made; `Some` is to be handed out instead. Asked in each turn, and before it is looked how much of the lease
    /// is left: to answer may take the store's time.
    fn permit(&mut self, lease: &Lease<Self::Near>) -> impl Future<Output = Result<Option<Arc<Self::Near>>, Self::Error>> + Send;

    /// Makes the call and settles what comes of it.
    fn call(&self, lease: Lease<Self::Near>) -> impl Future<Output = Result<Arc<Self::Near>, Self::Error>> + Send;

    /// It was not begun within `after`.
    fn too_slow(&self, after: Duration) -> Self::Error;
}

/// Where and for whom a right to renew is asked for.
pub(crate) struct Claims<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) clock: &'a Clock,
    /// Tells our claims from those of other instances.
    pub(crate) owner: &'a str,
    pub(crate) key: String,
    /// The bound on the call.
    pub(crate) timeout: Duration,
}

/// What the claim led to.
enum Leave<V> {
    /// Nobody else renews: go on.
    ToFetch(Lease<V>),
    /// Somebody else has renewed.
    NotNeeded(Arc<V>),
}

impl Claims<'_> {
    /// The renewal itself, begun only with a lease that outlasts it: the store may have been slow, or this process held up.
    pub(crate) async fn renew<E: Errand>(&self, mut errand: E) -> Result<Arc<E::Near>, E::Error> {
        let mut turns = 0;
        let result = loop {
            turns += 1;
            let lease = match self.claim(&errand).await? {
                Leave::NotNeeded(near) => return Ok(near),
                Leave::ToFetch(lease) => lease,
            };
            let is_claimed = lease.claimed_at.is_some();
            match errand.permit(&lease).await {
                Ok(None) => {}
                Ok(Some(near)) => break Ok(near),
                Err(error) => break Err(error),
            }
            if lease.claimed_at.is_none_or(|at| at.until(self.clock.steady()) <= SLACK) {
                let result = errand.call(lease).await;
                if !is_claimed {
                    return result;
                }
                break result;
            }
            if turns == TURNS {
                break Err(errand.too_slow(SLACK));
            }
            // Claimed again it lasts again; what happened meanwhile is seen again.
        };
        if let Err(error) = self.store.release(&self.key, self.owner).await {
            tracing::debug!(%error, credential = %self.key, "the claim could not be given back; it ends by itself");
        }
        result
    }

    /// Asks for the right to renew, and looks whether there is still anything to do.
    async fn claim<E: Errand>(&self, errand: &E) -> Result<Leave<E::Near>, E::Error> {
        let lasts = self.timeout + SLACK;
        let give_up = self.clock.steady().plus(lasts);
        loop {
            let claimed_at = self.clock.steady();
            let claiming = self.store.claim(&self.key, self.owner, lasts);
            let claimed = match errand.store_patience() {
                None => claiming.await,
                Some(longest) => timeout(longest, claiming).await.unwrap_or_else(|_| Err(StoreError::silent("claim", longest))),
            };
            let claimed = match claimed {
                Ok(claimed) => claimed,
                Err(error) => return errand.without_a_claim(error).map(Leave::ToFetch),
            };
            match errand.look().await {
                Ok((Some(near), _)) if errand.is_met_by(&near) => {
                    if claimed {
                        self.store.release(&self.key, self.owner).await.ok();
                    }
                    return Ok(Leave::NotNeeded(near));
                }
                Ok((before, seen)) if claimed => return Ok(Leave::ToFetch(Lease { claimed_at: Some(claimed_at), before, seen })),
                Ok(_) => {}
                Err(error) => return errand.without_a_claim(error).map(Leave::ToFetch),
            }
            if self.clock.steady() >= give_up {
                return Err(errand.too_slow(lasts));
            }
            errand.wait(LOSER_LOOKS_EVERY).await;
        }
    }
}
