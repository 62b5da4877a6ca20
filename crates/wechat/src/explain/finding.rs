//! The codes of the findings, and the sentence for each in English and Chinese.

/// A language of the sentences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lingo {
    /// English.
    English,
    /// 中文.
    Chinese,
}

/// What produces a signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// Nothing is wrong with it.
    Correct,
    /// The address was signed with its `#…`.
    FragmentSigned,
    /// A slash at the end more or less.
    TrailingSlash,
    /// The address was encoded once too often.
    EncodedTwice,
    /// The address was decoded.
    Decoded,
    /// `http` for `https`, or the other way round.
    OtherScheme,
    /// Another port.
    OtherPort,
    /// The query was cut off.
    QueryCut,
    /// The query has another order.
    QueryReordered,
    /// Parameters that WeChat adds to shared links.
    WechatParameters,
    /// The address first entered, or the current one, in a single-page app.
    EntryUrl,
    /// The ticket of another account.
    OtherAccountTicket,
    /// The ticket before the current one.
    PreviousTicket,
    /// The ticket for cards.
    CardTicket,
    /// The access_token in the ticket's place.
    TokenAsTicket,
    /// The timestamp in milliseconds.
    TimestampInMs,
    /// Upper-case hex digits.
    Uppercase,
    /// Other names or another order in `string1`.
    FieldName,
    /// Nothing that is known here.
    UnknownTicket,
}

use Code::{
    CardTicket, Correct, Decoded, EncodedTwice, EntryUrl, FieldName, FragmentSigned,
    OtherAccountTicket, OtherPort, OtherScheme, PreviousTicket, QueryCut, QueryReordered,
    TimestampInMs, TokenAsTicket, TrailingSlash, UnknownTicket, Uppercase, WechatParameters,
};

/// Every code with its name, and what to do, in English and Chinese.
const TABLE: [(Code, &str, &str, &str); 19] = [
    (
        Correct,
        "correct",
        "The signature is right for this url. If WeChat still refuses it, the page is at another address when wx.config runs, or its host is missing in WeChat's console (JS接口安全域名).",
        "对这个 url 来说签名是对的。如果微信仍然拒绝：调用 wx.config 时网页在另一个地址，或者它的域名不在公众号后台的“JS接口安全域名”里。",
    ),
    (
        FragmentSigned,
        "fragment_signed",
        "The address was signed with its #…; sign location.href.split('#')[0].",
        "签名的地址带着 # 及其后面的内容；请签名 location.href.split('#')[0]。",
    ),
    (
        TrailingSlash,
        "trailing_slash",
        "The signed address and the page's address differ by a slash at the end; sign location.href.split('#')[0] exactly as the browser has it.",
        "签名的地址与网页的地址相差末尾的一个斜杠；请按浏览器里的原样签名 location.href.split('#')[0]。",
    ),
    (
        EncodedTwice,
        "encoded_twice",
        "The address was percent-encoded before it was signed; encode it only to send it to the server, and decode it there once.",
        "签名之前地址多做了一次编码；只在发给服务器时编码，在服务器上解码一次。",
    ),
    (
        Decoded,
        "decoded",
        "The address was decoded before it was signed; sign it with its %XX as the browser has it.",
        "签名之前地址被解码了；请按浏览器里的原样签名，保留 %XX。",
    ),
    (
        OtherScheme,
        "other_scheme",
        "http was signed for https, or the other way round; behind a proxy a back end sees http, so let the page send location.href.",
        "签名时把 https 当成了 http，或者相反；代理后面的后端看到的是 http，请让网页发送 location.href。",
    ),
    (
        OtherPort,
        "other_port",
        "The address was signed with another port; behind a proxy a back end sees its own port, so let the page send location.href.",
        "签名的地址端口不同；代理后面的后端看到的是自己的端口，请让网页发送 location.href。",
    ),
    (
        QueryCut,
        "query_cut",
        "A part of the address's query is missing in the signed address; send encodeURIComponent(url), because an unencoded & ends the url.",
        "签名的地址缺少全部或部分查询参数；请发送 encodeURIComponent(url)，否则未编码的 & 会把它截断。",
    ),
    (
        QueryReordered,
        "query_reordered",
        "The parameters of the address were signed in another order; sign the address as it stands, without parsing it.",
        "签名时地址的查询参数换了顺序；请原样签名，不要先解析再拼接。",
    ),
    (
        WechatParameters,
        "wechat_parameters",
        "WeChat adds from, isappinstalled or nsukey to shared links, and one of the two addresses lacks them; sign location.href.split('#')[0] when the page is open, not an address made in advance.",
        "微信会给分享的链接加上 from、isappinstalled 或 nsukey，两个地址中有一个没有它们；请在网页打开后签名 location.href.split('#')[0]，不要签名事先拼好的地址。",
    ),
    (
        EntryUrl,
        "entry_url",
        "Another address of this single-page app was signed: iOS wants the address first entered, Android the current one; use jsdkd.js, which knows both, or sign again after each route on Android only.",
        "签名的是这个单页应用的另一个地址：iOS 要最初进入的地址，Android 要当前的地址；请用 jsdkd.js，它两者都知道，或者只在 Android 上每次路由之后重新签名。",
    ),
    (
        OtherAccountTicket,
        "other_account_ticket",
        "The ticket is that of another account; compare the appid of the page with that of the request.",
        "ticket 是另一个账号的；请核对网页里的 appid 和请求里的 appid。",
    ),
    (
        PreviousTicket,
        "previous_ticket",
        "The ticket is the one before the current one: something keeps a ticket or a signature of its own; ask for a new signature each time the page is opened.",
        "ticket 是上一个：有程序自己缓存了 ticket 或签名；请每次打开网页都重新获取签名。",
    ),
    (
        CardTicket,
        "card_ticket",
        "The ticket is the one for cards (wx_card); wx.config needs the one of type jsapi.",
        "ticket 是卡券的（wx_card）；wx.config 要用 jsapi 类型的。",
    ),
    (
        TokenAsTicket,
        "token_as_ticket",
        "The access_token was used as the ticket; sign with the jsapi_ticket.",
        "把 access_token 当成了 ticket；请用 jsapi_ticket 签名。",
    ),
    (
        TimestampInMs,
        "timestamp_in_ms",
        "The timestamp is in milliseconds in one place; use the same whole seconds in the signature and in wx.config.",
        "有一处的 timestamp 是毫秒；签名和 wx.config 里请用同一个整数秒。",
    ),
    (
        Uppercase,
        "uppercase",
        "The signature is in upper case; write it in lower-case hex.",
        "签名是大写的；请写成小写的十六进制。",
    ),
    (
        FieldName,
        "field_name",
        "A field of string1 is misspelt or in another place: it is jsapi_ticket, noncestr, timestamp, url, in lower case and in this order; nonceStr is the name in wx.config only.",
        "string1 里的字段名或顺序不对：依次是 jsapi_ticket、noncestr、timestamp、url，全部小写；nonceStr 只是 wx.config 里的名字。",
    ),
    (
        UnknownTicket,
        "unknown_ticket",
        "No ticket that is known here makes this signature: another program signs with a ticket of its own, or the nonceStr or timestamp given to wx.config are not the signed ones.",
        "这里已知的 ticket 都得不到这个签名：有另一个程序用它自己的 ticket 签名，或者交给 wx.config 的 nonceStr、timestamp 不是签名时用的。",
    ),
];

impl Code {
    /// Every code.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(code, ..)| *code)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, &'static str) {
        // The test of the table proves that each code has a row.
        TABLE
            .iter()
            .find(|(code, ..)| *code == self)
            .unwrap_or(&TABLE[TABLE.len() - 1])
    }

    /// The name of the code in answers.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What is wrong, and what to do.
    pub fn sentence(self, lingo: Lingo) -> &'static str {
        match lingo {
            Lingo::English => self.row().2,
            Lingo::Chinese => self.row().3,
        }
    }

    /// `Some(self)` unless it is `other`.
    pub(super) fn other_than(self, other: Self) -> Option<Self> {
        (self != other).then_some(self)
    }
}

impl super::Finding {
    /// What is wrong, and what to do, as whole sentences.
    pub fn detail(&self, lingo: Lingo) -> String {
        let mut detail = String::new();
        match (self.difference, lingo) {
            (None, _) => detail.push_str(self.code.sentence(lingo)),
            (Some(how), Lingo::English) => {
                detail.push_str("The signature is right for this url, but the page is at another address, for which WeChat checks it.");
                if let Some(how) = how {
                    detail.push(' ');
                    detail.push_str(how.sentence(lingo));
                }
            }
            (Some(how), Lingo::Chinese) => {
                detail.push_str(
                    "对这个 url 来说签名是对的，但网页在另一个地址，微信按那个地址检查。",
                );
                if let Some(how) = how {
                    detail.push_str(how.sentence(lingo));
                }
            }
        }
        if let Some(also) = self.also {
            if lingo == Lingo::English {
                detail.push(' ');
            }
            detail.push_str(also.sentence(lingo));
        }
        detail
    }
}
