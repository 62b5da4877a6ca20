//! The keeper for programs that keep their credentials themselves: the public API of the library.
//! It uses the same settings, stores and keeper as the server, and exposes none of their types.
//!
//! `builder` has the options, this file the operations, `value` the results, and `error` the
//! errors. The crate `sandbox` is for its users' tests.

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

/// Keeps some accounts' credentials; cheap to clone. It renews them ahead on the tokio runtime that
/// it was started on, until the last clone is dropped.
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

    /// Returns one of the three kinds. Usually it is cached; otherwise it is read from the store or
    /// fetched, once for all callers, within the timeout. A slower renewal continues without its
    /// caller.
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

    /// Reports that WeChat refused this value (40001, 40014, 42001). Renews it if it is still
    /// current; otherwise returns the current one. All callers share one renewal. There is at most
    /// one in 30 s and a quota per day; beyond these the current value is returned.
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

    /// Stops renewing ahead, and waits for running renewals and the store. Afterwards only cached
    /// values are returned.
    pub async fn close(&self) {
        self.0.stop.send_replace(true);
        let ahead = self
            .0
            .ahead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ahead) = ahead {
            // Fails only if the task has ended, which is fine.
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
        let keeper = Keeper::new(
            parts.accounts,
            wechat,
            crate::engine::Parts::new(store, clock, parts.keep),
        );
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
