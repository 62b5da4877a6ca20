//! The only place that knows WeChat's wire: which address mints what, how a refusal looks, which host to try next; what is pushed
//! to an account's message server ([`message`]), and how it is encrypted ([`crypt`]). It keeps nothing; when to call is the
//! keeper's business.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::account::{Account, TokenApi};
use crate::credential::CredentialKind;

pub mod account;
pub mod address;
pub mod credential;
pub mod crypt;
mod custom;
mod errcode;
pub mod message;
mod oauth;
mod reply;
pub mod signature;
mod template;
mod user;
mod wire;

use wire::HttpWire;
pub use wire::{chain, exchange, is_loopback};

pub use errcode::{Call, Errcode, Kind};
pub use oauth::{VisitorGrant, authorize_url};
pub use user::Language;
pub use wire::{Request, Wire};

/// A fresh value, as WeChat just granted it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The token or ticket.
    pub value: SecretString,
    /// How long it lives from now; on the stable endpoint the rest of its life.
    pub expires_in: Duration,
}

/// Why a call to WeChat brought nothing. Never holds an address, because addresses carry secrets.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum WechatError {
    /// No host could be reached: nothing was asked.
    #[error("WeChat cannot be reached: {cause}")]
    Unreachable {
        /// What the network said.
        cause: String,
    },
    /// The connection broke before a whole answer came.
    #[error("the connection to WeChat broke: {cause}")]
    Broken {
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
            Self::Unreachable { .. } | Self::Broken { .. } | Self::TimedOut { .. } | Self::Unreadable { .. } => Kind::Temporary,
        }
    }

    /// Whether WeChat may have granted what was asked for, and only the answer was lost.
    pub fn may_have_been_granted(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Unreadable { .. } | Self::Broken { .. })
    }

    /// Whether a day's or a minute's quota is spent.
    pub fn is_quota(&self) -> bool {
        matches!(self, Self::Refused { code: Errcode(45009 | 45011), .. })
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
    /// The error without the address, which may carry a secret.
    pub fn of(error: &reqwest::Error) -> Self {
        Self(chain(error))
    }
}

/// A client of WeChat's API; clones share its connections.
#[derive(Clone, Debug)]
pub struct WechatClient {
    wire: Arc<dyn Wire>,
    timeout: Duration,
}

impl WechatClient {
    /// A client of `hosts`, tried in order on a connection failure; each call ends within `timeout` over all of them.
    pub fn new(hosts: Vec<Url>, timeout: Duration) -> Result<Self, ClientError> {
        Ok(Self::over(Arc::new(HttpWire::new(hosts, timeout)?), timeout))
    }

    /// A client whose calls go over `wire`; each ends within `timeout`.
    pub fn over(wire: Arc<dyn Wire>, timeout: Duration) -> Self {
        Self { wire, timeout }
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

    /// Sends one call and waits for the answer, whatever it says: its HTTP status and its body.
    async fn send(&self, path: &str, query: &[(&str, &str)], json: Option<String>) -> Result<(u16, Vec<u8>), WechatError> {
        let sent = self.wire.send(Request { path, query, json });
        tokio::time::timeout(self.timeout, sent).await.unwrap_or(Err(WechatError::TimedOut { after: self.timeout }))
    }
}
