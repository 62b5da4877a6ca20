//! Limits how often a public route does work: a number of requests per minute in total and for each
//! client network. Its memory is bounded by the total.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::client_network::{ClientNetwork, levels};
use clock::{Clock, SteadyMillis};

const MINUTE: Duration = Duration::from_secs(60);

/// Requests of the current minute.
pub(super) struct RateLimit {
    total: u32,
    of_network: u32,
    clock: Clock,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    since: Option<SteadyMillis>,
    total: u32,
    by_network: HashMap<ClientNetwork, u32>,
}

impl RateLimit {
    /// Admits `total` requests a minute, and `of_network` from one network. A site may have twice as
    /// many as a network in it.
    pub(super) fn new(total: u32, of_network: u32, clock: Clock) -> Self {
        Self {
            total,
            of_network,
            clock,
            counted: Mutex::default(),
        }
    }

    /// Counts one request of `from`. `Err` is the time until the next minute begins.
    pub(super) fn admit(&self, from: Option<ClientNetwork>) -> Result<(), Duration> {
        let now = self.clock.steady();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match counted.since {
            Some(since) if since.until(now) < MINUTE => since,
            _ => {
                *counted = Counted {
                    since: Some(now),
                    ..Counted::default()
                };
                now
            }
        };
        let is_full = counted.total >= self.total
            || levels(from).enumerate().any(|(level, network)| {
                let most = self.of_network * if level == 0 { 1 } else { 2 };
                counted
                    .by_network
                    .get(&network)
                    .is_some_and(|held| *held >= most)
            });
        if is_full {
            return Err(now.until(since.plus(MINUTE)));
        }
        counted.total += 1;
        for network in levels(from) {
            *counted.by_network.entry(network).or_default() += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    fn network(address: &str) -> Option<ClientNetwork> {
        ClientNetwork::of(address.parse().expect("an address"))
    }

    #[test]
    fn a_network_and_all_together_are_limited_by_the_minute() {
        let clock = Clock::manual(UnixMillis(0));
        let limit = RateLimit::new(10, 3, clock.clone());
        let admitted = |from: Option<ClientNetwork>, times: usize| {
            (0..times).filter(|_| limit.admit(from).is_ok()).count()
        };
        assert_eq!(admitted(network("203.0.113.7"), 5), 3);
        assert_eq!(admitted(network("2001:db8:1:100::1"), 5), 3);
        assert_eq!(admitted(network("2001:db8:1:200::1"), 5), 3);
        assert_eq!(
            admitted(network("2001:db8:1:300::1"), 5),
            0,
            "the site is full"
        );
        assert_eq!(admitted(None, 5), 1, "the total is reached");
        clock.advance(Duration::from_secs(20));
        assert_eq!(limit.admit(None), Err(Duration::from_secs(40)));
        clock.advance(Duration::from_secs(40));
        assert_eq!(admitted(network("203.0.113.7"), 5), 3);
    }
}
