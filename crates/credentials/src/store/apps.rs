//! Apps that rest in the store beside the credentials: those that were made while the server ran,
//! so that every instance serves them and a restart keeps them. What an app is good for is not
//! known here.

use std::borrow::Cow;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// An app as it was made.
#[derive(Clone, Debug)]
pub struct StoredApp {
    /// The appid.
    pub app_id: String,
    /// The secret that fetches its tokens.
    pub secret: SecretString,
    /// The token of its message server.
    pub token: Option<SecretString>,
    /// The key that its messages are encrypted with.
    pub aes_key: Option<SecretString>,
    /// The template for sending codes to its followers.
    pub template_id: Option<String>,
    /// What other programs need to be paid through it; kept for them and never used here.
    pub payment: Payment,
}

/// The fields of WeChat Pay that micro-plat/wetoken keeps with an app.
#[derive(Clone, Debug, Default)]
pub struct Payment {
    /// The merchant's number.
    pub mchid: Option<String>,
    /// The merchant's key.
    pub pay_key: Option<SecretString>,
    /// The appid of a sub-merchant.
    pub sub_appid: Option<String>,
    /// The number of a sub-merchant.
    pub sub_mchid: Option<String>,
}

/// The apps of a store. They do not end.
#[async_trait]
pub trait Apps: Send + Sync {
    /// All of them, by appid.
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError>;

    /// The one of that appid.
    async fn find_app(&self, app_id: &str) -> Result<Option<StoredApp>, StoreError> {
        Ok(self
            .apps()
            .await?
            .into_iter()
            .find(|app| app.app_id == app_id))
    }

    /// Writes `app` over whatever there was under its appid. A database keeps the payment fields
    /// that `app` does not have.
    async fn put_app(&self, app: &StoredApp) -> Result<(), StoreError>;
}

/// The followers of apps, which only some databases know.
#[async_trait]
pub trait Users: Send + Sync {
    /// The openid of the app's follower of that name.
    async fn find_user(&self, app_id: &str, user_name: &str) -> Result<Option<String>, StoreError>;
}

/// An app as the file and Redis hold it, its appid aside.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(borrow)]
    secret: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    token: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    aes_key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    template_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    mchid: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pay_key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sub_appid: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sub_mchid: Option<Cow<'a, str>>,
}

/// The app as JSON; it holds the secrets.
pub(super) fn to_json(app: &StoredApp) -> serde_json::Result<String> {
    let shown = |secret: &'_ Option<SecretString>| {
        secret
            .as_ref()
            .map(|secret| secret.expose_secret().to_owned().into())
    };
    serde_json::to_string(&Written {
        secret: app.secret.expose_secret().into(),
        token: shown(&app.token),
        aes_key: shown(&app.aes_key),
        template_id: app.template_id.as_deref().map(Into::into),
        mchid: app.payment.mchid.as_deref().map(Into::into),
        pay_key: shown(&app.payment.pay_key),
        sub_appid: app.payment.sub_appid.as_deref().map(Into::into),
        sub_mchid: app.payment.sub_mchid.as_deref().map(Into::into),
    })
}

/// The app that `text` describes; `None` when it describes none.
pub(super) fn from_json(app_id: &str, text: &str) -> Option<StoredApp> {
    let Ok(app) = serde_json::from_str::<Written<'_>>(text) else {
        tracing::warn!(
            account.id = app_id,
            "an app in the store cannot be read; it counts as absent"
        );
        return None;
    };
    Some(StoredApp {
        app_id: app_id.to_owned(),
        secret: app.secret.as_ref().into(),
        token: app.token.as_deref().map(Into::into),
        aes_key: app.aes_key.as_deref().map(Into::into),
        template_id: app.template_id.map(Cow::into_owned),
        payment: Payment {
            mchid: app.mchid.map(Cow::into_owned),
            pay_key: app.pay_key.as_deref().map(Into::into),
            sub_appid: app.sub_appid.map(Cow::into_owned),
            sub_mchid: app.sub_mchid.map(Cow::into_owned),
        },
    })
}
