//! Realms: who may query credentials and call the gateway, and how a signed request is verified.
//! `SignedQuery` becomes a `VerifiedQuery`. Knows no HTTP and no store; time and request are
//! arguments.

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

/// The maximum difference between a `ts` and our clock, in either direction.
const TOLERANCE_MS: u64 = 5 * 60 * 1000;

/// Used in place of an unknown realm's secret, so that the answer takes equally long. A signature
/// made with it is never accepted.
const NO_SECRET: &str = "no realm has this secret";

/// A program that may query credentials and call WeChat through the gateway.
#[derive(Clone, Debug)]
pub struct Realm {
    /// Its name, sent as `realm`.
    pub key: String,
    /// The secrets for signing queries, and its virtual AppSecrets at the gateway: one, or two
    /// during a change, the newest first.
    pub secrets: Vec<SecretString>,
    /// The apps it may query; `None` means all.
    pub apps: Option<BTreeSet<AppId>>,
    /// The WeCom applications it may query: agentids by corpid.
    pub agents: BTreeMap<AppId, BTreeSet<String>>,
    /// Which signatures it accepts.
    pub algorithm: Algorithm,
    /// What it may call through the gateway; `None` means nothing.
    pub gateway: Option<GatewayScope>,
    /// The credentials that a query may return; `None` means all.
    pub keys: Option<BTreeSet<CredentialKind>>,
    /// Maximum calls per minute through the gateway of one instance.
    pub per_minute: Option<u32>,
    /// The networks it may call from; `None` means any.
    pub networks: Option<TrustedProxies>,
    /// When its access ends: midnight UTC after its last day.
    pub until: Option<UnixSeconds>,
    /// Counts its queries. A reload of the settings keeps it.
    pub queries: Arc<RealmUse>,
}

impl Realm {
    /// Creates a realm without restrictions and without access to the gateway.
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

    /// True if it may query `app`.
    pub fn may_ask(&self, app: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }

    /// True if it may query the WeCom application `agent` of `corp`.
    pub fn may_ask_agent(&self, corp: &str, agent: &str) -> bool {
        self.agents
            .get(corp)
            .is_some_and(|agents| agents.contains(agent))
    }

    /// True if a query may return this kind of credential.
    pub fn may_have(&self, kind: CredentialKind) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(&kind))
    }

    /// True if its access has ended.
    pub fn is_over(&self, now: UnixSeconds) -> bool {
        self.until.is_some_and(|end| now >= end)
    }

    /// True if it may call from `address`; `None` is an unknown address.
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        self.networks
            .as_ref()
            .is_none_or(|networks| address.is_some_and(|address| networks.contains(address)))
    }
}

/// The signature versions that a realm accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// Version 1 (md5) and version 2.
    #[default]
    Any,
    /// Version 2 only.
    HmacSha256,
}

/// The signature versions that a route accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accept {
    /// Version 1 or 2: only on `/jsapi/{appid}/query`.
    AnyVersion,
    /// Version 2, which covers method, path and body.
    V2Only,
}

/// Why a signed request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RealmError {
    /// Unknown realm, missing field or wrong signature. One error for all, so that callers cannot
    /// probe for realms.
    #[error("unknown realm or wrong signature")]
    Unauthorized,
    /// The signature is valid, but `ts` is more than five minutes from our clock.
    #[error("ts is more than five minutes away from the server's clock, which shows {now}")]
    Expired {
        /// The server's time.
        now: UnixMillis,
    },
    /// Signed by a known realm, but this app is not in its list.
    #[error("this realm may not query this app")]
    NotItsApp,
    /// Signed by a known realm, but this credential is not in its `keys`.
    #[error("this realm may not query the {}", .0.name())]
    NotItsKey(CredentialKind),
    /// Signed by a known realm, but the caller's address is not in its `networks`.
    #[error("this realm may not call from this address")]
    NotFromThere,
    /// Signed by a known realm whose access has ended.
    #[error("this realm has expired")]
    Over,
    /// A parameter that must be unique occurs twice.
    #[error("the parameter {0:?} is given more than once")]
    Repeated(&'static str),
}

impl RealmError {
    /// True if the realm was authenticated but lacks the permission.
    pub fn is_forbidden(self) -> bool {
        matches!(
            self,
            Self::NotItsApp | Self::NotItsKey(_) | Self::NotFromThere
        )
    }

    /// The change to the settings that grants the permission.
    pub fn cure(self) -> &'static str {
        match self {
            Self::NotItsKey(_) => "add the name of this credential to the realm's keys",
            Self::NotFromThere => "add the caller's address to the realm's networks",
            _ => "add the app to the realm's list of apps",
        }
    }
}

/// The parts of a request that a signature can cover, as sent.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The path, byte for byte.
    pub path: &'a str,
    /// The query after `?`, still encoded.
    pub raw_query: &'a str,
    /// The body; empty if there is none.
    pub body: &'a [u8],
}

/// All realms by key.
#[derive(Clone, Debug, Default)]
pub struct Realms {
    by_key: HashMap<String, Realm>,
    /// The highest number of secrets of a realm. Every wrong signature is compared with that many,
    /// so that all refusals take equally long.
    most_secrets: usize,
}

impl FromIterator<Realm> for Realms {
    /// If a key occurs twice, the later realm wins; the settings reject such a pair earlier.
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
    /// Returns the realm called `key`.
    pub fn get(&self, key: &str) -> Option<&Realm> {
        self.by_key.get(key)
    }

    /// All realms, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Realm> {
        self.by_key.values()
    }

    /// Keeps the counters of the realms that existed before.
    pub fn keep_counters_of(&mut self, before: &Self) {
        for (key, realm) in &mut self.by_key {
            if let Some(before) = before.get(key) {
                realm.queries = Arc::clone(&before.queries);
            }
        }
    }

    /// The number of realms.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True if there are no realms.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Verifies `request`: signed by one of our realms, recently, from an allowed address, for an
    /// allowed app. The signature is checked first, so that only the holder of the secret learns
    /// more. `from` is called only for a realm with `networks`.
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

    /// Returns the realm that signed `request` recently, for callers that check [`Realm::may_ask`]
    /// themselves.
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

    /// Returns the realm that signed the query. An unknown realm takes as long as a wrong
    /// signature.
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

/// Parses `ts`: milliseconds, or seconds if it has exactly ten digits. The original's page states
/// the one and shows the other.
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
