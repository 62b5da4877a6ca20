//! One piece of work at a time: whoever comes while it runs waits for the same result. The work runs in a task of its own, so that
//! it survives the caller who began it.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::future::{FutureExt, Shared};
use tokio::sync::{oneshot, watch};

use super::sync::{Arc, Mutex, PoisonError, Runtime, Weak};

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
    pub(crate) fn join<F>(&self, runtime: &Runtime, work: impl FnOnce() -> F) -> Landing<T>
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
