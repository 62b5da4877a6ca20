//! The only place that reads the time. Wall time for what other people see (timestamps, stored
//! expiry), steady time for what only this process measures (ages, pauses), because the wall clock
//! may be set back while a token runs on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Seconds since 1970-01-01 UTC, as WeChat's signatures and the cache file count them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixSeconds(pub u64);

/// Milliseconds since 1970-01-01 UTC, as `/ping` and a realm's `ts` count them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixMillis(pub u64);

/// Milliseconds of this process's steady clock: only differences mean anything, and they never go
/// backwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SteadyMillis(pub u64);

impl UnixMillis {
    /// The whole second this instant falls in.
    pub fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0 / 1000)
    }

    /// This instant moved later by `span`.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// Time left from `self` until `later`; zero when `later` has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

impl SteadyMillis {
    /// This instant moved later by `span`.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// Time left from `self` until `later`; zero when `later` has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

impl UnixSeconds {
    /// The first millisecond of this second.
    pub fn millis(self) -> UnixMillis {
        UnixMillis(self.0.saturating_mul(1000))
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A source of time: the system's, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual {
        wall: Arc<AtomicU64>,
        steady: Arc<AtomicU64>,
    },
    /// tokio's time; `wall` is the wall clock at `origin`.
    Runtime {
        origin: Instant,
        wall: Arc<AtomicU64>,
    },
}

impl Clock {
    /// The machine's own clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stays at `wall` until [`Clock::advance`] or [`Clock::set_wall`] moves it.
    pub fn manual(wall: UnixMillis) -> Self {
        Self(Source::Manual {
            wall: Arc::new(AtomicU64::new(wall.0)),
            steady: Arc::default(),
        })
    }

    /// A clock that follows the timers of the current tokio runtime, also when they are paused or
    /// advanced. It starts at `wall`.
    pub fn of_runtime(wall: UnixMillis) -> Self {
        Self(Source::Runtime {
            origin: Instant::now(),
            wall: Arc::new(AtomicU64::new(wall.0)),
        })
    }

    /// The current time of the wall clock.
    pub fn wall(&self) -> UnixMillis {
        match &self.0 {
            Source::System => UnixMillis(system::read(system::WALL)),
            Source::Manual { wall, .. } => UnixMillis(wall.load(Ordering::SeqCst)),
            Source::Runtime { origin, wall } => {
                UnixMillis(wall.load(Ordering::SeqCst)).plus(origin.elapsed())
            }
        }
    }

    /// What a stopwatch started with this clock would say now.
    pub fn steady(&self) -> SteadyMillis {
        match &self.0 {
            Source::System => SteadyMillis(system::read(system::STEADY)),
            Source::Manual { steady, .. } => SteadyMillis(steady.load(Ordering::SeqCst)),
            Source::Runtime { origin, .. } => SteadyMillis::default().plus(origin.elapsed()),
        }
    }

    /// Lets `span` pass on a manual clock; no other obeys.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual { wall, steady } = &self.0 {
            wall.fetch_add(millis(span), Ordering::SeqCst);
            steady.fetch_add(millis(span), Ordering::SeqCst);
        }
    }

    /// Sets the calendar, as an operator or NTP would, leaving the stopwatch alone; the system's
    /// does not obey.
    pub fn set_wall(&self, to: UnixMillis) {
        match &self.0 {
            Source::System => {}
            Source::Manual { wall, .. } => wall.store(to.0, Ordering::SeqCst),
            Source::Runtime { origin, wall } => wall.store(
                to.0.saturating_sub(millis(origin.elapsed())),
                Ordering::SeqCst,
            ),
        }
    }
}

/// The kernel's clocks. Coarse ones are used where available: they lag by a few milliseconds at
/// most, which is precise enough here, and cost a quarter of the exact ones; a request reads the
/// time several times. They are read through the C library, so that tests can preload another
/// clock.
mod system {
    use rustix::time::{ClockId, clock_gettime};

    #[cfg(target_os = "linux")]
    pub(super) const WALL: ClockId = ClockId::RealtimeCoarse;
    #[cfg(target_os = "linux")]
    pub(super) const STEADY: ClockId = ClockId::MonotonicCoarse;
    #[cfg(not(target_os = "linux"))]
    pub(super) const WALL: ClockId = ClockId::Realtime;
    #[cfg(not(target_os = "linux"))]
    pub(super) const STEADY: ClockId = ClockId::Monotonic;

    /// Milliseconds of `clock`. A machine set before 1970 is answered with 1970 rather than with a
    /// panic.
    pub(super) fn read(clock: ClockId) -> u64 {
        let now = clock_gettime(clock);
        let (seconds, nanos) = (
            u64::try_from(now.tv_sec).unwrap_or(0),
            u64::try_from(now.tv_nsec).unwrap_or(0),
        );
        seconds
            .saturating_mul(1000)
            .saturating_add(nanos / 1_000_000)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_moved() {
        let clock = Clock::manual(UnixMillis(5_000));
        assert_eq!(clock.wall(), UnixMillis(5_000));
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            (clock.wall(), clock.steady()),
            (UnixMillis(7_000), SteadyMillis(2_000))
        );
        clock.set_wall(UnixMillis(1));
        assert_eq!(
            (clock.wall(), clock.steady()),
            (UnixMillis(1), SteadyMillis(2_000))
        );
    }

    #[test]
    fn a_past_time_is_zero_away() {
        assert_eq!(UnixMillis(10).until(UnixMillis(3)), Duration::ZERO);
        assert_eq!(UnixMillis(1_999).seconds(), UnixSeconds(1));
    }
}
