//! Web OAuth (网页授权): the authorization address and the exchange of a visitor's code. Nothing is
//! cached or retried, because a code works once.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::reply::{self, integer};
use super::{Call, Language, WechatClient, WechatError};
use crate::account::Account;

/// Returns WeChat's authorization address: `open` with `connect/oauth2/authorize`. WeChat requires
/// this parameter order and the fragment. `state` may be 128 characters of `[a-zA-Z0-9]`; `scope`
/// is `snsapi_base` or `snsapi_userinfo`. Source: 网页授权, 第一步：用户同意授权，获取code.
pub fn authorize_url(
    open: &Url,
    app_id: &str,
    redirect_uri: &str,
    scope: &str,
    state: &str,
) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!(
        "{}/connect/oauth2/authorize?appid={}&redirect_uri={}&response_type=code&scope={scope}&state={state}#wechat_redirect",
        open.as_str().trim_end_matches('/'),
        encoded(app_id),
        encoded(redirect_uri),
    )
}

/// The result of a code exchange.
#[derive(Clone, Debug)]
pub struct VisitorGrant {
    /// The user-level access_token, valid for this visitor only.
    pub token: SecretString,
    /// The openid: the visitor's id for this account.
    pub openid: String,
    /// The unionid: the visitor's id for all accounts of one owner, if WeChat returns it.
    pub unionid: Option<String>,
    /// The granted scope; may be several words.
    pub scope: String,
    /// True for a snapshot-mode visitor (快照页), whose data is fictitious.
    pub is_snapshot: bool,
}

impl WechatClient {
    /// Exchanges a visitor's `code`, which works once and expires after five minutes.
    /// Source: 网页授权, 第二步：通过code换取网页授权access_token.
    pub async fn exchange_code(
        &self,
        account: &Account,
        code: &str,
    ) -> Result<VisitorGrant, WechatError> {
        let query = [
            ("appid", account.app_id.as_str()),
            ("secret", account.secret.expose_secret()),
            ("code", code),
            ("grant_type", "authorization_code"),
        ];
        let (status, body) = self.send("/sns/oauth2/access_token", &query, None).await?;
        let code = SecretString::from(code);
        let object = reply::success(Call::Visitor, status, &body, &[&account.secret, &code])?;
        let optional = |field: &str| {
            object
                .get(field)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        Ok(VisitorGrant {
            token: reply::text(status, &object, "access_token")?.into(),
            openid: reply::text(status, &object, "openid")?,
            unionid: optional("unionid"),
            scope: optional("scope").unwrap_or_default(),
            is_snapshot: object.get("is_snapshotuser").and_then(integer) == Some(1),
        })
    }

    /// Fetches the visitor's profile, WeChat's object unchanged: `openid`, `nickname`,
    /// `headimgurl`, perhaps `unionid` … Requires the scope `snsapi_userinfo`. Source: 网页授权,
    /// 第四步：拉取用户信息.
    pub async fn visitor_info(
        &self,
        grant: &VisitorGrant,
        language: Language,
    ) -> Result<Map<String, Value>, WechatError> {
        let query = [
            ("access_token", grant.token.expose_secret()),
            ("openid", grant.openid.as_str()),
            ("lang", language.name()),
        ];
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
    fn the_authorize_url_has_wechats_parameter_order() {
        let open: Url = "https://open.weixin.qq.com/".parse().expect("an address");
        assert_eq!(
            authorize_url(
                &open,
                "wx1",
                "https://wx.example.com/oauth/wx1/callback",
                "snsapi_base",
                "0af1"
            ),
            "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1\
             &redirect_uri=https%3A%2F%2Fwx.example.com%2Foauth%2Fwx1%2Fcallback&response_type=code&scope=snsapi_base&state=0af1\
             #wechat_redirect"
        );
    }
}
