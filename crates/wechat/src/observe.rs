//! Reports of calls to WeChat, for metrics: which host, which call, how it ended, and what WeChat's
//! clock shows. Never an address, a query or a body.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use clock::{Clock, UnixSeconds};
use reqwest::header::{DATE, HeaderMap};

/// Receives a report of every call. It is called on the path of the call, so it must return at once.
pub trait CallObserver: fmt::Debug + Send + Sync + 'static {
    /// A call has ended.
    fn call_ended(&self, call: &CallReport<'_>);
}

/// One call and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct CallReport<'a> {
    /// The host and the port, if it is not the scheme's own.
    pub host: &'a str,
    /// What was called: one of few names, such as `token`.
    pub call: &'static str,
    /// How it ended.
    pub outcome: CallOutcome,
    /// How long it took.
    pub took: Duration,
    /// The `Date` of the answer.
    pub date: Option<UnixSeconds>,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CallOutcome {
    /// WeChat did what was asked.
    Ok,
    /// WeChat answered with an errcode.
    Refused,
    /// No connection: nothing was sent.
    Unreachable,
    /// The connection broke, or no complete answer came in time.
    NoAnswer,
    /// The answer cannot be read.
    Unreadable,
}

impl CallOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::Refused,
        Self::Unreachable,
        Self::NoAnswer,
        Self::Unreadable,
    ];

    /// The word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no_answer",
            Self::Unreadable => "unreadable",
        }
    }
}

/// An observer and the clock that times calls for it.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) observer: Arc<dyn CallObserver>,
    pub(super) clock: Clock,
}

/// The name in metrics of a path that this crate calls.
pub(super) fn name_of(path: &str) -> &'static str {
    match path {
        "/cgi-bin/token" => "token",
        "/cgi-bin/stable_token" => "stable_token",
        "/cgi-bin/ticket/getticket" => "ticket",
        "/cgi-bin/getcallbackip" => "probe",
        "/cgi-bin/user/info" => "user_info",
        "/cgi-bin/message/custom/send" => "custom_send",
        "/cgi-bin/message/template/send" => "template_send",
        "/sns/oauth2/access_token" => "oauth_code",
        "/sns/userinfo" => "oauth_user",
        _ => "other",
    }
}

/// The `Date` of an answer.
pub(super) fn date_of(headers: &HeaderMap) -> Option<UnixSeconds> {
    date(headers.get(DATE)?.to_str().ok()?)
}

/// Reads an HTTP date.
pub fn date(text: &str) -> Option<UnixSeconds> {
    let time = httpdate::parse_http_date(text).ok()?;
    Some(UnixSeconds(time.duration_since(UNIX_EPOCH).ok()?.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read() {
        assert_eq!(
            date("Fri, 27 Nov 2026 03:45:54 GMT"),
            Some(UnixSeconds(1_795_751_154))
        );
        assert_eq!((date(""), date("yesterday")), (None, None));
    }
}
