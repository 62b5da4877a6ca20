//! Whether the store answers: told to the log once when it stops and once when it is back, and counted, so that a near copy knows
//! whether the store may have lost it. And how long to leave a store alone that does not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Keeper;
use super::refresher::SOON;
use crate::clock::SteadyMillis;
use crate::store::StoreError;

/// The longest of those pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Keeper {
    /// The store did what it was asked.
    pub(super) fn store_answered(&self) {
        if self.0.store_down_since.load(Ordering::Relaxed) != 0 && self.0.store_down_since.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("the store answers again");
        }
    }

    /// The store did not do what it was asked.
    pub(super) fn store_failed(&self, error: &StoreError) {
        self.0.store_faults.fetch_add(1, Ordering::Relaxed);
        let since = self.0.clock.steady().0.max(1);
        if self.0.store_down_since.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(%error, "the store fails; what this process holds fresh goes on being served");
        }
    }

    /// How long the refresher waits before it asks the store again for one credential: the longer the store has been down the longer, so
    /// that ten thousand accounts are no storm on a server that is coming back. Whoever asks for a credential does not wait for this.
    pub(super) fn store_pause(&self) -> Duration {
        let down_for = match self.0.store_down_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => SteadyMillis(since).until(self.0.clock.steady()),
        };
        (down_for / 8).clamp(SOON, LONGEST_PAUSE).mul_f64(1.0 + 0.5 * self.0.chance.fraction())
    }
}
