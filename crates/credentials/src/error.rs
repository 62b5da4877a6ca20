//! What goes wrong for a program that keeps credentials, in the codes that the server has.

use std::time::Duration;

use crate::keeper::{KeeperError, explain};
use crate::store::OpenError;
use wechat::ClientError;

/// Why there is no credential, or no keeper. It shows no secret and no address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    code: &'static str,
    detail: String,
    errcode: Option<i64>,
    retry_after: Option<Duration>,
}

impl Error {
    /// A stable word for what went wrong: one of the server's codes (`upstream_refused`,
    /// `cooling_down`, `store_unavailable` …), or `misconfigured` and `store_in_use`, which only a
    /// start can bring. There may be more in later versions.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// WeChat's own `errcode`, if it refused.
    pub fn errcode(&self) -> Option<i64> {
        self.errcode
    }

    /// When to ask again, where asking earlier is no use.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errcode: None,
            retry_after: None,
        }
    }

    pub(super) fn unknown_app(app_id: &str) -> Self {
        Self::new(
            "unknown_app",
            format!("no account of the appid {app_id:?} was given to the builder"),
        )
    }

    pub(super) fn invalid_url() -> Self {
        Self::new(
            "invalid_url",
            "the address to sign must begin with http:// or https://",
        )
    }

    pub(super) fn misconfigured(detail: &str) -> Self {
        Self::new("misconfigured", detail)
    }
}

impl From<KeeperError> for Error {
    fn from(error: KeeperError) -> Self {
        Self {
            code: explain::code(&error),
            errcode: explain::refusal(&error).map(|(code, _)| code.0),
            retry_after: explain::retry_after(&error),
            detail: explain::detail(&error),
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Misconfigured(detail) => Self::new("misconfigured", detail),
            OpenError::InUse(detail) => Self::new("store_in_use", detail),
        }
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Self::new("misconfigured", error.to_string())
    }
}
