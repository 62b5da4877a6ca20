//! Identifies the user of a code: the exchange with WeChat and, with consent, the user's profile.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Logins;
use crate::oauth::Scope;
use wechat::account::Account;
use wechat::{Errcode, Kind, Language, VisitorGrant, WechatError};

/// WeChat's error code for an identity without access to the profile, such as an unmarked snapshot
/// user.
const UNAUTHORIZED: Errcode = Errcode(48001);

/// Why a returning visitor is not logged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// The code was used, has expired or is invalid; the visitor must start again.
    BadCode,
    /// A visitor of snapshot mode (快照页), whose openid is made up.
    Snapshot,
    /// WeChat refused for another reason, or cannot be reached or read.
    Upstream,
    /// WeChat took too long.
    TimedOut,
}

/// A user identified by WeChat.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) openid: String,
    /// The user object: `openid` and any other fields from WeChat.
    pub(super) user: Map<String, Value>,
}

impl Logins {
    /// Exchanges `code` within WeChat's timeout.
    pub(super) async fn visitor(&self, account: &Account, code: &str) -> Result<Visitor, Failure> {
        let timeout = self.0.wechat.timeout();
        let met = tokio::time::timeout(timeout, self.meet(account, code)).await;
        met.unwrap_or(Err(WechatError::TimedOut { after: timeout }))
            .map_err(|error| self.told(account, &error))?
            .ok_or(Failure::Snapshot)
    }

    /// `None` for a snapshot user.
    async fn meet(&self, account: &Account, code: &str) -> Result<Option<Visitor>, WechatError> {
        let grant = self.0.wechat.exchange_code(account, code).await?;
        if grant.is_snapshot {
            return Ok(None);
        }
        let mut user = match agreed_to_all(&grant) {
            false => Map::from_iter([("openid".to_owned(), json!(grant.openid))]),
            true => match self
                .0
                .wechat
                .visitor_info(&grant, Language::Simplified)
                .await
            {
                Err(WechatError::Refused {
                    code: UNAUTHORIZED, ..
                }) => return Ok(None),
                info => info?,
            },
        };
        if let Some(unionid) = grant.unionid {
            user.entry("unionid").or_insert(unionid.into());
        }
        Ok(Some(Visitor {
            openid: grant.openid,
            user,
        }))
    }

    /// Logs a failure and returns the error for the visitor. Rate-limited, because anybody can send
    /// a code.
    fn told(&self, account: &Account, error: &WechatError) -> Failure {
        let failure = match (error, error.kind()) {
            (_, Kind::Visitor) => Failure::BadCode,
            (WechatError::TimedOut { .. }, _) => Failure::TimedOut,
            _ => Failure::Upstream,
        };
        if let Some(unlogged) = self.0.log_limit.admit(failure.name()) {
            let (advice, unlogged) = (
                error.advice().unwrap_or("-"),
                Some(unlogged).filter(|unlogged| *unlogged > 0),
            );
            tracing::warn!(account.id = %account.app_id, %error, advice, unlogged, "a visitor's code was not exchanged");
        }
        failure
    }
}

impl Failure {
    fn name(self) -> &'static str {
        match self {
            Self::BadCode => "bad code",
            Self::Snapshot => "snapshot",
            Self::Upstream => "upstream",
            Self::TimedOut => "timed out",
        }
    }
}

fn agreed_to_all(grant: &VisitorGrant) -> bool {
    grant
        .scope
        .split(',')
        .any(|scope| scope.trim() == Scope::UserInfo.name())
}
