//! Decides whether a signed request may have what it asks for: a realm's signature, its time, its
//! address and its apps. `SignedQuery` becomes a `VerifiedQuery`. Time and request are arguments.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::error::RealmError;
use super::query::{SignedQuery, VerifiedQuery};
use super::{Algorithm, Realm};
use clock::{UnixMillis, UnixSeconds};
use wechat::signature;

/// The maximum difference between a `ts` and our clock, in either direction.
const TOLERANCE_MS: u64 = 5 * 60 * 1000;

/// Used in place of an unknown realm's secret, so that the answer takes equally long. A signature
/// made with it is never accepted.
pub(super) const NO_SECRET: &str = "no realm has this secret";

/// The signature versions that a route accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accept {
    /// Version 1 or 2: only on `/jsapi/{appid}/query`.
    AnyVersion,
    /// Version 2, which covers method, path and body.
    V2Only,
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
            .ts
            .as_deref()
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
            query.realm.as_deref()?,
            query.nonce.as_deref()?,
            query.ts.as_deref()?,
            query.sign.as_deref()?,
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
