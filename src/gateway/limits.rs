//! What the gateway lets one realm, one account and one address use at once or in a minute. Counts
//! are of this instance.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Clock, SteadyMillis};

use super::account::AccountName;

const MINUTE: Duration = Duration::from_secs(60);

/// Calls a minute that one address may make without any of our secrets.
const ANONYMOUS_PER_MINUTE: u32 = 60;

/// The most addresses that are counted in a minute. Further ones are refused.
const MOST_ADDRESSES: usize = 10_000;

/// The most calls under way in all, to one account and of one realm. No realm can take all places
/// of an account.
const MOST_CALLS: usize = 4096;
const MOST_CALLS_TO_ACCOUNT: usize = 2048;
const MOST_CALLS_OF_REALM: usize = 1024;

/// All limits of one gateway.
pub(super) struct Limits {
    clock: Clock,
    realms: Mutex<Minute<String>>,
    addresses: Mutex<Minute<IpAddr>>,
    places: Arc<Mutex<Places>>,
    memory: Arc<AtomicU64>,
}

/// How often each name called since the minute began.
struct Minute<K> {
    began: SteadyMillis,
    calls: HashMap<K, u32>,
}

#[derive(Default)]
struct Places {
    all: usize,
    by_name: HashMap<Name, usize>,
}

/// What calls under way are counted by.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Realm(String),
    /// `None`: calls without one of our secrets.
    Account(Option<AccountName>),
}

/// A call under way; its place is free again when this is dropped.
pub(super) struct Place {
    places: Arc<Mutex<Places>>,
    names: [Name; 2],
}

/// Memory for one body that is kept whole; given back when this is dropped.
pub(super) struct Reservation {
    memory: Arc<AtomicU64>,
    bytes: u64,
}

impl Limits {
    pub(super) fn new(clock: Clock) -> Self {
        let began = clock.steady();
        Self {
            clock,
            realms: Mutex::new(Minute {
                began,
                calls: HashMap::new(),
            }),
            addresses: Mutex::new(Minute {
                began,
                calls: HashMap::new(),
            }),
            places: Arc::default(),
            memory: Arc::default(),
        }
    }

    /// Counts a call of the realm `key`. `false`: it has made `most` in this minute.
    pub(super) fn count_call(&self, key: &str, most: Option<u32>) -> bool {
        most.is_none_or(|most| {
            locked(&self.realms).count(key.to_owned(), most, usize::MAX, self.clock.steady())
        })
    }

    /// Counts a call without a realm. `false`: the address has made its calls of this minute.
    pub(super) fn count_anonymous(&self, address: IpAddr) -> bool {
        locked(&self.addresses).count(
            address,
            ANONYMOUS_PER_MINUTE,
            MOST_ADDRESSES,
            self.clock.steady(),
        )
    }

    /// A place for a call of `realm` to `account`. `None`: too many are under way.
    pub(super) fn enter(&self, realm: &str, account: Option<&AccountName>) -> Option<Place> {
        let names = [
            Name::Realm(realm.to_owned()),
            Name::Account(account.cloned()),
        ];
        let mut places = locked(&self.places);
        let most = [MOST_CALLS_OF_REALM, MOST_CALLS_TO_ACCOUNT];
        let is_full = |(name, most)| places.by_name.get(name).is_some_and(|taken| *taken >= most);
        if places.all >= MOST_CALLS || names.iter().zip(most).any(is_full) {
            return None;
        }
        places.all += 1;
        for name in &names {
            match places.by_name.get_mut(name) {
                Some(taken) => *taken += 1,
                None => drop(places.by_name.insert(name.clone(), 1)),
            }
        }
        Some(Place {
            places: Arc::clone(&self.places),
            names,
        })
    }

    /// Reserves `bytes` of the `most` that all kept bodies may use together. What the allocator
    /// adds to them is counted: it has four sizes between two powers of two.
    pub(super) fn reserve(&self, bytes: u64, most: u64) -> Option<Reservation> {
        let bytes = bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(1));
        let fits = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= most);
        self.memory.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Reservation {
            memory: Arc::clone(&self.memory),
            bytes,
        })
    }
}

impl<K: std::hash::Hash + Eq> Minute<K> {
    fn count(&mut self, key: K, most: u32, most_keys: usize, now: SteadyMillis) -> bool {
        if self.began.until(now) >= MINUTE {
            self.began = now;
            self.calls.clear();
        }
        if self.calls.len() >= most_keys && !self.calls.contains_key(&key) {
            return false;
        }
        let calls = self.calls.entry(key).or_default();
        *calls = calls.saturating_add(1);
        *calls <= most
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = locked(&self.places);
        places.all -= 1;
        for name in &self.names {
            if let Some(taken) = places.by_name.get_mut(name) {
                *taken -= 1;
                if *taken == 0 {
                    places.by_name.remove(name);
                }
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.fetch_sub(self.bytes, Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use clock::UnixMillis;

    use super::*;

    #[test]
    fn a_realm_has_its_calls_each_minute() {
        let clock = Clock::manual(UnixMillis(0));
        let limits = Limits::new(clock.clone());
        let two = || limits.count_call("shop", Some(2));
        assert_eq!([two(), two(), two(), two()], [true, true, false, false]);
        assert!(limits.count_call("other", Some(2)) && limits.count_call("shop", None));
        clock.advance(MINUTE);
        assert!(two());
    }

    #[test]
    fn an_address_makes_sixty_anonymous_calls_a_minute() {
        let limits = Limits::new(Clock::manual(UnixMillis(0)));
        let calls = |address: &str| {
            (0..70)
                .filter(|_| limits.count_anonymous(address.parse().expect("an address")))
                .count()
        };
        assert_eq!((calls("10.0.0.1"), calls("10.0.0.2")), (60, 60));
    }

    #[test]
    fn one_realm_does_not_take_the_places_of_others() {
        let wx = AccountName::parse("wx1234567890abcdef").expect("an account");
        let limits = Limits::new(Clock::manual(UnixMillis(0)));
        let held: Vec<_> = (0..MOST_CALLS_OF_REALM)
            .map(|_| limits.enter("shop", Some(&wx)).expect("a place"))
            .collect();
        assert!(limits.enter("shop", Some(&wx)).is_none());
        assert!(limits.enter("other", Some(&wx)).is_some());
        drop(held);
        assert!(
            limits.enter("shop", Some(&wx)).is_some() && locked(&limits.places).by_name.is_empty()
        );
    }

    #[test]
    fn kept_bodies_share_their_memory() {
        let limits = Limits::new(Clock::manual(UnixMillis(0)));
        let half = limits.reserve(60, 100);
        assert!(half.is_some() && limits.reserve(60, 100).is_none());
        drop(half);
        assert!(limits.reserve(60, 100).is_some());
        // 1,000,000 bytes take 1 MiB.
        let held: Vec<_> = (0..64)
            .map(|_| limits.reserve(1_000_000, (64 << 20) + 64).expect("memory"))
            .collect();
        assert!(limits.reserve(1_000_000, (64 << 20) + 64).is_none());
        drop(held);
    }
}
