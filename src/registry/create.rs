//! One more app, made while the server runs: written once, however many ask for it at how many
//! instances, and served here at once.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Registry;
use credentials::store::{Payment, StoreError, StoredApp};
use wechat::account::{AppId, AppIdError};
use wechat::crypt::{EnvelopeKey, EnvelopeKeyError};

/// Longer than a store takes to read and write an app; only a dead maker's claim gets so old.
const CLAIM: Duration = Duration::from_secs(30);

/// WeChat's consoles make secrets of 32 characters; this is what wetoken's table has room for once
/// it is widened.
const MAX_SECRET_LEN: usize = 128;

/// Source: WeChat, 填写服务器配置: a token has 3 to 32 characters.
const MAX_TOKEN_LEN: usize = 32;

/// What wetoken's table has room for in each of its other columns.
const MAX_OTHER_LEN: usize = 64;

/// An app to create.
#[derive(Clone, Debug)]
pub struct NewApp {
    /// The appid.
    pub app_id: String,
    /// The secret that fetches its tokens.
    pub secret: SecretString,
    /// The token of its message server.
    pub token: SecretString,
    /// The key that its messages are encrypted with.
    pub aes_key: Option<SecretString>,
    /// The template for sending codes to its followers.
    pub template_id: Option<String>,
    /// What is kept for other programs.
    pub payment: Payment,
}

/// Why an app was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateError {
    /// The appid is invalid.
    #[error("appid: {0}")]
    AppId(#[from] AppIdError),
    /// The key is invalid.
    #[error("aesKey: {0}")]
    AesKey(#[from] EnvelopeKeyError),
    /// A text that no console of WeChat's gives out.
    #[error("{name}: expected 1 to {longest} printable characters of ASCII")]
    Text {
        /// Which.
        name: &'static str,
        /// How long it may be.
        longest: usize,
    },
    /// A text that is kept for other programs and does not fit.
    #[error("{name}: expected at most {MAX_OTHER_LEN} printable characters")]
    Other {
        /// Which.
        name: &'static str,
    },
    /// There is one, in the settings or in the store, or it is being made right now.
    #[error("{0} already exists")]
    Exists(AppId),
    /// The store failed.
    #[error("the {} store does not answer; retry in a moment", .0.backend)]
    Store(#[from] StoreError),
    /// The work's own task ended without a result.
    #[error("the request was interrupted; check whether the app was created")]
    Lost,
}

impl Registry {
    /// Creates the app, and finishes even if the caller hangs up. When this returns, the app is
    /// served here.
    pub async fn create(&self, app: NewApp) -> Result<(), CreateError> {
        let (app_id, app) = app.proven()?;
        let registry = self.clone();
        self.0
            .runtime
            .spawn(async move { registry.create_once(app_id, app).await })
            .await
            .unwrap_or(Err(CreateError::Lost))
    }

    async fn create_once(&self, app_id: AppId, app: StoredApp) -> Result<(), CreateError> {
        let exists = || CreateError::Exists(app_id.clone());
        if self
            .state()
            .list
            .ids
            .iter()
            .any(|known| known.as_str().eq_ignore_ascii_case(app_id.as_str()))
        {
            return Err(exists());
        }
        // A store that is not shared grants every lease, so this process keeps its own list as
        // well.
        let turn = self.turn(&app_id).ok_or_else(exists)?;
        let claim = format!("jsdkd.app.{}", turn.name);
        let acquired = self
            .0
            .store
            .acquire(&claim, &self.0.owner, CLAIM, 0)
            .await
            .map_err(logged)?;
        let lease = acquired.lease.ok_or_else(exists)?;
        let made = self.write(&app_id, &app).await;
        self.0.store.release(&lease, None).await.ok();
        made?;
        tracing::info!(account.id = %app_id, "an app was created");
        let mut state = self.state();
        // A reload may have disabled these routes meanwhile; then the app only stays in the store.
        if state.list.holds_stored() {
            state.list.apps.insert(app_id, app);
            state.version += 1;
            self.publish(&mut state);
        }
        Ok(())
    }

    async fn write(&self, app_id: &AppId, app: &StoredApp) -> Result<(), CreateError> {
        // MySQL's usual collations take `WX1` for `wx1`; one app must not be written over another.
        let is_known = |known: &StoredApp| known.app_id.eq_ignore_ascii_case(app_id.as_str());
        if self
            .0
            .store
            .apps()
            .await
            .map_err(logged)?
            .iter()
            .any(is_known)
        {
            return Err(CreateError::Exists(app_id.clone()));
        }
        self.0.store.put_app(app).await.map_err(logged)
    }

    fn turn(&self, app_id: &AppId) -> Option<Turn<'_>> {
        let name = app_id.as_str().to_ascii_lowercase();
        let is_mine = self
            .0
            .making
            .send_if_modified(|making| making.insert(name.clone()));
        is_mine.then(|| Turn {
            registry: self,
            name,
        })
    }
}

/// The right of this task to make an app of that name, given back when dropped.
struct Turn<'r> {
    registry: &'r Registry,
    name: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.registry
            .0
            .making
            .send_if_modified(|making| making.remove(&self.name));
    }
}

impl NewApp {
    fn proven(self) -> Result<(AppId, StoredApp), CreateError> {
        let app_id = AppId::parse(&self.app_id)?;
        for (name, text, longest) in [
            ("secret", &self.secret, MAX_SECRET_LEN),
            ("token", &self.token, MAX_TOKEN_LEN),
        ] {
            let text = text.expose_secret();
            if text.is_empty()
                || text.len() > longest
                || !text.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return Err(CreateError::Text { name, longest });
            }
        }
        if let Some(aes_key) = &self.aes_key {
            EnvelopeKey::parse(aes_key)?;
        }
        for (name, text) in others(&self) {
            let length = text.map_or(0, |text| text.chars().count());
            if length > MAX_OTHER_LEN || text.is_some_and(|text| text.contains(char::is_control)) {
                return Err(CreateError::Other { name });
            }
        }
        let Self {
            secret,
            token,
            aes_key,
            template_id,
            payment,
            ..
        } = self;
        let app = StoredApp {
            app_id: app_id.to_string(),
            secret,
            token: Some(token),
            aes_key,
            template_id,
            payment,
        };
        Ok((app_id, app))
    }
}

/// The texts that mean nothing here, by the names that callers know.
fn others(app: &NewApp) -> [(&'static str, Option<&str>); 5] {
    let Payment {
        mchid,
        pay_key,
        sub_appid,
        sub_mchid,
    } = &app.payment;
    [
        ("wcode_template_id", app.template_id.as_deref()),
        ("mchid", mchid.as_deref()),
        ("payKey", pay_key.as_ref().map(|key| key.expose_secret())),
        ("subAppid", sub_appid.as_deref()),
        ("subMchid", sub_mchid.as_deref()),
    ]
}

/// The caller learns that the store failed, the operator why.
fn logged(error: StoreError) -> CreateError {
    tracing::warn!(%error, "an app could not be created");
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(
        app_id: &str,
        secret: &str,
        token: &str,
        aes_key: Option<&str>,
    ) -> Result<StoredApp, String> {
        let aes_key = aes_key.map(Into::into);
        let app = NewApp {
            app_id: app_id.to_owned(),
            secret: secret.into(),
            token: token.into(),
            aes_key,
            template_id: None,
            payment: Payment::default(),
        };
        app.proven()
            .map(|(_, app)| app)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_app_has_what_wechats_console_shows() {
        let key = "k".repeat(43);
        assert!(
            app(
                "wx9e02ddcc34513fd4",
                "6acb2b999177524beba3d97d54df2de5",
                "oTSvVuXdjx1FPi6bz",
                Some(&key)
            )
            .is_ok()
        );
        for (refused, words) in [
            (app("weblogin", "s", "t", None), "appid: this word"),
            (
                app("wx 1", "s", "t", None),
                "appid: expected 2 to 64 characters",
            ),
            (app("wx1", "", "t", None), "secret: expected 1 to 128"),
            (app("wx1", "s s", "t", None), "secret: expected 1 to 128"),
            (
                app("wx1", "s", &"t".repeat(33), None),
                "token: expected 1 to 32",
            ),
            (app("wx1", "s", "t\u{0}", None), "token: expected 1 to 32"),
            (
                app("wx1", "s", "t", Some("short-key")),
                "aesKey: expected the 43 characters",
            ),
        ] {
            let told = refused.expect_err(words);
            assert!(
                told.starts_with(words) && !told.contains("short-key"),
                "{told}"
            );
        }
    }
}
