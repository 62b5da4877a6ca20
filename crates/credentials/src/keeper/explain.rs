//! A failure in the words and codes that callers see: the server's and the library's are the same.

use std::time::Duration;

use wechat::{Errcode, WechatError};

use super::KeeperError;

/// When a caller should retry after a fault of the store.
pub const STORE_RETRY: Duration = Duration::from_secs(2);

/// The stable code of `error`.
pub fn code(error: &KeeperError) -> &'static str {
    match error {
        KeeperError::CoolingDown { .. } => "cooling_down",
        KeeperError::Store(_) => "store_unavailable",
        KeeperError::TooSlow { .. } => "upstream_timeout",
        KeeperError::Lost { .. } => "internal_error",
        KeeperError::Upstream { source, .. } => cause_code(source),
    }
}

/// The stable code of what WeChat did.
pub fn cause_code(cause: &WechatError) -> &'static str {
    match cause {
        WechatError::Refused { .. } => "upstream_refused",
        WechatError::Unreadable { .. } => "upstream_unreadable",
        WechatError::Unreachable { .. } | WechatError::Broken { .. } => "upstream_unreachable",
        WechatError::TimedOut { .. } => "upstream_timeout",
    }
}

/// What failed and what to do. The store's own words can name hosts and paths, so they stay in the
/// log.
pub fn detail(error: &KeeperError) -> String {
    match error {
        KeeperError::Store(fault) => {
            let backend = fault
                .backend()
                .map(|backend| format!("{backend} "))
                .unwrap_or_default();
            format!(
                "the {backend}store does not answer, and the credential is not cached here; retry in a moment"
            )
        }
        KeeperError::Upstream { source, .. } => format!(
            "{source}; {}",
            source.advice().unwrap_or("retry in a moment")
        ),
        KeeperError::CoolingDown {
            retry_after, cause, ..
        } => format!(
            "WeChat is not called again for {} s, because the last call failed: {cause}{}",
            retry_after.as_secs().max(1),
            cause
                .advice()
                .map(|advice| format!("; {advice}"))
                .unwrap_or_default()
        ),
        other => other.to_string(),
    }
}

/// When to retry, for errors that make an earlier retry useless.
pub fn retry_after(error: &KeeperError) -> Option<Duration> {
    match error {
        KeeperError::CoolingDown { retry_after, .. } => Some(*retry_after),
        KeeperError::Store(_) => Some(STORE_RETRY),
        _ => None,
    }
}

/// WeChat's errcode and errmsg, if it refused.
pub fn refusal(error: &KeeperError) -> Option<(Errcode, &str)> {
    match error.refusal()? {
        WechatError::Refused { code, message, .. } => Some((*code, message)),
        _ => None,
    }
}
