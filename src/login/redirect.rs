//! Web OAuth login (网页授权). A record is created when the login begins and used once, when the same
//! browser returns (`callback`). The site then exchanges a one-time ticket for the user (`ticket`).

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exchange::Begun;
use super::limits::Key;
use super::login_request::{LoginRequest, Mode};
use super::{Failure, LoginError, Logins};
use crate::oauth::{Redirect, Scope};
use wechat::signature::{fingerprint, random_id};

/// The time in which a visitor must return from WeChat.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The stored record of a login.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RedirectLogin {
    pub(super) app: String,
    pub(super) redirect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    pub(super) mode: Mode,
    pub(super) scope: String,
    /// The fingerprint of the cookie that binds the login to its browser.
    pub(super) browser: String,
    /// The callback in progress, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<Begun>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<End>,
}

/// How a login ended, kept to answer repeated requests.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct End {
    /// The fingerprint of the code that was brought.
    pub(super) code: String,
    pub(super) result: Result<String, Failure>,
}

impl Logins {
    /// Starts a login in `browser` and returns the login's id. `from` is the client's
    /// address.
    pub async fn begin_redirect(
        &self,
        request: LoginRequest,
        browser: &str,
        from: Option<IpAddr>,
    ) -> Result<String, LoginError> {
        let login = RedirectLogin {
            app: request.app_id,
            redirect: request.redirect.to_string(),
            state: request.state,
            mode: request.mode,
            scope: request.scope.name().to_owned(),
            browser: fingerprint(browser).text(),
            begun: None,
            end: None,
        };
        self.finish(async move |logins| {
            let id = random_id();
            logins
                .admit(Key::Redirect(Key::number(&id)), from, REDIRECT_LIFETIME)
                .await?;
            logins
                .0
                .records
                .put(&redirect_key(&id), &login, logins.after(REDIRECT_LIFETIME))
                .await?;
            Ok(id)
        })
        .await
    }

    /// Deletes the login unless its visitor has returned.
    pub(super) async fn discard_redirect(&self, id: &str) -> Result<bool, LoginError> {
        let found = self
            .0
            .records
            .get::<RedirectLogin>(&redirect_key(id))
            .await?;
        if found.is_some_and(|found| found.record.begun.is_some() || found.record.end.is_some()) {
            return Ok(false);
        }
        self.0
            .records
            .take::<RedirectLogin>(&redirect_key(id))
            .await?;
        Ok(true)
    }
}

impl RedirectLogin {
    /// Returns the request that began this login.
    pub(super) fn request(self, redirect: Redirect) -> LoginRequest {
        let scope = Scope::from_name(&self.scope).unwrap_or_default();
        LoginRequest {
            app_id: self.app,
            redirect,
            state: self.state,
            mode: self.mode,
            scope,
        }
    }
}

pub(super) fn redirect_key(id: &str) -> String {
    format!("oauth.trip.{id}")
}
