//! Work that several requests ask for at once is done once: the first begins it, the others wait for what it comes to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{LOOK_AGAIN, LoginError, Logins};

/// How many requests may wait for the same work. A phone that asks twice or thrice finds a place, a flood of the same does not.
const MOST: usize = 16;

/// The work under way, by what is asked for.
pub(super) struct Together<T>(Arc<Mutex<HashMap<String, Arc<Pending<T>>>>>);

type Pending<T> = watch::Sender<Option<Result<T, LoginError>>>;

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Together<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Send + Sync + 'static> Together<T> {
    /// Joins the work under way for `question`, or begins `work` in a task that goes on when nobody waits for it any more.
    pub(super) async fn join<F>(&self, logins: &Logins, question: String, work: impl FnOnce(Logins) -> F) -> Result<T, LoginError>
    where
        F: Future<Output = Result<T, LoginError>> + Send + 'static,
    {
        let mut result = {
            let mut under_way = self.under_way();
            match under_way.get(&question) {
                Some(result) if result.receiver_count() >= MOST => {
                    return Err(LoginError::TooMany { retry_after: LOOK_AGAIN });
                }
                Some(result) => result.subscribe(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    let sender = Arc::new(sender);
                    under_way.insert(question.clone(), Arc::clone(&sender));
                    let (listed, work) = (Listed { all: self.clone(), question }, work(logins.clone()));
                    logins.0.runtime.spawn(async move {
                        let result = work.await;
                        // Taken off the list before it is told: whoever comes later begins anew.
                        drop(listed);
                        sender.send_replace(Some(result));
                    });
                    receiver
                }
            }
        };
        // Without a result its task panicked, or the runtime stops.
        let result = result.wait_for(Option::is_some).await.map_err(|_| LoginError::Lost)?;
        result.clone().unwrap_or(Err(LoginError::Lost))
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Arc<Pending<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes its work off the list when dropped, also by a panic.
struct Listed<T: Clone + Send + Sync + 'static> {
    all: Together<T>,
    question: String,
}

impl<T: Clone + Send + Sync + 'static> Drop for Listed<T> {
    fn drop(&mut self) {
        self.all.under_way().remove(&self.question);
    }
}
