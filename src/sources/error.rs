//! Why a source has nothing to hand out. Cloneable, because every waiter of a flight receives it. Nothing here holds an address or
//! what was sent: both may be secret.

use std::time::Duration;

use crate::store::StoreError;
use crate::wechat::Kind;

/// A failure to hand out a source's object.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// The service was asked just now and granted nothing.
    #[error("failed to fetch {name}: {source}")]
    Upstream {
        /// The source; of a chain the one that failed.
        name: String,
        /// What the service, or the way to it, said.
        source: UpstreamError,
    },
    /// The service granted nothing a while ago and is not asked again yet.
    #[error("{name} is not asked for {} s more, because: {cause}", .retry_after.as_secs().max(1))]
    CoolingDown {
        /// What failed.
        name: String,
        /// How long until the next try.
        retry_after: Duration,
        /// What was said then.
        cause: UpstreamError,
    },
    /// The store failed, and fetching without it could void what another instance fetched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The renewal under way took longer than a caller waits; it goes on.
    #[error("fetching {name} takes longer than {}", humantime::format_duration(*.after))]
    TooSlow {
        /// What is being fetched.
        name: String,
        /// How long the caller waited.
        after: Duration,
    },
    /// The renewal's task ended without a result.
    #[error("the renewal of {name} was lost")]
    Lost {
        /// What was being fetched.
        name: String,
    },
}

impl SourceError {
    /// Whether `name`'s service called what it was sent dead, just now.
    pub(super) fn is_stale(&self, own: &str) -> bool {
        matches!(self, Self::Upstream { name, source } if name == own && source.kind() == Kind::StaleToken)
    }
}

/// Why a call to a service brought nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It could not be reached, or the connection broke.
    #[error("it cannot be reached: {cause}")]
    Unreachable {
        /// What the network said.
        cause: String,
    },
    /// No whole answer in time.
    #[error("it did not answer within {}", humantime::format_duration(*.after))]
    TimedOut {
        /// The bound.
        after: Duration,
    },
    /// An answer that is neither grant nor refusal.
    #[error("its answer (HTTP {status}) cannot be read: {cause}")]
    Unreadable {
        /// Its HTTP status.
        status: u16,
        /// What is wrong with it.
        cause: String,
    },
    /// A refusal.
    #[error("it refused: {code} {message}")]
    Refused {
        /// Its own code, else the HTTP status.
        code: String,
        /// Its own words, without what was sent.
        message: String,
        /// What to do about it.
        kind: Kind,
    },
    /// What was to be sent lacks something.
    #[error("the answer of {source_name} has no {field}, which is to be sent")]
    Unfilled {
        /// Whose answer.
        source_name: String,
        /// What it lacks.
        field: String,
    },
    /// What was to be sent cannot be sent.
    #[error("the request cannot be made: {cause}")]
    Unsendable {
        /// Why.
        cause: String,
    },
}

impl UpstreamError {
    /// The one question that decides everything.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::Unfilled { .. } | Self::Unsendable { .. } => Kind::Permanent,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Unreadable { .. } => Kind::Temporary,
        }
    }
}
