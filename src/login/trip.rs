//! Web OAuth login (网页授权). A record is created at departure and used once, when the same browser
//! returns. The site then exchanges a one-time ticket for the user.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::departure::{Departure, Mode};
use super::exchange::Begun;
use super::limits::Key;
use super::records::Found;
use super::refusals::print;
use super::{Failure, LOOK_EVERY, LoginError, Logins, SETTLED_LIFE};
use crate::oauth::{OauthPolicy, Redirect, Scope};
use wechat::account::Account;
use wechat::signature::{fingerprint, is_id, random_id};

/// How long a visitor has to return from WeChat.
const TRIP_LIFE: Duration = Duration::from_secs(10 * 60);

/// The parameters of an arrival.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The account in the address.
    pub account: Account,
    /// The account's current policy; it may have changed since the departure.
    pub policy: OauthPolicy,
    /// The id of the trip, which WeChat calls `state`.
    pub state: String,
    /// WeChat's code; none when the visitor refused.
    pub code: Option<String>,
    /// The browser's cookie from the departure.
    pub browser: Option<String>,
    /// The caller's address.
    pub from: Option<IpAddr>,
}

/// The result of an arrival.
#[derive(Clone, Debug)]
pub enum Arrived {
    /// Redirect to the site.
    To(String),
    /// The trip is unknown, finished, expired or another browser's; nothing was consumed. If the
    /// record still exists, this is its return address. It includes the site's `state` only for the
    /// trip's own browser.
    Unknown(Option<Departure>),
    /// The login failed; the visitor can start again.
    Failed(Failure, Departure),
}

/// The stored record of a trip.
#[derive(Clone, Serialize, Deserialize)]
struct Trip {
    app: String,
    redirect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    mode: Mode,
    scope: String,
    /// The fingerprint of the cookie that binds the trip to its browser.
    browser: String,
    /// The arrival in progress, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<Begun>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// How a trip ended, kept to answer repeated requests.
#[derive(Clone, Serialize, Deserialize)]
struct End {
    /// The fingerprint of the code that was brought.
    code: String,
    result: Result<String, Failure>,
}

impl Logins {
    /// Records a departure from `browser` and returns the trip's id. `from` is the client's
    /// address.
    pub async fn depart(
        &self,
        departure: Departure,
        browser: &str,
        from: Option<IpAddr>,
    ) -> Result<String, LoginError> {
        let trip = Trip {
            app: departure.app_id,
            redirect: departure.redirect.to_string(),
            state: departure.state,
            mode: departure.mode,
            scope: departure.scope.name().to_owned(),
            browser: fingerprint(browser).text(),
            begun: None,
            end: None,
        };
        self.finish(async move |logins| {
            let id = random_id();
            logins
                .admit(Key::Trip(Key::number(&id)), from, TRIP_LIFE)
                .await?;
            logins
                .0
                .records
                .put(&trip_key(&id), &trip, logins.after(TRIP_LIFE))
                .await?;
            Ok(id)
        })
        .await
    }

    /// Completes a trip. The first arrival of its browser exchanges the code. A repeat with the
    /// same code within a minute gets the same result.
    pub async fn arrive(&self, stop: Stop) -> Result<Arrived, LoginError> {
        self.0
            .arrivals
            .join(self, print(&stop.question()), |logins| async move {
                logins.arrived(&stop).await
            })
            .await
    }

    /// Returns the result of [`Logins::arrive`] if this process has already refused the same
    /// arrival.
    pub fn refused_arrival(&self, stop: &Stop) -> Option<Arrived> {
        self.0.refused_arrivals.recall(&stop.question())
    }

    /// True if [`Logins::arrive`] would find the trip. Consumes nothing.
    pub async fn is_expected(&self, stop: Stop) -> Result<bool, LoginError> {
        self.finish(async move |logins| Ok(logins.trip(&stop).await?.is_some()))
            .await
    }

    /// Redeems a ticket of this account and returns its user. Works once.
    pub async fn redeem(
        &self,
        app_id: &str,
        ticket: &str,
    ) -> Result<Option<Map<String, Value>>, LoginError> {
        if !is_id(ticket) {
            return Ok(None);
        }
        let key = ticket_key(app_id, ticket);
        self.finish(async move |logins| Ok(logins.0.records.take(&key).await?))
            .await
    }

    /// True if the ticket could be redeemed. Consumes nothing.
    pub async fn is_redeemable(&self, app_id: &str, ticket: &str) -> Result<bool, LoginError> {
        if !is_id(ticket) {
            return Ok(false);
        }
        let key = ticket_key(app_id, ticket);
        self.finish(async move |logins| {
            Ok(logins
                .0
                .records
                .get::<Map<String, Value>>(&key)
                .await?
                .is_some())
        })
        .await
    }

    async fn arrived(&self, stop: &Stop) -> Result<Arrived, LoginError> {
        let (clock, code) = (
            &self.0.clock,
            fingerprint(stop.code.as_deref().unwrap_or_default()).text(),
        );
        let (give_up, mut is_counted) = (clock.steady().plus(self.exchange_patience()), false);
        loop {
            let Some(found) = self.recorded(stop).await? else {
                return Ok(Arrived::Unknown(None));
            };
            let trip = found.record.clone();
            // The site may have been removed from the list since the departure.
            let Ok(redirect) = stop.policy.admit(&trip.redirect) else {
                return Ok(Arrived::Unknown(None));
            };
            if !stop.is_of_browser(&trip) {
                return Ok(Arrived::Unknown(Some(
                    Trip {
                        state: None,
                        ..trip
                    }
                    .departure(redirect),
                )));
            }
            let end = match (&trip.end, &trip.begun) {
                (Some(end), _) => end.clone(),
                // The same state with another code is a different arrival.
                (None, Some(begun)) if !begun.is_of(&code) => {
                    return Ok(Arrived::Unknown(Some(trip.clone().departure(redirect))));
                }
                (None, Some(begun)) if begun.is_lost(clock.wall()) || clock.steady() >= give_up => {
                    End {
                        code: code.clone(),
                        result: Err(Failure::TimedOut),
                    }
                }
                // Another instance is processing this arrival.
                (None, Some(_)) => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
                (None, None) => {
                    if !is_counted && trip.mode == Mode::Login && stop.code.is_some() {
                        self.count_exchange(stop.from).await?;
                        is_counted = true;
                    }
                    let begun = Trip {
                        begun: Some(Begun::new(&code, clock.wall())),
                        ..trip.clone()
                    };
                    if !self
                        .0
                        .records
                        .replace(&trip_key(&stop.state), &found, &begun)
                        .await?
                    {
                        continue;
                    }
                    self.end(stop, begun, &redirect, code.clone()).await?
                }
            };
            return Ok(match end {
                End { code: brought, .. } if brought != code => {
                    Arrived::Unknown(Some(trip.departure(redirect)))
                }
                End {
                    result: Ok(address),
                    ..
                } => Arrived::To(address),
                End {
                    result: Err(failure),
                    ..
                } => {
                    let failed = Arrived::Failed(failure, trip.departure(redirect));
                    self.0
                        .refused_arrivals
                        .remember(&stop.question(), failed.clone());
                    failed
                }
            });
        }
    }

    /// Returns the trip of `stop` if account and browser match.
    async fn trip(&self, stop: &Stop) -> Result<Option<Found<Trip>>, LoginError> {
        Ok(self
            .recorded(stop)
            .await?
            .filter(|found| stop.is_of_browser(&found.record)))
    }

    /// Like the above, for any browser.
    async fn recorded(&self, stop: &Stop) -> Result<Option<Found<Trip>>, LoginError> {
        if !is_id(&stop.state) {
            return Ok(None);
        }
        let found = self.0.records.get::<Trip>(&trip_key(&stop.state)).await?;
        Ok(found.filter(|found| found.record.app == stop.account.app_id.as_str()))
    }

    /// Processes the arrival and stores the outcome.
    async fn end(
        &self,
        stop: &Stop,
        mut trip: Trip,
        redirect: &Redirect,
        code: String,
    ) -> Result<End, LoginError> {
        let mut pairs = Vec::new();
        let ticket;
        match (stop.code.as_deref(), trip.mode) {
            (None, _) => pairs.push(("error", "access_denied")),
            (Some(brought), Mode::Relay) => pairs.push(("code", brought)),
            (Some(brought), Mode::Login) => match self.visitor(&stop.account, brought).await {
                Ok(visitor) => {
                    ticket = random_id();
                    let key = ticket_key(&trip.app, &ticket);
                    self.0
                        .records
                        .put(&key, &visitor.user, self.after(SETTLED_LIFE))
                        .await?;
                    pairs.push(("ticket", &ticket));
                }
                Err(Failure::Snapshot) => pairs.push(("error", "snapshot_user")),
                Err(failure) => {
                    return self
                        .remember(
                            stop,
                            trip,
                            End {
                                code,
                                result: Err(failure),
                            },
                        )
                        .await;
                }
            },
        }
        let state = trip.state.take();
        if let Some(state) = &state {
            pairs.push(("state", state));
        }
        let address = redirect.with(&trip.mode.names(), &pairs);
        self.remember(
            stop,
            Trip { state, ..trip },
            End {
                code,
                result: Ok(address),
            },
        )
        .await
    }

    async fn remember(&self, stop: &Stop, trip: Trip, end: End) -> Result<End, LoginError> {
        let settled = Trip {
            end: Some(end.clone()),
            ..trip
        };
        self.0
            .records
            .put(&trip_key(&stop.state), &settled, self.after(SETTLED_LIFE))
            .await?;
        self.0
            .limits
            .settle(Key::Trip(Key::number(&stop.state)), SETTLED_LIFE);
        Ok(end)
    }

    /// Deletes the trip unless its visitor has returned.
    pub(super) async fn give_up_trip(&self, id: &str) -> Result<bool, LoginError> {
        let found = self.0.records.get::<Trip>(&trip_key(id)).await?;
        if found.is_some_and(|found| found.record.begun.is_some() || found.record.end.is_some()) {
            return Ok(false);
        }
        self.0.records.take::<Trip>(&trip_key(id)).await?;
        Ok(true)
    }
}

impl Stop {
    /// The key for deduplicating identical arrivals.
    fn question(&self) -> [&str; 4] {
        let [code, browser] =
            [&self.code, &self.browser].map(|text| text.as_deref().unwrap_or_default());
        [self.account.app_id.as_str(), &self.state, code, browser]
    }
}

impl Stop {
    /// True if the trip began in the returning browser.
    fn is_of_browser(&self, trip: &Trip) -> bool {
        self.browser
            .as_deref()
            .is_some_and(|browser| fingerprint(browser).matches(&trip.browser))
    }
}

impl Trip {
    fn departure(self, redirect: Redirect) -> Departure {
        let scope = Scope::from_name(&self.scope).unwrap_or_default();
        Departure {
            app_id: self.app,
            redirect,
            state: self.state,
            mode: self.mode,
            scope,
        }
    }
}

fn trip_key(id: &str) -> String {
    format!("oauth.trip.{id}")
}

/// The key includes the account, so a ticket is valid for one account only.
fn ticket_key(app_id: &str, ticket: &str) -> String {
    format!("oauth.ticket.{app_id}.{ticket}")
}
