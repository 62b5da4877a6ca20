//! The table of WeChat paths that need special handling: which presets contain them, and how the
//! gateway handles them. A new exception is one line. `docs/gateway.md` shows the same table; a
//! test compares them.

/// A named group of paths, for `gateway` in a realm's settings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Preset {
    /// Calls that change nothing.
    Read,
    /// Messages to one person: custom, template, subscribe, customer service.
    Messages,
    /// Uploads and downloads.
    Media,
    /// QR codes, mini-program codes, short links.
    Codes,
    /// The menu, but not deleting it.
    Menu,
    /// Exchanges a visitor's code for an identity or a phone number.
    Login,
    /// The tickets for signing in browsers.
    Tickets,
    /// Mini-programs and shops.
    Pages,
    /// What a program needs to send notifications in WeCom.
    Notify,
    /// Everything except calls that destroy or export data.
    All,
}

impl Preset {
    /// All presets, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::Messages,
        Self::Media,
        Self::Codes,
        Self::Menu,
        Self::Login,
        Self::Tickets,
        Self::Pages,
        Self::Notify,
        Self::All,
    ];

    /// The name in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Messages => "messages",
            Self::Media => "media",
            Self::Codes => "codes",
            Self::Menu => "menu",
            Self::Login => "login",
            Self::Tickets => "tickets",
            Self::Pages => "pages",
            Self::Notify => "notify",
            Self::All => "all",
        }
    }

    /// Returns the preset with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// True if the preset contains `path`.
    pub fn contains(self, path: &str) -> bool {
        protected(path).is_none()
            && (self == Self::All
                || TABLE
                    .iter()
                    .any(|row| row.presets.contains(&self) && matches(row.path, path)))
    }
}

/// How the gateway handles a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handling {
    /// The default: the virtual token is replaced by the real one.
    Call,
    /// Answered with a virtual token; needs no preset.
    IssueToken,
    /// No token: the virtual AppSecret in these parameters is replaced by the real one.
    SwapSecret,
    /// No token and no secret of ours: forwarded unchanged for callers in `gateway.anonymous`.
    Anonymous,
    /// Like `Anonymous`, but forwarded to `wechat.mp`.
    AnonymousAtMp,
    /// Answered with our own ticket.
    OwnTicket,
    /// A normal call that destroys or exports data. No preset contains it; a rule must name its
    /// path.
    OnlyByName,
    /// Both `OnlyByName` and `SwapSecret`.
    OnlyByNameSwapSecret,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// A path, or a prefix followed by `*`.
    pub path: &'static str,
    /// The presets that contain it, besides `all`.
    pub presets: &'static [Preset],
    /// How it is handled.
    pub handling: Handling,
}

impl Row {
    /// True if no preset contains the row's paths.
    pub fn is_protected(&self) -> bool {
        matches!(
            self.handling,
            Handling::OnlyByName | Handling::OnlyByNameSwapSecret
        )
    }
}

const fn row(path: &'static str, presets: &'static [Preset]) -> Row {
    Row {
        path,
        presets,
        handling: Handling::Call,
    }
}

const fn special(path: &'static str, presets: &'static [Preset], handling: Handling) -> Row {
    Row {
        path,
        presets,
        handling,
    }
}

use Handling::{
    Anonymous, AnonymousAtMp, IssueToken, OnlyByName, OnlyByNameSwapSecret, OwnTicket, SwapSecret,
};
use Preset::{Codes, Login, Media, Menu, Messages, Notify, Pages, Read, Tickets};

/// The path of a token request by GET.
pub const TOKEN: &str = "/cgi-bin/token";

/// The cheapest call with a token.
pub const CALLBACK_IP: &str = "/cgi-bin/getcallbackip";

/// The table. The first row that matches a path applies.
pub const TABLE: &[Row] = &[
    // Tokens.
    special(TOKEN, &[], IssueToken),
    special("/cgi-bin/stable_token", &[], IssueToken),
    special("/cgi-bin/gettoken", &[], IssueToken),
    // Calls that destroy or export data.
    special("/cgi-bin/clear_quota/v2", &[], OnlyByNameSwapSecret),
    special("/cgi-bin/clear_quota*", &[], OnlyByName),
    special("/cgi-bin/openapi/quota/clear", &[], OnlyByName),
    special("/cgi-bin/menu/delete", &[], OnlyByName),
    special("/cgi-bin/menu/delconditional", &[], OnlyByName),
    special("/cgi-bin/message/mass/*", &[], OnlyByName),
    special("/cgi-bin/user/get", &[], OnlyByName),
    special("/cgi-bin/user/info/batchget", &[], OnlyByName),
    special("/cgi-bin/component/*", &[], OnlyByName),
    special("/wxa/commit", &[], OnlyByName),
    special("/wxa/release", &[], OnlyByName),
    // Calls without one of our tokens.
    special("/sns/jscode2session", &[Login], SwapSecret),
    special("/sns/oauth2/access_token", &[Login], SwapSecret),
    special("/sns/userinfo", &[], Anonymous),
    special("/sns/auth", &[], Anonymous),
    special("/sns/oauth2/refresh_token", &[], Anonymous),
    special("/cgi-bin/showqrcode", &[], AnonymousAtMp),
    // Tickets.
    special("/cgi-bin/ticket/getticket", &[Tickets], OwnTicket),
    special("/cgi-bin/get_jsapi_ticket", &[Tickets], OwnTicket),
    special("/cgi-bin/ticket/get", &[Tickets], OwnTicket),
    // Reading.
    row(CALLBACK_IP, &[Read]),
    row("/cgi-bin/get_api_domain_ip", &[Read]),
    row("/cgi-bin/callback/check", &[Read]),
    row("/cgi-bin/user/info", &[Read]),
    row("/cgi-bin/tags/get", &[Read]),
    row("/cgi-bin/tags/getidlist", &[Read]),
    row("/cgi-bin/openapi/quota/get", &[Read]),
    row("/cgi-bin/openapi/rid/get", &[Read]),
    row("/cgi-bin/account/getaccountbasicinfo", &[Read]),
    row("/cgi-bin/get_current_autoreply_info", &[Read]),
    row("/cgi-bin/get_current_selfmenu_info", &[Read, Menu]),
    row(
        "/cgi-bin/template/get_all_private_template",
        &[Read, Messages],
    ),
    row("/cgi-bin/template/get_industry", &[Read, Messages]),
    row("/cgi-bin/agent/get", &[Read]),
    row("/datacube/*", &[Read]),
    // Messages.
    row("/cgi-bin/message/send", &[Messages, Notify]),
    row("/cgi-bin/message/*", &[Messages]),
    row("/cgi-bin/customservice/*", &[Messages]),
    row("/customservice/*", &[Messages]),
    row("/wxaapi/newtmpl/*", &[Messages, Pages]),
    // Media.
    row("/cgi-bin/media/upload", &[Media, Notify]),
    row("/cgi-bin/media/*", &[Media]),
    row("/cgi-bin/material/add_material", &[Media]),
    row("/cgi-bin/material/get_material", &[Media]),
    row("/cgi-bin/material/get_materialcount", &[Media]),
    row("/cgi-bin/material/batchget_material", &[Media]),
    // Codes and links.
    row("/cgi-bin/qrcode/create", &[Codes]),
    row("/cgi-bin/shorten/*", &[Codes]),
    row("/cgi-bin/shorturl", &[Codes]),
    row("/cgi-bin/wxaapp/createwxaqrcode", &[Codes]),
    row("/wxa/getwxacode", &[Codes, Pages]),
    row("/wxa/getwxacodeunlimit", &[Codes, Pages]),
    row("/wxa/generatescheme", &[Codes, Pages]),
    row("/wxa/queryscheme", &[Codes, Pages]),
    row("/wxa/generatenfcscheme", &[Codes, Pages]),
    row("/wxa/generate_urllink", &[Codes, Pages]),
    row("/wxa/query_urllink", &[Codes, Pages]),
    row("/wxa/genwxashortlink", &[Codes, Pages]),
    // The menu.
    row("/cgi-bin/menu/*", &[Menu, Notify]),
    // Logins.
    row("/wxa/business/getuserphonenumber", &[Login, Pages]),
    row("/wxa/business/checkencryptedmsg", &[Login, Pages]),
    row("/wxa/checksession", &[Login, Pages]),
    row("/wxa/resetusersessionkey", &[Login, Pages]),
    row("/wxa/getpaidunionid", &[Login, Pages]),
    row("/cgi-bin/auth/getuserinfo", &[Login]),
    row("/cgi-bin/auth/getuserdetail", &[Login]),
    row("/cgi-bin/user/getuserinfo", &[Login]),
    row("/cgi-bin/user/getuserdetail", &[Login]),
    row("/cgi-bin/miniprogram/jscode2session", &[Login]),
    // Mini-programs and shops.
    row("/wxa/*", &[Pages]),
    row("/wxaapi/*", &[Pages]),
    row("/shop/*", &[Pages]),
    row("/product/*", &[Pages]),
    row("/channels/*", &[Pages]),
    row("/tcb/*", &[Pages]),
];

/// The first path segments that WeChat uses. The gateway serves no other paths.
pub const FIRST_SEGMENTS: [&str; 33] = [
    "bizwifi",
    "card",
    "cgi-bin",
    "channels",
    "cityservice",
    "componenttcb",
    "customservice",
    "cv",
    "datacube",
    "device",
    "donut",
    "intp",
    "marketing",
    "merchant",
    "nontax",
    "poi",
    "product",
    "promoter",
    "publisher",
    "redpacketcover",
    "scan",
    "semantic",
    "shakearound",
    "shop",
    "sns",
    "tcb",
    "union",
    "user-order",
    "wedata",
    "wxa",
    "wxaapi",
    "wxadrama",
    "xpay",
];

/// The paths by which the gateway is described, with their methods: those that it answers itself, and
/// all others.
pub const DESCRIBED: [(&str, &str); 4] = [
    (TOKEN, "GET, POST"),
    ("/cgi-bin/stable_token", "POST"),
    ("/cgi-bin/gettoken", "GET"),
    ("/{segment}/{path}", "GET, POST"),
];

/// The row that says how `path` is handled; `None` for the plain case in no preset but `all`.
pub fn find(path: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| matches(row.path, path))
}

/// Returns the row that excludes `path` from every preset.
pub fn protected(path: &str) -> Option<&'static Row> {
    TABLE
        .iter()
        .find(|row| row.is_protected() && matches(row.path, path))
}

/// Returns the area of the API that `path` belongs to, from a closed set of words, for counters.
pub fn area(path: &str) -> &'static str {
    match find(path) {
        Some(row) if row.is_protected() => "protected",
        Some(Row {
            handling: IssueToken,
            ..
        }) => "token",
        Some(row) => row
            .presets
            .first()
            .map_or("anonymous", |preset| preset.name()),
        None => "other",
    }
}

/// True if `path` equals `pattern`, or begins with the part before its `*`.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(front) => path.starts_with(front),
        None => path == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_preset_contains_what_its_name_says() {
        let contained = [
            (Read, "/cgi-bin/getcallbackip"),
            (Read, "/cgi-bin/user/info"),
            (Read, "/datacube/getusersummary"),
            (Messages, "/cgi-bin/message/custom/send"),
            (Messages, "/cgi-bin/message/template/send"),
            (Messages, "/cgi-bin/message/subscribe/send"),
            (Messages, "/customservice/kfsession/create"),
            (Media, "/cgi-bin/media/upload"),
            (Media, "/cgi-bin/media/get/jssdk"),
            (Codes, "/cgi-bin/qrcode/create"),
            (Codes, "/wxa/getwxacodeunlimit"),
            (Menu, "/cgi-bin/menu/create"),
            (Login, "/sns/jscode2session"),
            (Login, "/wxa/business/getuserphonenumber"),
            (Tickets, "/cgi-bin/ticket/getticket"),
            (Tickets, "/cgi-bin/get_jsapi_ticket"),
            (Pages, "/wxa/msg_sec_check"),
            (Pages, "/shop/order/get"),
            (Notify, "/cgi-bin/message/send"),
            (Notify, "/cgi-bin/media/upload"),
            (Notify, "/cgi-bin/menu/create"),
        ];
        for (preset, path) in contained {
            assert!(
                preset.contains(path) && Preset::All.contains(path),
                "{preset:?} {path}"
            );
        }
        let outside = [
            (Read, "/cgi-bin/message/custom/send"),
            (Read, "/cgi-bin/ticket/getticket"),
            (Messages, "/cgi-bin/message/mass/send"),
            (Media, "/cgi-bin/material/del_material"),
            (Menu, "/cgi-bin/menu/delete"),
            (Login, "/wxa/business/other"),
            (Pages, "/wxa/commit"),
            (Notify, "/cgi-bin/message/custom/send"),
            (Notify, "/cgi-bin/media/get"),
        ];
        for (preset, path) in outside {
            assert!(!preset.contains(path), "{preset:?} {path}");
        }
    }

    #[test]
    fn every_row_is_reachable_under_a_wechat_segment() {
        for row in TABLE {
            let segment = row.path.split('/').nth(1).expect("a first segment");
            assert!(FIRST_SEGMENTS.contains(&segment), "{}", row.path);
            assert_eq!(
                find(row.path.trim_end_matches('*')).map(|found| found.path),
                Some(row.path)
            );
            assert_eq!(
                row.path,
                row.path.to_ascii_lowercase(),
                "denials compare small letters"
            );
        }
    }

    #[test]
    fn the_area_of_a_path_is_one_of_a_few_words() {
        let areas = [
            "/cgi-bin/token",
            "/sns/auth",
            "/cgi-bin/user/get",
            "/cgi-bin/media/get",
            "/cgi-bin/nothing",
        ]
        .map(area);
        assert_eq!(areas, ["token", "anonymous", "protected", "media", "other"]);
    }
}
