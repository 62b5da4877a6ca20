//! How many requests may wait at once, in all and for one account: for the store, for WeChat, for a back end, for the rest of a body.
//! Whoever is answered from what is at hand never comes by here. It knows nothing of what is waited for.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::error::ApiError;
use crate::client_network::{ClientNetwork, Shares};
use clock::{Clock, SteadyMillis};

/// One account has this part of all places, so that its trouble leaves the others theirs.
const SHARES: usize = 10;

/// Refusals are told together: a line for each would cost more than what they save.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// One client network has this part of a name's places, so that a stranger leaves the others theirs.
const NETWORK_SHARES: usize = 4;

/// A cheap handle on all places.
#[derive(Clone)]
pub(super) struct Crowd(Arc<Inner>);

struct Inner {
    most: usize,
    clock: Clock,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    all: usize,
    by_name: HashMap<String, Waiting>,
    /// Refusals that no line has told of yet.
    untold: u64,
    told: Option<SteadyMillis>,
}

/// Those who wait under one name.
#[derive(Default)]
struct Waiting {
    taken: usize,
    networks: Shares,
}

/// A place among those who wait; given back when dropped.
#[must_use = "a place that is dropped at once bounds nothing"]
pub(super) struct Place {
    crowd: Crowd,
    name: String,
    from: Option<ClientNetwork>,
}

impl Crowd {
    pub(super) fn new(most: usize, clock: Clock) -> Self {
        Self(Arc::new(Inner { most, clock, inside: Mutex::default() }))
    }

    /// A place to wait, for the account or the errand `name`.
    pub(super) fn enter(&self, name: &str) -> Result<Place, ApiError> {
        self.enter_from(name, None)
    }

    /// The same for a stranger, whose network has only so many of them.
    pub(super) fn enter_from(&self, name: &str, from: Option<ClientNetwork>) -> Result<Place, ApiError> {
        let mut inside = self.inside();
        let share = self.0.most.div_ceil(SHARES);
        let waiting = inside.by_name.get(name);
        let taken = waiting.map_or(0, |waiting| waiting.taken);
        let exhausted = waiting.and_then(|waiting| waiting.networks.exhausted(from, share.div_ceil(NETWORK_SHARES)));
        if inside.all >= self.0.most || taken >= share || exhausted.is_some() {
            inside.untold += 1;
            let (all, refused) = (inside.all, inside.untold);
            if self.is_time_to_tell(&mut inside) {
                drop(inside);
                let network = exhausted.map(tracing::field::display);
                tracing::warn!(name, network, waiting = taken, waiting_in_all = all, refused, "overloaded");
            }
            return Err(ApiError::Overloaded);
        }
        inside.all += 1;
        if !inside.by_name.contains_key(name) {
            inside.by_name.insert(name.to_owned(), Waiting::default());
        }
        if let Some(waiting) = inside.by_name.get_mut(name) {
            waiting.taken += 1;
            waiting.networks.enter(from);
        }
        Ok(Place { crowd: self.clone(), name: name.to_owned(), from })
    }

    /// What `work` comes to. It needs a place only if it is not done when it is first looked at; then `from` says whose place.
    pub(super) async fn unless_done<T>(
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
        let _place = self.enter_from(name, from())?;
        Ok(work.await)
    }

    fn is_time_to_tell(&self, inside: &mut Inside) -> bool {
        let now = self.0.clock.steady();
        let is_time = inside.told.is_none_or(|told| told.plus(TOLD_EVERY) <= now);
        if is_time {
            (inside.told, inside.untold) = (Some(now), 0);
        }
        is_time
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.crowd.inside();
        inside.all -= 1;
        if let Some(waiting) = inside.by_name.get_mut(&self.name) {
            waiting.taken -= 1;
            waiting.networks.leave(self.from);
            if waiting.taken == 0 {
                inside.by_name.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    fn crowd(most: usize) -> Crowd {
        Crowd::new(most, Clock::manual(UnixMillis(0)))
    }

    #[test]
    fn one_account_has_a_tenth_of_all_places() {
        let crowd = crowd(100);
        let places: Vec<_> = (0..10).map(|_| crowd.enter("wx1").expect("a place")).collect();
        assert!(matches!(crowd.enter("wx1"), Err(ApiError::Overloaded)));
        let others: Vec<_> = (0..90).map(|number| crowd.enter(&format!("other{}", number % 9)).expect("a place")).collect();
        assert!(crowd.enter("wx2").is_err(), "all are taken");
        drop((places, others));
        assert!(crowd.enter("wx1").is_ok() && crowd.enter("wx2").is_ok());
        assert!(crowd.inside().by_name.is_empty(), "nobody is remembered who does not wait");
    }

    #[test]
    fn a_single_place_is_still_one() {
        let crowd = crowd(1);
        let place = crowd.enter("wx1").expect("a place");
        assert!(crowd.enter("wx1").is_err());
        drop(place);
        assert!(crowd.enter("wx1").is_ok());
    }

    #[test]
    fn one_client_network_has_a_quarter_of_a_names_places() {
        let crowd = crowd(400);
        let network = |address: &str| ClientNetwork::of(address.parse().expect("an address"));
        let enter = |address: &str| crowd.enter_from("body", network(address));
        let mut held: Vec<_> = (0..10).map(|number| enter(&format!("2001:db8:1:{number}::1")).expect("a place")).collect();
        assert!(matches!(enter("2001:db8:1:ff::1"), Err(ApiError::Overloaded)), "ten /64s of one /56 are one network");
        assert!(crowd.enter_from("qrcode", network("2001:db8:1::1")).is_ok(), "its places elsewhere are others");
        held.extend((0..10).map(|number| enter(&format!("2001:db8:1:1{number}0::1")).expect("a place")));
        assert!(enter("2001:db8:1:ff00::1").is_err(), "a /48 has no more than half");
        held.extend((0..20).map(|_| enter("10.0.0.1").expect("a place")));
        assert!(enter("198.51.100.7").is_err(), "all are taken");
        held.drain(..20);
        assert!(enter("2001:db8:1:ff::1").is_ok());
        drop(held);
        assert!(crowd.inside().by_name.is_empty());
    }

    #[tokio::test]
    async fn what_is_done_at_once_needs_no_place() {
        let crowd = crowd(1);
        let _taken = crowd.enter("wx1").expect("a place");
        assert_eq!(crowd.unless_done("wx1", || None, async { 1 }).await.ok(), Some(1));
        assert!(crowd.unless_done("wx1", || None, std::future::pending::<()>()).await.is_err());
    }

    #[test]
    fn refusals_are_told_once_a_second() {
        let clock = Clock::manual(UnixMillis(0));
        let crowd = Crowd::new(1, clock.clone());
        let _taken = crowd.enter("wx1").expect("a place");
        let untold = || {
            assert!(crowd.enter("wx1").is_err());
            crowd.inside().untold
        };
        assert_eq!([untold(), untold(), untold()], [0, 1, 2]);
        clock.advance(TOLD_EVERY);
        assert_eq!([untold(), untold()], [0, 1]);
    }
}
