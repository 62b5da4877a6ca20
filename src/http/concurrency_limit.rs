//! The concurrency limit: how many requests may wait at once for the store, WeChat, a back end or
//! the rest of a body, in total and for each account. A request that is answered from a cached
//! credential takes no permit.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::error::ApiError;
use crate::client_network::{ClientNetwork, Shares};
use clock::{Clock, SteadyMillis};

/// One name (an account, or a kind of work) gets a tenth of all permits, so that its trouble does
/// not stop the others.
const SHARES: usize = 10;

/// Refusals are logged together, at most one line in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// One client network gets a quarter of a name's permits.
const NETWORK_SHARES: usize = 4;

/// The limit; clones share it.
#[derive(Clone)]
pub(super) struct ConcurrencyLimit(Arc<Inner>);

struct Inner {
    most: usize,
    clock: Clock,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_name: HashMap<String, Waiting>,
    /// Refusals since the last log line.
    unlogged: u64,
    logged: Option<SteadyMillis>,
    /// All refusals.
    refused: u64,
}

/// The permits in use under one name.
#[derive(Default)]
struct Waiting {
    taken: usize,
    networks: Shares,
}

/// Permission to wait; returned when dropped.
#[must_use = "a permit that is dropped at once limits nothing"]
pub(super) struct Permit {
    limit: ConcurrencyLimit,
    name: String,
    from: Option<ClientNetwork>,
}

impl ConcurrencyLimit {
    pub(super) fn new(most: usize, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            most,
            clock,
            counts: Mutex::default(),
        }))
    }

    /// Takes a permit for the account or the kind of work `name`. The error is
    /// [`ApiError::Overloaded`].
    pub(super) fn acquire(&self, name: &str) -> Result<Permit, ApiError> {
        self.acquire_from(name, None)
    }

    /// As [`ConcurrencyLimit::acquire`], also counted against the client's network.
    pub(super) fn acquire_from(
        &self,
        name: &str,
        from: Option<ClientNetwork>,
    ) -> Result<Permit, ApiError> {
        let mut counts = self.counts();
        let share = self.0.most.div_ceil(SHARES);
        let waiting = counts.by_name.get(name);
        let taken = waiting.map_or(0, |waiting| waiting.taken);
        let exhausted = waiting.and_then(|waiting| {
            waiting
                .networks
                .exhausted(from, share.div_ceil(NETWORK_SHARES))
        });
        if counts.all >= self.0.most || taken >= share || exhausted.is_some() {
            counts.unlogged += 1;
            counts.refused += 1;
            let (all, refused) = (counts.all, counts.unlogged);
            if self.is_time_to_log(&mut counts) {
                drop(counts);
                let network = exhausted.map(tracing::field::display);
                tracing::warn!(
                    name,
                    network,
                    waiting = taken,
                    waiting_in_all = all,
                    refused,
                    "overloaded"
                );
            }
            return Err(ApiError::Overloaded);
        }
        counts.all += 1;
        if !counts.by_name.contains_key(name) {
            counts.by_name.insert(name.to_owned(), Waiting::default());
        }
        if let Some(waiting) = counts.by_name.get_mut(name) {
            waiting.taken += 1;
            waiting.networks.enter(from);
        }
        Ok(Permit {
            limit: self.clone(),
            name: name.to_owned(),
            from,
        })
    }

    /// The result of `work`. It takes a permit only if `work` is not ready when first polled;
    /// `from` is the network it is counted against.
    pub(super) async fn limit_if_pending<T>(
        &self,
        name: &str,
        from: impl FnOnce() -> Option<ClientNetwork>,
        work: impl Future<Output = T>,
    ) -> Result<T, ApiError> {
        let mut work = pin!(work);
        let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if let Poll::Ready(done) = first {
            return Ok(done);
        }
        let _permit = self.acquire_from(name, from())?;
        Ok(work.await)
    }

    /// How many permits are taken.
    pub(super) fn waiting(&self) -> u64 {
        self.counts().all as u64
    }

    /// How many requests were refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.counts().refused
    }

    fn is_time_to_log(&self, counts: &mut Counts) -> bool {
        let now = self.0.clock.steady();
        let is_time = counts
            .logged
            .is_none_or(|logged| logged.plus(LOG_INTERVAL) <= now);
        if is_time {
            (counts.logged, counts.unlogged) = (Some(now), 0);
        }
        is_time
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limit.counts();
        counts.all -= 1;
        if let Some(waiting) = counts.by_name.get_mut(&self.name) {
            waiting.taken -= 1;
            waiting.networks.leave(self.from);
            if waiting.taken == 0 {
                counts.by_name.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    fn limit(most: usize) -> ConcurrencyLimit {
        ConcurrencyLimit::new(most, Clock::manual(UnixMillis(0)))
    }

    #[test]
    fn one_account_gets_a_tenth_of_all_permits() {
        let limit = limit(100);
        let permits: Vec<_> = (0..10)
            .map(|_| limit.acquire("wx1").expect("a permit"))
            .collect();
        assert!(matches!(limit.acquire("wx1"), Err(ApiError::Overloaded)));
        let others: Vec<_> = (0..90)
            .map(|number| {
                limit
                    .acquire(&format!("other{}", number % 9))
                    .expect("a permit")
            })
            .collect();
        assert!(limit.acquire("wx2").is_err(), "all are taken");
        drop((permits, others));
        assert!(limit.acquire("wx1").is_ok() && limit.acquire("wx2").is_ok());
        assert!(
            limit.counts().by_name.is_empty(),
            "names without a permit are forgotten"
        );
    }

    #[test]
    fn a_limit_of_one_still_gives_one_permit() {
        let limit = limit(1);
        let permit = limit.acquire("wx1").expect("a permit");
        assert!(limit.acquire("wx1").is_err());
        drop(permit);
        assert!(limit.acquire("wx1").is_ok());
    }

    #[test]
    fn a_client_network_gets_a_quarter_of_a_names_permits() {
        let limit = limit(400);
        let network = |address: &str| ClientNetwork::of(address.parse().expect("an address"));
        let enter = |address: &str| limit.acquire_from("body", network(address));
        let mut held: Vec<_> = (0..10)
            .map(|number| enter(&format!("2001:db8:1:{number}::1")).expect("a permit"))
            .collect();
        assert!(
            matches!(enter("2001:db8:1:ff::1"), Err(ApiError::Overloaded)),
            "ten /64s of one /56 are one network"
        );
        assert!(
            limit
                .acquire_from("qrcode", network("2001:db8:1::1"))
                .is_ok(),
            "other names have permits of their own"
        );
        held.extend(
            (0..10).map(|number| enter(&format!("2001:db8:1:1{number}0::1")).expect("a permit")),
        );
        assert!(
            enter("2001:db8:1:ff00::1").is_err(),
            "a /48 has no more than half"
        );
        held.extend((0..20).map(|_| enter("10.0.0.1").expect("a permit")));
        assert!(enter("198.51.100.7").is_err(), "all are taken");
        held.drain(..20);
        assert!(enter("2001:db8:1:ff::1").is_ok());
        drop(held);
        assert!(limit.counts().by_name.is_empty());
    }

    #[tokio::test]
    async fn finished_work_takes_no_permit() {
        let limit = limit(1);
        let _taken = limit.acquire("wx1").expect("a permit");
        assert_eq!(
            limit
                .limit_if_pending("wx1", || None, async { 1 })
                .await
                .ok(),
            Some(1)
        );
        assert!(
            limit
                .limit_if_pending("wx1", || None, std::future::pending::<()>())
                .await
                .is_err()
        );
    }

    #[test]
    fn refusals_are_logged_once_a_second() {
        let clock = Clock::manual(UnixMillis(0));
        let limit = ConcurrencyLimit::new(1, clock.clone());
        let _taken = limit.acquire("wx1").expect("a permit");
        let unlogged = || {
            assert!(limit.acquire("wx1").is_err());
            limit.counts().unlogged
        };
        assert_eq!([unlogged(), unlogged(), unlogged()], [0, 1, 2]);
        clock.advance(LOG_INTERVAL);
        assert_eq!([unlogged(), unlogged()], [0, 1]);
    }
}
