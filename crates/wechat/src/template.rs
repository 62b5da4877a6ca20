//! Template messages (模板消息): a template from the account's console, filled with values and sent to
//! any follower.

use secrecy::{ExposeSecret, SecretString};

use super::{Call, WechatClient, WechatError, reply};

impl WechatClient {
    /// Sends a template message, a JSON object with `touser`, `template_id` and `data`, with the
    /// account's app-level `token`. Source: 模板消息-发送模板消息.
    pub async fn template_send(
        &self,
        token: &SecretString,
        message: String,
    ) -> Result<(), WechatError> {
        let query = [("access_token", token.expose_secret())];
        let (status, body) = self
            .send("/cgi-bin/message/template/send", &query, Some(message))
            .await?;
        reply::success(Call::WithToken, status, &body, &[token]).map(drop)
    }
}
