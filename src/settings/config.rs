//! The settings as proven: a `Config` exists only if everything in it holds. Plain data; it knows nothing of files or variables.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::gateway::GatewayConfig;
use crate::ip_allowlist::TrustedProxies;
use crate::message::MessagePolicies;
use crate::oauth::OauthPolicies;
use crate::origin::{OriginList, OriginPolicy};
use crate::realm::Realms;
use credentials::sources::SourceSet;
use credentials::store::StoreConfig;
use wechat::account::{Account, AppId, Keep};

/// Everything the server needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The WeChat accounts, in the order they are written.
    pub accounts: Vec<Account>,
    /// Where each account's visitors may be sent back to.
    pub oauth: OauthPolicies,
    /// What each account does with its messages.
    pub messages: MessagePolicies,
    /// Expiring credentials of other services; with these, `/token` answers.
    pub sources: SourceSet,
    /// WeCom's applications.
    pub wecom: WecomConfig,
    /// The callers to whom `/token` answers.
    pub tokenboy: CallerPolicy,
    /// The callers to whom the addresses of micro-plat/wetoken answer; `None` = there are no such addresses.
    pub wetoken: Option<CallerPolicy>,
    /// Whether apps that rest in the store are served beside `accounts`.
    pub serves_stored_apps: bool,
    /// Who may query credentials, and call WeChat through the gateway.
    pub realms: Realms,
    /// What the gateway may use.
    pub gateway: GatewayConfig,
    /// The token hub's side; `None` = it is not served.
    pub hub: Option<HubConfig>,
    /// Which origins may call from a browser.
    pub origins: OriginPolicy,
    /// The outage of WeChat to survive, as it was asked for: what the accounts that are not written here get.
    pub reserve: Duration,
    /// Which credentials are renewed ahead.
    pub keep: Keep,
    /// Logins by scan.
    pub login: LoginConfig,
    /// Where credentials rest.
    pub store: StoreConfig,
    /// Our own side of the network.
    pub server: ServerConfig,
    /// WeChat's side.
    pub wechat: WechatConfig,
}

/// Who may begin a login by scan, and who is asked whether they mean it.
#[derive(Clone, Debug, Default)]
pub struct LoginConfig {
    /// Whether a person who scanned is asked first; `None` = if a page began the login.
    pub confirm: Option<bool>,
    /// The origins whose pages may begin one, beside our own, private ones, and those that `cors` names.
    pub sites: OriginList,
}

/// Which callers a neighbour's addresses answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerPolicy {
    /// The networks they call from.
    pub allow: TrustedProxies,
    /// The realm that must have signed their requests with version 2 as well; `None` = no signature is needed.
    pub realm: Option<String>,
}

/// What is served as waynecraig/wechat-token-hub does.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// What its callers sign with, by `kid`; at least one.
    pub keys: HashMap<String, SecretString>,
    /// The account that is meant where the address names none; one of those configured, or of those that the store may hold.
    pub app: AppId,
}

/// WeCom's applications, for whose pages we sign.
#[derive(Clone, Debug, Default)]
pub struct WecomConfig {
    /// The corps by their ids.
    pub corps: BTreeMap<AppId, WecomCorp>,
    /// Their tokens and tickets, which `/token` does not tell.
    pub sources: SourceSet,
}

/// One corp: the names of the sources of its tickets.
#[derive(Clone, Debug)]
pub struct WecomCorp {
    /// The ticket of the whole corp, for `wx.config`.
    pub ticket: String,
    /// The ticket of each application, for `wx.agentConfig`, by its agentid; at least one.
    pub agents: BTreeMap<String, String>,
}

/// Our own side of the network.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address or host name to listen on.
    pub bind: String,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// How many worker threads; 0 = one for each core.
    pub workers: usize,
    /// How browsers reach us; its path ends in `/`, so that `join` extends it.
    pub public_url: Option<Url>,
    /// Names beside that of `public_url` by which programs reach us.
    pub hosts: Vec<String>,
    /// The folder of WeChat's check files.
    pub static_dir: PathBuf,
    /// Whose forwarded headers count.
    pub trusted_proxies: TrustedProxies,
    /// The largest body taken, in bytes.
    pub body_limit: usize,
    /// The most connections that are open at once, unless the process may open fewer files.
    pub max_connections: u32,
    /// The most requests that wait at once for anything beside ourselves.
    pub max_waiting: u32,
    /// How long running requests may take to finish when the server stops.
    pub shutdown_grace: Duration,
    /// Whether every request is logged.
    pub access_log: bool,
}

/// WeChat's side of the network. The path of each address ends in `/`, so that `join` extends it.
#[derive(Clone, Debug)]
pub struct WechatConfig {
    /// The API's addresses, tried in order; at least one.
    pub api: Vec<Url>,
    /// Where visitors are sent to agree.
    pub open: Url,
    /// Where pictures of QR codes are.
    pub mp: Url,
    /// Bound on every call.
    pub timeout: Duration,
}
