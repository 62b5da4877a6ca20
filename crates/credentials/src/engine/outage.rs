//! Whether the store answers. Logs once when the store starts failing and once when it has
//! recovered, and counts faults, so that a cached copy knows whether the store may have lost it.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clock::SteadyMillis;

/// The store counts as recovered after this long without a fault. It may serve one key and not
/// another, or reads and not writes; within this time every key in use has been read again.
pub(crate) const QUIET: Duration = Duration::from_secs(30);

/// Faults of the store and since when it has not answered.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// Inserted into log lines: whose credentials are meant.
    whose: &'static str,
    /// How often the store has failed: a copy confirmed before the last fault may be all that is
    /// left of a value.
    faults: AtomicU64,
    /// When it was last seen to stop answering, by the steady clock; zero = it answers.
    since: AtomicU64,
    trouble: Trouble,
}

impl Outage {
    pub(crate) fn of(whose: &'static str) -> Self {
        Self {
            whose,
            ..Self::default()
        }
    }

    /// A call to the store succeeded.
    pub(crate) fn answered(&self, now: SteadyMillis) {
        self.since.store(0, Ordering::Relaxed);
        if let Some(lasted) = self.trouble.answered(now) {
            let (failed_for_ms, quiet_for) =
                (lasted.as_millis() as u64, humantime::format_duration(QUIET));
            tracing::info!(failed_for_ms, %quiet_for, "the store answers again{}", self.whose);
        }
    }

    /// A call to the store failed.
    pub(crate) fn failed(&self, error: &dyn Display, now: SteadyMillis) {
        self.suspect();
        self.since
            .compare_exchange(0, now.0.max(1), Ordering::Relaxed, Ordering::Relaxed)
            .ok();
        if self.trouble.failed(now) {
            tracing::warn!(%error, "the store fails; cached credentials{} are still served", self.whose);
        }
    }

    /// The store may have lost something, although no call failed.
    pub(crate) fn suspect(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// How long the store has not answered.
    pub(crate) fn lasts(&self, now: SteadyMillis) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => SteadyMillis(since).until(now),
        }
    }
}

/// The first and the latest fault of an outage whose end has not been logged.
#[derive(Debug, Default)]
struct Trouble(Mutex<Option<(SteadyMillis, SteadyMillis)>>);

impl Trouble {
    /// Whether this fault is the first of an outage.
    fn failed(&self, now: SteadyMillis) -> bool {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = faults.map(|(first, _)| first);
        *faults = Some((begun.unwrap_or(now), now));
        begun.is_none()
    }

    /// How long the outage lasted, if it is over.
    fn answered(&self, now: SteadyMillis) -> Option<Duration> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, latest) = faults.filter(|(_, latest)| latest.until(now) >= QUIET)?;
        *faults = None;
        Some(first.until(latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_serves_some_keys_logs_one_outage() {
        let (trouble, at) = (Trouble::default(), |seconds: u64| {
            SteadyMillis(seconds * 1000)
        });
        assert_eq!(trouble.answered(at(0)), None, "no fault so far");
        for second in 0..100 {
            assert_eq!(
                (trouble.failed(at(second)), trouble.answered(at(second))),
                (second == 0, None)
            );
        }
        assert_eq!(
            trouble.answered(at(128)),
            None,
            "the key that failed may not have been read again"
        );
        assert_eq!(trouble.answered(at(129)), Some(Duration::from_secs(99)));
        assert_eq!(
            trouble.answered(at(200)),
            None,
            "the recovery is logged once"
        );
        assert!(trouble.failed(at(300)), "another outage");
    }
}
