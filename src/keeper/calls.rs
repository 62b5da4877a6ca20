//! Calls that need an account's access_token and bring no credential: made with the current one, and once more with its successor
//! when WeChat calls it stale.

use std::future::Future;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::holding::Holding;
use super::{Keeper, KeeperError};
use crate::credential::CredentialKind;
use crate::wechat::{Kind, Language, WechatError};

impl Keeper {
    /// What WeChat tells of `openid`: its JSON object. Ends within WeChat's timeout.
    pub async fn user_info(&self, holding: &Arc<Holding>, openid: &str, language: Language) -> Result<String, KeeperError> {
        let (keeper, held, openid) = (self.clone(), Arc::clone(holding), openid.to_owned());
        // On our own runtime, like every call: the worker that answers the request must not own the connection.
        let asking = self.0.runtime.spawn(async move {
            keeper
                .with_token(&held, |token| {
                    let (wechat, openid) = (keeper.0.wechat.clone(), openid.clone());
                    async move { wechat.user_info(&token, &openid, language).await }
                })
                .await
        });
        let lost = || KeeperError::Lost { key: holding.key(CredentialKind::AccessToken) };
        self.patiently(holding, CredentialKind::AccessToken, async { asking.await.unwrap_or_else(|_| Err(lost())) }).await
    }

    /// Sends one customer-service message, a JSON object with `touser` and `msgtype`. Ends within WeChat's timeout.
    pub async fn custom_send(&self, holding: &Arc<Holding>, message: &str) -> Result<(), KeeperError> {
        let (keeper, held, message) = (self.clone(), Arc::clone(holding), message.to_owned());
        let sending = self.0.runtime.spawn(async move {
            keeper
                .with_token(&held, |token| {
                    let (wechat, message) = (keeper.0.wechat.clone(), message.clone());
                    async move { wechat.custom_send(&token, message).await }
                })
                .await
        });
        let lost = || KeeperError::Lost { key: holding.key(CredentialKind::AccessToken) };
        self.patiently(holding, CredentialKind::AccessToken, async { sending.await.unwrap_or_else(|_| Err(lost())) }).await
    }

    async fn with_token<T, F>(&self, holding: &Arc<Holding>, call: impl Fn(SecretString) -> F) -> Result<T, KeeperError>
    where
        F: Future<Output = Result<T, WechatError>>,
    {
        let kind = CredentialKind::AccessToken;
        let failed = |source| KeeperError::Upstream { key: holding.key(kind), source };
        let token = self.credential(holding, kind).await?.value().clone();
        let stale = match call(token.clone()).await {
            Err(error) if error.kind() == Kind::StaleToken => error,
            settled => return settled.map_err(failed),
        };
        let successor = self.rotate(holding, kind, token.clone()).await?.value().clone();
        // The limit on forced renewals may leave the value as it is; asking again with it would be refused again.
        if successor.expose_secret() == token.expose_secret() {
            return Err(failed(stale));
        }
        call(successor).await.map_err(failed)
    }
}
