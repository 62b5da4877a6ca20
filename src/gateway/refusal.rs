//! The gateway's refusals, in WeChat's own shape: SDKs read `errcode` and understand nothing else.

use serde_json::json;

use crate::counters::GatewayOutcome;

/// Why the gateway did not forward a call, or has no answer to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no `access_token` in the query, or there are two.
    TokenMissing,
    /// The virtual token has expired.
    TokenExpired,
    /// The token is unreadable, forged, withdrawn or a real one.
    TokenInvalid,
    /// The appid is unknown, or not one of the realm's.
    AppIdUnknown,
    /// The secret is none of ours.
    SecretWrong,
    /// There is no secret.
    SecretMissing,
    /// There is no appid.
    AppIdMissing,
    /// `grant_type` is not the one that the path takes.
    GrantTypeWrong,
    /// The path is outside the realm's scope, or is malformed, or a browser calls. The text says
    /// which.
    NotAllowed(String),
    /// The realm has used up its calls of this minute.
    TooManyCalls,
    /// The caller's address may not call.
    AddressNotAllowed(String),
    /// The realm's last day is over.
    RealmOver,
    /// The body is longer than `gateway.bodyLimit`; whether it is a multipart upload.
    BodyTooLarge {
        /// A multipart upload gets WeChat's own errcode, everything else HTTP 413.
        is_upload: bool,
    },
    /// Nothing was sent to WeChat. The text says why.
    NothingSent(String),
    /// The call was sent, and no complete answer came in time: it may have been carried out.
    NoAnswer,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::BodyTooLarge { is_upload: false } => 413,
            Self::NoAnswer => 504,
            _ => 200,
        }
    }

    /// WeChat's errcode for it.
    pub fn errcode(&self) -> i64 {
        match self {
            Self::TokenMissing => 41001,
            Self::TokenExpired => 42001,
            Self::TokenInvalid | Self::RealmOver => 40001,
            Self::AppIdUnknown => 40013,
            Self::SecretWrong => 40125,
            Self::SecretMissing => 41004,
            Self::AppIdMissing => 41002,
            Self::GrantTypeWrong => 40002,
            Self::NotAllowed(_) => 48001,
            Self::TooManyCalls => 45011,
            Self::AddressNotAllowed(_) => 40164,
            Self::BodyTooLarge { .. } => 45001,
            Self::NothingSent(_) | Self::NoAnswer => -1,
        }
    }

    /// What became of the call, for the counters.
    pub(super) fn outcome(&self) -> GatewayOutcome {
        match self {
            Self::TokenMissing
            | Self::TokenExpired
            | Self::TokenInvalid
            | Self::AppIdUnknown
            | Self::SecretWrong
            | Self::SecretMissing
            | Self::AppIdMissing
            | Self::GrantTypeWrong
            | Self::AddressNotAllowed(_)
            | Self::RealmOver => GatewayOutcome::Denied,
            Self::NotAllowed(_) => GatewayOutcome::Scope,
            Self::TooManyCalls | Self::BodyTooLarge { .. } => GatewayOutcome::Limit,
            Self::NothingSent(_) | Self::NoAnswer => GatewayOutcome::Unreachable,
        }
    }

    /// The body; `request_id` stands in our log, too.
    pub fn body(&self, request_id: &str) -> String {
        json!({ "errcode": self.errcode(), "errmsg": format!("{} rid: {request_id}", self.message()) }).to_string()
    }

    /// WeChat's words where SDKs look for them, then what to do.
    fn message(&self) -> String {
        match self {
            Self::TokenMissing => "access_token missing: send exactly one access_token in the query".to_owned(),
            Self::TokenExpired => "access_token expired".to_owned(),
            Self::TokenInvalid => "invalid credential, access_token is invalid or not latest".to_owned(),
            Self::AppIdUnknown => "invalid appid: it must be one of the realm's apps in the settings of jsdkd".to_owned(),
            Self::SecretWrong => "invalid appsecret: use the secret of a realm of jsdkd, not the account's own".to_owned(),
            Self::SecretMissing => "appsecret missing".to_owned(),
            Self::AppIdMissing => "appid missing".to_owned(),
            Self::GrantTypeWrong => "invalid grant_type".to_owned(),
            Self::NotAllowed(why) => format!("api unauthorized: {why}"),
            Self::TooManyCalls => "api minute-quota reach limit: the realm's perMinute, or a minute of anonymous calls".to_owned(),
            Self::AddressNotAllowed(why) => format!("invalid ip, not in whitelist: {why}"),
            Self::RealmOver => "invalid credential: the realm's last day is over".to_owned(),
            Self::BodyTooLarge { .. } => "media size out of limit: gateway.bodyLimit of jsdkd".to_owned(),
            Self::NothingSent(why) => format!("system error, nothing was sent: {why}"),
            Self::NoAnswer => "system error: the call was sent and no answer came in time, so do not repeat it blindly".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_wechats_shape() {
        let body: serde_json::Value =
            serde_json::from_str(&Refusal::TokenExpired.body("r-1")).expect("JSON");
        assert_eq!(body["errcode"], 42001);
        let message = body["errmsg"].as_str().expect("a text");
        assert!(
            message.contains("access_token expired") && message.ends_with("rid: r-1"),
            "{message}"
        );
    }

    #[test]
    fn only_three_refusals_are_not_200() {
        assert_eq!(Refusal::NoAnswer.status(), 504);
        assert_eq!(Refusal::BodyTooLarge { is_upload: false }.status(), 413);
        assert_eq!(Refusal::BodyTooLarge { is_upload: true }.status(), 200);
        assert_eq!(Refusal::NothingSent(String::new()).status(), 200);
    }
}
