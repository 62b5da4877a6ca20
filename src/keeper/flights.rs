//! One piece of work at a time: whoever comes while it runs waits for the same result. The work runs in a task of its own, so that
//! it survives the caller who began it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::future::{FutureExt, Shared};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

/// The work was lost: its task panicked, or the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// A result that does not exist yet, then does. May be dropped; the work goes on.
#[derive(Clone, Debug)]
pub(crate) struct Landing<T: Clone> {
    result: Shared<oneshot::Receiver<T>>,
    /// Gone with the work.
    work: Weak<()>,
}

impl<T: Clone> Landing<T> {
    /// Waits for the result. Those who wait are woken in the order in which they came.
    pub(crate) async fn result(self) -> Result<T, Lost> {
        self.result.await.map_err(|_| Lost)
    }

    /// Whether a result may still come: a runtime that stops drops the work.
    fn is_under_way(&self) -> bool {
        self.work.strong_count() > 0
    }
}

/// At most one piece of work that brings a `T`.
#[derive(Debug)]
pub(crate) struct Flight<T: Clone> {
    /// The landing of the work under way. A std mutex: it guards a pointer, never the work.
    current: Arc<Mutex<Option<Landing<T>>>>,
}

impl<T: Clone> Default for Flight<T> {
    fn default() -> Self {
        Self { current: Arc::default() }
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Joins the work under way, or begins `work` on `runtime`.
    pub(crate) fn join<F>(&self, runtime: &Handle, work: impl FnOnce() -> F) -> Landing<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = current.as_ref().filter(|landing| landing.is_under_way()).cloned();
        under_way.unwrap_or_else(|| {
            let ((sender, receiver), alive) = (oneshot::channel(), Arc::new(()));
            let landing = Landing { result: receiver.shared(), work: Arc::downgrade(&alive) };
            let (work, cleared) = (AssertUnwindSafe(work()), Arc::clone(&self.current));
            runtime.spawn(async move {
                let _alive = alive;
                let result = work.catch_unwind().await;
                // Cleared before it is told: whoever comes after the result begins anew instead of getting an old one.
                cleared.lock().unwrap_or_else(PoisonError::into_inner).take();
                match result {
                    // Nobody may be waiting any more.
                    Ok(result) => drop(sender.send(result)),
                    Err(_) => tracing::error!("a renewal panicked; its callers are told, the next one tries again"),
                }
            });
            *current = Some(landing.clone());
            landing
        })
    }
}

/// Counts a flight for as long as it lives, a panic included.
pub(crate) struct InFlight<'a>(&'a watch::Sender<usize>);

impl<'a> InFlight<'a> {
    pub(crate) fn new(flying: &'a watch::Sender<usize>) -> Self {
        flying.send_modify(|flying| *flying += 1);
        Self(flying)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|flying| *flying -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn a_thousand_callers_share_one_piece_of_work() {
        let (flight, begun) = (Flight::<u32>::default(), Arc::new(AtomicU32::new(0)));
        let waits: Vec<_> = (0..1000)
            .map(|_| {
                let begun = Arc::clone(&begun);
                flight.join(&Handle::current(), move || async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    begun.fetch_add(1, Ordering::SeqCst) + 1
                })
            })
            .collect();
        assert_eq!(futures_util::future::join_all(waits.into_iter().map(Landing::result)).await, vec![Ok(1); 1000]);
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_work_survives_the_caller_who_began_it() {
        let flight = Flight::<&str>::default();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            "landed"
        };
        drop(flight.join(&Handle::current(), slow));
        assert_eq!(flight.join(&Handle::current(), || async { "another" }).result().await, Ok("landed"));
    }

    #[tokio::test]
    async fn a_panic_is_told_to_its_callers_and_forgotten() {
        let flight = Flight::<u8>::default();
        assert_eq!(flight.join(&Handle::current(), || async { panic!("on purpose") }).result().await, Err(Lost));
        assert_eq!(flight.join(&Handle::current(), || async { 7 }).result().await, Ok(7));
    }
}
