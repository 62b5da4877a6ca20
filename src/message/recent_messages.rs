//! Which messages this process has seen lately, and what came of them, so that a repeated delivery
//! gets the first one's answer. It knows nothing of stores or back ends.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::outcome::Answer;
use clock::{Clock, SteadyMillis};

/// As long as a delivery is young enough to be believed, whichever clock is ahead: WeChat itself
/// repeats within some seconds, but what somebody recorded must not reach a back end a second time
/// either.
pub(super) const RETENTION: Duration = Duration::from_secs(11 * 60);

/// Messages remembered at once; beyond them the oldest are forgotten.
const MAX_ENTRIES: usize = 100_000;

/// What was seen lately.
pub(super) struct RecentMessages {
    seen: Mutex<Seen>,
    clock: Clock,
}

#[derive(Default)]
struct Seen {
    by_key: HashMap<String, MessageEntry>,
    order: VecDeque<(SteadyMillis, String)>,
}

/// One message and what came of it, as soon as something did.
#[derive(Clone)]
pub(super) struct MessageEntry(Arc<watch::Sender<State>>);

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Open,
    /// WeChat was told `success` before there was an answer; what comes now is late.
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

    /// The case of `key`, and whether it is new.
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
    /// The answer, if it comes within `patience`; afterwards it is given up for all who ask.
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

    /// Settles the case; `false` when it was given up before, so that the answer is late.
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
    async fn what_was_given_up_is_late_and_stays_unanswered() {
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
    fn what_is_too_old_to_be_believed_is_forgotten() {
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
