//! Calls that need an account's access_token. If WeChat refuses the token as stale, it is renewed
//! and the call is repeated once.

use std::future::Future;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{AccountCredentials, Keeper, KeeperError};
use wechat::credential::{CredentialKey, CredentialKind};
use wechat::{Kind, Language, WechatClient, WechatError};

impl Keeper {
    /// WeChat's JSON object about `openid`. Ends within WeChat's timeout.
    pub async fn user_info(
        &self,
        credentials: &Arc<AccountCredentials>,
        openid: &str,
        language: Language,
    ) -> Result<String, KeeperError> {
        let openid = openid.to_owned();
        let ask = move |wechat: WechatClient, token: SecretString| {
            let openid = openid.clone();
            async move { wechat.user_info(&token, &openid, language).await }
        };
        self.with_current_token(credentials, ask).await
    }

    /// Sends one customer-service message, a JSON object with `touser` and `msgtype`. Ends within
    /// WeChat's timeout.
    pub async fn custom_send(
        &self,
        credentials: &Arc<AccountCredentials>,
        message: &str,
    ) -> Result<(), KeeperError> {
        let message = message.to_owned();
        let send = move |wechat: WechatClient, token: SecretString| {
            let message = message.clone();
            async move { wechat.custom_send(&token, message).await }
        };
        self.with_current_token(credentials, send).await
    }

    /// Sends one template message, a JSON object with `touser`, `template_id` and `data`. Ends
    /// within WeChat's timeout.
    pub async fn template_send(
        &self,
        credentials: &Arc<AccountCredentials>,
        message: &str,
    ) -> Result<(), KeeperError> {
        let message = message.to_owned();
        let send = move |wechat: WechatClient, token: SecretString| {
            let message = message.clone();
            async move { wechat.template_send(&token, message).await }
        };
        self.with_current_token(credentials, send).await
    }

    /// Runs on the keeper's runtime: the worker that answers the request must not own the
    /// connection.
    async fn with_current_token<T, F>(
        &self,
        credentials: &Arc<AccountCredentials>,
        call: impl Fn(WechatClient, SecretString) -> F + Send + Sync + 'static,
    ) -> Result<T, KeeperError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, WechatError>> + Send,
    {
        let (keeper, held) = (self.clone(), Arc::clone(credentials));
        let calling = self
            .0
            .engine
            .runtime
            .spawn(async move { keeper.with_token(&held, call).await });
        let lost = || KeeperError::Lost {
            key: token_of(credentials),
        };
        let token = credentials.credential(CredentialKind::AccessToken);
        token
            .with_timeout(async { calling.await.unwrap_or_else(|_| Err(lost())) })
            .await
    }

    async fn with_token<T, F>(
        &self,
        credentials: &Arc<AccountCredentials>,
        call: impl Fn(WechatClient, SecretString) -> F,
    ) -> Result<T, KeeperError>
    where
        F: Future<Output = Result<T, WechatError>>,
    {
        let credential = credentials.credential(CredentialKind::AccessToken);
        let failed = |source| KeeperError::Upstream {
            key: token_of(credentials),
            source,
        };
        let token = credential.get().await?.value().clone();
        let stale = match call(self.0.wechat.clone(), token.clone()).await {
            Err(error) if error.kind() == Kind::StaleToken => error,
            settled => return settled.map_err(failed),
        };
        let successor = credential.rotate(token.clone()).await?.value().clone();
        // The limit on forced renewals may have kept the value; it would be refused again.
        if successor.expose_secret() == token.expose_secret() {
            return Err(failed(stale));
        }
        call(self.0.wechat.clone(), successor).await.map_err(failed)
    }
}

fn token_of(credentials: &AccountCredentials) -> CredentialKey {
    CredentialKey {
        app_id: credentials.account.app_id.clone(),
        kind: CredentialKind::AccessToken,
    }
}
