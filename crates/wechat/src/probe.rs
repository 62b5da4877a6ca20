//! Asks WeChat whether it accepts a token, by a call that changes nothing.

use secrecy::{ExposeSecret, SecretString};

use super::{Call, WechatClient, WechatError, reply};

impl WechatClient {
    /// `Ok` if WeChat accepts the app-level `token`. Source: 获取微信服务器IP地址.
    pub async fn probe(&self, token: &SecretString) -> Result<(), WechatError> {
        let query = [("access_token", token.expose_secret())];
        let (status, body) = self.send("/cgi-bin/getcallbackip", &query, None).await?;
        reply::success(Call::WithToken, status, &body, &[token]).map(drop)
    }
}
