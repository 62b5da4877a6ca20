//! Who looks ahead: one task that sleeps until the earliest of all appointments, however many there are.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinSet;

use super::agenda::Agenda;
use crate::clock::Clock;
use crate::store::Changed;

/// How many renewals run at once, so that ten thousand accounts due together are no storm.
const AT_ONCE: usize = 32;

/// How long after a failure of the store, or a lost task, the next try comes.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// The pause after a failure that starts no back-off: nobody waits for a renewal ahead.
pub(crate) const NO_HURRY: Duration = Duration::from_secs(60);

/// What a store tells unasked.
pub(crate) type Told = Result<Changed, broadcast::error::RecvError>;

/// Calls `attend` for each key of `agenda` when it is due, in a task of its own, until `stop` changes or is dropped. To put the key on
/// the list again is for `attend` to do. What `news` tell in between is for `hear`.
pub(crate) async fn keep_appointments<K, F>(
    agenda: &Agenda<K>,
    clock: &Clock,
    mut stop: watch::Receiver<bool>,
    attend: impl Fn(K) -> F,
    mut news: Option<broadcast::Receiver<Changed>>,
    hear: impl Fn(Told),
) where
    K: Clone + Eq + Hash + Ord,
    F: Future<Output = ()> + Send + 'static,
{
    let (at_once, mut visits) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    loop {
        for key in agenda.take_due(clock.steady()) {
            let (visit, at_once) = (attend(key), Arc::clone(&at_once));
            visits.spawn(async move {
                // The semaphore is never closed; without a permit the visit would only be less well spaced.
                let _permit = at_once.acquire().await.ok();
                visit.await;
            });
        }
        let pause = agenda.earliest().map_or(Duration::from_secs(3600), |due| clock.steady().until(due));
        tokio::select! {
            // In this order, so that a run with the same seed is the same run.
            biased;
            _ = stop.changed() => return,
            () = tokio::time::sleep(pause) => {}
            () = agenda.earlier() => {}
            Some(_) = visits.join_next() => {}
            told = next(&mut news) => hear(told),
        }
    }
}

/// The next thing told; never, where nothing is told any more.
async fn next(news: &mut Option<broadcast::Receiver<Changed>>) -> Told {
    let Some(receiver) = news else { return std::future::pending().await };
    let told = receiver.recv().await;
    if matches!(told, Err(broadcast::error::RecvError::Closed)) {
        *news = None;
    }
    told
}
