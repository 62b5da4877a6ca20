//! What becomes of a visitor who logs in: on a trip to WeChat and back (`trip`), or by a phone that scans what a desktop shows
//! (`scan`). It knows records, their lives and their bounds; it knows nothing of HTTP, of cookies or of pages.
//!
//! Reading order: `trip`, `scan` and its `picture`, then `records` (how they rest in the store), `visitor` (who a code stands for),
//! `waiting` (polls that wait for a scan) and `limits` (how much strangers can make us hold).

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::{Clock, UnixMillis};
use crate::store::{Store, StoreError};
use crate::wechat::WechatClient;

mod limits;
mod picture;
mod records;
mod scan;
mod trip;
mod visitor;
mod waiting;

use limits::Limits;
use records::Records;
use waiting::Waiting;

pub use picture::{Beginner, Begun};
pub use scan::{Polled, Scanned};
pub use trip::{Arrived, Departure, Mode, Stop};
pub use visitor::Failure;

/// Until a settled record is dropped, and how long a one-time ticket lives: WeChat's browser sometimes asks twice.
const SETTLED_LIFE: Duration = Duration::from_secs(60);

/// How often the second of two that bring the same code looks for the first one's result.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a login could not even be tried.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// More than one caller, or all together, may begin.
    #[error("too many logins have been begun")]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work's own task ended without a result.
    #[error("the login was lost")]
    Lost,
}

/// A cheap handle on all logins.
#[derive(Clone)]
pub struct Logins(Arc<Inner>);

struct Inner {
    records: Records,
    wechat: WechatClient,
    clock: Clock,
    runtime: Handle,
    limits: Limits,
    waiting: Waiting,
}

impl Logins {
    /// Logins whose records rest in `store`. Must be called on the runtime that is to do the work.
    pub fn new(store: Arc<dyn Store>, wechat: WechatClient, clock: Clock) -> Self {
        let records = Records::new(store, clock.clone());
        let (limits, waiting) = (Limits::new(clock.clone()), Waiting::default());
        Self(Arc::new(Inner { records, wechat, clock, runtime: Handle::current(), limits, waiting }))
    }

    /// Lets every waiting poll go home, as a stopping server must.
    pub fn close(&self) {
        self.0.waiting.close();
    }

    /// Does `work` on the runtime of [`Logins::new`] to its end, even if nobody waits for it any more: a code is spent only once.
    async fn finish<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, LoginError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LoginError>> + Send + 'static,
    {
        self.0.runtime.spawn(work(self.clone())).await.unwrap_or(Err(LoginError::Lost))
    }

    /// Counts one more record of `life` begun by `from`, or refuses it.
    async fn admit(&self, from: Option<IpAddr>, life: Duration) -> Result<(), LoginError> {
        if let Some((key, limit, window)) = from.and_then(limits::bound_of)
            && !self.0.records.spend(&key, limit, window).await?
        {
            return Err(LoginError::TooMany { retry_after: window });
        }
        if self.0.limits.admit(life) { Ok(()) } else { Err(LoginError::TooMany { retry_after: SETTLED_LIFE }) }
    }

    fn after(&self, life: Duration) -> UnixMillis {
        self.0.clock.wall().plus(life)
    }
}
