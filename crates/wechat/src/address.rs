//! Addresses of credentials that the settings' presets fetch: WeCom's (企业微信) and an account's
//! stable token.

use url::Url;

/// Returns `usual`, one of the addresses below, moved to the host `base`, such as the sandbox.
/// `base` ends in a slash; `None` keeps the address.
pub fn at(base: Option<&Url>, usual: &str) -> Option<Url> {
    let usual: Url = usual.parse().ok()?;
    match base {
        Some(base) => base.join(usual.path().trim_start_matches('/')).ok(),
        None => Some(usual),
    }
}

/// Returns `base` without the path prefix common to all WeChat calls, which some users include.
pub fn without_path_of_calls(mut base: Url) -> Url {
    const PATHS: [&str; 4] = [
        "/cgi-bin/",
        "/connect/oauth2/authorize/",
        "/connect/oauth2/",
        "/connect/",
    ];
    if let Some(path) = PATHS.iter().find_map(|path| {
        base.path()
            .strip_suffix(path)
            .map(|before| format!("{before}/"))
    }) {
        base.set_path(&path);
    }
    base
}

/// The host of WeCom's API.
pub const WECOM_API: &str = "https://qyapi.weixin.qq.com/";

/// The access_token of a WeCom application. Source: 企业微信, 获取access_token.
pub const WECOM_TOKEN: &str = "https://qyapi.weixin.qq.com/cgi-bin/gettoken";

/// The ticket of a WeCom company, for `wx.config`. Source: 企业微信, 获取企业的jsapi_ticket.
pub const WECOM_JSAPI_TICKET: &str = "https://qyapi.weixin.qq.com/cgi-bin/get_jsapi_ticket";

/// The ticket of a WeCom application, for `wx.agentConfig`. Source: 企业微信, 获取应用的jsapi_ticket.
pub const WECOM_AGENT_TICKET: &str = "https://qyapi.weixin.qq.com/cgi-bin/ticket/get";

/// The stable access_token; fetching it does not invalidate the previous one. Source: 获取稳定版接口调用凭据.
pub const STABLE_TOKEN: &str = "https://api.weixin.qq.com/cgi-bin/stable_token";
