//! One piece of work at a time: whoever comes while it runs waits for the same result. The work runs in a task of its own, so that
//! it survives the caller who began it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The work was lost: its task panicked, or the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// A result that does not exist yet, then does. May be dropped; the work goes on.
#[derive(Clone, Debug)]
pub(crate) struct Landing<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Landing<T> {
    /// Waits for the result.
    pub(crate) async fn result(mut self) -> Result<T, Lost> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|result| result.clone()).ok_or(Lost)
    }

    /// Whether a result may still come: a landing whose sender is gone belongs to work that ended.
    fn is_under_way(&self) -> bool {
        self.0.borrow().is_none() && self.0.has_changed().is_ok()
    }
}

/// At most one piece of work that brings a `T`.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    /// The landing of the work under way. A std mutex: it guards a pointer, never the work.
    current: Arc<Mutex<Option<Landing<T>>>>,
}

impl<T> Default for Flight<T> {
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
            let (sender, receiver) = watch::channel(None);
            let landing = Landing(receiver);
            let (work, cleared) = (AssertUnwindSafe(work()), Arc::clone(&self.current));
            runtime.spawn(async move {
                let result = work.catch_unwind().await;
                // Cleared before it is told: whoever comes after the result begins anew instead of getting an old one.
                cleared.lock().unwrap_or_else(PoisonError::into_inner).take();
                match result {
                    Ok(result) => drop(sender.send(Some(result))),
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
