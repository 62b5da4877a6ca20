//! Permits for the stores that no other process shares.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::mutex::locked;
use clock::{Clock, SteadyMillis};

/// Permits, counted in this process.
#[derive(Debug)]
pub(super) struct Permits {
    taken: Mutex<Taken>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Taken {
    by_key: HashMap<String, (u32, SteadyMillis)>,
    /// The size at which entries whose window is over are removed.
    sweep_at: usize,
}

impl Permits {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            taken: Mutex::default(),
            clock,
        }
    }

    /// See [`Records::take_permit`].
    pub(super) fn take_permit(&self, key: &str, limit: u32, window: Duration) -> bool {
        let now = self.clock.steady();
        let mut taken = locked(&self.taken);
        if taken.by_key.len() >= taken.sweep_at {
            taken.by_key.retain(|_, (_, ends)| *ends > now);
            // Amortised O(1): the next sweep comes when the map has doubled.
            taken.sweep_at = (2 * taken.by_key.len()).max(64);
        }
        let (count, ends) = taken
            .by_key
            .entry(key.to_owned())
            .or_insert((0, now.plus(window)));
        if *ends <= now {
            (*count, *ends) = (0, now.plus(window));
        }
        let granted = *count < limit;
        *count += u32::from(granted);
        granted
    }

    pub(super) fn return_permit(&self, key: &str) {
        let mut taken = locked(&self.taken);
        match taken.by_key.get_mut(key) {
            Some((count, _)) if *count > 1 => *count -= 1,
            // The next window begins with the next permit.
            _ => drop(taken.by_key.remove(key)),
        }
    }
}
