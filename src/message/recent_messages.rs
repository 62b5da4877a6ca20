//! Remembers recent messages and their answers, so that a repeated delivery gets the first one's
//! answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::outcome::Answer;
use clock::{Clock, SteadyMillis};

/// Longer than a delivery's timestamp is accepted on either side of our clock, so that a recorded
/// delivery cannot reach a back end twice. WeChat's own repeats come within seconds.
pub(super) const RETENTION: Duration = Duration::from_secs(11 * 60);

/// Maximum number of remembered messages; beyond it the oldest are dropped.
const MAX_ENTRIES: usize = 100_000;

/// The recent messages of this process.
pub(super) struct RecentMessages {
    seen: Mutex<Seen>,
    clock: Clock,
}

#[derive(Default)]
struct Seen {
    by_key: HashMap<String, MessageEntry>,
    order: VecDeque<(SteadyMillis, String)>,
}

/// One message and its answer, once there is one.
#[derive(Clone)]
pub(super) struct MessageEntry(Arc<watch::Sender<State>>);

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Open,
    /// `success` was sent before there was an answer; an answer is now late.
    GivenUp,
    Answered(Answer),
}

impl RecentMessages {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            seen: Mutex::default(),
            clock,
        }
    }

    /// Returns the entry of `key`, and whether it is new.
    pub(super) fn entry(&self, key: &str) -> (MessageEntry, bool) {
        let now = self.clock.steady();
        let mut seen = self.seen();
        while seen.order.front().is_some_and(|(ends, _)| *ends <= now)
            || seen.order.len() >= MAX_ENTRIES
        {
            if let Some((_, key)) = seen.order.pop_front() {
                seen.by_key.remove(&key);
            }
        }
        if let Some(case) = seen.by_key.get(key) {
            return (case.clone(), false);
        }
        let case = MessageEntry(Arc::new(watch::Sender::default()));
        seen.by_key.insert(key.to_owned(), case.clone());
        seen.order.push_back((now.plus(RETENTION), key.to_owned()));
        (case, true)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MessageEntry {
    /// Waits for the answer, at most `patience`. After that, all waiters give up.
    pub(super) async fn answer(&self, patience: Duration) -> Option<Answer> {
        let mut states = self.0.subscribe();
        let settled = tokio::time::timeout(
            patience,
            states.wait_for(|state| !matches!(state, State::Open)),
        )
        .await;
        if settled.is_err() {
            self.0.send_if_modified(|state| {
                let open = matches!(state, State::Open);
                if open {
                    *state = State::GivenUp;
                }
                open
            });
        }
        match &*self.0.borrow() {
            State::Answered(answer) => Some(answer.clone()),
            State::Open | State::GivenUp => None,
        }
    }

    /// Stores the answer. Returns `false` if the waiters had given up, so that the answer is late.
    pub(super) fn settle(&self, answer: &Answer) -> bool {
        self.0.send_if_modified(|state| {
            let open = matches!(state, State::Open);
            if open {
                *state = State::Answered(answer.clone());
            }
            open
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    #[tokio::test]
    async fn a_repeated_delivery_gets_the_first_answer() {
        let recent = RecentMessages::new(Clock::manual(UnixMillis(0)));
        let (first, new) = recent.entry("a");
        let (second, again) = recent.entry("a");
        assert_eq!((new, again), (true, false));
        assert!(first.settle(&Answer::Silence));
        assert!(matches!(
            second.answer(Duration::from_secs(5)).await,
            Some(Answer::Silence)
        ));
    }

    #[tokio::test]
    async fn an_abandoned_message_stays_unanswered() {
        let recent = RecentMessages::new(Clock::manual(UnixMillis(0)));
        let (case, _) = recent.entry("a");
        assert!(case.answer(Duration::from_millis(1)).await.is_none());
        assert!(!case.settle(&Answer::Silence));
        assert!(
            recent
                .entry("a")
                .0
                .answer(Duration::from_secs(5))
                .await
                .is_none(),
            "at once, and not with the late answer"
        );
    }

    #[test]
    fn entries_expire() {
        let clock = Clock::manual(UnixMillis(0));
        let recent = RecentMessages::new(clock.clone());
        assert!(recent.entry("a").1);
        clock.advance(RETENTION - Duration::from_secs(1));
        assert!(!recent.entry("a").1);
        clock.advance(Duration::from_secs(2));
        assert!(recent.entry("a").1);
        assert!((0..MAX_ENTRIES + 10).all(|number| recent.entry(&number.to_string()).1));
        assert!(
            recent.seen().by_key.len() <= MAX_ENTRIES && recent.entry("0").1,
            "the oldest are forgotten"
        );
    }
}
