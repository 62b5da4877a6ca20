//! Who may query credentials from outside, and the proof of it: `Realms`, and a `SignedQuery` that
//! becomes a `VerifiedQuery`. Pure: the time and the request are arguments; it knows nothing of
//! HTTP or of stores.

pub mod presets;
mod query;
pub mod scope;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::counters::RealmUse;
use crate::ip_allowlist::TrustedProxies;
use clock::{UnixMillis, UnixSeconds};
use scope::GatewayScope;
use wechat::account::AppId;
use wechat::credential::CredentialKind;
use wechat::signature;

pub use self::query::{SignedQuery, VerifiedQuery};

/// How far a `ts` may be from our clock, either way.
const TOLERANCE_MS: u64 = 5 * 60 * 1000;

/// Stands in for the secret of a realm that does not exist, so that the answer takes as long. No
/// signature under it is ever accepted.
const NO_SECRET: &str = "no realm has this secret";

/// One application outside that may query credentials, and call WeChat through the gateway.
#[derive(Clone, Debug)]
pub struct Realm {
    /// Its name, sent as `realm`.
    pub key: String,
    /// What its queries are signed with, and its virtual AppSecret at the gateway: one, or two
    /// while it is being changed, the newest first.
    pub secrets: Vec<SecretString>,
    /// The apps it may ask for; `None` = all.
    pub apps: Option<BTreeSet<AppId>>,
    /// The WeCom applications it may call for: agentids by corpid.
    pub agents: BTreeMap<AppId, BTreeSet<String>>,
    /// Which signatures it accepts.
    pub algorithm: Algorithm,
    /// What it may call through the gateway; `None` = the gateway is closed to it.
    pub gateway: Option<GatewayScope>,
    /// Which credentials a query may return; `None` = all.
    pub keys: Option<BTreeSet<CredentialKind>>,
    /// How many calls a minute it may make through the gateway of one instance.
    pub per_minute: Option<u32>,
    /// From where it may call; `None` = from everywhere.
    pub networks: Option<TrustedProxies>,
    /// When its access ends: the midnight, UTC, after its last day.
    pub until: Option<UnixSeconds>,
    /// Counts its queries. A reload of the settings keeps it.
    pub queries: Arc<RealmUse>,
}

impl Realm {
    /// A realm without restrictions and without the gateway.
    pub fn new(key: impl Into<String>, secret: SecretString) -> Self {
        Self {
            key: key.into(),
            secrets: vec![secret],
            apps: None,
            agents: BTreeMap::new(),
            algorithm: Algorithm::Any,
            gateway: None,
            keys: None,
            per_minute: None,
            networks: None,
            until: None,
            queries: Arc::default(),
        }
    }

    /// Whether `app` is on its list of apps.
    pub fn may_ask(&self, app: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }

    /// Whether the WeCom application `agent` of `corp` is on its list of apps.
    pub fn may_ask_agent(&self, corp: &str, agent: &str) -> bool {
        self.agents
            .get(corp)
            .is_some_and(|agents| agents.contains(agent))
    }

    /// Whether a query may return this kind of credential.
    pub fn may_have(&self, kind: CredentialKind) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(&kind))
    }

    /// Whether its last day is over.
    pub fn is_over(&self, now: UnixSeconds) -> bool {
        self.until.is_some_and(|end| now >= end)
    }

    /// Whether it may call from `address`; `None` is an address that cannot be told.
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        self.networks
            .as_ref()
            .is_none_or(|networks| address.is_some_and(|address| networks.contains(address)))
    }
}

/// The signatures that a realm accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// Version 1 (md5) and version 2.
    #[default]
    Any,
    /// Version 2 alone.
    HmacSha256,
}

/// The signatures that a route accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accept {
    /// Version 1 or 2: `/jsapi/{appid}/query` alone.
    AnyVersion,
    /// Version 2, which binds method, address and body.
    V2Only,
}

/// Why a signed request was not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RealmError {
    /// Unknown realm, missing field or wrong signature: one and the same, so that nobody learns
    /// which realms exist.
    #[error("unknown realm or wrong signature")]
    Unauthorized,
    /// The signature is right, but `ts` is more than five minutes from our clock.
    #[error("ts is more than five minutes away from the server's clock, which shows {now}")]
    Expired {
        /// Our time.
        now: UnixMillis,
    },
    /// The realm is known and the signature right, but this app is not on its list.
    #[error("this realm may not ask for this app")]
    NotItsApp,
    /// The realm is known and the signature right, but `keys` does not list what is asked for.
    #[error("this realm may not have the {}", .0.name())]
    NotItsKey(CredentialKind),
    /// The realm is known and the signature right, but the caller's address is not in its
    /// `networks`.
    #[error("this realm may not ask from this address")]
    NotFromThere,
    /// The realm is known and the signature right, but its last day is over.
    #[error("this realm's last day is over")]
    Over,
    /// A parameter that must be unique occurs twice.
    #[error("the parameter {0:?} is given more than once")]
    Repeated(&'static str),
}

impl RealmError {
    /// Whether the realm proved itself, and may not do this.
    pub fn is_forbidden(self) -> bool {
        matches!(
            self,
            Self::NotItsApp | Self::NotItsKey(_) | Self::NotFromThere
        )
    }

    /// What to change in the settings so that the realm may do what it was refused.
    pub fn cure(self) -> &'static str {
        match self {
            Self::NotItsKey(_) => "add the name of this credential to the realm's keys",
            Self::NotFromThere => "add the caller's address to the realm's networks",
            _ => "add the app to the realm's list of apps",
        }
    }
}

/// The parts of a request that a signature can cover, all as they were sent.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The path, byte for byte.
    pub path: &'a str,
    /// What followed the `?`, still encoded.
    pub raw_query: &'a str,
    /// The body; empty when there was none.
    pub body: &'a [u8],
}

/// All realms, found by key in one hash.
#[derive(Clone, Debug, Default)]
pub struct Realms {
    by_key: HashMap<String, Realm>,
    /// The most secrets that one realm has: so many are tried for every wrong signature, so that
    /// all refusals take equally long.
    most_secrets: usize,
}

impl FromIterator<Realm> for Realms {
    /// Of two realms with one key the later stays; whoever reads settings refuses such a pair
    /// before.
    fn from_iter<T: IntoIterator<Item = Realm>>(realms: T) -> Self {
        let by_key: HashMap<_, _> = realms
            .into_iter()
            .map(|realm| (realm.key.clone(), realm))
            .collect();
        let most_secrets = by_key
            .values()
            .map(|realm| realm.secrets.len())
            .max()
            .unwrap_or(1);
        Self {
            by_key,
            most_secrets,
        }
    }
}

impl Realms {
    /// The realm of that key.
    pub fn get(&self, key: &str) -> Option<&Realm> {
        self.by_key.get(key)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Realm> {
        self.by_key.values()
    }

    /// Takes over the counters of the realms that were there before.
    pub fn keep_counters_of(&mut self, before: &Self) {
        for (key, realm) in &mut self.by_key {
            if let Some(before) = before.get(key) {
                realm.queries = Arc::clone(&before.queries);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nobody may query.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Believes `request` when a realm of ours signed it, just now, from where it may, for an app
    /// of its own. The signature is judged first: only who holds the secret learns anything more.
    /// `from` is asked only for a realm that is bound to networks.
    pub fn verify<'a>(
        &self,
        request: &SignedRequest<'a>,
        app: &str,
        from: impl FnOnce() -> Option<IpAddr>,
        now: UnixMillis,
        accept: Accept,
    ) -> Result<(&Realm, VerifiedQuery<'a>), RealmError> {
        let (realm, query) = self.signed(request, from, now, accept)?;
        if realm.may_ask(app) {
            Ok((realm, query))
        } else {
            Err(RealmError::NotItsApp)
        }
    }

    /// The realm that signed `request` just now, for a caller that checks [`Realm::may_ask`]
    /// itself.
    pub fn signed<'a>(
        &self,
        request: &SignedRequest<'a>,
        from: impl FnOnce() -> Option<IpAddr>,
        now: UnixMillis,
        accept: Accept,
    ) -> Result<(&Realm, VerifiedQuery<'a>), RealmError> {
        let query = SignedQuery::parse(request.raw_query)?;
        let realm = self
            .authenticate(&query, request, accept)
            .ok_or(RealmError::Unauthorized)?;
        if realm.is_over(now.seconds()) {
            return Err(RealmError::Over);
        }
        if query
            .get("ts")
            .and_then(parse_ts)
            .is_none_or(|ts| ts.0.abs_diff(now.0) > TOLERANCE_MS)
        {
            return Err(RealmError::Expired { now });
        }
        if realm.networks.is_some() && !realm.admits(from()) {
            return Err(RealmError::NotFromThere);
        }
        Ok((realm, VerifiedQuery(query)))
    }

    /// The realm that signed the query. An unknown one costs the same work as a wrong signature.
    fn authenticate(
        &self,
        query: &SignedQuery<'_>,
        request: &SignedRequest<'_>,
        accept: Accept,
    ) -> Option<&Realm> {
        let (key, nonce, ts, sign) = (
            query.get("realm")?,
            query.get("nonce")?,
            query.get("ts")?,
            query.get("sign")?,
        );
        let realm = self.by_key.get(key);
        let v1_allowed = accept == Accept::AnyVersion
            && realm.is_none_or(|realm| realm.algorithm == Algorithm::Any);
        let covered = if sign.len() == 64 {
            signature::canonical_query(query.pairs())
        } else {
            String::new()
        };
        for number in 0..self.most_secrets.max(1) {
            let of_realm = realm.and_then(|realm| realm.secrets.get(number));
            let secret = of_realm.map_or(NO_SECRET, |secret| secret.expose_secret());
            let right = match sign.len() {
                32 => signature::realm_v1(key, nonce, ts, secret).matches(sign) && v1_allowed,
                64 => signature::realm_v2(
                    secret,
                    request.method,
                    request.path,
                    &covered,
                    request.body,
                )
                .matches(sign),
                _ => return None,
            };
            if right && of_realm.is_some() {
                return realm;
            }
        }
        None
    }
}

/// `ts` in milliseconds, or in seconds when it has exactly ten digits: the original's page says the
/// one and shows the other.
fn parse_ts(text: &str) -> Option<UnixMillis> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = text.parse().ok()?;
    Some(if text.len() == 10 {
        UnixSeconds(number).millis()
    } else {
        UnixMillis(number)
    })
}

#[cfg(test)]
mod tests;
