//! Deduplicates concurrent work: the first request starts it, the others await its result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{LoginError, Logins, RETRY_AFTER};

/// Maximum number of requests that share one task. Enough for a phone's repeats, too few for a
/// flood.
const MAX_WAITERS: usize = 16;

/// The work in flight, by key.
pub(super) struct SingleFlights<T>(Arc<Mutex<HashMap<String, Arc<Pending<T>>>>>);

type Pending<T> = watch::Sender<Option<Result<T, LoginError>>>;

impl<T> Default for SingleFlights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for SingleFlights<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Send + Sync + 'static> SingleFlights<T> {
    /// Joins the work in flight for `key`, or starts `work` in a task that outlives its
    /// callers.
    pub(super) async fn join<F>(
        &self,
        logins: &Logins,
        key: String,
        work: impl FnOnce(Logins) -> F,
    ) -> Result<T, LoginError>
    where
        F: Future<Output = Result<T, LoginError>> + Send + 'static,
    {
        let mut result = {
            let mut under_way = self.under_way();
            match under_way.get(&key) {
                Some(result) if result.receiver_count() >= MAX_WAITERS => {
                    return Err(LoginError::TooMany {
                        retry_after: RETRY_AFTER,
                    });
                }
                Some(result) => result.subscribe(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    let sender = Arc::new(sender);
                    under_way.insert(key.clone(), Arc::clone(&sender));
                    let (listed, work) = (
                        Listed {
                            all: self.clone(),
                            key,
                        },
                        work(logins.clone()),
                    );
                    logins.0.runtime.spawn(async move {
                        let result = work.await;
                        // Remove the entry before sending, so that later requests start anew.
                        drop(listed);
                        sender.send_replace(Some(result));
                    });
                    receiver
                }
            }
        };
        // No result: the task panicked or the runtime is shutting down.
        let result = result
            .wait_for(Option::is_some)
            .await
            .map_err(|_| LoginError::Lost)?;
        result.clone().unwrap_or(Err(LoginError::Lost))
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Arc<Pending<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes its entry on drop, also on panic.
struct Listed<T: Clone + Send + Sync + 'static> {
    all: SingleFlights<T>,
    key: String,
}

impl<T: Clone + Send + Sync + 'static> Drop for Listed<T> {
    fn drop(&mut self) {
        self.all.under_way().remove(&self.key);
    }
}
