//! Web OAuth (网页授权): where a visitor is sent to agree, and what their code is exchanged for. Nothing here is kept or repeated: a
//! code works once.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::reply::{self, integer};
use super::{Call, Language, WechatClient, WechatError};
use crate::account::Account;

/// The address at which WeChat asks its user: `open` with `connect/oauth2/authorize`, its parameters in the one order that WeChat
/// takes, and the fragment without which it shows an error. `state` may be 128 characters of `[a-zA-Z0-9]`; `scope` is
/// `snsapi_base` or `snsapi_userinfo`. Source: 网页授权, 第一步：用户同意授权，获取code.
pub fn authorize_url(open: &Url, app_id: &str, redirect_uri: &str, scope: &str, state: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!(
        "{}/connect/oauth2/authorize?appid={}&redirect_uri={}&response_type=code&scope={scope}&state={state}#wechat_redirect",
        open.as_str().trim_end_matches('/'),
        encoded(app_id),
        encoded(redirect_uri),
    )
}

/// Who a code stood for.
#[derive(Clone, Debug)]
pub struct VisitorGrant {
    /// The user-level access_token; it acts for this visitor alone and opens nothing else.
    pub token: SecretString,
    /// The visitor's name for this account.
    pub openid: String,
    /// The visitor's name for all accounts of one owner, where WeChat gives it.
    pub unionid: Option<String>,
    /// What the visitor agreed to; perhaps several words.
    pub scope: String,
    /// A visitor of snapshot mode (快照页): every field about them is made up.
    pub is_snapshot: bool,
}

impl WechatClient {
    /// Exchanges the `code` that a visitor brought back. It works once and for five minutes.
    /// Source: 网页授权, 第二步：通过code换取网页授权access_token.
    pub async fn exchange_code(&self, account: &Account, code: &str) -> Result<VisitorGrant, WechatError> {
        let query = [
            ("appid", account.app_id.as_str()),
            ("secret", account.secret.expose_secret()),
            ("code", code),
            ("grant_type", "authorization_code"),
        ];
        let (status, body) = self.send("/sns/oauth2/access_token", &query, None).await?;
        let code = SecretString::from(code);
        let object = reply::success(Call::Visitor, status, &body, &[&account.secret, &code])?;
        let optional = |field: &str| object.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(VisitorGrant {
            token: reply::text(status, &object, "access_token")?.into(),
            openid: reply::text(status, &object, "openid")?,
            unionid: optional("unionid"),
            scope: optional("scope").unwrap_or_default(),
            is_snapshot: object.get("is_snapshotuser").and_then(integer) == Some(1),
        })
    }

    /// What the visitor shows of themselves, WeChat's object as it is: `openid`, `nickname`, `headimgurl`, perhaps `unionid` …
    /// Only for a grant with the scope `snsapi_userinfo`. Source: 网页授权, 第四步：拉取用户信息.
    pub async fn visitor_info(&self, grant: &VisitorGrant, language: Language) -> Result<Map<String, Value>, WechatError> {
        let query = [("access_token", grant.token.expose_secret()), ("openid", grant.openid.as_str()), ("lang", language.name())];
        let (status, body) = self.send("/sns/userinfo", &query, None).await?;
        let object = reply::success(Call::Visitor, status, &body, &[&grant.token])?;
        reply::text(status, &object, "openid")?;
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorize_address_is_in_wechats_own_order() {
        let open: Url = "https://open.weixin.qq.com/".parse().expect("an address");
        assert_eq!(
            authorize_url(&open, "wx1", "https://wx.example.com/oauth/wx1/callback", "snsapi_base", "0af1"),
            "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1\
             &redirect_uri=https%3A%2F%2Fwx.example.com%2Foauth%2Fwx1%2Fcallback&response_type=code&scope=snsapi_base&state=0af1\
             #wechat_redirect"
        );
    }
}
