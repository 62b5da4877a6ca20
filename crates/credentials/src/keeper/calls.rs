//! Calls that need an account's access_token and bring no credential: made with the current token, and again with its successor if WeChat
//! calls it stale.

use std::future::Future;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{Holding, Keeper, KeeperError};
use wechat::credential::{CredentialKey, CredentialKind};
use wechat::{Kind, Language, WechatClient, WechatError};

impl Keeper {
    /// WeChat's JSON object about `openid`. Ends within WeChat's timeout.
    pub async fn user_info(&self, holding: &Arc<Holding>, openid: &str, language: Language) -> Result<String, KeeperError> {
        let openid = openid.to_owned();
        let ask = move |wechat: WechatClient, token: SecretString| {
            let openid = openid.clone();
            async move { wechat.user_info(&token, &openid, language).await }
        };
        self.spend_token(holding, ask).await
    }

    /// Sends one customer-service message, a JSON object with `touser` and `msgtype`. Ends within WeChat's timeout.
    pub async fn custom_send(&self, holding: &Arc<Holding>, message: &str) -> Result<(), KeeperError> {
        let message = message.to_owned();
        let send = move |wechat: WechatClient, token: SecretString| {
            let message = message.clone();
            async move { wechat.custom_send(&token, message).await }
        };
        self.spend_token(holding, send).await
    }

    /// Sends one template message, a JSON object with `touser`, `template_id` and `data`. Ends within WeChat's timeout.
    pub async fn template_send(&self, holding: &Arc<Holding>, message: &str) -> Result<(), KeeperError> {
        let message = message.to_owned();
        let send = move |wechat: WechatClient, token: SecretString| {
            let message = message.clone();
            async move { wechat.template_send(&token, message).await }
        };
        self.spend_token(holding, send).await
    }

    /// On our own runtime, like every call: the worker that answers the request must not own the connection.
    async fn spend_token<T, F>(
        &self,
        holding: &Arc<Holding>,
        call: impl Fn(WechatClient, SecretString) -> F + Send + Sync + 'static,
    ) -> Result<T, KeeperError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, WechatError>> + Send,
    {
        let (keeper, held) = (self.clone(), Arc::clone(holding));
        let calling = self.0.engine.runtime.spawn(async move { keeper.with_token(&held, call).await });
        let lost = || KeeperError::Lost { key: token_of(holding) };
        let token = holding.credential(CredentialKind::AccessToken);
        token.with_timeout(async { calling.await.unwrap_or_else(|_| Err(lost())) }).await
    }

    async fn with_token<T, F>(
        &self,
        holding: &Arc<Holding>,
        call: impl Fn(WechatClient, SecretString) -> F,
    ) -> Result<T, KeeperError>
    where
        F: Future<Output = Result<T, WechatError>>,
    {
        let credential = holding.credential(CredentialKind::AccessToken);
        let failed = |source| KeeperError::Upstream { key: token_of(holding), source };
        let token = credential.get().await?.value().clone();
        let stale = match call(self.0.wechat.clone(), token.clone()).await {
            Err(error) if error.kind() == Kind::StaleToken => error,
            settled => return settled.map_err(failed),
        };
        let successor = credential.rotate(token.clone()).await?.value().clone();
        // The limit on forced renewals may leave the value as it is; asking again with it would be refused again.
        if successor.expose_secret() == token.expose_secret() {
            return Err(failed(stale));
        }
        call(self.0.wechat.clone(), successor).await.map_err(failed)
    }
}

fn token_of(holding: &Holding) -> CredentialKey {
    CredentialKey { app_id: holding.account.app_id.clone(), kind: CredentialKind::AccessToken }
}
