//! The gateway: WeChat's own API behind our address. A program keeps its SDK and changes two
//! values, the host and the secret; the real AppSecret and the real token never reach it.
//!
//! Reading order: `path` and `query` (what is forwarded, byte for byte), `token` and `issue`
//! (virtual tokens), `admit` (who may call what), `decide` (what one request needs), `swap` (the
//! AppSecret in place of a virtual one), `forward` (the call itself), `probe` and `heal` (after a
//! 40001), `reply` and `answer` (the answer, and what is read of it). The HTTP client: `upstream`, over `connection`,
//! `first_line` and `connect`. Small parts: `account` and `accounts`, `admitted`, `body`, `limits`, `refusal`,
//! `audit`. The table of everything that is not the plain case is `realm/presets.rs`. It knows no
//! actix: `http/gateway.rs` is the other half.

mod account;
mod accounts;
mod admit;
mod admitted;
mod answer;
mod audit;
mod body;
mod connect;
mod connection;
mod decide;
mod first_line;
mod forward;
mod heal;
mod issue;
mod limits;
pub mod path;
mod plan;
mod probe;
mod query;
mod refusal;
mod reply;
mod swap;
pub mod token;
mod upstream;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use clock::Clock;
use credentials::keeper::Keeper;
use credentials::sources::Sources;
use hyper::{HeaderMap, Method};
use url::Url;
use wechat::account::AppId;

pub use self::admitted::{Admitted, Kept, RequestBody};
pub use self::audit::Audit;
pub use self::decide::is_forwarded;

pub use self::refusal::Refusal;
pub use self::reply::{Answer, AnswerBody};

use self::accounts::Accounts;
use self::decide::Decided;
use self::heal::Healer;
use self::limits::Limits;
use self::upstream::{Hosts, Upstream};
use crate::counters::Counters;
use crate::realm::Realms;
use crate::registry::Registry;
use crate::settings::{GatewayConfig, WecomCorp};

/// The gateway; clones share it.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

struct Inner {
    options: GatewayConfig,
    accounts: Accounts,
    clock: Clock,
    upstream: Upstream,
    api: Arc<Hosts>,
    mp: Arc<Hosts>,
    /// The hosts of WeCom's API, by the address that the settings give an application.
    wecom_hosts: std::sync::Mutex<BTreeMap<Url, Arc<Hosts>>>,
    limits: Limits,
    healer: Healer,
    counters: Arc<Counters>,
}

/// What a gateway is made of.
pub struct Parts {
    /// Its settings.
    pub options: GatewayConfig,
    /// WeChat's tokens and tickets.
    pub keeper: Keeper,
    /// The configured accounts and those in the store.
    pub registry: Registry,
    /// WeCom's tokens and tickets.
    pub wecom: Sources,
    /// The hosts of WeChat's API.
    pub api: Vec<Url>,
    /// Where the pictures of QR codes are.
    pub mp: Url,
    /// Counts the calls.
    pub counters: Arc<Counters>,
}

/// A request as it came, without its body.
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The path, plain and without `gateway.prefix`.
    pub path: &'a str,
    /// What followed the `?`, byte for byte.
    pub query: &'a [u8],
    /// The headers that [`is_forwarded`] names.
    pub headers: HeaderMap,
    /// The caller's address.
    pub from: Option<IpAddr>,
    /// The id in our log.
    pub request_id: &'a str,
}

/// What a request needs.
pub enum Step {
    /// An answer of ours, which is there already.
    Answered(String),
    /// The whole body, and then [`Gateway::issue`].
    IssueToken(Box<Audit>),
    /// The whole body, and then [`Gateway::swap_in_body`].
    SwapInBody(Box<Audit>),
    /// The body, and then [`Gateway::forward`].
    Forward(Box<Admitted>),
}

impl Gateway {
    /// A gateway over `parts`.
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        let Parts {
            options,
            keeper,
            registry,
            wecom,
            api,
            mp,
            counters,
        } = parts;
        let clock = keeper.clock().clone();
        let upstream = Upstream::new()?;
        Ok(Self(Arc::new(Inner {
            options,
            api: Arc::new(upstream.hosts(&api)),
            mp: Arc::new(upstream.hosts([&mp])),
            upstream,
            wecom_hosts: std::sync::Mutex::default(),
            limits: Limits::new(clock.clone()),
            healer: Healer::new(clock.clone()),
            accounts: Accounts {
                keeper,
                registry,
                wecom,
            },
            counters,
            clock,
        })))
    }

    /// Its settings.
    pub fn options(&self) -> &GatewayConfig {
        &self.0.options
    }

    /// The audit of a request that has just come.
    pub fn audit(
        &self,
        request_id: &str,
        client: Option<IpAddr>,
        method: &Method,
        path: &str,
    ) -> Box<Audit> {
        let counted = Arc::clone(&self.0.counters);
        Box::new(Audit::new(request_id, client, method, path, counted))
    }

    /// Memory for a body of `bytes` that is kept whole. `None`: it must be streamed.
    pub fn keep(&self, bytes: u64) -> Option<Kept> {
        let options = &self.0.options;
        if bytes > options.keep_whole {
            return None;
        }
        // The rest of the memory is for what streamed bodies hold, some 130 KB each.
        let most = (options.memory / 4 * 3).max(options.keep_whole);
        self.0.limits.reserve(bytes, most).map(Kept)
    }

    /// Decides on `request` before its body is read, and takes its headers if it is forwarded. A
    /// refusal comes with its audit line.
    pub async fn admit(
        &self,
        request: &mut Request<'_>,
        realms: &Realms,
        corps: &BTreeMap<AppId, WecomCorp>,
    ) -> Result<Step, (Refusal, Box<Audit>)> {
        let began = self.0.clock.steady();
        let mut audit = self.audit(
            request.request_id,
            request.from,
            &request.method,
            request.path,
        );
        let decided = self.decide(request, realms, corps, &mut audit).await;
        audit.took = began.until(self.0.clock.steady());
        match decided {
            Ok(Decided::Answered(body)) => {
                (audit.status, audit.bytes_out) = (Some(200), body.len() as u64);
                Ok(Step::Answered(body))
            }
            Ok(Decided::IssueToken) => Ok(Step::IssueToken(audit)),
            Ok(Decided::SwapInBody) => Ok(Step::SwapInBody(audit)),
            Ok(Decided::Forward(plan)) => {
                Ok(Step::Forward(Box::new(Admitted { plan, audit, began })))
            }
            Err(refusal) => Err((refusal.clone(), audit.refused(&refusal))),
        }
    }
}
