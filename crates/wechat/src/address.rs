//! Full addresses of credentials that the settings' presets fetch: WeCom's (企业微信), and the stable token of one account.

use url::Url;

/// `usual`, one of the addresses below, as it is at another host, such as the sandbox. `base` ends in a slash; `None` = as it stands.
pub fn at(base: Option<&Url>, usual: &str) -> Option<Url> {
    let usual: Url = usual.parse().ok()?;
    match base {
        Some(base) => base.join(usual.path().trim_start_matches('/')).ok(),
        None => Some(usual),
    }
}

/// `base` without the beginning of the path that every call to WeChat has, which some people write with the host.
pub fn without_path_of_calls(mut base: Url) -> Url {
    const PATHS: [&str; 4] = ["/cgi-bin/", "/connect/oauth2/authorize/", "/connect/oauth2/", "/connect/"];
    if let Some(path) = PATHS.iter().find_map(|path| base.path().strip_suffix(path).map(|before| format!("{before}/"))) {
        base.set_path(&path);
    }
    base
}

/// WeCom's access_token of one application. Source: 企业微信, 获取access_token.
pub const WECOM_TOKEN: &str = "https://qyapi.weixin.qq.com/cgi-bin/gettoken";

/// WeCom's ticket of the whole company, for `wx.config`. Source: 企业微信, 获取企业的jsapi_ticket.
pub const WECOM_JSAPI_TICKET: &str = "https://qyapi.weixin.qq.com/cgi-bin/get_jsapi_ticket";

/// WeCom's ticket of one application, for `wx.agentConfig`. Source: 企业微信, 获取应用的jsapi_ticket.
pub const WECOM_AGENT_TICKET: &str = "https://qyapi.weixin.qq.com/cgi-bin/ticket/get";

/// The token that is not voided by another fetch. Source: 获取稳定版接口调用凭据.
pub const STABLE_TOKEN: &str = "https://api.weixin.qq.com/cgi-bin/stable_token";
