//! Single flight: callers that arrive while the work runs wait for the same result. The work runs
//! in its own task, so it survives the caller that started it.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::future::{FutureExt, Shared};
use tokio::sync::oneshot;

use super::sync::{Arc, Mutex, MutexGuard, PoisonError, Runtime, Weak};

/// There is no result: the task panicked, or the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// The result of work in flight. Dropping it does not stop the work.
#[derive(Clone, Debug)]
pub(crate) struct Pending<T: Clone> {
    result: Shared<oneshot::Receiver<T>>,
    /// Dropped together with the work.
    work: Weak<()>,
}

impl<T: Clone> Pending<T> {
    /// Waits for the result. Waiters are woken in the order in which they came.
    pub(crate) async fn result(self) -> Result<T, Lost> {
        self.result.await.map_err(|_| Lost)
    }

    /// Whether a result may still come: a runtime that stops drops the work.
    fn is_under_way(&self) -> bool {
        self.work.strong_count() > 0
    }
}

/// At most one piece of work with the result `T` at a time.
#[derive(Debug)]
pub(crate) struct SingleFlight<T: Clone> {
    /// The work in flight. A std mutex: it guards a pointer, never the work.
    current: Mutex<Option<Box<Pending<T>>>>,
}

impl<T: Clone> Default for SingleFlight<T> {
    fn default() -> Self {
        Self {
            current: Mutex::default(),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    /// Joins the work under way, or begins `work` on `runtime`. `of` finds the flight in its `owner`,
    /// which lives at least as long as the work.
    pub(crate) fn join<O, F>(
        owner: &Arc<O>,
        of: fn(&O) -> &Self,
        runtime: &Runtime,
        work: impl FnOnce() -> F,
    ) -> Pending<T>
    where
        O: Send + Sync + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = of(owner).current();
        let under_way = current
            .as_deref()
            .filter(|pending| pending.is_under_way())
            .cloned();
        under_way.unwrap_or_else(|| {
            let ((sender, receiver), alive) = (oneshot::channel(), Arc::new(()));
            let pending = Pending { result: receiver.shared(), work: Arc::downgrade(&alive) };
            let (work, owner) = (AssertUnwindSafe(work()), Arc::clone(owner));
            runtime.spawn(async move {
                let _alive = alive;
                let result = work.catch_unwind().await;
                // Cleared before the result is sent: later callers start new work instead of
                // getting an old result.
                of(&owner).current().take();
                match result {
                    // All waiters may have gone.
                    Ok(result) => drop(sender.send(result)),
                    Err(_) => tracing::error!("a renewal panicked; its callers get an error, and the next request tries again"),
                }
            });
            *current = Some(Box::new(pending.clone()));
            pending
        })
    }

    fn current(&self) -> MutexGuard<'_, Option<Box<Pending<T>>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
