//! Limits the number of login records in this process, in total and per client network. At the
//! limit, the oldest unused record is evicted. Tracks only which records exist, not their contents.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::client_network::{ClientNetwork, Shares, levels};
use clock::Clock;

/// Maximum number of records begun in this process.
const MAX_ENTRIES: usize = 100_000;

/// The share of them that one client network may hold.
const NETWORK_SHARES: usize = 10;

/// A record, by its kind and its id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Redirect(u128),
    Scan(u128),
}

impl Key {
    /// Parses an id of 32 hex digits.
    pub(super) fn number(id: &str) -> u128 {
        u128::from_str_radix(id, 16).unwrap_or_default()
    }

    pub(super) fn id(self) -> String {
        let (Self::Redirect(number) | Self::Scan(number)) = self;
        format!("{number:032x}")
    }
}

/// The result of a request for one more record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// The record is counted.
    Made,
    /// First delete this record, the oldest unused one. It is marked as used, so that no other
    /// caller picks it.
    InsteadOf(Key),
    /// The limit is reached and every record is in use.
    None,
}

/// The counted records.
pub(super) struct Limits {
    live: Mutex<Live>,
    clock: Clock,
    most: usize,
}

/// The records by sequence number, oldest first.
#[derive(Default)]
struct Live {
    entries: BTreeMap<u64, Entry>,
    numbers: HashMap<Key, u64>,
    /// The records by the second of their expiry.
    ends: BTreeSet<(u64, u64)>,
    unused: BTreeSet<u64>,
    unused_of: BTreeSet<(ClientNetwork, u64)>,
    networks: Shares,
    begun: u64,
}

struct Entry {
    key: Key,
    end: u64,
    from: Option<ClientNetwork>,
}

impl Limits {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            live: Mutex::default(),
            clock,
            most: MAX_ENTRIES,
        }
    }

    /// Counts a new record that expires after `life`, if there is room.
    pub(super) fn admit(&self, key: Key, from: Option<ClientNetwork>, life: Duration) -> Room {
        let share = self.most.div_ceil(NETWORK_SHARES);
        self.change(|live, now| {
            let oldest = match live.networks.exhausted(from, share) {
                Some(network) => live
                    .unused_of
                    .range((network, 0)..=(network, u64::MAX))
                    .next()
                    .map(|(_, number)| *number),
                None if live.entries.len() >= self.most => live.unused.first().copied(),
                None => {
                    live.add(key, now + life.as_secs(), from);
                    return Room::Made;
                }
            };
            let Some(number) = oldest else {
                return Room::None;
            };
            live.mark_used(number);
            live.entries
                .get(&number)
                .map_or(Room::None, |entry| Room::InsteadOf(entry.key))
        })
    }

    /// Marks a record as used, which protects it from eviction.
    pub(super) fn mark_used(&self, key: Key) {
        self.change(|live, _| {
            if let Some(number) = live.numbers.get(&key).copied() {
                live.mark_used(number);
            }
        });
    }

    /// Sets the remaining lifetime of a used record to `life`, after its login ended.
    pub(super) fn settle(&self, key: Key, life: Duration) {
        self.change(|live, now| {
            let Some(number) = live.numbers.get(&key).copied() else {
                return;
            };
            live.mark_used(number);
            if let Some(entry) = live.entries.get_mut(&number) {
                live.ends.remove(&(entry.end, number));
                entry.end = now + life.as_secs();
                live.ends.insert((entry.end, number));
            }
        });
    }

    /// Stops counting a deleted record.
    pub(super) fn forget(&self, key: Key) {
        self.change(|live, _| {
            if let Some(number) = live.numbers.get(&key).copied() {
                live.remove(number);
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Live, u64) -> T) -> T {
        let now = self.clock.steady().0 / 1000;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, number)) = live.ends.first().copied().filter(|(end, _)| *end < now) {
            live.remove(number);
        }
        change(&mut live, now)
    }
}

impl Live {
    fn add(&mut self, key: Key, end: u64, from: Option<ClientNetwork>) {
        let number = self.begun;
        self.begun += 1;
        self.entries.insert(number, Entry { key, end, from });
        self.numbers.insert(key, number);
        self.ends.insert((end, number));
        self.unused.insert(number);
        self.unused_of
            .extend(levels(from).map(|network| (network, number)));
        self.networks.enter(from);
    }

    fn mark_used(&mut self, number: u64) {
        self.unused.remove(&number);
        let from = self.entries.get(&number).and_then(|entry| entry.from);
        for network in levels(from) {
            self.unused_of.remove(&(network, number));
        }
    }

    fn remove(&mut self, number: u64) {
        self.mark_used(number);
        if let Some(entry) = self.entries.remove(&number) {
            self.numbers.remove(&entry.key);
            self.ends.remove(&(entry.end, number));
            self.networks.leave(entry.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    /// Room for a hundred.
    fn limits() -> (Limits, Clock) {
        let clock = Clock::manual(UnixMillis(0));
        (
            Limits {
                most: 100,
                ..Limits::new(clock.clone())
            },
            clock,
        )
    }

    fn network(address: &str) -> Option<ClientNetwork> {
        ClientNetwork::of(address.parse().expect("an address"))
    }

    fn fill(
        limits: &Limits,
        numbers: std::ops::Range<u128>,
        from: Option<ClientNetwork>,
        life: Duration,
    ) -> usize {
        numbers
            .filter(|number| limits.admit(Key::Scan(*number), from, life) == Room::Made)
            .count()
    }

    fn is_empty(limits: &Limits) -> bool {
        limits.change(|live, _| {
            let gone = [
                live.entries.len(),
                live.numbers.len(),
                live.ends.len(),
                live.unused.len(),
                live.unused_of.len(),
            ];
            gone == [0; 5] && live.networks.is_empty()
        })
    }

    #[test]
    fn a_full_pool_evicts_its_oldest_unused_record() {
        let (limits, _) = limits();
        assert_eq!(fill(&limits, 0..100, None, HOUR), 100);
        limits.mark_used(Key::Scan(0));
        limits.settle(Key::Scan(1), HOUR);
        let newcomer = Key::Redirect(7);
        for oldest in [2, 3] {
            assert_eq!(
                limits.admit(newcomer, None, MINUTE),
                Room::InsteadOf(Key::Scan(oldest))
            );
        }
        limits.forget(Key::Scan(2));
        assert_eq!(limits.admit(newcomer, None, MINUTE), Room::Made);
        (4..100).for_each(|number| limits.mark_used(Key::Scan(number)));
        assert_eq!(
            limits.admit(Key::Redirect(8), None, MINUTE),
            Room::InsteadOf(newcomer)
        );
        assert_eq!(
            limits.admit(Key::Redirect(8), None, MINUTE),
            Room::None,
            "every record is in use"
        );
    }

    #[test]
    fn a_network_gets_a_tenth_and_a_site_twice_that() {
        let (limits, _) = limits();
        let hers = network("2001:db8:1:1::1");
        assert_eq!(
            fill(&limits, 0..5, hers, HOUR)
                + fill(&limits, 5..10, network("2001:db8:1:2::1"), HOUR),
            10
        );
        assert_eq!(
            limits.admit(Key::Scan(10), hers, HOUR),
            Room::InsteadOf(Key::Scan(0)),
            "one of its own gives way"
        );
        assert_eq!(
            fill(&limits, 20..30, network("2001:db8:1:ff00::1"), HOUR),
            10
        );
        let third = network("2001:db8:1:aa00::1");
        assert_eq!(
            limits.admit(Key::Scan(30), third, HOUR),
            Room::InsteadOf(Key::Scan(1)),
            "the site has all it may have"
        );
        assert_eq!(
            fill(&limits, 40..120, None, HOUR),
            80,
            "own back ends have what is left"
        );
        assert_eq!(
            limits.admit(Key::Scan(120), network("203.0.113.7"), HOUR),
            Room::InsteadOf(Key::Scan(2)),
            "others still find room"
        );
    }

    #[test]
    fn ended_records_make_room_and_leave_nothing() {
        let (limits, clock) = limits();
        assert_eq!(
            fill(&limits, 0..10, network("203.0.113.7"), MINUTE)
                + fill(&limits, 10..100, None, HOUR),
            100
        );
        clock.advance(MINUTE * 2);
        assert_eq!(fill(&limits, 100..110, network("203.0.113.7"), MINUTE), 10);
        limits.settle(Key::Scan(10), MINUTE);
        limits.settle(Key::Scan(5), MINUTE);
        clock.advance(MINUTE * 2);
        assert_eq!(fill(&limits, 200..211, None, MINUTE), 11);
        clock.advance(HOUR * 2);
        assert!(is_empty(&limits));
    }

    #[test]
    fn a_key_is_its_id() {
        let id = "00c0ffee00000000000000000000cafe";
        assert_eq!(Key::Scan(Key::number(id)).id(), id);
    }
}
