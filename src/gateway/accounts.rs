//! The real token behind an account's name: an official account's from the keeper, a WeCom
//! application's from the sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use credentials::keeper::{
    AccountCredentials, Cached, Keeper, KeeperError, WechatCredential, explain,
};
use credentials::sources::{SourceCredential, SourceError, Sources};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use wechat::account::AppId;
use wechat::credential::CredentialKind;

use super::account::AccountName;
use crate::registry::{Miss, Registry};
use crate::settings::WecomCorp;

/// Where accounts are found.
#[derive(Clone)]
pub(super) struct Accounts {
    pub(super) keeper: Keeper,
    pub(super) registry: Registry,
    pub(super) wecom: Sources,
}

/// One account: its real secret, and the handle on its real token.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) name: AccountName,
    token: TokenHandle,
}

#[derive(Clone)]
enum TokenHandle {
    App(Arc<AccountCredentials>),
    Agent(Arc<SourceCredential>),
}

/// A real token as it was read.
#[derive(Clone)]
pub(super) enum RealToken {
    /// An official account's.
    App(Arc<Cached>),
    /// A WeCom application's, and WeCom's whole answer, which is what is stored.
    Agent {
        token: SecretString,
        stored: SecretString,
    },
}

impl RealToken {
    /// What WeChat takes as `access_token`.
    pub(super) fn token(&self) -> &SecretString {
        match self {
            Self::App(cached) => cached.value(),
            Self::Agent { token, .. } => token,
        }
    }

    /// What is stored, by which a renewal compares.
    fn stored(&self) -> &SecretString {
        match self {
            Self::App(cached) => cached.value(),
            Self::Agent { stored, .. } => stored,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.token().expose_secret() == other.token().expose_secret()
    }
}

impl Accounts {
    /// The account of that name.
    pub(super) async fn find(&self, name: &AccountName) -> Result<Account, Miss> {
        let token = match name {
            AccountName::App(app_id) => {
                TokenHandle::App(match self.keeper.credentials(app_id.as_str()) {
                    Some(credentials) => credentials,
                    // Boxed, so that calls for known accounts do not carry this future.
                    None => Box::pin(self.registry.look_up(app_id.as_str())).await?,
                })
            }
            AccountName::Agent(corp, agent) => {
                let source = self.wecom.credential(&token_source(corp, agent));
                TokenHandle::Agent(source.ok_or(Miss::Unknown)?)
            }
        };
        Ok(Account {
            name: name.clone(),
            token,
        })
    }

    /// WeChat's answer to the call for a ticket, from what is held: WeCom's object as it came, its
    /// seconds counted down.
    pub(super) async fn wecom_ticket(
        &self,
        corps: &BTreeMap<AppId, WecomCorp>,
        name: &AccountName,
        is_agent_ticket: bool,
    ) -> Option<Result<String, String>> {
        let AccountName::Agent(corp, agent) = name else {
            return None;
        };
        let corp = corps.get(corp)?;
        let source = if is_agent_ticket {
            corp.agents.get(agent)?
        } else {
            &corp.ticket
        };
        let object = self.wecom.object(source).await?;
        Some(
            object
                .map(|object| object.expose_secret().to_owned())
                .map_err(|error| error.to_string()),
        )
    }
}

/// The name that `settings/wecom.rs` gives to the token of an application.
fn token_source(corp: &AppId, agent: &str) -> String {
    format!("wecom.{corp}.{agent}.token")
}

impl Account {
    /// The real AppSecret; `None` for a WeCom application, none of whose paths takes it.
    pub(super) fn secret(&self) -> Option<&SecretString> {
        match &self.token {
            TokenHandle::App(account) => Some(&account.account.secret),
            TokenHandle::Agent(_) => None,
        }
    }

    /// The token that is current now; the error says why there is none.
    pub(super) async fn current(&self) -> Result<RealToken, String> {
        match &self.token {
            TokenHandle::App(account) => {
                let token = access_token(account)
                    .get()
                    .await
                    .map_err(|error: KeeperError| explain::detail(&error))?;
                Ok(RealToken::App(token))
            }
            TokenHandle::Agent(source) => of_object(
                source
                    .get()
                    .await
                    .map_err(|error: SourceError| error.to_string())?
                    .value(),
            ),
        }
    }

    /// An official account's token, if it is held.
    pub(super) fn token_at_hand(&self) -> Option<RealToken> {
        match &self.token {
            TokenHandle::App(account) => access_token(account).at_hand().map(RealToken::App),
            TokenHandle::Agent(_) => None,
        }
    }

    /// WeChat called `refused` dead, and a probe agreed: the token after it. Past the limit on
    /// renewals it is the same one.
    pub(super) async fn renew(&self, refused: &RealToken) -> Result<RealToken, String> {
        let stored = refused.stored().clone();
        match &self.token {
            TokenHandle::App(account) => {
                let token = access_token(account)
                    .rotate_void(stored)
                    .await
                    .map_err(|error| explain::detail(&error))?;
                Ok(RealToken::App(token))
            }
            TokenHandle::Agent(source) => of_object(
                source
                    .rotate(stored)
                    .await
                    .map_err(|error| error.to_string())?
                    .value(),
            ),
        }
    }

    /// The ticket of that kind and the seconds that it has left.
    pub(super) async fn ticket(
        &self,
        kind: CredentialKind,
        clock: &clock::Clock,
    ) -> Option<Result<(SecretString, u64), String>> {
        let TokenHandle::App(account) = &self.token else {
            return None;
        };
        let ticket = account.credential(kind).get().await;
        Some(
            ticket
                .map(|ticket| (ticket.value().clone(), ticket.left(clock).as_secs()))
                .map_err(|error| explain::detail(&error)),
        )
    }
}

fn access_token(account: &AccountCredentials) -> &Arc<WechatCredential> {
    account.credential(CredentialKind::AccessToken)
}

/// The token in WeCom's answer.
fn of_object(stored: &SecretString) -> Result<RealToken, String> {
    let object: Value = serde_json::from_str(stored.expose_secret()).unwrap_or_default();
    let token = object["access_token"]
        .as_str()
        .ok_or("WeCom's answer has no access_token")?;
    Ok(RealToken::Agent {
        token: token.into(),
        stored: stored.clone(),
    })
}
