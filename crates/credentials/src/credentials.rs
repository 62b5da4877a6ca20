//! The keeper for programs that would rather own their credentials themselves: the public surface
//! of the library. It is laid over the same settings, stores and keeper as the server, and shows
//! none of their types.
//!
//! `builder` says what is wanted, this file what is promised, `value` what is handed out, `error`
//! what goes wrong; `sandbox` is for the tests of its users.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::keeper::{AccountCredentials, Keeper};
use crate::store::{self, StoreConfig};
use crate::value::{Credential, JsConfig, Kind};
use url::Url;
use wechat::WechatClient;
use wechat::account::Keep;
use wechat::credential::CredentialKind;
use wechat::signature::{self, Hex};

/// What a checked builder comes to.
pub(crate) struct Parts {
    pub(crate) accounts: Vec<wechat::account::Account>,
    pub(crate) store: StoreConfig,
    pub(crate) hosts: Vec<Url>,
    pub(crate) timeout: Duration,
    pub(crate) keep: Keep,
}

/// The owner of some accounts' credentials; clones share it. It renews ahead as long as one of them
/// lives, on the tokio runtime that it was started on.
#[derive(Clone)]
pub struct Credentials(Arc<Running>);

struct Running {
    keeper: Keeper,
    /// Dropped with the last handle, which ends the task that looks ahead.
    stop: watch::Sender<bool>,
    ahead: Mutex<Option<JoinHandle<()>>>,
    grace: Duration,
}

impl Credentials {
    /// The account's `access_token`.
    pub async fn access_token(&self, app_id: &str) -> Result<Credential, Error> {
        self.credential(app_id, Kind::AccessToken).await
    }

    /// The account's `jsapi_ticket`, from which `wx.config` is signed; [`Credentials::sign_config`]
    /// does that.
    pub async fn jsapi_ticket(&self, app_id: &str) -> Result<Credential, Error> {
        self.credential(app_id, Kind::JsapiTicket).await
    }

    /// The account's ticket for card coupons (卡券 api_ticket).
    pub async fn card_ticket(&self, app_id: &str) -> Result<Credential, Error> {
        self.credential(app_id, Kind::CardTicket).await
    }

    /// One of the three, by its kind. Nearly always it is at hand. Else it is read from the store
    /// or fetched, once for all who ask, and this ends within the bound on a call; a renewal that
    /// takes longer goes on without its caller.
    pub async fn credential(&self, app_id: &str, kind: Kind) -> Result<Credential, Error> {
        let cached = self
            .credentials(app_id)?
            .credential(kind.into())
            .get()
            .await?;
        Ok(Credential::new(
            cached.value().clone(),
            cached.left(self.0.keeper.clock()),
        ))
    }

    /// "WeChat refused this value" (40001, 40014, 42001): renews it if it is still the current one,
    /// else hands out the current one. One renewal however many ask. At most one in 30 s and so
    /// many a day; beyond that the current value is handed out.
    pub async fn rotate(
        &self,
        app_id: &str,
        kind: Kind,
        refused: impl Into<SecretString>,
    ) -> Result<Credential, Error> {
        let cached = self
            .credentials(app_id)?
            .credential(kind.into())
            .rotate(refused.into())
            .await?;
        Ok(Credential::new(
            cached.value().clone(),
            cached.left(self.0.keeper.clock()),
        ))
    }

    /// What a page at `url` gives to `wx.config`. `url` is the page's whole address as its browser
    /// has it; `#…` is not signed.
    pub async fn sign_config(&self, app_id: &str, url: &str) -> Result<JsConfig, Error> {
        if !["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(Error::invalid_url());
        }
        let url = url.split('#').next().unwrap_or(url);
        let ticket = self
            .credentials(app_id)?
            .credential(CredentialKind::JsapiTicket)
            .get()
            .await?;
        let nonce_str = Hex::from(rand::random::<[u8; 16]>()).text();
        let timestamp = self.0.keeper.clock().wall().seconds().0;
        let signature =
            signature::jsapi(ticket.value().expose_secret(), &nonce_str, timestamp, url).text();
        Ok(JsConfig {
            app_id: app_id.to_owned(),
            timestamp,
            nonce_str,
            signature,
        })
    }

    /// Stops renewing ahead, lets running renewals end and the store finish. What is asked for
    /// afterwards is answered as long as it is at hand.
    pub async fn close(&self) {
        self.0.stop.send_replace(true);
        let ahead = self
            .0
            .ahead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ahead) = ahead {
            // It only fails when the task is gone, which is what is waited for.
            ahead.await.ok();
        }
        self.0.keeper.close(self.0.grace).await;
    }

    pub(crate) async fn start(parts: Parts) -> Result<Self, Error> {
        // Where the program has chosen before, this changes nothing.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let clock = clock::Clock::system();
        let wechat = WechatClient::new(parts.hosts, parts.timeout)?;
        let store = store::open(&parts.store, &clock).await?;
        let keeper = Keeper::new(parts.accounts, store, wechat, clock, parts.keep);
        let (stop, stopped) = watch::channel(false);
        let ahead = Mutex::new(Some(tokio::spawn(keeper.run(stopped))));
        Ok(Self(Arc::new(Running {
            keeper,
            stop,
            ahead,
            grace: parts.timeout,
        })))
    }

    fn credentials(&self, app_id: &str) -> Result<Arc<AccountCredentials>, Error> {
        self.0
            .keeper
            .credentials(app_id)
            .ok_or_else(|| Error::unknown_app(app_id))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials")
            .field(&self.0.keeper.app_ids())
            .finish()
    }
}
