//! Errors of a renewal. Cloneable, because every waiter receives them.

use std::fmt::{Debug, Display};
use std::time::Duration;

use super::subject::Refusal;
use crate::store::StoreError;
use clock::SteadyMillis;
use wechat::Kind;

/// The error of a credential that is called `K`, whose service answers with an `R`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RenewalError<K: Debug + Display, R: std::error::Error + 'static> {
    /// The service was asked just now and granted nothing.
    #[error("failed to fetch {key}: {source}")]
    Upstream {
        /// What was fetched; this may be a credential that the wanted one needs.
        key: K,
        /// The service's refusal, or the network error.
        source: R,
    },
    /// The service granted nothing a while ago and is not asked again yet.
    #[error("{key} is cooling down for {} s more after: {cause}", .retry_after.as_secs().max(1))]
    CoolingDown {
        /// What failed.
        key: K,
        /// How long until the next attempt.
        retry_after: Duration,
        /// The failure.
        cause: R,
    },
    /// The store failed, and asking the service without it could void another instance's value.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The renewal takes longer than a caller waits. It continues in the background.
    #[error("fetching {key} takes longer than {}", humantime::format_duration(*.after))]
    TooSlow {
        /// What is being fetched.
        key: K,
        /// How long the caller waited.
        after: Duration,
    },
    /// The renewal's task ended without a result.
    #[error("the renewal of {key} was lost")]
    Lost {
        /// What was being fetched.
        key: K,
    },
}

/// A failed renewal and the pause after it.
#[derive(Clone, Debug)]
pub(super) struct Failure<R> {
    pub(super) cause: R,
    pub(super) attempts: u32,
    pub(super) until: SteadyMillis,
}

/// What failed between us and the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreFault {
    /// The store reported an error.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// The store did not answer in the time that the caller had.
    #[error("the store did not {operation} within {}", humantime::format_duration(*.after))]
    Silent {
        /// What it was asked to do.
        operation: &'static str,
        /// The bound.
        after: Duration,
    },
    /// The task that read the store ended early.
    #[error("reading the store was interrupted")]
    Interrupted,
}

impl StoreFault {
    /// The store's name, if it was the store that failed.
    pub fn backend(&self) -> Option<&'static str> {
        if let Self::Failed(error) = self {
            Some(error.backend)
        } else {
            None
        }
    }
}

impl<K: Debug + Display, R: std::error::Error + 'static> From<StoreError> for RenewalError<K, R> {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl<K: Debug + Display, R: std::error::Error + 'static> RenewalError<K, R> {
    /// The service's refusal, if there is one.
    pub fn refusal(&self) -> Option<&R> {
        match self {
            Self::Upstream { source, .. } => Some(source),
            Self::CoolingDown { cause, .. } => Some(cause),
            Self::Store(_) | Self::TooSlow { .. } | Self::Lost { .. } => None,
        }
    }
}

/// Whether another instance would meet the same failure: it is temporary, or lies in a value that
/// all share. What an operator must correct may already be correct in another instance's settings.
pub(super) fn is_shared<R: Refusal>(refusal: &R) -> bool {
    matches!(refusal.kind(), Kind::Temporary | Kind::StaleToken)
}
