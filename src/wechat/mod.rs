//! The only place that knows WeChat's wire: which address mints what, how a refusal looks, which host to try next; what is pushed
//! to an account's message server ([`message`]), and how it is encrypted ([`crypt`]). It keeps nothing; when to call is the
//! keeper's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::account::{Account, TokenApi};
use crate::credential::CredentialKind;

pub mod address;
pub mod crypt;
mod custom;
mod errcode;
pub mod message;
mod oauth;
mod reply;
mod template;
mod user;

pub use errcode::{Call, Errcode, Kind};
pub use oauth::{VisitorGrant, authorize_url};
pub use user::Language;

/// No answer that we read is larger; a longer one is cut off and counts as unreadable.
const LONGEST_BODY: usize = 64 * 1024;

/// A fresh value, as WeChat just granted it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The token or ticket.
    pub value: SecretString,
    /// How long it lives from now; on the stable endpoint the rest of its life.
    pub expires_in: Duration,
}

/// Why a call to WeChat brought nothing. Never holds an address, because addresses carry secrets.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WechatError {
    /// No host could be reached, or the connection broke.
    #[error("WeChat cannot be reached: {cause}")]
    Unreachable {
        /// What the network said.
        cause: String,
    },
    /// No whole answer within the configured time.
    #[error("WeChat did not answer within {}", humantime::format_duration(*.after))]
    TimedOut {
        /// The configured bound.
        after: Duration,
    },
    /// An answer that is neither grant nor refusal.
    #[error("WeChat's answer (HTTP {status}) cannot be read: {cause}")]
    Unreadable {
        /// Its HTTP status.
        status: u16,
        /// What is wrong with it.
        cause: String,
    },
    /// A non-zero errcode.
    #[error("WeChat refused: {code} {message}")]
    Refused {
        /// What was asked.
        call: Call,
        /// The code, which decides.
        code: Errcode,
        /// WeChat's own words, with a trace id (`rid`) that its support asks for.
        message: String,
    },
}

impl WechatError {
    /// The one question that decides everything.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { call, code, .. } => code.kind(*call),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Unreadable { .. } => Kind::Temporary,
        }
    }

    /// What the operator could do about it, where we know.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Refused { call, code, .. } => code.advice(*call),
            _ => None,
        }
    }
}

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTPS client cannot be set up: {0}")]
pub struct ClientError(String);

impl ClientError {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        Self(chain(error))
    }
}

/// A client of WeChat's API; clones share its connections.
#[derive(Clone, Debug)]
pub struct WechatClient {
    http: Client,
    hosts: Arc<[Url]>,
    timeout: Duration,
    choice: Arc<Choice>,
}

/// Which host is asked first.
#[derive(Debug, Default)]
struct Choice {
    /// The host that answered last, so that a dead first host is not tried at every call.
    preferred: AtomicUsize,
    calls: AtomicUsize,
}

/// After so many calls the first host is tried again, to come home when it lives.
const HOMESICK_AFTER: usize = 64;

impl WechatClient {
    /// A client of `hosts`, tried in order on a connection failure; each call ends within `timeout` over all of them.
    pub fn new(hosts: Vec<Url>, timeout: Duration) -> Result<Self, ClientError> {
        let shares = u32::try_from(hosts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let mut http = Client::builder()
            .user_agent(concat!("jsdkd/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry a secret to a host that nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            // A host that swallows packets may use up its share of the time, not that of the hosts after it.
            .connect_timeout(timeout / shares)
            .pool_idle_timeout(Duration::from_secs(30));
        if hosts.iter().all(is_loopback) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| ClientError::of(&error))?;
        Ok(Self { http, hosts: hosts.into(), timeout, choice: Arc::default() })
    }

    /// The bound on every call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Fetches an access_token for `account` from the endpoint it is configured for. `force` (stable only) voids the present token
    /// at once; WeChat allows it 20 times a day, 30 s apart. On basic every call does so anyway.
    pub async fn access_token(&self, account: &Account, force: bool) -> Result<Grant, WechatError> {
        let (app_id, secret) = (account.app_id.as_str(), account.secret.expose_secret());
        let (status, body) = match account.token_api {
            TokenApi::Basic => {
                let query = [("grant_type", "client_credential"), ("appid", app_id), ("secret", secret)];
                self.send("/cgi-bin/token", &query, None).await?
            }
            TokenApi::Stable => {
                let body = serde_json::json!({
                    "grant_type": "client_credential", "appid": app_id, "secret": secret, "force_refresh": force,
                });
                self.send("/cgi-bin/stable_token", &[], Some(body.to_string())).await?
            }
        };
        reply::grant(Call::Token, status, &body, "access_token", &[&account.secret])
    }

    /// Fetches the ticket of `kind` with the app-level `token`; `None` when `kind` is no ticket.
    pub async fn ticket(&self, token: &SecretString, kind: CredentialKind) -> Option<Result<Grant, WechatError>> {
        let kind = match kind {
            CredentialKind::AccessToken => return None,
            CredentialKind::JsapiTicket => "jsapi",
            CredentialKind::CardTicket => "wx_card",
        };
        let query = [("access_token", token.expose_secret()), ("type", kind)];
        let answer = self.send("/cgi-bin/ticket/getticket", &query, None).await;
        Some(answer.and_then(|(status, body)| reply::grant(Call::WithToken, status, &body, "ticket", &[token])))
    }

    /// Sends one call, to the next host where one cannot be connected to. A call that may have arrived is not repeated: it may have
    /// minted a token already.
    async fn send(&self, path: &str, query: &[(&str, &str)], json: Option<String>) -> Result<(u16, Vec<u8>), WechatError> {
        let tries = async {
            let mut last = WechatError::Unreachable { cause: "no host is configured".to_owned() };
            let first = self.first_host();
            for turn in 0..self.hosts.len() {
                let host = (first + turn) % self.hosts.len();
                match exchange(self.request(&self.hosts[host], path, query, json.clone())).await {
                    Ok(answer) => {
                        self.choice.preferred.store(host, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(error) if error.is_connect() => last = WechatError::Unreachable { cause: chain(&error.without_url()) },
                    Err(error) if error.is_timeout() => return Err(WechatError::TimedOut { after: self.timeout }),
                    Err(error) => return Err(WechatError::Unreachable { cause: chain(&error.without_url()) }),
                }
            }
            Err(last)
        };
        tokio::time::timeout(self.timeout, tries).await.unwrap_or(Err(WechatError::TimedOut { after: self.timeout }))
    }

    fn first_host(&self) -> usize {
        if self.choice.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(HOMESICK_AFTER) {
            self.choice.preferred.store(0, Ordering::Relaxed);
        }
        self.choice.preferred.load(Ordering::Relaxed)
    }

    fn request(&self, host: &Url, path: &str, query: &[(&str, &str)], json: Option<String>) -> RequestBuilder {
        let mut url = host.clone();
        url.set_path(&format!("{}{path}", host.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        match json {
            None => self.http.get(url),
            Some(body) => self.http.post(url).header("content-type", "application/json").body(body),
        }
    }
}

/// One exchange; of a body that is longer than any we read, the beginning.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<(u16, Vec<u8>), reqwest::Error> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = LONGEST_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break;
        }
    }
    Ok((status, body))
}

/// Whether `host` is this machine, which no proxy leads to.
pub(crate) fn is_loopback(host: &Url) -> bool {
    match host.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An error and its causes in one line; the last cause is the one that a person can act on.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
