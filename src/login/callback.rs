//! The return of a visitor from WeChat: the code is exchanged once, for the browser that began the
//! login.

use std::net::IpAddr;

use super::exchange::Begun;
use super::limits::Key;
use super::login_request::{LoginRequest, Mode};
use super::records::Found;
use super::redirect::{End, RedirectLogin, redirect_key};
use super::refusals::print;
use super::ticket::ticket_key;
use super::{Failure, LoginError, Logins, POLL_INTERVAL, SETTLED_LIFETIME};
use crate::oauth::{OauthPolicy, Redirect};
use wechat::account::Account;
use wechat::signature::{fingerprint, is_id, random_id};

/// The parameters of a callback.
#[derive(Clone, Debug)]
pub struct Callback {
    /// The account in the address.
    pub account: Account,
    /// The account's current policy; it may have changed since the login began.
    pub policy: OauthPolicy,
    /// The id of the login, which WeChat calls `state`.
    pub state: String,
    /// WeChat's code; none when the visitor refused.
    pub code: Option<String>,
    /// The browser's cookie, set when the login began.
    pub browser: Option<String>,
    /// The caller's address.
    pub from: Option<IpAddr>,
}

/// The result of a callback.
#[derive(Clone, Debug)]
pub enum CallbackResult {
    /// Redirect to the site.
    Return(String),
    /// The login is unknown, finished, expired or another browser's; nothing was consumed. If the
    /// record still exists, this is its return address. It includes the site's `state` only for the
    /// login's own browser.
    Unknown(Option<LoginRequest>),
    /// The login failed; the visitor can start again.
    Failed(Failure, LoginRequest),
}

impl Logins {
    /// Completes a login. The first callback of its browser exchanges the code. A repeat with the
    /// same code within a minute gets the same result.
    pub async fn handle_callback(&self, callback: Callback) -> Result<CallbackResult, LoginError> {
        self.0
            .callbacks
            .join(self, print(&callback.dedup_key()), |logins| async move {
                logins.process_callback(&callback).await
            })
            .await
    }

    /// Returns the result of [`Logins::handle_callback`] if this process has already refused the same
    /// callback.
    pub fn refused_callback(&self, callback: &Callback) -> Option<CallbackResult> {
        self.0.refused_callbacks.recall(&callback.dedup_key())
    }

    /// True if [`Logins::handle_callback`] would find the login. Consumes nothing.
    pub async fn is_expected(&self, callback: Callback) -> Result<bool, LoginError> {
        self.finish(async move |logins| Ok(logins.own_login(&callback).await?.is_some()))
            .await
    }

    async fn process_callback(&self, callback: &Callback) -> Result<CallbackResult, LoginError> {
        let (clock, code) = (
            &self.0.clock,
            fingerprint(callback.code.as_deref().unwrap_or_default()).text(),
        );
        let (give_up, mut is_counted) = (clock.steady().plus(self.exchange_patience()), false);
        loop {
            let Some(found) = self.find_login(callback).await? else {
                return Ok(CallbackResult::Unknown(None));
            };
            let login = found.record.clone();
            // The site may have been removed from the list since the login began.
            let Ok(redirect) = callback.policy.admit(&login.redirect) else {
                return Ok(CallbackResult::Unknown(None));
            };
            if !callback.is_of_browser(&login) {
                return Ok(CallbackResult::Unknown(Some(
                    RedirectLogin {
                        state: None,
                        ..login
                    }
                    .request(redirect),
                )));
            }
            let end = match (&login.end, &login.begun) {
                (Some(end), _) => end.clone(),
                // The same state with another code is a different callback.
                (None, Some(begun)) if !begun.is_of(&code) => {
                    return Ok(CallbackResult::Unknown(Some(
                        login.clone().request(redirect),
                    )));
                }
                (None, Some(begun)) if begun.is_lost(clock.wall()) || clock.steady() >= give_up => {
                    End {
                        code: code.clone(),
                        result: Err(Failure::TimedOut),
                    }
                }
                // Another instance is processing this callback.
                (None, Some(_)) => {
                    tokio::time::sleep(POLL_INTERVAL).await;
                    continue;
                }
                (None, None) => {
                    if !is_counted && login.mode == Mode::Login && callback.code.is_some() {
                        self.count_exchange(callback.from).await?;
                        is_counted = true;
                    }
                    let begun = RedirectLogin {
                        begun: Some(Begun::new(&code, clock.wall())),
                        ..login.clone()
                    };
                    if !self
                        .0
                        .records
                        .replace(&redirect_key(&callback.state), &found, &begun)
                        .await?
                    {
                        continue;
                    }
                    self.complete(callback, begun, &redirect, code.clone())
                        .await?
                }
            };
            return Ok(match end {
                End { code: brought, .. } if brought != code => {
                    CallbackResult::Unknown(Some(login.request(redirect)))
                }
                End {
                    result: Ok(address),
                    ..
                } => CallbackResult::Return(address),
                End {
                    result: Err(failure),
                    ..
                } => {
                    let failed = CallbackResult::Failed(failure, login.request(redirect));
                    self.0
                        .refused_callbacks
                        .remember(&callback.dedup_key(), failed.clone());
                    failed
                }
            });
        }
    }

    /// Returns the login of `callback` if account and browser match.
    async fn own_login(
        &self,
        callback: &Callback,
    ) -> Result<Option<Found<RedirectLogin>>, LoginError> {
        Ok(self
            .find_login(callback)
            .await?
            .filter(|found| callback.is_of_browser(&found.record)))
    }

    /// Like the above, for any browser.
    async fn find_login(
        &self,
        callback: &Callback,
    ) -> Result<Option<Found<RedirectLogin>>, LoginError> {
        if !is_id(&callback.state) {
            return Ok(None);
        }
        let found = self
            .0
            .records
            .get::<RedirectLogin>(&redirect_key(&callback.state))
            .await?;
        Ok(found.filter(|found| found.record.app == callback.account.app_id.as_str()))
    }

    /// Processes the callback and stores the outcome.
    async fn complete(
        &self,
        callback: &Callback,
        mut login: RedirectLogin,
        redirect: &Redirect,
        code: String,
    ) -> Result<End, LoginError> {
        let mut pairs = Vec::new();
        let ticket;
        match (callback.code.as_deref(), login.mode) {
            (None, _) => pairs.push(("error", "access_denied")),
            (Some(brought), Mode::Relay) => pairs.push(("code", brought)),
            (Some(brought), Mode::Login) => match self.visitor(&callback.account, brought).await {
                Ok(visitor) => {
                    ticket = random_id();
                    let key = ticket_key(&login.app, &ticket);
                    self.0
                        .records
                        .put(&key, &visitor.user, self.after(SETTLED_LIFETIME))
                        .await?;
                    pairs.push(("ticket", &ticket));
                }
                Err(Failure::Snapshot) => pairs.push(("error", "snapshot_user")),
                Err(failure) => {
                    return self
                        .remember(
                            callback,
                            login,
                            End {
                                code,
                                result: Err(failure),
                            },
                        )
                        .await;
                }
            },
        }
        let state = login.state.take();
        if let Some(state) = &state {
            pairs.push(("state", state));
        }
        let address = redirect.with(&login.mode.names(), &pairs);
        self.remember(
            callback,
            RedirectLogin { state, ..login },
            End {
                code,
                result: Ok(address),
            },
        )
        .await
    }

    async fn remember(
        &self,
        callback: &Callback,
        login: RedirectLogin,
        end: End,
    ) -> Result<End, LoginError> {
        let settled = RedirectLogin {
            end: Some(end.clone()),
            ..login
        };
        self.0
            .records
            .put(
                &redirect_key(&callback.state),
                &settled,
                self.after(SETTLED_LIFETIME),
            )
            .await?;
        self.0.limits.settle(
            Key::Redirect(Key::number(&callback.state)),
            SETTLED_LIFETIME,
        );
        Ok(end)
    }
}

impl Callback {
    /// The key for deduplicating identical callbacks.
    fn dedup_key(&self) -> [&str; 4] {
        let [code, browser] =
            [&self.code, &self.browser].map(|text| text.as_deref().unwrap_or_default());
        [self.account.app_id.as_str(), &self.state, code, browser]
    }

    /// True if the login began in the returning browser.
    fn is_of_browser(&self, login: &RedirectLogin) -> bool {
        self.browser
            .as_deref()
            .is_some_and(|browser| fingerprint(browser).matches(&login.browser))
    }
}
