//! What is wrong with a delivery that is refused, and what its operator can change. Only the log
//! says it: whoever forges deliveries gets one and the same answer.

use std::time::Duration;

use wechat::message::{Form, MessageError};

/// How far a delivery's timestamp may be from our clock, either way.
pub(super) const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Why a delivery, or WeChat's server check, is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PushFault {
    /// Nothing to check it against.
    #[error("the app has no token")]
    NoToken,
    /// A parameter of the query that WeChat always sends.
    #[error("the query has no {0}")]
    MissingParameter(&'static str),
    /// A second value would leave it open which of the two is meant.
    #[error("the query has a parameter more than once")]
    RepeatedParameter,
    /// `signature` or `msg_signature` was made with another token, or by somebody who has none.
    #[error("the signature was not made with the app's token")]
    WrongToken,
    /// `signature` is right, `msg_signature` is not.
    #[error("msg_signature does not cover the Encrypt of the body, though signature is right")]
    AlteredEnvelope,
    /// Signed rightly, at another time.
    #[error("the timestamp is {} s {} this machine's clock, and {} s are allowed", off.as_secs(), if *is_ahead { "ahead of" } else { "behind" }, TOLERANCE.as_secs())]
    WrongClock {
        /// By how much.
        off: Duration,
        /// Whether the delivery is the one that is ahead.
        is_ahead: bool,
    },
    /// In the clear, though the app has an EncodingAESKey.
    #[error("the message is in the clear, and the app has an aesKey")]
    Clear,
    /// Encrypted, though the app has no EncodingAESKey.
    #[error("the message is encrypted, and the app has no aesKey")]
    NoKey,
    /// Encrypted with another EncodingAESKey.
    #[error("the message cannot be decrypted with the app's aesKey")]
    WrongKey,
    /// Encrypted with the right key for another account.
    #[error("the message is meant for the appid {0:?}, not for this app")]
    WrongApp(String),
    /// An envelope or a message that cannot be read.
    #[error("the body cannot be read as {}: {error}", if *form == Form::Json { "JSON" } else { "XML" })]
    Unreadable {
        /// As what it was read.
        form: Form,
        /// What is wrong with it.
        error: MessageError,
    },
    /// No body at all.
    #[error("the body is empty")]
    NoBody,
    /// More than we read.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The rest of it did not come.
    #[error("the body did not arrive whole")]
    Unfinished,
}

impl PushFault {
    /// The kind of fault, for those who search the log.
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
                "make the proxy in front hand on WeChat's query string as it is; if it does, this was not WeChat"
            }
            Self::WrongToken => {
                "write the same token into the app's `token` and into Token (令牌) in WeChat's console; if they are equal, \
                 this was not WeChat"
            }
            Self::AlteredEnvelope => {
                "make the proxy in front hand on the body as it is; if it does, somebody changed the message"
            }
            Self::WrongClock { .. } => {
                "set this machine's clock by NTP; if it is right, the push was held up on its way, or somebody sent an old one again"
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
                "the data format (数据格式) may be XML or JSON; look for a proxy in front that changes bodies, or for whoever sends them"
            }
            Self::NoBody => {
                "look for a redirect or a proxy in front that drops bodies: URL in WeChat's console must be the final address"
            }
            Self::TooLarge(_) => "raise `server.bodyLimit` if WeChat sent it",
            Self::Unfinished => {
                "look at the network and the proxy in front: the body must arrive within 15 s of its head"
            }
        }
    }
}
