//! Why the keeper has nothing to hand out. Cloneable, because every waiter of a flight receives it.

use std::time::Duration;

use crate::credential::CredentialKey;
use crate::store::StoreError;
use crate::wechat::{Kind, WechatError};

/// A failure to hand out a credential.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeeperError {
    /// WeChat was asked just now and granted nothing.
    #[error("failed to fetch {key}: {source}")]
    Upstream {
        /// What was fetched; for a ticket this may be the token it needs.
        key: CredentialKey,
        /// What WeChat, or the way to it, said.
        source: WechatError,
    },
    /// WeChat granted nothing a while ago and is not asked again yet.
    #[error("{key} is cooling down for {} s more after: {cause}", .retry_after.as_secs().max(1))]
    CoolingDown {
        /// What failed.
        key: CredentialKey,
        /// How long until the next try.
        retry_after: Duration,
        /// What was said then.
        cause: WechatError,
    },
    /// The store failed, and asking WeChat without it could void another instance's token.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The renewal under way took longer than a caller waits; it goes on.
    #[error("fetching {key} takes longer than {}", humantime::format_duration(*.after))]
    TooSlow {
        /// What is being fetched.
        key: CredentialKey,
        /// How long the caller waited.
        after: Duration,
    },
    /// The renewal's task ended without a result.
    #[error("the renewal of {key} was lost")]
    Lost {
        /// What was being fetched.
        key: CredentialKey,
    },
}

impl KeeperError {
    /// WeChat's part in it, if it had one.
    pub fn wechat(&self) -> Option<&WechatError> {
        match self {
            Self::Upstream { source, .. } => Some(source),
            Self::CoolingDown { cause, .. } => Some(cause),
            Self::Store(_) | Self::TooSlow { .. } | Self::Lost { .. } => None,
        }
    }

    /// Whether WeChat was asked just now and will probably grant it before long.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Upstream { source, .. } if source.kind() == Kind::Temporary)
    }

    /// Whether WeChat called the access_token dead in answer to a call made just now.
    pub(super) fn is_stale_token(&self) -> bool {
        matches!(self, Self::Upstream { source, .. } if source.kind() == Kind::StaleToken)
    }
}
