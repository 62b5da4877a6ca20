//! An account's token and tickets as subjects of the engine: which endpoint grants them, and what a
//! grant does to the value before.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::engine::{Effect, Granted, Needed, Probe, Refusal, Subject};
use crate::observer::LogNames;
use wechat::account::{Account, AppId, TokenApi};
use wechat::credential::{CredentialKey, CredentialKind, FULL_LIFETIME};
use wechat::{Grant, Kind, WechatClient, WechatError};

/// On the stable endpoint `expires_in` is the rest of a lifetime, and never below this on WeChat's
/// own servers.
const SHORTEST_STABLE_REST: Duration = Duration::from_secs(300);

/// One credential of an account.
#[derive(Debug)]
pub struct WechatSubject {
    account: Arc<Account>,
    kind: CredentialKind,
    wechat: WechatClient,
}

impl WechatSubject {
    /// The three credentials of `account`.
    pub(super) fn all_of(account: &Arc<Account>, wechat: &WechatClient) -> [Self; 3] {
        CredentialKind::ALL.map(|kind| Self {
            account: Arc::clone(account),
            kind,
            wechat: wechat.clone(),
        })
    }

    fn is_stable(&self) -> bool {
        self.account.token_api == TokenApi::Stable
    }

    /// Fetches the token. If the quota of forced refreshes is exhausted, requests the current token
    /// without force.
    async fn token(&self, force: bool) -> Result<Grant, WechatError> {
        match self.wechat.access_token(&self.account, force).await {
            Err(error) if force && self.is_stable() && error.is_quota() => {
                tracing::warn!(account.id = %self.account.app_id, "forced-refresh quota exhausted; requesting the current token instead");
                self.wechat.access_token(&self.account, false).await
            }
            answer => answer,
        }
    }
}

impl Subject for WechatSubject {
    type Key = CredentialKey;
    type Refusal = WechatError;

    fn key(&self) -> CredentialKey {
        CredentialKey {
            app_id: self.account.app_id.clone(),
            kind: self.kind,
        }
    }

    fn store_key(&self) -> String {
        self.key().to_string()
    }

    fn key_of(store_key: &str) -> Option<CredentialKey> {
        let (app_id, kind) = store_key.split_once('.')?;
        Some(CredentialKey {
            app_id: AppId::parse(app_id).ok()?,
            kind: CredentialKind::from_name(kind)?,
        })
    }

    fn log_names(&self) -> LogNames<'_> {
        LogNames {
            account: Some(self.account.app_id.as_str()),
            kind: Some(self.kind.name()),
            source: None,
        }
    }

    fn reserve(&self) -> Duration {
        match self.kind {
            CredentialKind::AccessToken => self.account.reserve,
            CredentialKind::JsapiTicket | CredentialKind::CardTicket => self.account.ticket_reserve,
        }
    }

    fn usual_lifetime(&self) -> Option<Duration> {
        Some(FULL_LIFETIME)
    }

    fn needs(&self) -> Vec<CredentialKey> {
        match self.kind {
            CredentialKind::AccessToken => Vec::new(),
            CredentialKind::JsapiTicket | CredentialKind::CardTicket => {
                vec![CredentialKey {
                    kind: CredentialKind::AccessToken,
                    ..self.key()
                }]
            }
        }
    }

    fn is_always_kept(&self) -> bool {
        self.kind != CredentialKind::CardTicket
    }

    async fn fetch(&self, needed: &Needed<Self>, force: bool) -> Result<Granted, WechatError> {
        let token = needed.values().next().map(|token| token.value());
        let ticket = match token {
            Some(token) => self.wechat.ticket(token, self.kind).await,
            None => None,
        };
        let Grant { value, expires_in } = match ticket {
            Some(ticket) => ticket?,
            None => self.token(force).await?,
        };
        let is_token = self.kind == CredentialKind::AccessToken;
        let is_a_rest = is_token && self.is_stable() && expires_in >= SHORTEST_STABLE_REST;
        Ok(Granted {
            value,
            expires_in,
            lifetime: if is_a_rest { FULL_LIFETIME } else { expires_in },
        })
    }

    fn effect(&self) -> Effect {
        match self.kind {
            CredentialKind::AccessToken => Effect::Supersedes,
            CredentialKind::JsapiTicket | CredentialKind::CardTicket => Effect::Adds,
        }
    }

    fn forced_per_day(&self) -> Option<u32> {
        Some(self.account.rotations_per_day)
    }

    fn calls_per_day(&self) -> Option<u32> {
        (self.kind == CredentialKind::AccessToken).then_some(self.account.tokens_per_day)
    }

    async fn probe(&self, value: &SecretString) -> Probe {
        match self.wechat.probe(value).await {
            Ok(()) => Probe::Alive,
            Err(error) if error.kind() == Kind::StaleToken => Probe::Dead,
            Err(_) => Probe::Unclear,
        }
    }

    fn can_ask_freely(&self) -> bool {
        self.is_stable()
    }
}

impl Refusal for WechatError {
    fn kind(&self) -> Kind {
        self.kind()
    }

    fn may_have_been_granted(&self) -> bool {
        self.may_have_been_granted()
    }

    fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(code.0),
            _ => None,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        self.advice()
    }
}
