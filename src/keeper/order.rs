//! Which of two values of a credential came later. Nothing in a value tells: whoever fetched the later one has seen both, and says so to the
//! others; otherwise their ends tell, where they are far enough apart. By this it is known when a store is wrong.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::holding::NearCopy;
use crate::clock::Clock;
use crate::store::{Fingerprint, Record};

/// What WeChat cuts off a life, and a store too.
const WHOLE_SECOND: Duration = Duration::from_secs(1);

/// The neighbours of a value in the order in which WeChat granted them, as far as they are known. Boxed, because no request looks at them.
#[derive(Debug, Default)]
pub(super) struct Order(Box<Mutex<Neighbours>>);

#[derive(Clone, Copy, Debug, Default)]
struct Neighbours {
    /// What was there before. Should the store show that again, it has lost a write.
    before: Option<Fingerprint>,
    /// What came after it.
    after: Option<Fingerprint>,
}

impl Order {
    fn get(&self) -> MutexGuard<'_, Neighbours> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn print(value: &SecretString) -> Fingerprint {
    Fingerprint::of(value.expose_secret())
}

impl NearCopy {
    /// Fetched by ourselves, after the value before.
    pub(super) fn fetched_after(mut self, before: Option<&SecretString>) -> Self {
        self.is_first_hand = true;
        self.order.get().before = before.map(print).filter(|before| *before != print(self.value()));
        self
    }

    /// Takes the place of the copy `before`. Of the same value with another end all is remembered that was known of it, and the earlier end
    /// holds: nothing lengthens a life. Another value came before this one if somebody said so, or if it ended earlier.
    pub(super) fn instead_of(mut self, before: Option<&Arc<Self>>) -> Self {
        let Some(before) = before else { return self };
        let known = *before.order.get();
        if before.value().expose_secret() == self.value().expose_secret() {
            self.end_with(before);
            *self.order.get() = known;
        } else if known.after == Some(print(self.value())) || before.life.ends_before(&self.life) {
            self.order.get().before = Some(print(before.value()));
        }
        self
    }

    /// Whoever wrote `after` over `before` says that it came after it. What we have seen ourselves we know better.
    pub(super) fn learn(&self, before: Fingerprint, after: Fingerprint) {
        let (own, is_first_hand, mut known) = (print(self.value()), self.is_first_hand, self.order.get());
        if own == before && !(is_first_hand && known.before == Some(after)) {
            known.before = known.before.filter(|earlier| *earlier != after);
            known.after = Some(after);
        } else if own == after && !(is_first_hand && known.before.is_some()) {
            known.after = known.after.filter(|later| *later != before);
            known.before = Some(before);
        }
    }

    /// Whether a store that shows `record` is known to be wrong: it is what was there before, or what we fetched with a later end than WeChat's,
    /// as it gets one when its write takes long or the store's clock is moved. Of what others fetched the store may know more than we.
    pub(super) fn corrects(&self, record: &Record, clock: &Clock) -> bool {
        self.order.get().before == Some(print(&record.value))
            || self.is_value_of(record) && self.is_first_hand && self.life.is_outlasted_by(record.expires_at, clock)
    }

    /// Whether this or `record`, read in `took`, is known to be the later one; equal if that cannot be told. An end counts from the asking for
    /// it, which WeChat may have carried out as late as `timeout`. What a store shows may be less than the truth: by what reading took, and
    /// by the whole seconds that WeChat and the store keep.
    pub(super) fn against(&self, record: &Record, clock: &Clock, timeout: Duration, took: Duration) -> Ordering {
        let (ours, theirs) = (clock.steady().until(self.life.ends()), clock.wall().until(record.expires_at));
        if theirs > ours + timeout || self.order.get().after == Some(print(&record.value)) {
            Ordering::Less
        } else if ours > theirs + timeout + took + 2 * WHOLE_SECOND {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }

    /// Whether the store should keep `record` rather than this one.
    pub(super) fn stays_behind(&self, record: &Record, clock: &Clock, timeout: Duration, took: Duration) -> bool {
        !self.corrects(record, clock) && self.against(record, clock, timeout, took).is_le()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::clock::{SteadyMillis, UnixMillis};
    use crate::renewal::Life;

    const HOUR: Duration = Duration::from_secs(3600);

    fn copy(value: &str, left: Duration, clock: &Clock) -> NearCopy {
        NearCopy::new(value.into(), Life::until(clock.steady().plus(left), HOUR / 6, clock))
    }

    fn record(value: &str, clock: &Clock) -> Record {
        Record { value: value.into(), expires_at: clock.wall().plus(HOUR) }
    }

    #[test]
    fn a_value_that_is_read_again_with_another_end_keeps_what_is_known_of_it_and_its_earlier_end() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let before = Arc::new(copy("a", HOUR, &clock).fetched_after(Some(&"older".into())));
        before.doubtful.store(true, Relaxed);
        let after = copy("a", 2 * HOUR, &clock).instead_of(Some(&before));
        assert!(after.is_suspect() && after.corrects(&record("older", &clock), &clock));
        assert_eq!(after.life.ends(), SteadyMillis::default().plus(HOUR));
        assert_eq!(copy("a", HOUR / 2, &clock).instead_of(Some(&before)).life.ends(), SteadyMillis::default().plus(HOUR / 2));
    }

    #[test]
    fn only_who_fetched_a_value_says_that_a_store_keeps_it_too_long() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let fetched = copy("a", HOUR / 2, &clock).fetched_after(None);
        assert!(fetched.corrects(&record("a", &clock), &clock) && !fetched.corrects(&record("b", &clock), &clock));
        assert!(!copy("a", HOUR / 2, &clock).corrects(&record("a", &clock), &clock), "who read it may have read too early an end");
        let exact = copy("a", HOUR - Duration::from_secs(2), &clock).fetched_after(None);
        assert!(!exact.corrects(&record("a", &clock), &clock), "a store's rounding is no fault");
    }

    #[test]
    fn ends_that_are_known_less_exactly_than_they_differ_tell_nothing() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let ours = |secs: i64| {
            let copy = copy("a", Duration::from_secs(HOUR.as_secs().saturating_add_signed(secs)), &clock);
            copy.against(&record("b", &clock), &clock, Duration::from_secs(5), Duration::from_secs(1))
        };
        assert_eq!(
            [-6, -5, 0, 8, 9].map(ours),
            [Ordering::Less, Ordering::Equal, Ordering::Equal, Ordering::Equal, Ordering::Greater]
        );
    }

    #[test]
    fn a_value_comes_after_another_only_if_it_ends_later() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let before = Arc::new(copy("a", HOUR, &clock));
        before.refused.store(true, Relaxed);
        let later = copy("b", 2 * HOUR, &clock).instead_of(Some(&before));
        assert!(later.corrects(&record("a", &clock), &clock) && !later.is_suspect());
        let at_once = copy("b", HOUR, &clock).instead_of(Some(&before));
        assert!(!at_once.corrects(&record("a", &clock), &clock), "which of the two came first is not known");
        let slowly = Arc::new(copy("a", HOUR, &clock).read_in(HOUR / 2));
        assert!(
            !copy("b", HOUR + HOUR / 4, &clock).instead_of(Some(&slowly)).corrects(&record("a", &clock), &clock),
            "its end is not known"
        );
    }

    #[test]
    fn what_somebody_said_of_an_order_holds_where_ends_tell_nothing() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let (a, b) = (Fingerprint::of("a"), Fingerprint::of("b"));
        let against = |near: &NearCopy, value: &str| near.against(&record(value, &clock), &clock, HOUR, HOUR);
        let before = Arc::new(copy("a", HOUR, &clock));
        before.learn(a, b);
        assert_eq!((against(&before, "b"), against(&before, "c")), (Ordering::Less, Ordering::Equal));
        assert!(
            copy("b", HOUR, &clock).instead_of(Some(&before)).corrects(&record("a", &clock), &clock),
            "told before it was read"
        );
        let after = copy("b", HOUR, &clock);
        after.learn(a, b);
        assert!(after.corrects(&record("a", &clock), &clock), "told after it was read");
        let neither = copy("c", HOUR, &clock);
        neither.learn(a, b);
        assert!(!neither.corrects(&record("a", &clock), &clock) && against(&neither, "b").is_eq());
    }

    #[test]
    fn what_one_inferred_gives_way_to_what_is_said_and_what_one_saw_does_not() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let (a, b) = (Fingerprint::of("a"), Fingerprint::of("b"));
        let inferred = copy("b", 2 * HOUR, &clock).instead_of(Some(&Arc::new(copy("a", HOUR, &clock))));
        inferred.learn(b, a);
        assert!(!inferred.corrects(&record("a", &clock), &clock) && inferred.order.get().after == Some(a));
        inferred.learn(a, b);
        assert!(inferred.corrects(&record("a", &clock), &clock) && inferred.order.get().after.is_none(), "the last word counts");
        let seen = copy("b", HOUR, &clock).fetched_after(Some(&"a".into()));
        seen.learn(b, a);
        seen.learn(Fingerprint::of("c"), b);
        assert!(seen.corrects(&record("a", &clock), &clock) && seen.order.get().after.is_none());
        seen.learn(b, Fingerprint::of("d"));
        assert_eq!(seen.order.get().after, Some(Fingerprint::of("d")), "others see what comes later");
    }
}
