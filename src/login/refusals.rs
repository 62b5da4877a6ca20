//! Caches recent refusals, so that a repeated request needs no store read and no poll permit.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Clock, SteadyMillis};
use wechat::signature::fingerprint;

/// The latest refusals; the oldest are evicted first.
pub(super) struct Refusals<T> {
    kept: Mutex<Kept<T>>,
    clock: Clock,
    most: usize,
    life: Duration,
}

struct Kept<T> {
    by_question: HashMap<String, T>,
    order: VecDeque<(SteadyMillis, String)>,
}

impl<T: Clone> Refusals<T> {
    /// Creates a cache of up to `most` refusals, each for `life`.
    pub(super) fn new(clock: Clock, most: usize, life: Duration) -> Self {
        let kept = Kept {
            by_question: HashMap::new(),
            order: VecDeque::new(),
        };
        Self {
            kept: Mutex::new(kept),
            clock,
            most,
            life,
        }
    }

    pub(super) fn remember(&self, key: &[&str], refusal: T) {
        let (key, now) = (print(key), self.clock.steady());
        let mut kept = self.kept();
        if let Some(before) = kept.by_question.get_mut(&key) {
            *before = refusal;
            return;
        }
        while kept.order.len() >= self.most
            || kept.order.front().is_some_and(|(end, _)| *end <= now)
        {
            if let Some((_, oldest)) = kept.order.pop_front() {
                kept.by_question.remove(&oldest);
            }
        }
        kept.by_question.insert(key.clone(), refusal);
        kept.order.push_back((now.plus(self.life), key));
    }

    pub(super) fn recall(&self, key: &[&str]) -> Option<T> {
        let (key, now) = (print(key), self.clock.steady());
        let mut kept = self.kept();
        while kept.order.front().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, oldest)) = kept.order.pop_front() {
                kept.by_question.remove(&oldest);
            }
        }
        kept.by_question.get(&key).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Combines all parts of a key into one fixed-length key.
pub(super) fn print(key: &[&str]) -> String {
    fingerprint(&serde_json::json!(key).to_string()).text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    #[test]
    fn refusals_are_kept_for_a_time_and_up_to_a_number() {
        let clock = Clock::manual(UnixMillis(0));
        let refusals = Refusals::new(clock.clone(), 3, Duration::from_secs(10));
        for number in 0..4 {
            refusals.remember(&["uuid", &number.to_string()], number);
        }
        refusals.remember(&["uuid", "3"], 3);
        let all = |refusals: &Refusals<i32>| {
            (0..4)
                .map(|number| refusals.recall(&["uuid", &number.to_string()]))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(&refusals), [None, Some(1), Some(2), Some(3)]);
        assert_eq!(refusals.recall(&["uui", "d1"]), None, "a key is its parts");
        clock.advance(Duration::from_secs(10));
        assert_eq!(all(&refusals), [None; 4]);
        assert!(refusals.kept().by_question.is_empty());
    }
}
