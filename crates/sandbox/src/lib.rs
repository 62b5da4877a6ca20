//! A faithful fake of WeChat's API, for `jsdkd sandbox`, `jsdkd demo` and all tests.
//!
//! It behaves as WeChat does: refusals are HTTP 200 with an errcode, a new token retires the old
//! one, quotas run out, and no value is valid for longer than WeChat would accept it. Faults and
//! time travel are extra: through [`Sandbox`] in process, or over `/sandbox/...`.
//!
//! - State: `world` (accounts, tokens, tickets), `visitors`, `people`, `outbox` and `media`, on the time of
//!   `timeline`.
//! - Every call: `exchange` processes it, `fault` holds the faults, `arrivals` records it.
//! - Endpoints, one file per part of the API: `token`, `ticket`, `wecom`, `probe`, `user`, `sns`,
//!   `message` with `send`, and `call` for the others; `paths` lists them.
//! - Login: `authorize`, `page` and `visit` stand in for open.weixin.qq.com; `oauth` has the rules.
//! - `/sandbox/...`: `control` and `state_report`. `server` runs everything.
//! - Pushes to a message server: `push` sends what `message_builder` writes, and `reply_check`
//!   checks the answer.

mod arrivals;
mod authorize;
mod bounded;
mod call;
mod control;
mod exchange;
mod fake_wechat;
mod fault;
mod media;
mod message;
mod message_builder;
mod mint;
mod oauth;
mod outbox;
mod page;
mod paths;
mod people;
mod probe;
mod push;
mod push_mode;
mod refusal;
mod reply_check;
mod send;
mod server;
mod sns;
mod state_report;
#[cfg(test)]
mod tests;
mod ticket;
mod timeline;
mod token;
mod user;
mod visit;
mod visitors;
mod wecom;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::HttpRequest;
use clock::Clock;

pub use arrivals::Arrival;
use arrivals::Received;
pub use authorize::Answer;
pub use control::Tuning;
pub use fake_wechat::FakeWechat;
pub use fault::{Effect, Fault};
pub use message_builder::MessageBuilder;
pub use push::{Push, PushAnswer, PushError, push};
pub use push_mode::PushMode;
pub use reply_check::{ReplyFault, UNAVAILABLE};
pub use server::RunningSandbox;
use world::{TicketKind, TokenKind, World};

/// The options of a new sandbox.
#[derive(Clone)]
pub struct SandboxOptions {
    /// Appid and secret of each account.
    pub accounts: Vec<(String, String)>,
    /// The lifetime of tokens and tickets. Other durations, such as the overlap of old and new,
    /// shrink in proportion.
    pub lifetime: Duration,
    /// How many tokens per day an account may fetch from `/cgi-bin/token`.
    pub daily_quota: u32,
    /// The source of the time. Delays of faults always use real time.
    pub clock: Clock,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            lifetime: Duration::from_secs(7200),
            daily_quota: 2000,
            clock: Clock::system(),
        }
    }
}

impl fmt::Debug for SandboxOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app_ids: Vec<_> = self.accounts.iter().map(|(app_id, _)| app_id).collect();
        f.debug_struct("SandboxOptions")
            .field("accounts", &app_ids)
            .field("lifetime", &self.lifetime)
            .field("daily_quota", &self.daily_quota)
            .finish_non_exhaustive()
    }
}

/// A handle on a sandbox; cheap to clone. It can be read after the server has stopped.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    options: SandboxOptions,
    state: Mutex<State>,
}

/// The mutable state. The lock is held for a few instructions, never across an await.
struct State {
    world: World,
    faults: fault::Faults,
    arrivals: arrivals::Arrivals,
    /// The number of calls by account and path. The account is empty if a call names none.
    calls: BTreeMap<(String, String), u64>,
}

impl State {
    fn new(options: &SandboxOptions) -> Self {
        Self {
            world: World::new(options),
            faults: fault::Faults::default(),
            arrivals: arrivals::Arrivals::default(),
            calls: BTreeMap::new(),
        }
    }
}

impl Sandbox {
    /// Starts a sandbox at `bind`; port 0 uses a free one.
    pub async fn start(
        bind: SocketAddr,
        options: SandboxOptions,
    ) -> std::io::Result<(Self, RunningSandbox)> {
        let listener = std::net::TcpListener::bind(bind)?;
        let address = listener.local_addr()?;
        let sandbox = Self(Arc::new(Shared {
            address,
            state: Mutex::new(State::new(&options)),
            options,
        }));
        let running = RunningSandbox::start(listener, sandbox.clone()).await?;
        Ok((sandbox, running))
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The base URL without a trailing slash. It is reachable from this machine even if the sandbox
    /// listens on every interface.
    pub fn url(&self) -> String {
        let mut address = self.0.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("http://{address}")
    }

    /// How often `path` was called, including calls that were refused or affected by faults.
    pub fn calls(&self, path: &str) -> u64 {
        self.state()
            .calls
            .iter()
            .filter(|((_, called), _)| called == path)
            .map(|(_, count)| count)
            .sum()
    }

    /// How often `path` was called for one account. A call with an access_token counts for the
    /// account of the token.
    pub fn calls_of(&self, appid: &str, path: &str) -> u64 {
        self.state()
            .calls
            .get(&(appid.to_owned(), path.to_owned()))
            .copied()
            .unwrap_or(0)
    }

    /// Adds a fault.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Advances the sandbox's time.
    pub fn advance(&self, by: Duration) {
        self.state().world.time.advance(by);
    }

    /// Changes the rules for new values. Issued values keep their expiry.
    pub fn tune(&self, tuning: Tuning) {
        tuning.apply(&mut self.state().world);
    }

    /// Adds an account, or changes its secret.
    pub fn add_account(&self, appid: &str, secret: &str) {
        self.state().world.add_account(appid, secret);
    }

    /// Sets the only host that the account's visitors may return to (网页授权域名); `None` allows any.
    pub fn set_oauth_domain(&self, appid: &str, domain: Option<&str>) -> Result<(), String> {
        let domain = control::host(domain.unwrap_or_default())?;
        self.state().world.account_mut(appid)?.oauth_domain = domain;
        Ok(())
    }

    /// Binds the account to the Open Platform or unbinds it. Only a bound account gets unionids;
    /// accounts are bound at first.
    pub fn set_bound(&self, appid: &str, bound: bool) -> Result<(), String> {
        self.state().world.account_mut(appid)?.bound = bound;
        Ok(())
    }

    /// Invalidates the account's current tokens of both kinds, as another program's refresh would.
    pub fn void_token(&self, appid: &str) {
        let mut state = self.state();
        state.world.void(appid, TokenKind::Basic);
        state.world.void(appid, TokenKind::Stable);
    }

    /// True if WeChat would accept this token now. Not counted as a call.
    pub fn accepts(&self, token: &str) -> bool {
        self.state().world.admit(token).is_ok()
    }

    /// The newest valid token of the account, of either kind.
    pub fn current_token(&self, appid: &str) -> Option<String> {
        self.state().world.newest_token(appid).map(str::to_owned)
    }

    /// The most recently issued `jsapi` ticket, if it is valid.
    pub fn current_ticket(&self, appid: &str) -> Option<String> {
        self.state()
            .world
            .current_ticket(appid, TicketKind::Jsapi)
            .map(|(value, _)| value.to_owned())
    }

    /// The last hundred messages that the account has sent, customer-service and template messages,
    /// the oldest first.
    pub fn sent(&self, appid: &str) -> Vec<serde_json::Value> {
        self.state()
            .world
            .outbox
            .get(appid)
            .map(|sent| sent.last().cloned().collect())
            .unwrap_or_default()
    }

    /// The last 200 calls at `path`, the oldest first; all paths if it is empty.
    pub fn arrivals(&self, path: &str) -> Vec<Arrival> {
        self.state().arrivals.at(path)
    }

    /// Resets everything to the options of the start.
    pub fn reset(&self) {
        *self.state() = State::new(&self.0.options);
    }

    /// Counts and records a call, and returns the effect of its fault.
    fn begin(&self, request: &HttpRequest, app_id: &str, received: &Received) -> Effect {
        let (mut state, path) = (self.state(), request.path());
        state.arrivals.add(request, received);
        *state
            .calls
            .entry((app_id.to_owned(), path.to_owned()))
            .or_default() += 1;
        state.faults.meet(path, app_id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while holding the lock must not fail all others.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("address", &self.0.address)
            .finish_non_exhaustive()
    }
}
