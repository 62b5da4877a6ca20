//! Renewals that wait for another instance's result. A notice of the store wakes them; without one
//! they poll.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// At most one for each key in the store.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<String, Arc<Notify>>>);

impl Waiters {
    fn by_key(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a notice about `key`, at most `longest`.
    pub(super) async fn wait(&self, key: &str, longest: Duration) {
        let notify = Arc::clone(self.by_key().entry(key.to_owned()).or_default());
        tokio::time::timeout(longest, notify.notified()).await.ok();
        self.by_key().remove(key);
    }

    pub(super) fn wake(&self, key: &str) {
        if let Some(notify) = self.by_key().get(key) {
            notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_waiter_is_woken_or_times_out() {
        let (waiters, key) = (Arc::new(Waiters::default()), "wx1.token");
        let begun = tokio::time::Instant::now();
        waiters.wait(key, Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let woken = Arc::clone(&waiters);
        let waiting = tokio::spawn(async move { woken.wait(key, Duration::from_secs(3600)).await });
        while waiters.by_key().is_empty() {
            tokio::task::yield_now().await;
        }
        waiters.wake(key);
        waiting.await.expect("it ends");
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert!(waiters.by_key().is_empty(), "nothing is left behind");
    }
}
