//! Calls that need an account's access_token and bring no credential: made with the current one, and once more with its successor
//! when WeChat calls it stale. And two questions for a credential that ask WeChat never, or only when it is due.

use std::future::Future;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::holding::{Holding, NearCopy};
use super::{Keeper, KeeperError};
use crate::credential::{CredentialKind, Freshness};
use crate::wechat::{Kind, Language, WechatClient, WechatError};

impl Keeper {
    /// What WeChat tells of `openid`: its JSON object. Ends within WeChat's timeout.
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

    /// The living credential that the store holds, or while it fails the one that is held here. Never a reason to ask WeChat: it does
    /// not count as somebody who needs the credential either.
    pub async fn stored(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Result<Option<Arc<NearCopy>>, KeeperError> {
        self.patiently(holding, kind, async {
            match self.look(holding, kind).await {
                Ok(found) => Ok(found),
                Err(error) => {
                    let near = holding.slot(kind).near.load_full();
                    let near = near.filter(|near| !near.life.is_over(&self.0.clock));
                    near.map(Some).ok_or(error.into())
                }
            }
        })
        .await
    }

    /// The credential, renewed first if it is due, within the limits of [`Keeper::rotate`]: past them, and when the renewal fails, the
    /// current one, for as long as it lives.
    pub async fn refresh(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Result<Arc<NearCopy>, KeeperError> {
        let current = self.credential(holding, kind).await?;
        if current.life.freshness(&self.0.clock) == Freshness::Fresh {
            return Ok(current);
        }
        let renewed = self.rotate(holding, kind, current.value().clone()).await;
        if renewed.is_err() && !current.life.is_over(&self.0.clock) { Ok(current) } else { renewed }
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
        let calling = self.0.runtime.spawn(async move { keeper.with_token(&held, call).await });
        let lost = || KeeperError::Lost { key: holding.key(CredentialKind::AccessToken) };
        self.patiently(holding, CredentialKind::AccessToken, async { calling.await.unwrap_or_else(|_| Err(lost())) }).await
    }

    async fn with_token<T, F>(
        &self,
        holding: &Arc<Holding>,
        call: impl Fn(WechatClient, SecretString) -> F,
    ) -> Result<T, KeeperError>
    where
        F: Future<Output = Result<T, WechatError>>,
    {
        let kind = CredentialKind::AccessToken;
        let failed = |source| KeeperError::Upstream { key: holding.key(kind), source };
        let token = self.credential(holding, kind).await?.value().clone();
        let stale = match call(self.0.wechat.clone(), token.clone()).await {
            Err(error) if error.kind() == Kind::StaleToken => error,
            settled => return settled.map_err(failed),
        };
        let successor = self.rotate(holding, kind, token.clone()).await?.value().clone();
        // The limit on forced renewals may leave the value as it is; asking again with it would be refused again.
        if successor.expose_secret() == token.expose_secret() {
            return Err(failed(stale));
        }
        call(self.0.wechat.clone(), successor).await.map_err(failed)
    }
}
