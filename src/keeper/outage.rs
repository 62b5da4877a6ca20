//! Whether the store answers: told to the log once when it begins to fail and once when it fails nobody any more, and counted, so that a
//! near copy knows whether the store may have lost it. And how long to leave a store alone that does not.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Keeper;
use super::refresher::SOON;
use crate::clock::SteadyMillis;
use crate::store::StoreError;

/// The longest of those pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A store may serve one key and not another, or reads and not writes: it is well when nothing has failed for so long, in which whatever
/// is in use has been asked for again.
const QUIET: Duration = Duration::from_secs(30);

/// The first and the latest fault of which the log has not been told the end.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<(SteadyMillis, SteadyMillis)>>);

impl Outage {
    /// Whether a trouble begins with this fault.
    fn failed(&self, now: SteadyMillis) -> bool {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = faults.map(|(first, _)| first);
        *faults = Some((begun.unwrap_or(now), now));
        begun.is_none()
    }

    /// How long the trouble lasted that is over by now.
    fn answered(&self, now: SteadyMillis) -> Option<Duration> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, latest) = faults.filter(|(_, latest)| latest.until(now) >= QUIET)?;
        *faults = None;
        Some(first.until(latest))
    }
}

impl Keeper {
    /// The store did what it was asked.
    pub(super) fn store_answered(&self) {
        self.0.store_down_since.store(0, Ordering::Relaxed);
        if let Some(lasted) = self.0.outage.answered(self.0.clock.steady()) {
            let (failed_for_ms, quiet_for) = (lasted.as_millis() as u64, humantime::format_duration(QUIET));
            tracing::info!(failed_for_ms, %quiet_for, "the store answers again");
        }
    }

    /// The store did not do what it was asked.
    pub(super) fn store_failed(&self, error: &StoreError) {
        self.0.store_faults.fetch_add(1, Ordering::Relaxed);
        let now = self.0.clock.steady();
        self.0.store_down_since.compare_exchange(0, now.0.max(1), Ordering::Relaxed, Ordering::Relaxed).ok();
        if self.0.outage.failed(now) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_serves_only_a_part_begins_to_fail_once_and_ends_once() {
        let (outage, at) = (Outage::default(), |seconds: u64| SteadyMillis(seconds * 1000));
        assert_eq!(outage.answered(at(0)), None, "nothing was wrong");
        for second in 0..100 {
            assert_eq!((outage.failed(at(second)), outage.answered(at(second))), (second == 0, None));
        }
        assert_eq!(outage.answered(at(128)), None, "whoever failed last may not have asked again");
        assert_eq!(outage.answered(at(129)), Some(Duration::from_secs(99)));
        assert_eq!(outage.answered(at(200)), None, "the end is told once");
        assert!(outage.failed(at(300)), "another trouble");
    }

    #[test]
    fn whatever_is_in_use_is_asked_for_again_in_a_quiet_time() {
        assert!(LONGEST_PAUSE.mul_f64(1.5) < QUIET);
    }
}
