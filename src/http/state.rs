//! What every request may look at: the keeper, who may call, and the settings of the server.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_web::dev::RequestHead;
use arc_swap::{ArcSwap, Guard};
use tokio::sync::Semaphore;
use url::Url;

use super::caller;
use super::crowd::{Crowd, Place};
use super::error::ApiError;
use super::neighbours::{Claims, Known};
use super::push_faults::PushFaults;
use crate::client_network::ClientNetwork;
use crate::log_limit::LogLimit;
use crate::login::Logins;
use crate::message::Inbox;
use crate::oauth::OauthPolicies;
use crate::origin::OriginPolicy;
use crate::realm::Realms;
use crate::registry::Registry;
use crate::settings::{CallerPolicy, HubConfig, LoginConfig, TrustedProxies, WecomCorp};
use clock::Clock;
use credentials::keeper::{Cached, Holding, Keeper};
use credentials::sources::Sources;
use wechat::account::AppId;
use wechat::credential::CredentialKind;

/// Built once by the server, shared by all workers.
pub struct AppState {
    /// The owner of all credentials.
    pub keeper: Keeper,
    /// What becomes of visitors who log in.
    pub logins: Logins,
    /// What becomes of messages that WeChat pushes.
    pub inbox: Inbox,
    /// Which accounts there are.
    pub registry: Registry,
    /// Who may call; a reload replaces it whole.
    access: ArcSwap<Admission>,
    /// Expiring credentials of other services.
    pub sources: Sources,
    /// The tokens and tickets of WeCom's applications.
    pub wecom: Sources,
    /// The choices that only a restart changes.
    pub options: HttpOptions,
    /// Turns for what costs more than an answer usually does, so that strangers who ask for it leave the processor to others.
    pub(super) costly: Semaphore,
    /// Places for those who wait.
    pub(super) crowd: Crowd,
    /// Bounds alike log lines.
    pub(super) log_limit: LogLimit,
    /// Whether the log says already that a proxy contradicts itself about our address.
    pub(super) address_warned: AtomicBool,
    /// Which faults of pushes were logged lately.
    pub(super) push_faults: PushFaults,
}

/// Where those wait who ask for an account that is not known here.
const LOOKUP: &str = "unknown app";

/// How many costly answers are worked out at once.
const COSTLY_AT_ONCE: usize = 2;

/// Who may call: queries by realm or by token, pages by origin, and where visitors may be sent.
#[derive(Clone, Debug)]
pub struct Access {
    /// The realms that may query.
    pub realms: Realms,
    /// Who may call as at wechat-token-hub; `None` = nobody, and there are no such addresses.
    pub hub: Option<HubConfig>,
    /// The origins whose pages may call.
    pub origins: OriginPolicy,
    /// The sites that visitors may be sent back to.
    pub oauth: OauthPolicies,
    /// Who may begin a login by scan, and who is asked.
    pub login: LoginConfig,
    /// The callers to whom `/token` answers.
    pub tokenboy: CallerPolicy,
    /// WeCom's corps, for whose pages we sign.
    pub wecom: BTreeMap<AppId, WecomCorp>,
    /// The callers to whom wetoken's addresses answer; `None` = there are none.
    pub wetoken: Option<CallerPolicy>,
    /// The account that is meant where none is named: the first in the settings.
    pub first_app: Option<AppId>,
}

/// Who may call, and what was found out about callers by these very settings.
pub(super) struct Admission {
    access: Access,
    /// The tokens that the hub's keys have proven.
    pub(super) hub_tokens: Known<Claims>,
}

impl Admission {
    fn of(access: Access) -> Self {
        Self { access, hub_tokens: Known::default() }
    }
}

impl Deref for Admission {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

/// Settings of the HTTP side.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Where `NAME.txt` files lie.
    pub static_dir: PathBuf,
    /// Host names of ours beside that of `public_url`; web pages of any other are not answered at addresses for programs.
    pub hosts: Vec<String>,
    /// The proxies whose forwarded headers count.
    pub trusted_proxies: TrustedProxies,
    /// The largest body in bytes.
    pub body_limit: usize,
    /// The most requests that wait at once; one account has a tenth of the places.
    pub max_waiting: usize,
    /// Whether every request is logged.
    pub access_log: bool,
    /// How browsers reach us; `None` = as each request says.
    pub public_url: Option<Url>,
    /// Where WeChat asks its users.
    pub open: Url,
    /// What the demo's page tells its reader; `None` = no demo.
    pub demo: Option<Demo>,
}

/// The address that an application is served at, which is part of its data.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddress(pub SocketAddr);

/// The sample account and realm of a demo. Its secrets are no secrets: they are shown on a page.
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
    /// Where the sandbox that plays WeChat listens.
    pub sandbox: String,
    /// The address at which a phone on the same network reaches this machine, if it can.
    pub phone: Option<IpAddr>,
}

/// A request that takes longer is logged, whatever the access log's setting.
pub(super) const SLOW: Duration = Duration::from_secs(1);

impl AppState {
    /// The state of a server that begins with `access`; of the two sources the first are those that `/token` tells, the second WeCom's.
    pub fn new(
        keeper: Keeper,
        logins: Logins,
        inbox: Inbox,
        [sources, wecom]: [Sources; 2],
        registry: Registry,
        access: Access,
        options: HttpOptions,
    ) -> Self {
        let (access, costly) = (ArcSwap::from_pointee(Admission::of(access)), Semaphore::new(COSTLY_AT_ONCE));
        let crowd = Crowd::new(options.max_waiting, keeper.clock().clone());
        let log_limit = LogLimit::new(keeper.clock().clone());
        let push_faults = PushFaults::new(keeper.clock().clone());
        Self {
            keeper,
            logins,
            inbox,
            registry,
            access,
            sources,
            wecom,
            options,
            costly,
            crowd,
            log_limit,
            address_warned: AtomicBool::new(false),
            push_faults,
        }
    }

    /// The account of `app_id`. One that is not known here may have been created by another instance a moment ago, so the store is asked
    /// once before it is refused.
    pub(super) async fn account(&self, app_id: &str) -> Result<Arc<Holding>, ApiError> {
        match self.keeper.holding(app_id) {
            Some(holding) => Ok(holding),
            // Boxed, so that the many who ask for a known account do not carry the future of the few who do not.
            None => Box::pin(self.looked_up(app_id, None)).await,
        }
    }

    /// The same for a request that anybody can send.
    pub(super) async fn account_for(&self, stranger: &RequestHead, app_id: &str) -> Result<Arc<Holding>, ApiError> {
        match self.keeper.holding(app_id) {
            Some(holding) => Ok(holding),
            None => Box::pin(self.looked_up(app_id, self.network(stranger))).await,
        }
    }

    async fn looked_up(&self, app_id: &str, from: Option<ClientNetwork>) -> Result<Arc<Holding>, ApiError> {
        self.crowd.unless_done(LOOKUP, || from, self.registry.look_up(app_id)).await?.ok_or(ApiError::UnknownApp)
    }

    /// The credential: at once if it is at hand, else in a place among those who wait.
    pub(super) async fn credential(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Result<Arc<Cached>, ApiError> {
        match holding.credential(kind).at_hand() {
            Some(near) => Ok(near),
            // Boxed, so that the many who need not wait do not carry the future of the few who must.
            None => Box::pin(self.waited_for(holding, kind, None)).await,
        }
    }

    /// The same for a request that anybody can send.
    pub(super) async fn credential_for(
        &self,
        stranger: &RequestHead,
        holding: &Arc<Holding>,
        kind: CredentialKind,
    ) -> Result<Arc<Cached>, ApiError> {
        match holding.credential(kind).at_hand() {
            Some(near) => Ok(near),
            None => Box::pin(self.waited_for(holding, kind, self.network(stranger))).await,
        }
    }

    async fn waited_for(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        from: Option<ClientNetwork>,
    ) -> Result<Arc<Cached>, ApiError> {
        let _place = self.crowd.enter_from(holding.account.app_id.as_str(), from)?;
        Ok(holding.credential(kind).get().await?)
    }

    /// A place to wait for the account of `holding`.
    pub(super) fn place(&self, holding: &Holding) -> Result<Place, ApiError> {
        self.crowd.enter(holding.account.app_id.as_str())
    }

    /// The same for a request that anybody can send.
    pub(super) fn place_for(&self, stranger: &RequestHead, holding: &Holding) -> Result<Place, ApiError> {
        self.crowd.enter_from(holding.account.app_id.as_str(), self.network(stranger))
    }

    /// The network that a request comes from, if it is to be counted.
    pub(super) fn network(&self, head: &RequestHead) -> Option<ClientNetwork> {
        caller::address(head, self).and_then(ClientNetwork::of)
    }

    /// Who may call, now.
    pub(super) fn access(&self) -> Guard<Arc<Admission>> {
        self.access.load()
    }

    /// Replaces who may call, from the next request on; returns who could before.
    pub fn set_access(&self, access: Access) -> Access {
        self.access.swap(Arc::new(Admission::of(access))).access.clone()
    }

    /// The one clock.
    pub fn clock(&self) -> &Clock {
        self.keeper.clock()
    }

    /// Whether `address` is a proxy of ours.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.options.trusted_proxies.contains(address)
    }
}
