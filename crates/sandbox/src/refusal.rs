//! WeChat's refusals: a code and a text. Only the codes that the sandbox itself uses; a fault may
//! use any.

use std::borrow::Cow;

/// One refusal, sent with HTTP 200.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) code: i32,
    /// Without the trace, which is appended when the refusal is sent.
    pub(super) message: Cow<'static, str>,
}

impl Refusal {
    pub(super) const NOT_LATEST: Self = Self::fixed(
        40001,
        "invalid credential, access_token is invalid or not latest",
    );
    pub(super) const BAD_CREDENTIAL: Self = Self::fixed(40001, "invalid credential");
    pub(super) const BAD_GRANT_TYPE: Self = Self::fixed(40002, "invalid grant_type");
    pub(super) const WRONG_OPENID: Self = Self::fixed(40003, "invalid openid");
    pub(super) const BAD_MEDIA: Self = Self::fixed(40007, "invalid media_id");
    pub(super) const BAD_MEDIA_TYPE: Self = Self::fixed(40004, "invalid media type");
    pub(super) const BAD_MESSAGE_TYPE: Self = Self::fixed(40008, "invalid message type");
    pub(super) const UNKNOWN_APPID: Self = Self::fixed(40013, "invalid appid");
    pub(super) const UNKNOWN_TOKEN: Self = Self::fixed(40014, "invalid access_token");
    pub(super) const UNKNOWN_CODE: Self = Self::fixed(40029, "invalid code");
    pub(super) const UNKNOWN_REFRESH: Self = Self::fixed(40030, "invalid refresh_token");
    pub(super) const BAD_TEMPLATE: Self = Self::fixed(40037, "invalid template_id");
    pub(super) const UNKNOWN_PATH: Self = Self::fixed(40066, "invalid url");
    pub(super) const BAD_ARGUMENT: Self = Self::fixed(40097, "invalid args");
    pub(super) const WRONG_SECRET: Self = Self::fixed(40125, "invalid appsecret");
    pub(super) const USED_CODE: Self = Self::fixed(40163, "code been used");
    pub(super) const NO_TOKEN: Self = Self::fixed(41001, "access_token missing");
    pub(super) const NO_APPID: Self = Self::fixed(41002, "appid missing");
    pub(super) const NO_REFRESH: Self = Self::fixed(41003, "refresh_token missing");
    pub(super) const NO_SECRET: Self = Self::fixed(41004, "appsecret missing");
    pub(super) const NO_MEDIA: Self = Self::fixed(41005, "media data missing");
    pub(super) const NO_CODE: Self = Self::fixed(41008, "missing code");
    pub(super) const EXPIRED: Self = Self::fixed(42001, "access_token expired");
    pub(super) const EXPIRED_REFRESH: Self = Self::fixed(42002, "refresh_token expired");
    pub(super) const EXPIRED_CODE: Self = Self::fixed(42003, "oauth_code expired");
    pub(super) const GET_ONLY: Self = Self::fixed(43001, "require GET method");
    pub(super) const POST_ONLY: Self = Self::fixed(43002, "require POST method");
    pub(super) const NOT_FOLLOWING: Self = Self::fixed(43004, "require subscribe");
    pub(super) const EMPTY_BODY: Self = Self::fixed(44002, "empty post data");
    pub(super) const EMPTY_NEWS: Self = Self::fixed(44003, "empty news data");
    pub(super) const EMPTY_CONTENT: Self = Self::fixed(44004, "empty content");
    pub(super) const TOO_LONG: Self = Self::fixed(45002, "content size out of limit");
    pub(super) const TOO_MANY_ARTICLES: Self = Self::fixed(45008, "article size out of limit");
    pub(super) const QUOTA_SPENT: Self = Self::fixed(45009, "reach max api daily quota limit");
    pub(super) const OUT_OF_TIME: Self = Self::fixed(
        45015,
        "response out of time limit or subscription is canceled",
    );
    pub(super) const NO_MENU: Self = Self::fixed(46003, "menu no exist");
    pub(super) const BAD_BODY: Self = Self::fixed(47001, "data format error");
    pub(super) const NOT_ALLOWED: Self = Self::fixed(48001, "api unauthorized");

    const fn fixed(code: i32, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
        }
    }

    /// A missing or empty element of a message.
    pub(super) fn bad_element(name: &str) -> Self {
        Self {
            code: 47003,
            message: Cow::Owned(format!("argument invalid! {name} is empty")),
        }
    }

    /// The refusal of a fault, with WeChat's text if none is given.
    pub(super) fn scripted(code: i32, message: Option<&str>) -> Self {
        let usual = match code {
            -1 => "system error",
            40001 => "invalid credential, access_token is invalid or not latest",
            40029 => "invalid code",
            40163 => "code been used",
            40164 => "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist",
            42003 => "oauth_code expired",
            45009 => "reach max api daily quota limit",
            45011 => "api minute-quota reach limit mustslower retry next minute",
            48001 => "api unauthorized",
            50002 => "user limited",
            _ => "refused by a fault of the sandbox",
        };
        Self {
            code,
            message: Cow::Owned(message.unwrap_or(usual).to_owned()),
        }
    }
}
