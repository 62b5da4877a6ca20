//! Logs visitors in, by a redirect to WeChat and back (`redirect`, `callback`, `ticket`), by scanning
//! a QR code (`scan`) or by a code from the account's chat (`codes`).
//! Handles records, their expiry and their limits, but no HTTP, cookies or pages.
//!
//! Reading order: `login_request`, `redirect`, `scan` and its `scan_id`, then `records` (storage),
//! `exchange` (code exchanges), `visitor` (user identification), `single_flight` and `refusals`
//! (deduplication), `waiting` (long polls) and `limits` (record limits).

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

mod callback;
mod codes;
mod exchange;
mod limits;
mod login_request;
mod records;
mod redirect;
mod refusals;
mod scan;
mod scan_id;
mod single_flight;
mod ticket;
mod visitor;
mod waiting;

use limits::{Key, Limits, Room};
use records::Records;
use refusals::Refusals;
use single_flight::SingleFlights;
use waiting::Waiting;

pub use callback::{Callback, CallbackResult};
pub use codes::{is_code, is_openid};
pub use login_request::{LoginRequest, Mode};
pub use scan::{Polled, Scanned};
pub use scan_id::{NewScan, Requester};
pub use visitor::Failure;

/// The lifetime of settled records and one-time tickets. WeChat's browser sometimes repeats a
/// request.
const SETTLED_LIFETIME: Duration = Duration::from_secs(60);

/// The interval at which a second instance polls for the first one's result.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The retry delay for requests that exceed a limit.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of new logins per client network within [`MINUTE`].
const MAX_LOGINS_PER_MINUTE: u32 = 600;

const MINUTE: Duration = Duration::from_secs(60);

/// How many records in use are skipped before a new login is refused.
const PASSED_OVER: usize = 8;

/// Size of the caches of refused scans and callbacks. A callback holds an address of up to 2 kB.
const SCANS_REFUSED: usize = 10_000;
const MAX_REFUSED_CALLBACKS: usize = 1000;

/// How many networks over a limit are cached, to skip counting them for a moment.
const NETWORKS_REFUSED: usize = 10_000;

/// How long a refused code is cached. It has expired by then. Source: 网页授权, code.
const CODE_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Why a login could not be attempted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// The limit of one client network or of the whole process is reached.
    #[error("too many logins are under way")]
    TooMany {
        /// When to retry.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task panicked or was cancelled.
    #[error("the login was lost")]
    Lost,
}

/// A handle on all logins; cheap to clone.
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
    scans: SingleFlights<Scanned>,
    callbacks: SingleFlights<CallbackResult>,
    refused_scans: Refusals<Scanned>,
    refused_callbacks: Refusals<CallbackResult>,
    refused_networks: Refusals<()>,
}

impl Logins {
    /// Creates the logins over `store`. Must be called on the runtime that is to run the tasks.
    pub fn new(store: Arc<dyn Store>, wechat: WechatClient, clock: Clock) -> Self {
        let records = Records::new(store);
        Self(Arc::new(Inner {
            records,
            wechat,
            runtime: Handle::current(),
            limits: Limits::new(clock.clone()),
            waiting: Waiting::default(),
            log_limit: LogLimit::new(clock.clone()),
            scans: SingleFlights::default(),
            callbacks: SingleFlights::default(),
            refused_scans: Refusals::new(clock.clone(), SCANS_REFUSED, CODE_LIFETIME),
            refused_callbacks: Refusals::new(
                clock.clone(),
                MAX_REFUSED_CALLBACKS,
                SETTLED_LIFETIME,
            ),
            refused_networks: Refusals::new(clock.clone(), NETWORKS_REFUSED, RETRY_AFTER),
            clock,
        }))
    }

    /// Ends all waiting polls, for shutdown.
    pub fn close(&self) {
        self.0.waiting.close();
    }

    /// Runs `work` to completion on the runtime of [`Logins::new`], even if the caller goes away. A
    /// code can be exchanged only once.
    async fn finish<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, LoginError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LoginError>> + Send + 'static,
    {
        self.0
            .runtime
            .spawn(work(self.clone()))
            .await
            .unwrap_or(Err(LoginError::Lost))
    }

    /// Counts the new record `key` of lifetime `life`, begun by `from`. At the limit, it evicts the
    /// oldest unused record.
    async fn admit(
        &self,
        key: Key,
        from: Option<IpAddr>,
        life: Duration,
    ) -> Result<(), LoginError> {
        let from = from.and_then(ClientNetwork::of);
        if let Some(network) = from {
            self.count("from", network, MAX_LOGINS_PER_MINUTE).await?;
        }
        for _ in 0..PASSED_OVER {
            match self.0.limits.admit(key, from, life) {
                Room::Made => return Ok(()),
                Room::None => break,
                Room::InsteadOf(oldest) => {
                    if self.discard(oldest).await? {
                        self.0.limits.forget(oldest);
                    }
                }
            }
        }
        Err(LoginError::TooMany {
            retry_after: SETTLED_LIFETIME,
        })
    }

    /// Counts one action of `network`, limited to `limit` a minute across all instances.
    async fn count(
        &self,
        what: &'static str,
        network: ClientNetwork,
        limit: u32,
    ) -> Result<(), LoginError> {
        let key = format!("login.{what}.{network}");
        let refused = || LoginError::TooMany {
            retry_after: MINUTE,
        };
        if self.0.refused_networks.recall(&[&key]).is_some() {
            return Err(refused());
        }
        if self.0.records.take_permit(&key, limit, MINUTE).await? {
            return Ok(());
        }
        self.0.refused_networks.remember(&[&key], ());
        if let Some(unlogged) = self.0.log_limit.admit(what) {
            let unlogged = Some(unlogged).filter(|unlogged| *unlogged > 0);
            tracing::warn!(%network, key, limit, unlogged, "a client network has reached its limit for this minute; its requests are refused");
        }
        Err(refused())
    }

    /// Deletes the record unless it is in use; another instance may have used it.
    async fn discard(&self, key: Key) -> Result<bool, LoginError> {
        match key {
            Key::Redirect(_) => self.discard_redirect(&key.id()).await,
            Key::Scan(_) => self.discard_scan(&key.id()).await,
        }
    }

    fn after(&self, life: Duration) -> UnixMillis {
        self.0.clock.wall().plus(life)
    }
}
