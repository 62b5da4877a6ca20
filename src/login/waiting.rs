//! Long polls that wait for a scan. Each one costs a future and no thread. A local scan or a store
//! notification wakes it. It also re-reads the store periodically in case a notification is lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};

use super::Logins;
use super::scan_id::SCAN_KEYS;
use crate::client_network::{ClientNetwork, Shares};
use credentials::store::Changed;

/// Maximum number of concurrent long polls.
const MAX_POLLS: usize = 10_000;

/// The share of them that one client network may use.
const NETWORK_SHARES: usize = 4;

/// The interval between store reads of a poll. It grows with the number of polls, to limit the
/// total to a few thousand reads a second.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const PER_LOOK: usize = 1000;

impl Logins {
    /// Forwards store notifications about scans on other instances until `callback` changes. Each
    /// notification triggers one store read. Missed notifications are left to the periodic reads,
    /// so that the polls do not all read at once.
    pub async fn listen(self, mut callback: watch::Receiver<bool>) {
        let Some(mut news) = self.0.records.changes() else {
            return;
        };
        loop {
            let told = tokio::select! {
                _ = callback.changed() => return,
                told = news.recv() => told,
            };
            match told {
                Ok(Changed::Key(key)) => {
                    key.strip_prefix(SCAN_KEYS)
                        .into_iter()
                        .for_each(|id| self.0.waiting.ring(id));
                }
                Ok(Changed::Unknown) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

/// All waiting polls, by the login they wait for.
#[derive(Default)]
pub(super) struct Waiting {
    seats: Mutex<Seats>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Seats {
    by_id: HashMap<String, Seat>,
    taken: usize,
    networks: Shares,
}

/// The polls that wait for one scan.
#[derive(Default)]
struct Seat {
    bell: Arc<Notify>,
    sitting: usize,
}

/// A poll's permit; returned on drop.
pub(super) struct Place<'a> {
    waiting: &'a Waiting,
    id: String,
    from: Option<ClientNetwork>,
    pub(super) bell: Arc<Notify>,
}

impl Waiting {
    /// Returns a permit to wait for `id`, or `None` if the total or the limit of `from` is reached.
    pub(super) fn sit(&self, id: &str, from: Option<ClientNetwork>) -> Option<Place<'_>> {
        let mut seats = self.seats();
        if seats.taken >= MAX_POLLS
            || seats
                .networks
                .exhausted(from, MAX_POLLS / NETWORK_SHARES)
                .is_some()
        {
            return None;
        }
        seats.taken += 1;
        seats.networks.enter(from);
        let seat = seats.by_id.entry(id.to_owned()).or_default();
        seat.sitting += 1;
        Some(Place {
            waiting: self,
            id: id.to_owned(),
            from,
            bell: Arc::clone(&seat.bell),
        })
    }

    /// Wakes the polls that wait for `id`.
    pub(super) fn ring(&self, id: &str) {
        if let Some(seat) = self.seats().by_id.get(id) {
            seat.bell.notify_waiters();
        }
    }

    /// Ends all current and future polls.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for seat in self.seats().by_id.values() {
            seat.bell.notify_waiters();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Returns when to re-read a store that other processes write to.
    pub(super) fn next_look(&self) -> Duration {
        let rounds = u32::try_from(self.seats().taken / PER_LOOK + 1).unwrap_or(u32::MAX);
        POLL_INTERVAL.saturating_mul(rounds)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut seats = self.waiting.seats();
        seats.taken -= 1;
        seats.networks.leave(self.from);
        if let Some(seat) = seats.by_id.get_mut(&self.id) {
            seat.sitting -= 1;
            if seat.sitting == 0 {
                seats.by_id.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_returned() {
        let waiting = Waiting::default();
        let places: Vec<_> = (0..MAX_POLLS)
            .map(|number| {
                waiting
                    .sit(&(number % 7).to_string(), None)
                    .expect("a place")
            })
            .collect();
        assert!(waiting.sit("late", None).is_none());
        assert!(waiting.next_look() > POLL_INTERVAL * 10);
        drop(places);
        assert!(waiting.sit("late", None).is_some());
        assert!(
            waiting.seats().by_id.is_empty(),
            "nobody is remembered who does not wait"
        );
    }

    #[test]
    fn one_client_network_holds_a_quarter_of_the_polls() {
        let waiting = Waiting::default();
        let network = |address: &str| ClientNetwork::of(address.parse().expect("an address"));
        let from = |number: usize| network(&format!("2001:db8:1:{:x}::{number:x}", number % 256));
        let places: Vec<_> = (0..MAX_POLLS / 4)
            .map(|number| waiting.sit("a", from(number)).expect("a place"))
            .collect();
        assert!(
            waiting.sit("b", from(7)).is_none()
                && waiting.sit("b", network("203.0.113.7")).is_some()
        );
        let own: Vec<_> = (0..MAX_POLLS * 3 / 4)
            .map(|_| waiting.sit("c", network("10.0.0.1")).expect("a place"))
            .collect();
        assert!(waiting.sit("c", None).is_none());
        drop((places, own));
        assert!(waiting.seats().networks.is_empty() && waiting.sit("b", from(7)).is_some());
    }

    #[tokio::test]
    async fn a_notice_between_reading_and_waiting_is_received() {
        let waiting = Waiting::default();
        let place = waiting.sit("a", None).expect("a place");
        let mut ring = std::pin::pin!(place.bell.notified());
        ring.as_mut().enable();
        waiting.ring("a");
        ring.await;
    }

    #[tokio::test]
    async fn a_notice_wakes_only_its_own_polls() {
        let waiting = Waiting::default();
        let (hers, his) = (
            waiting.sit("a", None).expect("a place"),
            waiting.sit("b", None).expect("a place"),
        );
        let (mut for_her, mut for_him) = (
            std::pin::pin!(hers.bell.notified()),
            std::pin::pin!(his.bell.notified()),
        );
        assert!(!for_her.as_mut().enable() && !for_him.as_mut().enable());
        waiting.ring("b");
        waiting.ring("nobody");
        assert!(!for_her.as_mut().enable() && for_him.as_mut().enable());
    }
}
