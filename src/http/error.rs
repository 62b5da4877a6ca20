//! Every error that a caller can get: one enum, and one table of stable codes. `error_response`
//! makes the answer of it.

use std::time::Duration;

use actix_web::http::StatusCode;

use super::upstream_errors;
use crate::login::LoginError;
use crate::oauth::RedirectError;
use crate::realm::RealmError;
use clock::UnixMillis;
use credentials::keeper::{KeeperError, explain};
use credentials::sources::SourceError;
use wechat::Errcode;

/// Why a request failed. Its `Display` is the `detail` of the envelope: what is wrong and what to
/// do.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not JSON.
    #[error(
        "the body is not valid JSON ({0}); send a JSON object such as {{\"url\": \"https://example.com/page\"}}"
    )]
    InvalidJson(String),
    /// The body is JSON, but not an object.
    #[error(
        "the body must be a JSON object such as {{\"url\": \"https://example.com/page\"}}, not {0}"
    )]
    BodyNotAnObject(&'static str),
    /// `url` cannot be signed.
    #[error(
        "url {0}; send the page's full address as the browser has it, location.href.split('#')[0]"
    )]
    InvalidUrl(&'static str),
    /// What is to be explained is no signature of `wx.config`.
    #[error("{0}; send url, nonceStr, timestamp and signature as the page gave them to wx.config")]
    InvalidSignature(&'static str),
    /// No text for a QR code.
    #[error(
        "the text after /qrcode/ {0}; send it in UTF-8 and percent-encoded once, or twice with unescape=true"
    )]
    InvalidText(&'static str),
    /// More than the largest QR code holds at medium error correction.
    #[error(
        "the text is too long for a QR code, which holds 2331 bytes, or 3391 capitals and digits, or 5596 digits"
    )]
    TextTooLong,
    /// `key` names no credential.
    #[error("key must be token, ticket or card_ticket")]
    UnknownKey,
    /// The address to return to is malformed, or browsers could read it differently.
    #[error("{0}")]
    InvalidRedirect(RedirectError),
    /// The site is not listed among those to return to.
    #[error("{0}")]
    RedirectNotAllowed(RedirectError),
    /// `wx.agentConfig` exists only for WeCom.
    #[error(
        "type=agent is for the corpids of WeCom (企业微信); pages of an official account only call wx.config, so remove it"
    )]
    NoAgent,
    /// The query string cannot be understood.
    #[error("{0}")]
    MalformedQuery(String),
    /// Unknown realm or wrong signature. Same response for both cases, so that callers cannot
    /// probe.
    #[error(
        "unknown realm or wrong signature; sign either md5(\"realm=R&nonce=N&ts=T.SECRET\") or version 2 (HMAC-SHA256), as docs/signing.md shows"
    )]
    Unauthorized,
    /// The signature is right, but its time is too far from ours.
    #[error("ts is more than 5 minutes away from this server's clock, which shows {} ms; set the caller's clock, or sign again", now.0)]
    TimestampOutOfRange {
        /// The time here.
        now: UnixMillis,
    },
    /// A server check or a push that cannot be verified or read. Same response for all cases, so
    /// that callers cannot probe.
    #[error(
        "this is not signed, dated and encrypted as this app expects; compare token, aesKey and mode with the WeChat console, and this server's clock with the true time"
    )]
    BadPushSignature,
    /// The realm is not allowed to ask for this.
    #[error("{}; {}", .0, .0.cure())]
    RealmNotAllowed(RealmError),
    /// The realm's last day is over.
    #[error("this realm has expired; set a later day as its until in the settings")]
    RealmOver,
    /// The `Origin` is not in `cors`.
    #[error("this origin is not allowed; add its host to cors in the settings")]
    OriginNotAllowed,
    /// A web page asks the admin listener.
    #[error(
        "requests from web pages are refused here; open the address directly, or send the request from a program"
    )]
    NotForPages,
    /// The host name of a request to the admin listener is not known to be ours.
    #[error(
        "this host name is not known here; use an IP address or localhost, or add the name to server.hosts in the settings"
    )]
    UnknownHost,
    /// A page of an unlisted site begins a login by scan.
    #[error(
        "pages of {0} may not begin a login by scan; add the page's origin to login.sites in the settings, or call POST /login in the back end"
    )]
    SiteNotAllowed(String),
    /// No such account.
    #[error(
        "no app of this appid is configured here; look for a typo, or add it to apps, or to wecom, in the settings"
    )]
    UnknownApp,
    /// No such one-time ticket.
    #[error(
        "this ticket is unknown, used or older than a minute, or belongs to another app; send the visitor through the login again"
    )]
    UnknownTicket,
    /// No such login by scanning.
    #[error("there is no login of this uuid, or its hour is over; begin another with POST /login")]
    UnknownLogin,
    /// The login waits for its scan.
    #[error(
        "nobody has scanned this login's QR code yet; query again, with wait=25s to get the answer as soon as somebody does"
    )]
    NotScannedYet,
    /// The person who scanned said no.
    #[error("the person who scanned chose not to log in; begin another login with POST /login")]
    LoginDeclined,
    /// The limit of open logins is reached.
    #[error("too many logins are in progress; retry after the time in Retry-After")]
    TooManyLogins {
        /// When to try again.
        retry_after: Duration,
    },
    /// One client network, or all clients together, ask too often.
    #[error("too many of these requests within a minute; retry after the time in Retry-After")]
    TooManyRequests {
        /// When to try again.
        retry_after: Duration,
    },
    /// No such path, or no such file.
    #[error("no route has this path; check it for a typo")]
    NotFound,
    /// The route does not answer this method.
    #[error("this address answers {allow} only")]
    MethodNotAllowed {
        /// The `Allow` header.
        allow: &'static str,
    },
    /// The body did not arrive in time.
    #[error("the rest of the body did not arrive in time; send it again")]
    RequestTimeout,
    /// The body is larger than `server.bodyLimit`.
    #[error("the body is larger than {limit} bytes; send less, or raise server.bodyLimit")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The `Content-Type` is not JSON.
    #[error("send the body as Content-Type: application/json, in UTF-8 and not compressed")]
    UnsupportedMediaType,
    /// A bug in this server; the log has the details.
    #[error("an internal error occurred; the log of this server has the cause")]
    Internal,
    /// The concurrency limit is reached, for this account or in total.
    #[error("too many requests are waiting here; retry after the time in Retry-After")]
    Overloaded,
    /// The process is stopping, or a reload is under way.
    #[error("this server is stopping; retry in a moment")]
    ShuttingDown,
    /// The credential is not available.
    #[error("{}", explain::detail(.0))]
    Keeper(#[from] KeeperError),
    /// WeCom's ticket is not available.
    #[error("{}", upstream_errors::describe_wecom(.0))]
    Wecom(SourceError),
    /// Another client error, such as a body that breaks off.
    #[error("the request cannot be understood ({0})")]
    Other(StatusCode),
}

impl ApiError {
    /// The stable code and the HTTP status of each error.
    pub fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::InvalidJson(_) => ("invalid_json", StatusCode::BAD_REQUEST),
            Self::BodyNotAnObject(_) => ("body_not_an_object", StatusCode::BAD_REQUEST),
            Self::InvalidUrl(_) => ("invalid_url", StatusCode::BAD_REQUEST),
            Self::InvalidSignature(_) => ("invalid_signature", StatusCode::BAD_REQUEST),
            Self::InvalidText(_) => ("invalid_text", StatusCode::BAD_REQUEST),
            Self::TextTooLong => ("text_too_long", StatusCode::BAD_REQUEST),
            Self::UnknownKey => ("unknown_key", StatusCode::BAD_REQUEST),
            Self::InvalidRedirect(_) => ("invalid_redirect", StatusCode::BAD_REQUEST),
            Self::RedirectNotAllowed(_) => ("redirect_not_allowed", StatusCode::BAD_REQUEST),
            Self::NoAgent | Self::MalformedQuery(_) => ("malformed_query", StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::TimestampOutOfRange { .. } => {
                ("timestamp_out_of_range", StatusCode::UNAUTHORIZED)
            }
            Self::BadPushSignature => ("bad_push_signature", StatusCode::UNAUTHORIZED),
            Self::RealmOver => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::RealmNotAllowed(_) => ("realm_not_allowed", StatusCode::FORBIDDEN),
            Self::OriginNotAllowed
            | Self::SiteNotAllowed(_)
            | Self::NotForPages
            | Self::UnknownHost => ("origin_not_allowed", StatusCode::FORBIDDEN),
            Self::UnknownApp => ("unknown_app", StatusCode::NOT_FOUND),
            Self::UnknownTicket => ("unknown_ticket", StatusCode::NOT_FOUND),
            Self::UnknownLogin => ("unknown_login", StatusCode::NOT_FOUND),
            Self::NotScannedYet => ("not_scanned_yet", StatusCode::NOT_FOUND),
            Self::LoginDeclined => ("login_declined", StatusCode::NOT_FOUND),
            Self::TooManyLogins { .. } => ("too_many_logins", StatusCode::TOO_MANY_REQUESTS),
            Self::TooManyRequests { .. } => ("too_many_requests", StatusCode::TOO_MANY_REQUESTS),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed { .. } => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::RequestTimeout => ("request_timeout", StatusCode::REQUEST_TIMEOUT),
            Self::BodyTooLarge { .. } => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::Internal => ("internal_error", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE),
            Self::ShuttingDown => ("shutting_down", StatusCode::SERVICE_UNAVAILABLE),
            Self::Keeper(error) => keeper_code(error),
            Self::Wecom(error) => upstream_errors::wecom_code(error),
            Self::Other(status) => ("bad_request", *status),
        }
    }

    /// When to retry, for errors that pass.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Keeper(error) => explain::retry_after(error),
            Self::TooManyLogins { retry_after } | Self::TooManyRequests { retry_after } => {
                Some(*retry_after)
            }
            Self::Wecom(error) => upstream_errors::retry_after(error, explain::STORE_RETRY),
            Self::Overloaded | Self::ShuttingDown => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The same for the header, in seconds, rounded up so that a caller that retries exactly then
    /// is not too early.
    pub(super) fn retry_after_seconds(&self) -> Option<String> {
        self.retry_after()
            .map(|pause| pause.as_millis().div_ceil(1000).max(1).to_string())
    }

    /// WeChat's errcode and errmsg, if it refused.
    pub fn refusal(&self) -> Option<(Errcode, &str)> {
        match self {
            Self::Keeper(error) => explain::refusal(error),
            Self::Wecom(error) => upstream_errors::refusal(error),
            _ => None,
        }
    }
}

/// The library's code for `error`, and its status over HTTP.
fn keeper_code(error: &KeeperError) -> (&'static str, StatusCode) {
    match explain::code(error) {
        "cooling_down" => ("cooling_down", StatusCode::SERVICE_UNAVAILABLE),
        "store_unavailable" => ("store_unavailable", StatusCode::SERVICE_UNAVAILABLE),
        "upstream_timeout" => ("upstream_timeout", StatusCode::GATEWAY_TIMEOUT),
        "upstream_refused" => ("upstream_refused", StatusCode::BAD_GATEWAY),
        "upstream_unreadable" => ("upstream_unreadable", StatusCode::BAD_GATEWAY),
        "upstream_unreachable" => ("upstream_unreachable", StatusCode::BAD_GATEWAY),
        _ => ("internal_error", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

impl From<RealmError> for ApiError {
    fn from(error: RealmError) -> Self {
        match error {
            RealmError::Unauthorized => Self::Unauthorized,
            RealmError::Expired { now } => Self::TimestampOutOfRange { now },
            RealmError::Over => Self::RealmOver,
            RealmError::NotItsApp | RealmError::NotItsKey(_) | RealmError::NotFromThere => {
                Self::RealmNotAllowed(error)
            }
            RealmError::Repeated(_) => Self::MalformedQuery(error.to_string()),
        }
    }
}

impl From<RedirectError> for ApiError {
    fn from(error: RedirectError) -> Self {
        match error {
            RedirectError::Malformed(_) | RedirectError::TooLong(_) => Self::InvalidRedirect(error),
            RedirectError::NothingListed(_) | RedirectError::NotListed(_) => {
                Self::RedirectNotAllowed(error)
            }
        }
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::TooMany { retry_after } => Self::TooManyLogins { retry_after },
            LoginError::Store(error) => Self::Keeper(error.into()),
            LoginError::Lost => Self::Internal,
        }
    }
}
