//! One visitor's trip to WeChat and back (网页授权): the record that is made at departure, used once at the arrival of the same
//! browser, and the one-time ticket by which a site learns who came.

use std::iter;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Failure, LOOK_EVERY, LoginError, Logins, SETTLED_LIFE};
use crate::account::Account;
use crate::oauth::{OauthPolicy, Redirect, Scope};
use crate::signature::{fingerprint, is_id, random_id};

/// How long a visitor may stay with WeChat.
const TRIP_LIFE: Duration = Duration::from_secs(10 * 60);

/// Room for WeChat's code, which today has 32 characters.
const LONGEST_CODE: usize = 128;

/// What a site gets back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A ticket, for which its back end gets the user from us.
    #[default]
    Login,
    /// WeChat's own code, which its back end exchanges by itself.
    Relay,
}

impl Mode {
    /// The names that this mode writes into the query of the address it returns to.
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::Login => ["ticket", "state", "error"],
            Self::Relay => ["code", "state", "error"],
        }
    }
}

/// What a visitor sets out with.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The account that asks.
    pub app_id: String,
    /// Where the visitor returns to.
    pub redirect: Redirect,
    /// The site's own state, which comes back to it.
    pub state: Option<String>,
    /// What the site gets back.
    pub mode: Mode,
    /// What the visitor is asked for.
    pub scope: Scope,
}

impl Departure {
    /// Length in bytes of the longest address that this trip can return to.
    pub fn longest_return(&self) -> usize {
        let answer = match self.mode {
            Mode::Login => random_id(),
            Mode::Relay => "0".repeat(LONGEST_CODE),
        };
        let [word, state, _] = self.mode.names();
        let pairs: Vec<_> = iter::once((word, answer.as_str())).chain(self.state.as_deref().map(|own| (state, own))).collect();
        // Longer than any that tells of an error.
        self.redirect.with(&self.mode.names(), &pairs).len()
    }
}

/// What a visitor comes back with.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The account in the address.
    pub account: Account,
    /// Its policy now, which may have changed since the departure.
    pub policy: OauthPolicy,
    /// The id of the trip, which WeChat calls `state`.
    pub state: String,
    /// WeChat's code; none when the visitor refused.
    pub code: Option<String>,
    /// What the browser was given at departure.
    pub browser: Option<String>,
}

/// Where an arrival leads.
#[derive(Clone, Debug)]
pub enum Arrived {
    /// On to the site.
    To(String),
    /// The trip is unknown, over, too old, or another browser's. Nothing was used up. If its record is still there, this is where it
    /// began; without the site's `state` unless this is the trip's own browser, to which alone the site gave it.
    Unknown(Option<Departure>),
    /// No login came of it; the departure can be repeated.
    Failed(Failure, Departure),
}

/// A trip as it rests in the store.
#[derive(Clone, Serialize, Deserialize)]
struct Trip {
    app: String,
    redirect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    mode: Mode,
    scope: String,
    /// The fingerprint of what binds it to its browser.
    browser: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// How a trip ended, for the browser that asks twice.
#[derive(Clone, Serialize, Deserialize)]
struct End {
    /// The fingerprint of the code that was brought.
    code: String,
    result: Result<String, Failure>,
}

impl Logins {
    /// Records a departure from `browser` and returns the id of the trip. `from` is the caller's address.
    pub async fn depart(&self, departure: Departure, browser: &str, from: Option<IpAddr>) -> Result<String, LoginError> {
        let trip = Trip {
            app: departure.app_id,
            redirect: departure.redirect.to_string(),
            state: departure.state,
            mode: departure.mode,
            scope: departure.scope.name().to_owned(),
            browser: fingerprint(browser).text(),
            end: None,
        };
        self.finish(async move |logins| {
            logins.admit(from, TRIP_LIFE).await?;
            let id = random_id();
            logins.0.records.put(&trip_key(&id), &trip, logins.after(TRIP_LIFE)).await?;
            Ok(id)
        })
        .await
    }

    /// Ends a trip: the first arrival of its browser exchanges the code, whoever brings the same code within a minute gets the same.
    pub async fn arrive(&self, stop: Stop) -> Result<Arrived, LoginError> {
        self.finish(async move |logins| logins.arrived(&stop).await).await
    }

    /// Whether [`Logins::arrive`] would know the trip; uses nothing up.
    pub async fn is_expected(&self, stop: Stop) -> Result<bool, LoginError> {
        self.finish(async move |logins| Ok(logins.trip(&stop).await?.is_some())).await
    }

    /// The user behind a ticket of this account, once.
    pub async fn redeem(&self, app_id: &str, ticket: &str) -> Result<Option<Map<String, Value>>, LoginError> {
        if !is_id(ticket) {
            return Ok(None);
        }
        let key = ticket_key(app_id, ticket);
        self.finish(async move |logins| Ok(logins.0.records.take(&key).await?)).await
    }

    /// Whether a ticket could be redeemed.
    pub async fn is_redeemable(&self, app_id: &str, ticket: &str) -> Result<bool, LoginError> {
        if !is_id(ticket) {
            return Ok(false);
        }
        let key = ticket_key(app_id, ticket);
        self.finish(async move |logins| Ok(logins.0.records.get::<Map<String, Value>>(&key).await?.is_some())).await
    }

    async fn arrived(&self, stop: &Stop) -> Result<Arrived, LoginError> {
        let Some((trip, left)) = self.recorded(stop).await? else { return Ok(Arrived::Unknown(None)) };
        // A site that was taken off the list since gets no visitor any more.
        let Ok(redirect) = stop.policy.admit(&trip.redirect) else { return Ok(Arrived::Unknown(None)) };
        if !stop.is_of_browser(&trip) {
            return Ok(Arrived::Unknown(Some(Trip { state: None, ..trip }.departure(redirect))));
        }
        let code = fingerprint(stop.code.as_deref().unwrap_or_default()).text();
        let end = if let Some(end) = trip.end.clone() {
            Some(end)
        } else if self.0.records.is_first(&trip_key(&stop.state), TRIP_LIFE + SETTLED_LIFE).await? {
            Some(self.end(stop, trip.clone(), &redirect, code.clone(), left).await?)
        } else {
            self.end_of_another(stop).await?
        };
        Ok(match end {
            // The same state with another code is no repetition.
            Some(end) if end.code != code => Arrived::Unknown(Some(trip.departure(redirect))),
            None => Arrived::Unknown(Some(trip.departure(redirect))),
            Some(End { result: Ok(address), .. }) => Arrived::To(address),
            Some(End { result: Err(failure), .. }) => Arrived::Failed(failure, trip.departure(redirect)),
        })
    }

    /// The trip that `stop` belongs to and the time it has left, if it is this account's and this browser's.
    async fn trip(&self, stop: &Stop) -> Result<Option<(Trip, Duration)>, LoginError> {
        Ok(self.recorded(stop).await?.filter(|(trip, _)| stop.is_of_browser(trip)))
    }

    /// The same for a trip of any browser.
    async fn recorded(&self, stop: &Stop) -> Result<Option<(Trip, Duration)>, LoginError> {
        if !is_id(&stop.state) {
            return Ok(None);
        }
        let Some((trip, end)) = self.0.records.get::<Trip>(&trip_key(&stop.state)).await? else { return Ok(None) };
        let is_its_own = trip.app == stop.account.app_id.as_str();
        Ok(is_its_own.then_some((trip, self.0.records.left(end))))
    }

    /// Does what the arrival is for, and remembers how it ended.
    async fn end(&self, stop: &Stop, mut trip: Trip, redirect: &Redirect, code: String, left: Duration) -> Result<End, LoginError> {
        let mut pairs = Vec::new();
        let ticket;
        match (stop.code.as_deref(), trip.mode) {
            (None, _) => pairs.push(("error", "access_denied")),
            (Some(brought), Mode::Relay) => pairs.push(("code", brought)),
            (Some(brought), Mode::Login) => match self.visitor(&stop.account, brought).await {
                Ok(visitor) => {
                    ticket = random_id();
                    let key = ticket_key(&trip.app, &ticket);
                    self.0.records.put(&key, &visitor.user, self.after(SETTLED_LIFE)).await?;
                    pairs.push(("ticket", &ticket));
                }
                Err(Failure::Snapshot) => pairs.push(("error", "snapshot_user")),
                Err(failure) => return self.remember(stop, trip, End { code, result: Err(failure) }, left).await,
            },
        }
        let state = trip.state.take();
        if let Some(state) = &state {
            pairs.push(("state", state));
        }
        let address = redirect.with(&trip.mode.names(), &pairs);
        self.remember(stop, Trip { state, ..trip }, End { code, result: Ok(address) }, left).await
    }

    async fn remember(&self, stop: &Stop, trip: Trip, end: End, left: Duration) -> Result<End, LoginError> {
        let settled = Trip { end: Some(end.clone()), ..trip };
        self.0.records.put(&trip_key(&stop.state), &settled, self.after(SETTLED_LIFE)).await?;
        self.0.limits.settle(left, SETTLED_LIFE);
        Ok(end)
    }

    /// The end that another arrival of the same trip is about to bring about.
    async fn end_of_another(&self, stop: &Stop) -> Result<Option<End>, LoginError> {
        let give_up = self.0.clock.steady().plus(self.0.wechat.timeout());
        while self.0.clock.steady() < give_up {
            match self.trip(stop).await? {
                None => return Ok(None),
                Some((Trip { end: Some(end), .. }, _)) => return Ok(Some(end)),
                Some(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        Ok(None)
    }
}

impl Stop {
    /// Whether the trip began in the browser that comes back.
    fn is_of_browser(&self, trip: &Trip) -> bool {
        self.browser.as_deref().is_some_and(|browser| fingerprint(browser).matches(&trip.browser))
    }
}

impl Trip {
    fn departure(self, redirect: Redirect) -> Departure {
        let scope = Scope::from_name(&self.scope).unwrap_or_default();
        Departure { app_id: self.app, redirect, state: self.state, mode: self.mode, scope }
    }
}

fn trip_key(id: &str) -> String {
    format!("oauth.trip.{id}")
}

/// The account is part of the key: a ticket opens nothing at another one.
fn ticket_key(app_id: &str, ticket: &str) -> String {
    format!("oauth.ticket.{app_id}.{ticket}")
}
