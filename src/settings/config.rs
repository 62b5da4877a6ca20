//! The validated settings. A `Config` exists only if all of it is valid. Plain data without files
//! or variables.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::ip_allowlist::TrustedProxies;
use crate::message::MessagePolicies;
use crate::oauth::OauthPolicies;
use crate::origin::{OriginList, OriginPolicy};
use crate::realm::Realms;
use credentials::sources::SourceSet;
use credentials::store::StoreConfig;
use wechat::account::{Account, AppId, Keep};

/// Everything that the server needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The WeChat accounts, in the order they are written.
    pub accounts: Vec<Account>,
    /// Where each account's visitors may be sent back to.
    pub oauth: OauthPolicies,
    /// What each account does with its messages.
    pub messages: MessagePolicies,
    /// Expiring credentials of other services; `/token` is served if there are any.
    pub sources: SourceSet,
    /// WeCom's applications.
    pub wecom: WecomConfig,
    /// Who may call `/token`.
    pub tokenboy: CallerPolicy,
    /// Who may call the routes of micro-plat/wetoken; `None` = they are not served.
    pub wetoken: Option<CallerPolicy>,
    /// Whether apps in the store are served in addition to `accounts`.
    pub serves_stored_apps: bool,
    /// Who may query credentials, and call WeChat through the gateway.
    pub realms: Realms,
    /// What the gateway may use.
    pub gateway: GatewayConfig,
    /// The token hub; `None` = it is not served.
    pub hub: Option<HubConfig>,
    /// songquanpeng/wechat-server's routes; `None` = they are not served.
    pub wechat_server: Option<WechatServerConfig>,
    /// Which origins may call from a browser.
    pub origins: OriginPolicy,
    /// How long before expiry renewal begins, for accounts that are in the store. Those in
    /// `accounts` have their own.
    pub reserve: Duration,
    /// Which credentials are renewed before they expire.
    pub keep: Keep,
    /// Logins by scan.
    pub login: LoginConfig,
    /// Where credentials are stored.
    pub store: StoreConfig,
    /// How this server listens and answers.
    pub server: ServerConfig,
    /// How WeChat is reached.
    pub wechat: WechatConfig,
}

/// Who may start a scan login, and who has to confirm it.
#[derive(Clone, Debug, Default)]
pub struct LoginConfig {
    /// Whether the person who scanned must confirm; `None` = only if a page started the login.
    pub confirm: Option<bool>,
    /// The origins whose pages may start one, in addition to our own, private ones and those of
    /// `cors`.
    pub sites: OriginList,
}

/// Who may call the routes of TokenBoy or wetoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerPolicy {
    /// The networks they call from.
    pub allow: TrustedProxies,
    /// The realm that must also sign each request with version 2; `None` = no signature is needed.
    pub realm: Option<String>,
}

/// What is served as waynecraig/wechat-token-hub does.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The keys with which callers sign, by `kid`; at least one.
    pub keys: HashMap<String, SecretString>,
    /// The account used if the route names none: a configured one, or one that the store may hold.
    pub app: AppId,
}

/// What is served as songquanpeng/wechat-server does.
#[derive(Clone, Debug)]
pub struct WechatServerConfig {
    /// What its callers send as `Authorization`.
    pub token: SecretString,
    /// The account whose token and followers it is about: a configured one, or one that the store
    /// may hold.
    pub app: AppId,
    /// The texts that are answered by a code.
    pub words: Vec<String>,
}

/// WeCom's applications, for whose pages we sign.
#[derive(Clone, Debug, Default)]
pub struct WecomConfig {
    /// The corps by their ids.
    pub corps: BTreeMap<AppId, WecomCorp>,
    /// Their tokens and tickets, which `/token` does not serve.
    pub sources: SourceSet,
}

/// One corp: the names of the sources of its tickets.
#[derive(Clone, Debug)]
pub struct WecomCorp {
    /// The ticket of the whole corp, for `wx.config`.
    pub ticket: String,
    /// The ticket of each application, for `wx.agentConfig`, by its agentid; at least one.
    pub agents: BTreeMap<String, String>,
    /// Where the API of each application is, by its agentid.
    pub apis: BTreeMap<String, Url>,
}

/// Our own side of the network.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address or host name to listen on.
    pub bind: String,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// The address and port of the admin listener; `None` = there is none.
    pub admin: Option<String>,
    /// How many worker threads; 0 = one for each core.
    pub workers: usize,
    /// How browsers reach this server. The path ends in `/`, so that `join` extends it.
    pub public_url: Option<Url>,
    /// Host names of this server, besides that of `public_url`.
    pub hosts: Vec<String>,
    /// The folder of WeChat's domain verification files.
    pub static_dir: PathBuf,
    /// The proxies whose forwarded headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// The limit of open connections; lower if the process may open fewer files.
    pub max_connections: u32,
    /// The limit of requests that wait for WeChat, the store or a back end.
    pub max_waiting: u32,
    /// How long requests may take to finish when the server stops.
    pub shutdown_grace: Duration,
    /// Whether every request is logged.
    pub access_log: bool,
}

/// How WeChat is reached. The path of each address ends in `/`, so that `join` extends it.
#[derive(Clone, Debug)]
pub struct WechatConfig {
    /// The API's addresses, tried in order; at least one.
    pub api: Vec<Url>,
    /// Where visitors are sent for authorization.
    pub open: Url,
    /// Where pictures of QR codes are.
    pub mp: Url,
    /// The timeout of every call.
    pub timeout: Duration,
}

/// The `gateway` section of the settings.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The path below which WeChat's paths are served: empty, or `/wx` without a slash at its end.
    pub prefix: String,
    /// Who may make the calls that bring none of our secrets.
    pub anonymous: TrustedProxies,
    /// How long one forwarded call may take.
    pub timeout: Duration,
    /// The largest body taken, in bytes.
    pub body_limit: u64,
    /// Up to this many bytes a body is kept whole, so that its call can be repeated once.
    pub keep_whole: u64,
    /// Bounds all bodies that are kept whole, in bytes.
    pub memory: u64,
}
