//! A WeChat account: its id, secrets and settings. Independent of tokens, stores and HTTP.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

/// An account's appid: 2 to 64 characters of `[A-Za-z0-9_-]`, and not a reserved word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Arc<str>);

/// Why a text is not a valid [`AppId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppIdError {
    /// Wrong length or a character outside the alphabet.
    #[error("expected 2 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")]
    Malformed,
    /// The text is a reserved word: one of our routes uses it in place of an appid.
    #[error("this word is part of one of the server's own addresses and cannot name an app")]
    Reserved,
}

/// Reserved words: routes or stored keys use them in place of an appid, now or later. An account of
/// that name would be unreachable.
const RESERVED: [&str; 29] = [
    "access-token",
    "access_token",
    "admin",
    "app",
    "cgi-bin",
    "connect",
    "healthz",
    "hub",
    "jsapi",
    "jsdkd",
    "login",
    "metrics",
    "oauth",
    "ping",
    "proxy",
    "qrcode",
    "query",
    "ready",
    "sns",
    "source",
    "static",
    "status",
    "ticket",
    "token",
    "user",
    "users",
    "weblogin",
    "wechat",
    "wx",
];

impl AppId {
    /// Parses `text`. The rule is our contract's; WeChat publishes none.
    pub fn parse(text: &str) -> Result<Self, AppIdError> {
        let alphabet = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !(2..=64).contains(&text.len()) || !text.chars().all(alphabet) {
            return Err(AppIdError::Malformed);
        }
        if RESERVED.iter().any(|word| word.eq_ignore_ascii_case(text)) {
            return Err(AppIdError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// The appid as WeChat writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for AppId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppId({})", self.0)
    }
}

/// The WeChat endpoint that issues this account's access_token. Tokens of the two endpoints are
/// independent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TokenApi {
    /// `GET /cgi-bin/token`: each call issues a new token; the previous one expires after five
    /// minutes.
    #[default]
    Basic,
    /// `POST /cgi-bin/stable_token`: returns the same token until its last five minutes.
    Stable,
}

impl TokenApi {
    /// Returns how long before expiry a token is renewed, given the configured `reserve`. WeChat
    /// returns the same stable token until its last five minutes, so early renewal must fall within
    /// those. Source: 获取稳定版接口调用凭据.
    pub fn reserve(self, wanted: Duration) -> Duration {
        match self {
            Self::Basic => wanted,
            Self::Stable => wanted.min(Duration::from_secs(5 * 60)),
        }
    }

    /// Forced renewals per day that callers may request: the default and the maximum.
    ///
    /// WeChat allows 2000 calls a day on `/cgi-bin/token`, and `force_refresh` 20 times a day.
    pub fn rotations_per_day(self) -> (u32, u32) {
        match self {
            Self::Basic => (USUAL_ROTATIONS, 2000),
            Self::Stable => (20, 20),
        }
    }
}

/// Which accounts are renewed in the background.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// Those requested within one token lifetime.
    #[default]
    Active,
    /// All accounts, always.
    Always,
}

/// The configuration of one WeChat account.
#[derive(Clone, Debug)]
pub struct Account {
    /// The account's appid.
    pub app_id: AppId,
    /// The AppSecret; sent to WeChat only.
    pub secret: SecretString,
    /// The `token` of the account's message server, used to sign WeChat's server check.
    pub push_token: Option<SecretString>,
    /// The endpoint for the access_token.
    pub token_api: TokenApi,
    /// The length of a WeChat outage to survive: the access_token is renewed this long before its
    /// expiry. Already capped to the limit of `token_api`.
    pub reserve: Duration,
    /// The same for tickets, which can be renewed at any time.
    pub ticket_reserve: Duration,
    /// Renewals per day that callers may request with `rotate`.
    pub rotations_per_day: u32,
    /// WeChat's quota of token calls per day for this account.
    pub tokens_per_day: u32,
}

/// WeChat's quota of token calls per day. Source: 接口调用频次限制说明.
pub const TOKENS_PER_DAY: u32 = 2000;

/// Renewals per day that callers of a basic account may request: half of WeChat's 2000 calls.
pub const USUAL_ROTATIONS: u32 = 1000;

impl Account {
    /// Creates an account with defaults for all optional settings.
    pub fn usual(
        app_id: AppId,
        secret: SecretString,
        push_token: Option<SecretString>,
        reserve: Duration,
    ) -> Self {
        let (token_api, rotations_per_day) = (TokenApi::Basic, USUAL_ROTATIONS);
        Self {
            app_id,
            secret,
            push_token,
            token_api,
            reserve,
            ticket_reserve: reserve,
            rotations_per_day,
            tokens_per_day: TOKENS_PER_DAY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appid_is_two_to_sixty_four_plain_characters() {
        for good in ["wx12345678", "dummy_app_key", "a-b", "ab"] {
            assert_eq!(
                AppId::parse(good).map(|id| id.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in ["", "a", "wx 1", "wx.1", "wx/1", "微信", &"x".repeat(65)] {
            assert_eq!(AppId::parse(bad), Err(AppIdError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_word_of_our_own_addresses_is_no_appid() {
        for word in ["weblogin", "app", "hub", "HUB"] {
            assert_eq!(AppId::parse(word), Err(AppIdError::Reserved), "{word}");
        }
    }
}
