//! How much strangers can make us hold: records that live at the same time, and new ones a minute for one public address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// Records begun in this process that may live at once.
const LIVE: usize = 100_000;

/// New records for one public address within [`MINUTE`].
const A_MINUTE: u32 = 600;

const MINUTE: Duration = Duration::from_secs(60);

/// The records that live, by the second in which they end.
pub(super) struct Limits {
    live: Mutex<Live>,
    clock: Clock,
}

#[derive(Default)]
struct Live {
    ends: BTreeMap<u64, usize>,
    count: usize,
}

impl Limits {
    pub(super) fn new(clock: Clock) -> Self {
        Self { live: Mutex::default(), clock }
    }

    /// Counts one more record that lives for `life`, unless there are too many.
    pub(super) fn admit(&self, life: Duration) -> bool {
        self.change(|live, now| {
            let room = live.count < LIVE;
            if room {
                live.add(now + life.as_secs());
            }
            room
        })
    }

    /// A record that had `left` to live now has `life`, since its login is over.
    pub(super) fn settle(&self, left: Duration, life: Duration) {
        self.change(|live, now| {
            // Begun by another instance, it was never counted here.
            if live.remove(now + left.as_secs()) {
                live.add(now + life.as_secs());
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Live, u64) -> T) -> T {
        let now = self.clock.steady().0 / 1000;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let living = live.ends.split_off(&now);
        let ended: usize = std::mem::replace(&mut live.ends, living).values().sum();
        live.count -= ended;
        change(&mut live, now)
    }
}

impl Live {
    fn add(&mut self, end: u64) {
        *self.ends.entry(end).or_default() += 1;
        self.count += 1;
    }

    /// Takes one away that ends at about `end`: the store and this book round differently.
    fn remove(&mut self, end: u64) -> bool {
        let Some((&end, count)) = self.ends.range_mut(end.saturating_sub(1)..=end + 2).next() else { return false };
        *count -= 1;
        if *count == 0 {
            self.ends.remove(&end);
        }
        self.count -= 1;
        true
    }
}

/// The key, limit and window that bound `address`; a private one is a neighbour or a proxy of the operator's own and has no bound. One
/// subscriber has a whole /64 of IPv6.
pub(super) fn bound_of(address: IpAddr) -> Option<(String, u32, Duration)> {
    let who = match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_private() || v4.is_loopback() || v4.is_link_local() => return None,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() => return None,
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).to_string(),
    };
    Some((format!("login.from.{who}"), A_MINUTE, MINUTE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;

    #[test]
    fn records_beyond_the_bound_are_refused_until_others_end() {
        let clock = Clock::manual(UnixMillis(0));
        let limits = Limits::new(clock.clone());
        let (short, long) = (Duration::from_secs(10), Duration::from_secs(100));
        assert_eq!((0..LIVE).filter(|number| limits.admit(if number % 2 == 0 { short } else { long })).count(), LIVE);
        assert!(!limits.admit(short));
        clock.advance(Duration::from_secs(11));
        assert_eq!((0..LIVE).filter(|_| limits.admit(long)).count(), LIVE / 2, "the half that ended made room");
        assert!(!limits.admit(short));
    }

    #[test]
    fn a_login_that_is_over_makes_room() {
        let clock = Clock::manual(UnixMillis(0));
        let limits = Limits::new(clock.clone());
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        assert!((0..LIVE).all(|_| limits.admit(hour)));
        clock.advance(Duration::from_secs(5));
        for _ in 0..100 {
            limits.settle(hour - Duration::from_secs(5), minute);
        }
        assert!(!limits.admit(hour), "a settled record still lives for a minute");
        limits.settle(Duration::from_secs(7), minute);
        clock.advance(minute * 2);
        assert_eq!((0..200).filter(|_| limits.admit(hour)).count(), 100);
    }

    #[test]
    fn only_public_addresses_are_bound_and_ipv6_by_subscriber() {
        let key = |address: &str| bound_of(address.parse().expect("an address")).map(|(key, ..)| key);
        for own in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert_eq!(key(own), None, "{own}");
        }
        assert_eq!(key("203.0.113.7").as_deref(), Some("login.from.203.0.113.7"));
        assert_eq!(key("::ffff:203.0.113.7"), key("203.0.113.7"));
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }
}
