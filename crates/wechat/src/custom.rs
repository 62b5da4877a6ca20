//! Customer-service messages (客服消息): an account may send them for 48 hours after a user's message.

use secrecy::{ExposeSecret, SecretString};

use super::{Call, WechatClient, WechatError, reply};

impl WechatClient {
    /// Sends a customer-service message, a JSON object with `touser` and `msgtype`, with the
    /// account's app-level `token`. Source: 客服接口-发消息.
    pub async fn custom_send(
        &self,
        token: &SecretString,
        message: String,
    ) -> Result<(), WechatError> {
        let query = [("access_token", token.expose_secret())];
        let (status, body) = self
            .send("/cgi-bin/message/custom/send", &query, Some(message))
            .await?;
        reply::success(Call::WithToken, status, &body, &[token]).map(drop)
    }
}
