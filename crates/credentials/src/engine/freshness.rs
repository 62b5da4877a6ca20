//! How fresh a credential is, and when it is renewed. Pure: the time is always an argument.

use std::time::Duration;

use wechat::credential::FULL_LIFETIME;

/// What may be done with a credential now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Freshness {
    /// Hand it out.
    Fresh,
    /// Hand it out, and renew it behind.
    Due,
    /// Useless.
    Expired,
}

/// Judges a credential by its time left and the `window` before its end in which it is renewed.
/// Monotonic: with less time left it never becomes fresher.
pub fn freshness(left: Duration, window: Duration) -> Freshness {
    if left.is_zero() {
        Freshness::Expired
    } else if left <= window {
        Freshness::Due
    } else {
        Freshness::Fresh
    }
}

/// How long before its end a credential of `lifetime` is renewed when the owner asked for
/// `reserve`: never more than a twelfth of a lifetime shorter than WeChat's usual two hours, so
/// that short-lived values are not renewed all the time.
pub fn renewal_window(reserve: Duration, lifetime: Duration) -> Duration {
    if lifetime < FULL_LIFETIME {
        reserve.min(lifetime / 12)
    } else {
        reserve
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_the_reserve_but_a_twelfth_of_a_short_life() {
        let reserve = Duration::from_secs(600);
        assert_eq!(renewal_window(reserve, FULL_LIFETIME), reserve);
        assert_eq!(
            renewal_window(reserve, Duration::from_secs(120)),
            Duration::from_secs(10)
        );
        assert_eq!(
            renewal_window(Duration::from_secs(5), Duration::from_secs(7199)),
            Duration::from_secs(5)
        );
    }

    #[test]
    fn freshness_runs_one_way() {
        let window = Duration::from_secs(10);
        let seen: Vec<_> = (0..30)
            .rev()
            .map(|s| freshness(Duration::from_secs(s), window))
            .collect();
        assert!(seen.is_sorted());
        assert_eq!(
            (seen.first(), seen.last()),
            (Some(&Freshness::Fresh), Some(&Freshness::Expired))
        );
    }
}
