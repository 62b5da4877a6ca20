//! The client for WeChat's API: endpoints, error codes and host failover. It also parses messages
//! pushed to an account's message server ([`message`]) and handles their encryption ([`crypt`]). It
//! holds no credentials; the keeper decides when to call.

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
pub mod explain;
pub mod message;
mod oauth;
mod observe;
mod reply;
pub mod signature;
mod template;
mod transport;
mod user;

use clock::Clock;
use observe::Watch;
use transport::HttpTransport;
pub use transport::{chain, exchange, is_loopback};

pub use errcode::{Call, Errcode, Kind};
pub use oauth::{VisitorGrant, authorize_url};
pub use observe::{CallObserver, CallOutcome, CallReport, date};
pub use transport::{Request, Transport};
pub use user::Language;

/// A credential that WeChat just issued.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The token or ticket.
    pub value: SecretString,
    /// The time to expiry, from now. On the stable endpoint, the remaining lifetime.
    pub expires_in: Duration,
}

/// Why a call to WeChat failed. Never contains an address, because addresses send_to_hosts secrets.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum WechatError {
    /// No host was reachable; no request was sent.
    #[error("WeChat cannot be reached: {cause}")]
    Unreachable {
        /// The network error.
        cause: String,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to WeChat broke: {cause}")]
    Broken {
        /// The network error.
        cause: String,
    },
    /// No complete answer within the configured timeout.
    #[error("WeChat did not answer within {}", humantime::format_duration(*.after))]
    TimedOut {
        /// The configured timeout.
        after: Duration,
    },
    /// The answer is neither a credential nor an error code.
    #[error("WeChat's answer (HTTP {status}) cannot be read: {cause}")]
    Unreadable {
        /// Its HTTP status.
        status: u16,
        /// The parse error.
        cause: String,
    },
    /// A non-zero errcode.
    #[error("WeChat refused: {code} {message}")]
    Refused {
        /// The refused call.
        call: Call,
        /// The error code.
        code: Errcode,
        /// WeChat's message, with a trace id (`rid`) for its support.
        message: String,
    },
}

impl WechatError {
    /// Returns how to handle the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { call, code, .. } => code.kind(*call),
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Unreadable { .. } => Kind::Temporary,
        }
    }

    /// True if WeChat may have executed the call and only the answer was lost.
    pub fn may_have_been_granted(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. } | Self::Unreadable { .. } | Self::Broken { .. }
        )
    }

    /// True if a daily or per-minute quota is exhausted.
    pub fn is_quota(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: Errcode(45009 | 45011),
                ..
            }
        )
    }

    /// Advice for the operator, if known.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Refused { call, code, .. } => code.advice(*call),
            _ => None,
        }
    }
}

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTPS client cannot be set up: {0}")]
pub struct ClientError(String);

impl ClientError {
    /// Removes the address, which may send_to_hosts a secret.
    pub fn of(error: &reqwest::Error) -> Self {
        Self(chain(error))
    }
}

/// Lists the addresses from which WeChat pushes; here it only shows whether a token is accepted.
const CALLBACK_IP: &str = "/cgi-bin/getcallbackip";

/// Lets WeChat try the way to an account's message server.
const CALLBACK_CHECK: &str = "/cgi-bin/callback/check";

/// A client of WeChat's API; clones share its connections.
#[derive(Clone, Debug)]
pub struct WechatClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Arc<dyn Transport>,
    timeout: Duration,
}

impl WechatClient {
    /// Creates a client that tries `hosts` in order on connection failures. `timeout` bounds each
    /// call over all hosts.
    pub fn new(hosts: Vec<Url>, timeout: Duration) -> Result<Self, ClientError> {
        Ok(Self::with_transport(
            Arc::new(HttpTransport::new(hosts, timeout)?),
            timeout,
        ))
    }

    /// As [`WechatClient::new`], with every call timed by `clock` and reported to `observer`.
    pub fn observed(
        hosts: Vec<Url>,
        timeout: Duration,
        observer: Arc<dyn CallObserver>,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let transport = HttpTransport::new(hosts, timeout)?.watched(Watch { observer, clock });
        Ok(Self::with_transport(Arc::new(transport), timeout))
    }

    /// Creates a client whose calls use `transport`, each bounded by `timeout`.
    pub fn with_transport(transport: Arc<dyn Transport>, timeout: Duration) -> Self {
        Self(Arc::new(Inner { transport, timeout }))
    }

    /// Returns the timeout of each call.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Fetches an access_token for `account` from its configured endpoint. `force` (stable only)
    /// invalidates the current token at once; WeChat allows it 20 times a day, 30 s apart. On basic
    /// every call issues a new token anyway.
    pub async fn access_token(&self, account: &Account, force: bool) -> Result<Grant, WechatError> {
        let (app_id, secret) = (account.app_id.as_str(), account.secret.expose_secret());
        let (status, body) = match account.token_api {
            TokenApi::Basic => {
                let query = [
                    ("grant_type", "client_credential"),
                    ("appid", app_id),
                    ("secret", secret),
                ];
                self.send("/cgi-bin/token", &query, None).await?
            }
            TokenApi::Stable => {
                let body = serde_json::json!({
                    "grant_type": "client_credential", "appid": app_id, "secret": secret, "force_refresh": force,
                });
                self.send("/cgi-bin/stable_token", &[], Some(body.to_string()))
                    .await?
            }
        };
        reply::grant(
            Call::Token,
            status,
            &body,
            "access_token",
            &[&account.secret],
        )
    }

    /// Fetches the ticket of `kind` with the app-level `token`; `None` if `kind` is not a ticket.
    pub async fn ticket(
        &self,
        token: &SecretString,
        kind: CredentialKind,
    ) -> Option<Result<Grant, WechatError>> {
        let kind = match kind {
            CredentialKind::AccessToken => return None,
            CredentialKind::JsapiTicket => "jsapi",
            CredentialKind::CardTicket => "wx_card",
        };
        let query = [("access_token", token.expose_secret()), ("type", kind)];
        let answer = self.send("/cgi-bin/ticket/getticket", &query, None).await;
        Some(answer.and_then(|(status, body)| {
            reply::grant(Call::WithToken, status, &body, "ticket", &[token])
        }))
    }

    /// Asks whether WeChat accepts `token`, by a call that changes nothing and that every account
    /// may make. `Ok`: it does. Source: 获取微信callback IP地址.
    pub async fn probe(&self, token: &SecretString) -> Result<(), WechatError> {
        let query = [("access_token", token.expose_secret())];
        let (status, body) = self.send(CALLBACK_IP, &query, None).await?;
        reply::success(Call::WithToken, status, &body, &[token]).map(drop)
    }

    /// Lets WeChat resolve the address of the message server that is set in its console, and returns
    /// the IP addresses that it finds. It changes nothing. 40201: no address is set. Source: 网络检测.
    pub async fn check_callback(&self, token: &SecretString) -> Result<Vec<String>, WechatError> {
        let query = [("access_token", token.expose_secret())];
        let body = serde_json::json!({ "action": "all", "check_operator": "DEFAULT" });
        let sent = self.send(CALLBACK_CHECK, &query, Some(body.to_string()));
        let (status, body) = sent.await?;
        let answer = reply::success(Call::WithToken, status, &body, &[token])?;
        let found = answer.get("dns").and_then(|dns| dns.as_array());
        let ips = found
            .into_iter()
            .flatten()
            .filter_map(|one| one.get("ip")?.as_str());
        Ok(ips.map(str::to_owned).collect())
    }

    /// Sends one call and returns the answer's HTTP status and body, uninterpreted.
    async fn send(
        &self,
        path: &str,
        query: &[(&str, &str)],
        json: Option<String>,
    ) -> Result<(u16, Vec<u8>), WechatError> {
        let sent = self.0.transport.send(Request { path, query, json });
        tokio::time::timeout(self.0.timeout, sent)
            .await
            .unwrap_or(Err(WechatError::TimedOut {
                after: self.0.timeout,
            }))
    }
}
