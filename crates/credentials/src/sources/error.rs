//! Errors of a source. Cloneable, because every waiter receives them. They hold neither the address
//! nor what was sent, because both may be secret.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::RenewalError;
use wechat::Kind;

/// A failure to hand out a source's object.
pub type SourceError = RenewalError<String, UpstreamError>;

/// Why a call to a service brought nothing.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamError {
    /// It could not be reached, or the connection broke.
    #[error("it cannot be reached: {cause}")]
    Unreachable {
        /// The network error.
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
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Unreadable { .. } => {
                Kind::Temporary
            }
        }
    }
}
