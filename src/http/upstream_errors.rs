//! Errors of WeCom for callers, with the codes that WeChat's errors have.

use std::time::Duration;

use actix_web::http::StatusCode;

use credentials::engine::StoreFault;
use credentials::sources::{SourceError, UpstreamError};
use wechat::{Call, Errcode};

pub(super) fn wecom_code(error: &SourceError) -> (&'static str, StatusCode) {
    match error {
        SourceError::CoolingDown { .. } => ("cooling_down", StatusCode::SERVICE_UNAVAILABLE),
        SourceError::Store(_) => ("store_unavailable", StatusCode::SERVICE_UNAVAILABLE),
        SourceError::TooSlow { .. } => ("upstream_timeout", StatusCode::GATEWAY_TIMEOUT),
        SourceError::Lost { .. } => ("internal_error", StatusCode::INTERNAL_SERVER_ERROR),
        SourceError::Upstream { source, .. } => match source {
            UpstreamError::Refused { .. } => ("upstream_refused", StatusCode::BAD_GATEWAY),
            UpstreamError::TimedOut { .. } => ("upstream_timeout", StatusCode::GATEWAY_TIMEOUT),
            UpstreamError::Unreachable { .. } => ("upstream_unreachable", StatusCode::BAD_GATEWAY),
            UpstreamError::Unreadable { .. }
            | UpstreamError::Unfilled { .. }
            | UpstreamError::Unsendable { .. } => ("upstream_unreadable", StatusCode::BAD_GATEWAY),
        },
    }
}

/// Describes an error of WeCom's for callers, without the store's own words.
pub(super) fn describe_wecom(error: &SourceError) -> String {
    match error {
        SourceError::Store(fault) => {
            format!(
                "the {}store does not answer, and the credential is not cached here; retry in a moment",
                store_name(fault)
            )
        }
        SourceError::Upstream { source, .. } => {
            format!("{error}; {}", advice(source).unwrap_or("retry in a moment"))
        }
        SourceError::CoolingDown { cause, .. } => match advice(cause) {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        },
        SourceError::TooSlow { .. } | SourceError::Lost { .. } => error.to_string(),
    }
}

/// The store's name and a space, or nothing if the name is unknown.
pub(super) fn store_name(fault: &StoreFault) -> String {
    fault
        .backend()
        .map(|backend| format!("{backend} "))
        .unwrap_or_default()
}

pub(super) fn retry_after(error: &SourceError, store_retry: Duration) -> Option<Duration> {
    match error {
        SourceError::CoolingDown { retry_after, .. } => Some(*retry_after),
        SourceError::Store(_) => Some(store_retry),
        _ => None,
    }
}

/// WeCom's errcode and errmsg, if it refused.
pub(super) fn refusal(error: &SourceError) -> Option<(Errcode, &str)> {
    let (SourceError::Upstream { source, .. } | SourceError::CoolingDown { cause: source, .. }) =
        error
    else {
        return None;
    };
    let UpstreamError::Refused { code, message, .. } = source else {
        return None;
    };
    Some((Errcode(code.parse().ok()?), message))
}

fn advice(error: &UpstreamError) -> Option<&'static str> {
    let UpstreamError::Refused { code, .. } = error else {
        return None;
    };
    Errcode(code.parse().ok()?).advice(Call::Token)
}
