//! Back-off after a failure, so that an outage or a typo never uses up the daily quota. A failure
//! that other instances would meet too is left in the store when the lease is released.

use std::sync::Arc;
use std::time::Duration;

use super::credential::{Credential, Error};
use super::error::{Failure, RenewalError, is_shared};
use super::subject::{Refusal, Subject};
use crate::store::Backoff;
use clock::SteadyMillis;
use wechat::Kind;

/// The longest pause after a temporary failure.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause after the `attempt`-th failure in a row (from 1) of `kind`: doubling from 1 s to 60 s;
/// what only a human can mend from 15 s to 10 min, so that a typo costs at most some 150 of a day's
/// 2000 calls. `seed` in 0..1 takes up to a quarter off, so that accounts that failed together do
/// not come back together.
fn delay(kind: Kind, attempt: u32, seed: f64) -> Duration {
    let (first, longest) = match kind {
        Kind::Permanent => (15.0, 600.0),
        Kind::Temporary | Kind::StaleToken | Kind::Visitor => (1.0, LONGEST.as_secs_f64()),
    };
    let doubled: f64 = first
        * 2f64.powi(
            i32::try_from(attempt.saturating_sub(1))
                .unwrap_or(i32::MAX)
                .min(32),
        );
    let jittered = doubled.min(longest) * (1.0 - 0.25 * seed.clamp(0.0, 1.0));
    Duration::from_secs_f64(jittered.max(1.0))
}

impl<S: Subject> Credential<S> {
    pub(super) fn failure(&self) -> Option<Arc<Failure<S::Refusal>>> {
        self.failure.load_full()
    }

    /// Replaces the remembered failure and returns the previous one.
    pub(super) fn set_failure(
        &self,
        failure: Option<Failure<S::Refusal>>,
    ) -> Option<Arc<Failure<S::Refusal>>> {
        self.failure.swap(failure.map(Arc::new))
    }

    pub(super) fn failed_until(&self) -> Option<SteadyMillis> {
        self.failure().map(|failure| failure.until)
    }

    /// Fails with the remembered cause while its pause lasts.
    pub(super) fn unless_backing_off(&self) -> Result<(), Error<S>> {
        let now = self.engine.clock.steady();
        match self.failure().filter(|failure| failure.until > now) {
            Some(failure) => Err(RenewalError::CoolingDown {
                key: self.key(),
                retry_after: now.until(failure.until),
                cause: failure.cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Remembers a refusal. Returns the pause for the other instances, if they would meet the same.
    pub(super) fn remember(&self, refusal: &S::Refusal) -> Option<Backoff> {
        let attempts = self
            .failure()
            .map_or(0, |failure| failure.attempts)
            .saturating_add(1);
        let pause = delay(refusal.kind(), attempts, self.engine.jitter());
        let until = self.engine.clock.steady().plus(pause);
        self.set_failure(Some(Failure {
            cause: refusal.clone(),
            attempts,
            until,
        }));
        let advice = refusal.advice().unwrap_or("none");
        let (subject, pause_ms) = (self.subject.load(), pause.as_millis() as u64);
        let names = subject.log_names();
        tracing::warn!(account.id = names.account, credential.kind = names.kind, source.name = names.source,
            error = %refusal, advice, attempts, pause_ms, "a renewal failed");
        let cause = serde_json::to_string(refusal)
            .ok()
            .filter(|_| is_shared(refusal))?;
        Some(Backoff {
            left: pause,
            attempts,
            cause,
        })
    }

    /// Keeps the pause that another instance left.
    pub(super) fn keep_backoff(&self, backoff: Backoff) {
        // An unreadable cause costs one more call.
        let Ok(cause) = serde_json::from_str(&backoff.cause) else {
            return;
        };
        let until = self.engine.clock.steady().plus(backoff.left.min(LONGEST));
        self.set_failure(Some(Failure {
            cause,
            attempts: backoff.attempts,
            until,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_doubles_up_to_its_bound() {
        let seconds = |kind, attempt| delay(kind, attempt, 0.0).as_secs();
        assert_eq!(
            [1, 2, 3, 7, 99].map(|n| seconds(Kind::Temporary, n)),
            [1, 2, 4, 60, 60]
        );
        assert_eq!(
            [1, 2, 7, u32::MAX].map(|n| seconds(Kind::Permanent, n)),
            [15, 30, 600, 600]
        );
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
