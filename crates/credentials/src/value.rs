//! The results: a credential, or a page's signature.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use wechat::credential::CredentialKind;

/// A token or ticket. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct Credential {
    value: SecretString,
    left: Duration,
}

impl Credential {
    pub(super) fn new(value: SecretString, left: Duration) -> Self {
        Self { value, left }
    }

    /// The value, to be shown to WeChat alone.
    pub fn value(&self) -> &SecretString {
        &self.value
    }

    /// The lifetime when it was returned. Ask again instead of keeping it: after a minute it may
    /// have been renewed.
    pub fn left(&self) -> Duration {
        self.left
    }
}

/// The kinds of credential that WeChat gives an account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// The `access_token` of the account.
    AccessToken,
    /// The `jsapi_ticket`, from which `wx.config` is signed.
    JsapiTicket,
    /// The ticket for card coupons (卡券 api_ticket).
    CardTicket,
}

impl From<Kind> for CredentialKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::AccessToken => Self::AccessToken,
            Kind::JsapiTicket => Self::JsapiTicket,
            Kind::CardTicket => Self::CardTicket,
        }
    }
}

/// The fields of `wx.config` that a server sets; serialized under WeChat's own names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JsConfig {
    /// `appId`.
    pub app_id: String,
    /// `timestamp`, in seconds.
    pub timestamp: u64,
    /// `nonceStr`.
    pub nonce_str: String,
    /// `signature`.
    pub signature: String,
}
