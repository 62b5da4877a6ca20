//! How long a failing account pauses: pure, bounded, jittered.

use std::time::Duration;

use crate::wechat::Kind;

/// The longest pause after what passes by itself.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// The pause after the `attempt`-th failure in a row (from 1) of `kind`: doubling from 1 s to 60 s; what only a human can mend from
/// 15 s to 10 min, so that a typo costs at most some 150 of a day's 2000 calls. `seed` in 0..1 takes up to a quarter off, so that
/// accounts that failed together do not come back together.
pub(crate) fn delay(kind: Kind, attempt: u32, seed: f64) -> Duration {
    let (first, longest) = match kind {
        Kind::Permanent => (15.0, 600.0),
        Kind::Temporary | Kind::StaleToken | Kind::Visitor => (1.0, LONGEST.as_secs_f64()),
    };
    let doubled: f64 = first * 2f64.powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX).min(32));
    let jittered = doubled.min(longest) * (1.0 - 0.25 * seed.clamp(0.0, 1.0));
    Duration::from_secs_f64(jittered.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_doubles_up_to_its_bound() {
        let seconds = |kind, attempt| delay(kind, attempt, 0.0).as_secs();
        assert_eq!([1, 2, 3, 7, 99].map(|n| seconds(Kind::Temporary, n)), [1, 2, 4, 60, 60]);
        assert_eq!([1, 2, 7, u32::MAX].map(|n| seconds(Kind::Permanent, n)), [15, 30, 600, 600]);
    }

    #[test]
    fn a_day_of_a_wrong_secret_costs_less_than_a_tenth_of_the_quota() {
        let (mut passed, mut attempts) = (Duration::ZERO, 0);
        while passed < Duration::from_secs(24 * 3600) {
            attempts += 1;
            passed += delay(Kind::Permanent, attempts, 1.0);
        }
        assert!(attempts < 200, "{attempts}");
    }

    proptest! {
        #[test]
        fn it_is_never_below_a_second_nor_above_its_bound(attempt: u32, seed: f64) {
            let pause = delay(Kind::Temporary, attempt, seed);
            prop_assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(60));
            let pause = delay(Kind::Permanent, attempt, seed);
            prop_assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(600));
        }
    }
}
