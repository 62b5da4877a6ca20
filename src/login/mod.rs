//! What becomes of a visitor who logs in: on a trip to WeChat and back (`trip`), or by a phone that scans what a desktop shows
//! (`scan`). It knows records, their lives and their bounds; it knows nothing of HTTP, of cookies or of pages.
//!
//! Reading order: `departure`, `trip`, `scan` and its `picture`, then `records` (how they rest in the store), `exchange` (how often a code is brought
//! to WeChat), `visitor` (who a code stands for), `together` and `refusals` (what many ask at once or again), `waiting` (polls that wait for a scan) and `limits`
//! (how many records strangers can make us keep).

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::client_network::ClientNetwork;
use crate::log_limit::LogLimit;
use clock::{Clock, UnixMillis};
use credentials::store::{Store, StoreError};
use wechat::WechatClient;

mod departure;
mod exchange;
mod limits;
mod picture;
mod records;
mod refusals;
mod scan;
mod together;
mod trip;
mod visitor;
mod waiting;

use limits::{Key, Limits, Room};
use records::Records;
use refusals::Refusals;
use together::Together;
use waiting::Waiting;

pub use departure::{Departure, Mode};
pub use picture::{Beginner, Opened};
pub use scan::{Polled, Scanned};
pub use trip::{Arrived, Stop};
pub use visitor::Failure;

/// Until a settled record is dropped, and how long a one-time ticket lives: WeChat's browser sometimes asks twice.
const SETTLED_LIFE: Duration = Duration::from_secs(60);

/// How often the second of two instances that are brought the same code looks for the first one's result.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// When somebody who found no place comes again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// New logins of one client network within [`MINUTE`].
const BEGUN_A_MINUTE: u32 = 600;

const MINUTE: Duration = Duration::from_secs(60);

/// How many records in use are passed over before a new login is refused.
const PASSED_OVER: usize = 8;

/// Refused scans and refused arrivals that this process remembers. An arrival's holds an address of up to 2 kB.
const SCANS_REFUSED: usize = 10_000;
const ARRIVALS_REFUSED: usize = 1000;

/// Networks over a limit that this process remembers, for a moment: they need not be counted on.
const NETWORKS_REFUSED: usize = 10_000;

/// For how long a refused code is remembered. It is dead by then. Source: 网页授权, code.
const CODE_LIFE: Duration = Duration::from_secs(10 * 60);

/// Why a login could not even be tried.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// More than one client network, or all together, may begin, finish or wait for.
    #[error("too many logins are under way")]
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
    log_limit: LogLimit,
    scans: Together<Scanned>,
    arrivals: Together<Arrived>,
    refused_scans: Refusals<Scanned>,
    refused_arrivals: Refusals<Arrived>,
    refused_networks: Refusals<()>,
}

impl Logins {
    /// Logins whose records rest in `store`. Must be called on the runtime that is to do the work.
    pub fn new(store: Arc<dyn Store>, wechat: WechatClient, clock: Clock) -> Self {
        let records = Records::new(store);
        Self(Arc::new(Inner {
            records,
            wechat,
            runtime: Handle::current(),
            limits: Limits::new(clock.clone()),
            waiting: Waiting::default(),
            log_limit: LogLimit::new(clock.clone()),
            scans: Together::default(),
            arrivals: Together::default(),
            refused_scans: Refusals::new(clock.clone(), SCANS_REFUSED, CODE_LIFE),
            refused_arrivals: Refusals::new(clock.clone(), ARRIVALS_REFUSED, SETTLED_LIFE),
            refused_networks: Refusals::new(clock.clone(), NETWORKS_REFUSED, LOOK_AGAIN),
            clock,
        }))
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

    /// Counts the new record `key` of `life`, begun by `from`. Where there is no room the oldest unused one gives way.
    async fn admit(&self, key: Key, from: Option<IpAddr>, life: Duration) -> Result<(), LoginError> {
        let from = from.and_then(ClientNetwork::of);
        if let Some(network) = from {
            self.count("from", network, BEGUN_A_MINUTE).await?;
        }
        for _ in 0..PASSED_OVER {
            match self.0.limits.admit(key, from, life) {
                Room::Made => return Ok(()),
                Room::None => break,
                Room::InsteadOf(oldest) => {
                    if self.give_up(oldest).await? {
                        self.0.limits.forget(oldest);
                    }
                }
            }
        }
        Err(LoginError::TooMany { retry_after: SETTLED_LIFE })
    }

    /// Counts one thing more that `network` does, of which it may do `limit` in a minute, across all instances.
    async fn count(&self, what: &'static str, network: ClientNetwork, limit: u32) -> Result<(), LoginError> {
        let key = format!("login.{what}.{network}");
        let refused = || LoginError::TooMany { retry_after: MINUTE };
        if self.0.refused_networks.recall(&[&key]).is_some() {
            return Err(refused());
        }
        if self.0.records.take_permit(&key, limit, MINUTE).await? {
            return Ok(());
        }
        self.0.refused_networks.remember(&[&key], ());
        if let Some(unlogged) = self.0.log_limit.admit(what) {
            let unlogged = Some(unlogged).filter(|unlogged| *unlogged > 0);
            tracing::warn!(%network, key, limit, unlogged, "a client network has reached its limit for this minute; it is refused");
        }
        Err(refused())
    }

    /// Deletes the record unless it is in use: another instance may have seen its visitor.
    async fn give_up(&self, key: Key) -> Result<bool, LoginError> {
        match key {
            Key::Trip(_) => self.give_up_trip(&key.id()).await,
            Key::Scan(_) => self.give_up_scan(&key.id()).await,
        }
    }

    fn after(&self, life: Duration) -> UnixMillis {
        self.0.clock.wall().plus(life)
    }
}
