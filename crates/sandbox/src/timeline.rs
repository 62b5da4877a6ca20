//! The sandbox's time: steady, optionally faster than real time, and movable.
//!
//! It is based on the steady clock, because the real WeChat is not affected when a client's clock
//! is set back.

use std::time::Duration;

use clock::{Clock, SteadyMillis, UnixMillis};

/// Time as the sandbox's WeChat sees it.
#[derive(Debug)]
pub(super) struct Timeline {
    clock: Clock,
    /// The sandbox's time at `since`.
    origin: UnixMillis,
    since: SteadyMillis,
    scale: u32,
}

impl Timeline {
    /// Starts at the wall time of `clock`, at real speed.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            origin: clock.wall(),
            since: clock.steady(),
            scale: 1,
            clock,
        }
    }

    /// The sandbox's time now.
    pub(super) fn now(&self) -> UnixMillis {
        self.origin.plus(
            self.since
                .until(self.clock.steady())
                .saturating_mul(self.scale),
        )
    }

    /// Advances by `span` of sandbox time.
    pub(super) fn advance(&mut self, span: Duration) {
        self.origin = self.origin.plus(span);
    }

    /// Makes `scale` sandbox seconds pass per real second.
    pub(super) fn set_scale(&mut self, scale: u32) {
        (self.origin, self.since, self.scale) = (self.now(), self.clock.steady(), scale.max(1));
    }

    /// Sandbox seconds per real second.
    pub(super) fn scale(&self) -> u32 {
        self.scale
    }

    /// `span` in whole seconds of the client's clock, rounded down so that `expires_in` is never
    /// too long.
    pub(super) fn client_seconds(&self, span: Duration) -> u64 {
        (span / self.scale).as_secs()
    }

    /// The day that quotas are counted in. It begins at midnight in China; WeChat does not publish
    /// the hour of the reset.
    pub(super) fn day(&self) -> u64 {
        const CHINA: Duration = Duration::from_secs(8 * 3600);
        self.now().plus(CHINA).seconds().0 / 86_400
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_timeline_reports_the_clients_seconds() {
        let clock = Clock::manual(UnixMillis(1_000));
        let mut time = Timeline::new(clock.clone());
        clock.advance(Duration::from_secs(1));
        time.set_scale(3600);
        clock.advance(Duration::from_secs(1));
        assert_eq!(time.now(), UnixMillis(1_000 + 1_000 + 3_600_000));
        assert_eq!(time.client_seconds(Duration::from_secs(7200)), 2);
    }

    #[test]
    fn setting_the_clients_calendar_does_not_move_the_sandbox() {
        let clock = Clock::manual(UnixMillis(5_000));
        let time = Timeline::new(clock.clone());
        clock.set_wall(UnixMillis(1));
        assert_eq!(time.now(), UnixMillis(5_000));
    }
}
