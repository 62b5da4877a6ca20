//! A truthful fake of WeChat's API, for `jsdkd sandbox`, `jsdkd demo` and every test.
//!
//! Truthful means: refusals come with HTTP 200 and an errcode, a new token retires the old one,
//! quotas run out, nothing is valid for longer than WeChat would let it be. Faults and time travel
//! are extra, by [`Sandbox`] in process or over `/sandbox/...` from outside.
//!
//! `world` is the pure state, `timeline` its time, `fault` what may go wrong; `exchange` is the way
//! of every call, and `arrivals` records what came. One file per corner of the protocol: `token`,
//! `ticket`, `wecom`, `probe`, `user`, `sns`, `message` with its `outbox`, and `call` with `media`
//! for the everyday rest. `authorize`, `page` and `visit` play open.weixin.qq.com for the people in
//! `visitors`, by the rules in `oauth`; `control` and `state_report` are the `/sandbox/...` routes;
//! `server` runs it all. The other way round, `push` sends to a message server what `message_builder`
//! writes, and `reply_check` says what the answer is worth.

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
mod probe;
mod push;
mod refusal;
mod reply_check;
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
pub use control::Tuning;
pub use fake_wechat::FakeWechat;
pub use fault::{Effect, Fault};
pub use message_builder::MessageBuilder;
pub use push::{Push, PushAnswer, PushError, PushMode, push};
pub use reply_check::{ReplyFault, UNAVAILABLE};
pub use server::RunningSandbox;
pub use visit::Answer;
use world::{TicketKind, TokenKind, World};

/// What a sandbox starts with.
#[derive(Clone)]
pub struct SandboxOptions {
    /// Appid and secret of each account.
    pub accounts: Vec<(String, String)>,
    /// How long tokens and tickets live. Other spans (the overlap of old and new) shrink with it in
    /// proportion.
    pub lifetime: Duration,
    /// How many tokens an account may fetch a day from `/cgi-bin/token`.
    pub daily_quota: u32,
    /// Where the time comes from. Delays of faults are always real.
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

/// A handle on a sandbox; clones share it. It stays readable after the server has stopped.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    options: SandboxOptions,
    state: Mutex<State>,
}

/// All that changes. The lock is held for a few instructions, never across an await.
struct State {
    world: World,
    faults: fault::Faults,
    arrivals: arrivals::Arrivals,
    /// Calls by account (empty when a call names no account) and path.
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
    /// Starts a sandbox at `bind`; port 0 takes a free one.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Its base URL, without a slash at the end; one that this machine can reach even if it listens
    /// on every interface.
    pub fn url(&self) -> String {
        let mut address = self.0.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("http://{address}")
    }

    /// How often `path` was called, by anyone, refused and spoiled calls included.
    pub fn calls(&self, path: &str) -> u64 {
        self.state()
            .calls
            .iter()
            .filter(|((_, called), _)| called == path)
            .map(|(_, count)| count)
            .sum()
    }

    /// How often `path` was called for one account. A call with an access_token counts for the
    /// account it was issued to.
    pub fn calls_of(&self, appid: &str, path: &str) -> u64 {
        self.state()
            .calls
            .get(&(appid.to_owned(), path.to_owned()))
            .copied()
            .unwrap_or(0)
    }

    /// Lets something go wrong from now on.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Lets everything work again.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Jumps ahead in the sandbox's own time.
    pub fn advance(&self, by: Duration) {
        self.state().world.time.advance(by);
    }

    /// Changes the rules from now on; what was handed out keeps the end it was promised.
    pub fn tune(&self, tuning: Tuning) {
        tuning.apply(&mut self.state().world);
    }

    /// Opens an account, or changes its secret.
    pub fn add_account(&self, appid: &str, secret: &str) {
        self.state().world.add_account(appid, secret);
    }

    /// Registers the one host that visitors of the account may be sent back to (网页授权域名), or lets
    /// them go anywhere again.
    pub fn set_oauth_domain(&self, appid: &str, domain: Option<&str>) -> Result<(), String> {
        let domain = control::host(domain.unwrap_or_default())?;
        self.state().world.account_mut(appid)?.oauth_domain = domain;
        Ok(())
    }

    /// Binds the account to the Open Platform, as every account is at first, or unbinds it: only a
    /// bound one learns unionids.
    pub fn set_bound(&self, appid: &str, bound: bool) -> Result<(), String> {
        self.state().world.account_mut(appid)?.bound = bound;
        Ok(())
    }

    /// Kills the account's current tokens of both kinds at once, as another program's refresh
    /// would.
    pub fn void_token(&self, appid: &str) {
        let mut state = self.state();
        state.world.void(appid, TokenKind::Basic);
        state.world.void(appid, TokenKind::Stable);
    }

    /// Whether WeChat would accept this token now. Not counted as a call.
    pub fn accepts(&self, token: &str) -> bool {
        self.state().world.admit(token).is_ok()
    }

    /// The newest live token of the account, of either kind.
    pub fn current_token(&self, appid: &str) -> Option<String> {
        self.state().world.newest_token(appid).map(str::to_owned)
    }

    /// The live `jsapi` ticket that was handed out last.
    pub fn current_ticket(&self, appid: &str) -> Option<String> {
        self.state()
            .world
            .current_ticket(appid, TicketKind::Jsapi)
            .map(|(value, _)| value.to_owned())
    }

    /// The last hundred messages that the account has sent to people, customer-service and template
    /// messages alike, as they came; the oldest first.
    pub fn sent(&self, appid: &str) -> Vec<serde_json::Value> {
        self.state()
            .world
            .outbox
            .get(appid)
            .map(|sent| sent.last().cloned().collect())
            .unwrap_or_default()
    }

    /// The last 200 calls at `path`, or at every path if it is empty, as they came; the oldest
    /// first.
    pub fn arrivals(&self, path: &str) -> Vec<Arrival> {
        self.state().arrivals.at(path)
    }

    /// Forgets all that happened: back to the options it was started with.
    pub fn reset(&self) {
        *self.state() = State::new(&self.0.options);
    }

    /// Counts and records a call, and says what fault it meets.
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
        // A test that panicked under the lock must not fail all the others.
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
