//! Why a delivery is refused, and what the operator can change. Goes to the log only: the sender
//! always gets the same answer.

use std::time::Duration;

use wechat::message::{Form, MessageError};

/// The maximum difference between a delivery's timestamp and our clock, in either direction.
pub(super) const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Why a delivery or WeChat's server check is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PushFault {
    /// The account has no token to verify it with.
    #[error("the app has no token")]
    NoToken,
    /// A query parameter that WeChat always sends is missing.
    #[error("the query has no {0}")]
    MissingParameter(&'static str),
    /// A repeated parameter is ambiguous.
    #[error("the query has a parameter more than once")]
    RepeatedParameter,
    /// `signature` or `msg_signature` was made with another token, or without one.
    #[error("the signature was not made with the app's token")]
    WrongToken,
    /// `signature` is valid, `msg_signature` is not.
    #[error("msg_signature does not match the body's Encrypt, although signature is valid")]
    AlteredEnvelope,
    /// The signature is valid, but the timestamp is too far from our clock.
    #[error("the timestamp is {} s {} this machine's clock, and {} s are allowed", off.as_secs(), if *is_ahead { "ahead of" } else { "behind" }, TOLERANCE.as_secs())]
    WrongClock {
        /// The difference.
        off: Duration,
        /// True if the delivery is ahead of our clock.
        is_ahead: bool,
    },
    /// Not encrypted, although the account has an EncodingAESKey.
    #[error("the message is not encrypted, but the app has an aesKey")]
    Clear,
    /// Encrypted, although the account has no EncodingAESKey.
    #[error("the message is encrypted, but the app has no aesKey")]
    NoKey,
    /// Encrypted with another EncodingAESKey.
    #[error("the message cannot be decrypted with the app's aesKey")]
    WrongKey,
    /// Encrypted with the right key, but for another account.
    #[error("the message is for the appid {0:?}, not for this app")]
    WrongApp(String),
    /// The envelope or the message is malformed.
    #[error("the body cannot be read as {}: {error}", if *form == Form::Json { "JSON" } else { "XML" })]
    Unreadable {
        /// The form in which it was parsed.
        form: Form,
        /// The parse error.
        error: MessageError,
    },
    /// No body at all.
    #[error("the body is empty")]
    NoBody,
    /// The body exceeds the limit.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body ended early.
    #[error("the body ended early")]
    Unfinished,
}

impl PushFault {
    /// A stable word for the kind of fault, for searching the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::MissingParameter(_) => "missing_parameter",
            Self::RepeatedParameter => "repeated_parameter",
            Self::WrongToken => "wrong_token",
            Self::AlteredEnvelope => "altered_envelope",
            Self::WrongClock { .. } => "wrong_clock",
            Self::Clear => "clear",
            Self::NoKey => "no_key",
            Self::WrongKey => "wrong_key",
            Self::WrongApp(_) => "wrong_app",
            Self::Unreadable {
                form: Form::Xml, ..
            } => "unreadable_xml",
            Self::Unreadable {
                form: Form::Json, ..
            } => "unreadable_json",
            Self::NoBody => "no_body",
            Self::TooLarge(_) => "too_large",
            Self::Unfinished => "unfinished",
        }
    }

    /// What the operator can change.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NoToken => {
                "write the Token of WeChat's console (消息推送, 服务器配置) into the app's `token`"
            }
            Self::MissingParameter(_) | Self::RepeatedParameter => {
                "make the proxy forward WeChat's query string unchanged; if it does, the request did not come from WeChat"
            }
            Self::WrongToken => {
                "write the same token into the app's `token` and into Token (令牌) in WeChat's console; if they are equal, \
                 the request did not come from WeChat"
            }
            Self::AlteredEnvelope => {
                "make the proxy forward the body unchanged; if it does, the message was forged"
            }
            Self::WrongClock { .. } => {
                "synchronise this machine's clock by NTP; if it is right, the push was delayed or replayed"
            }
            Self::Clear => {
                "choose 安全模式 (safe mode) as 消息加解密方式 in WeChat's console, or write `mode: \"plain\"` into the app"
            }
            Self::NoKey => {
                "write the EncodingAESKey of WeChat's console into the app's `aesKey`, or choose 明文模式 (plain mode) there"
            }
            Self::WrongKey => {
                "write the EncodingAESKey (消息加解密密钥) of WeChat's console into the app's `aesKey`; while it is changed, \
                 `aesKey: [NEW, OLD]`"
            }
            Self::WrongApp(_) => {
                "let URL (服务器地址) in that account's console end in /wechat/ and its own appid, or correct the app's `key`"
            }
            Self::Unreadable { .. } => {
                "the data format (数据格式) may be XML or JSON; check for a proxy that changes bodies, or for another sender"
            }
            Self::NoBody => {
                "check for a redirect or a proxy that drops bodies: URL in WeChat's console must be the final address"
            }
            Self::TooLarge(_) => "raise `server.bodyLimit` if WeChat sent it",
            Self::Unfinished => {
                "check the network and the proxy: the body must arrive within 15 s of its head"
            }
        }
    }
}
