//! What all handlers share: the credentials, who may call, the limits, and the server's options.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_web::HttpRequest;
use actix_web::dev::RequestHead;
use arc_swap::{ArcSwap, Guard};
use tokio::sync::Semaphore;
use tracing::Instrument;
use url::Url;

use super::client_ip::{self, Hidden};
use super::concurrency_limit::{ConcurrencyLimit, Permit};
use super::error::ApiError;
use super::push_fault_log::PushFaultLog;
use super::rate_limit::RateLimit;
use super::request_id::request_span;
use crate::client_network::ClientNetwork;
use crate::counters::RealmUse;
use crate::gateway::Gateway;
use crate::log_limit::LogLimit;
use crate::login::Logins;
use crate::message::Inbox;
use crate::oauth::OauthPolicies;
use crate::origin::OriginPolicy;
use crate::realm::Realms;
use crate::registry::Registry;
use crate::settings::{LoginConfig, TrustedProxies, WecomCorp};
use crate::status::{RealmLine, Status};
use clock::Clock;
use credentials::keeper::{AccountCredentials, Cached, Keeper};
use credentials::sources::Sources;
use wechat::account::AppId;
use wechat::credential::CredentialKind;

/// Built once by the server, shared by all workers.
pub struct AppState {
    /// WeChat's tokens and tickets.
    pub keeper: Keeper,
    /// Logins of visitors.
    pub logins: Logins,
    /// Handles the messages that WeChat pushes.
    pub inbox: Inbox,
    /// The configured accounts and those in the store.
    pub registry: Registry,
    /// Who may call; a reload replaces it as a whole.
    access: ArcSwap<Access>,
    /// Expiring credentials of other services.
    pub sources: Sources,
    /// The tokens and tickets of WeCom's applications.
    pub wecom: Sources,
    /// Options that only a restart changes.
    pub options: HttpOptions,
    /// Limits how many expensive answers are computed at once, so that they leave processor time to
    /// others.
    pub(super) expensive: Semaphore,
    /// Limits how many requests wait.
    pub(super) concurrency: ConcurrencyLimit,
    /// Limits how often signatures are explained.
    pub(super) explanations: RateLimit,
    /// Limits similar log lines.
    pub(super) log_limit: LogLimit,
    /// Whether a proxy's contradicting headers were logged already.
    pub(super) address_warned: AtomicBool,
    /// Which push faults were logged recently.
    pub(super) push_faults: PushFaultLog,
}

/// The name under which requests for an unknown account wait.
const LOOKUP: &str = "unknown app";

/// How many signatures are explained within a minute, in total and for one client network.
const EXPLANATIONS: u32 = 600;
const EXPLANATIONS_OF_A_NETWORK: u32 = 30;

/// How many expensive answers are computed at once.
const MAX_EXPENSIVE: usize = 2;

/// Who may call: back ends by realm, pages by origin, and where visitors may be sent.
#[derive(Clone, Debug)]
pub struct Access {
    /// The realms that may query.
    pub realms: Realms,
    /// The origins whose pages may call.
    pub origins: OriginPolicy,
    /// The sites that visitors may be sent back to.
    pub oauth: OauthPolicies,
    /// Which sites may begin a login by scan, and whether the visitor confirms it.
    pub login: LoginConfig,
    /// WeCom's corps, for whose pages we sign.
    pub wecom: BTreeMap<AppId, WecomCorp>,
    /// The account for requests that name none: the first in the settings.
    pub first_app: Option<AppId>,
    /// The neighbours' settings, each as its own type. See [`Access::neighbour`].
    pub(super) neighbours: Vec<Arc<dyn NeighbourSettings>>,
}

/// A value in [`Access`] that only one neighbour's routes read.
pub(super) trait NeighbourSettings: Any + Send + Sync + std::fmt::Debug {}

impl Access {
    /// The value of type `T` that a neighbour stored; `None` if these settings do not enable its
    /// routes.
    pub(super) fn neighbour<T: NeighbourSettings>(&self) -> Option<&T> {
        self.neighbours
            .iter()
            .find_map(|value| (&**value as &dyn Any).downcast_ref())
    }
}

/// Options of the HTTP server.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The folder of check files, `NAME.txt`.
    pub static_dir: PathBuf,
    /// This server's host names besides that of `public_url`. Web pages under any other name get no
    /// answer at routes for programs.
    pub hosts: Vec<String>,
    /// The proxies whose forwarded headers count.
    pub trusted_proxies: TrustedProxies,
    /// The largest body in bytes.
    pub body_limit: usize,
    /// The most requests that wait at once; one account may use a tenth.
    pub max_waiting: usize,
    /// Whether every request is logged.
    pub access_log: bool,
    /// How browsers reach this server; `None` = as each request says.
    pub public_url: Option<Url>,
    /// Where WeChat asks its users.
    pub open: Url,
    /// WeChat's own API behind our address.
    pub gateway: Gateway,
    /// What metrics and the status page read, counters included.
    pub status: Status,
    /// The demo's account and realm; `None` = no demo.
    pub demo: Option<Demo>,
}

/// The address that an application listens on, as part of its app data.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddress(pub SocketAddr);

/// The sample account and realm of a demo. Its secrets are public: a page shows them.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The sample account's appid.
    pub app_id: String,
    /// The sample realm's key.
    pub realm: String,
    /// The sample realm's secret.
    pub realm_secret: String,
    /// The virtual AppSecret of the realm that calls through the gateway.
    pub virtual_secret: String,
    /// The address of the demo's sandbox.
    pub sandbox: String,
    /// The address at which a phone on the same network reaches this machine, if it can.
    pub phone: Option<IpAddr>,
}

impl AppState {
    /// The state of a server that starts with `access`. The first of the two sets of sources is
    /// what `/token` hands out, the second is WeCom's.
    pub fn new(
        keeper: Keeper,
        logins: Logins,
        inbox: Inbox,
        [sources, wecom]: [Sources; 2],
        registry: Registry,
        access: Access,
        options: HttpOptions,
    ) -> Self {
        let clock = keeper.clock().clone();
        Self {
            logins,
            inbox,
            registry,
            access: ArcSwap::from_pointee(access),
            sources,
            wecom,
            expensive: Semaphore::new(MAX_EXPENSIVE),
            concurrency: ConcurrencyLimit::new(options.max_waiting, clock.clone()),
            explanations: RateLimit::new(EXPLANATIONS, EXPLANATIONS_OF_A_NETWORK, clock.clone()),
            log_limit: LogLimit::new(clock.clone()),
            address_warned: AtomicBool::new(false),
            push_faults: PushFaultLog::new(clock),
            options,
            keeper,
        }
    }

    /// Returns the account of `app_id`. Another instance may have created an unknown one a moment
    /// ago, so the store is read once.
    pub(super) async fn account(&self, app_id: &str) -> Result<Arc<AccountCredentials>, ApiError> {
        match self.keeper.credentials(app_id) {
            Some(credentials) => Ok(credentials),
            // Boxed, so that requests for known accounts do not carry this future.
            None => Box::pin(self.look_up(app_id, None)).await,
        }
    }

    /// The same for a public route: the wait is also counted against the client's network.
    pub(super) async fn account_for(
        &self,
        client: &RequestHead,
        app_id: &str,
    ) -> Result<Arc<AccountCredentials>, ApiError> {
        match self.keeper.credentials(app_id) {
            Some(credentials) => Ok(credentials),
            None => Box::pin(self.look_up(app_id, self.network(client))).await,
        }
    }

    async fn look_up(
        &self,
        app_id: &str,
        from: Option<ClientNetwork>,
    ) -> Result<Arc<AccountCredentials>, ApiError> {
        self.concurrency
            .limit_if_pending(LOOKUP, || from, self.registry.look_up(app_id))
            .await?
            .map_err(|_| ApiError::UnknownApp)
    }

    /// The credential: at once if it is cached, else after a wait with a permit.
    pub(super) async fn credential(
        &self,
        req: &HttpRequest,
        credentials: &Arc<AccountCredentials>,
        kind: CredentialKind,
    ) -> Result<Arc<Cached>, ApiError> {
        match credentials.credential(kind).at_hand() {
            Some(cached) => Ok(cached),
            // Boxed, so that requests that need not wait do not carry this future.
            None => Box::pin(self.wait_for(req, credentials, kind, None)).await,
        }
    }

    /// The same for a public route: the wait is also counted against the client's network.
    pub(super) async fn credential_for(
        &self,
        req: &HttpRequest,
        credentials: &Arc<AccountCredentials>,
        kind: CredentialKind,
    ) -> Result<Arc<Cached>, ApiError> {
        match credentials.credential(kind).at_hand() {
            Some(cached) => Ok(cached),
            None => {
                let from = self.network(req.head());
                Box::pin(self.wait_for(req, credentials, kind, from)).await
            }
        }
    }

    /// A renewal that begins here is logged with the id of the request.
    async fn wait_for(
        &self,
        req: &HttpRequest,
        credentials: &Arc<AccountCredentials>,
        kind: CredentialKind,
        from: Option<ClientNetwork>,
    ) -> Result<Arc<Cached>, ApiError> {
        let _permit = self
            .concurrency
            .acquire_from(credentials.account.app_id.as_str(), from)?;
        let waiting = credentials.credential(kind).get();
        Ok(waiting.instrument(request_span(req)).await?)
    }

    /// A permit to wait for the account.
    pub(super) fn permit(&self, credentials: &AccountCredentials) -> Result<Permit, ApiError> {
        self.concurrency
            .acquire(credentials.account.app_id.as_str())
    }

    /// The same for a public route: also counted against the client's network.
    pub(super) fn permit_for(
        &self,
        client: &RequestHead,
        credentials: &AccountCredentials,
    ) -> Result<Permit, ApiError> {
        self.concurrency
            .acquire_from(credentials.account.app_id.as_str(), self.network(client))
    }

    /// The client's IP address; `None` if the connection has none, as on a unix socket.
    pub(super) fn client_ip(&self, head: &RequestHead) -> Option<IpAddr> {
        client_ip::address(head, &self.options.trusted_proxies)
    }

    /// The client's IP address, for routes that check nothing but the network.
    pub(super) fn certain_client_ip(&self, head: &RequestHead) -> Result<IpAddr, Hidden> {
        client_ip::named(head, &self.options.trusted_proxies)
    }

    /// The network that a request is counted against, if any.
    pub(super) fn network(&self, head: &RequestHead) -> Option<ClientNetwork> {
        self.client_ip(head).and_then(ClientNetwork::of)
    }

    /// Who may call now.
    pub(super) fn access(&self) -> Guard<Arc<Access>> {
        self.access.load()
    }

    /// Replaces who may call, from the next request on.
    pub fn set_access(&self, mut access: Access) {
        access.realms.keep_counters_of(&self.access().realms);
        self.access.store(Arc::new(access));
    }

    /// Each realm with its calls today.
    pub fn realm_lines(&self) -> Vec<RealmLine> {
        let now = self.clock().wall();
        self.options.status.realms(&self.realm_uses(), now)
    }

    /// The queries of each realm, by its key.
    pub(super) fn realm_uses(&self) -> BTreeMap<String, Arc<RealmUse>> {
        let access = self.access();
        let uses = access
            .realms
            .iter()
            .map(|realm| (realm.key.clone(), Arc::clone(&realm.queries)));
        uses.collect()
    }

    /// The clock of the whole server.
    pub fn clock(&self) -> &Clock {
        self.keeper.clock()
    }

    /// Whether `address` is a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.options.trusted_proxies.contains(address)
    }
}
