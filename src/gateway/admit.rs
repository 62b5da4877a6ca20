//! Whether a call may go on, and for whom: path, token or secret, realm, address, scope and limits,
//! in this order.

use std::net::IpAddr;

use clock::Clock;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use wechat::account::AppId;

use super::account::AccountName;
use super::query;
use super::refusal::Refusal;
use super::token::{self, TokenError};
use crate::realm::presets::{self, Handling};
use crate::realm::scope::Refusal as OutOfScope;
use crate::realm::{Realm, Realms};

/// How the caller proves who it is.
pub(super) enum Proof<'a> {
    /// A virtual token.
    Token(&'a str),
    /// A realm's secret, beside an appid.
    Secret { app_id: &'a str, secret: &'a str },
}

/// The realm and the account that `proof` names, allowed to call from `from` now. Whether the
/// account exists is not checked here.
pub(super) fn authenticate<'r>(
    realms: &'r Realms,
    proof: &Proof<'_>,
    from: Option<IpAddr>,
    clock: &Clock,
) -> Result<(&'r Realm, AccountName), Refusal> {
    let now = clock.wall().seconds();
    let (realm, account) = match proof {
        Proof::Token(token) => token::verify(realms, token, now).map_err(|error| match error {
            TokenError::Expired => Refusal::TokenExpired,
            TokenError::Invalid => Refusal::TokenInvalid,
        })?,
        Proof::Secret { app_id, secret } => {
            let realm = by_secret(realms, secret).ok_or_else(|| {
                match realms.iter().any(|realm| names(realm, app_id)) {
                    true => Refusal::SecretWrong,
                    false => Refusal::AppIdUnknown,
                }
            })?;
            let app_id = AppId::parse(app_id).map_err(|_| Refusal::AppIdUnknown)?;
            (realm, AccountName::App(app_id))
        }
    };
    let may_use = match &account {
        AccountName::App(app_id) => realm
            .apps
            .as_ref()
            .is_some_and(|apps| apps.contains(app_id)),
        AccountName::Agent(corp, agent) => realm.may_ask_agent(corp.as_str(), agent),
    };
    match (may_use, proof) {
        (true, _) => {}
        // The app was taken out of the realm after the token was issued.
        (false, Proof::Token(_)) => return Err(Refusal::TokenInvalid),
        (false, Proof::Secret { .. }) => return Err(Refusal::AppIdUnknown),
    }
    check_realm(realm, from, clock)?;
    Ok((realm, account))
}

/// Whether `realm` may call through the gateway, from `from`, today.
pub(super) fn check_realm(
    realm: &Realm,
    from: Option<IpAddr>,
    clock: &Clock,
) -> Result<(), Refusal> {
    if realm.gateway.is_none() {
        return Err(Refusal::NotAllowed(format!(
            "the realm {} has no gateway in the settings of jsdkd",
            realm.key
        )));
    }
    if realm.is_over(clock.wall().seconds()) {
        return Err(Refusal::RealmOver);
    }
    if !realm.admits(from) {
        let address = from.map_or("this address".to_owned(), |address| address.to_string());
        return Err(Refusal::AddressNotAllowed(format!(
            "{address} is not in networks of the realm {}",
            realm.key
        )));
    }
    Ok(())
}

/// Whether the scope of `realm` contains `path`.
pub(super) fn check_scope(realm: &Realm, path: &str) -> Result<(), Refusal> {
    let Some(reason) = realm.gateway.as_ref().and_then(|scope| scope.refusal(path)) else {
        return Ok(());
    };
    let rule = match reason {
        OutOfScope::Denied(rule) => format!("{rule} in its deny takes {path} away"),
        OutOfScope::NotAllowed => format!("nothing in its gateway allows {path}"),
        OutOfScope::OnlyByName => {
            format!("{path} must be named in its gateway, no preset contains it")
        }
    };
    Err(Refusal::NotAllowed(format!("realm {}: {rule}", realm.key)))
}

/// The realm whose virtual secret `secret` is. Every secret is compared, so that the time tells
/// nothing.
pub(super) fn by_secret<'r>(realms: &'r Realms, secret: &str) -> Option<&'r Realm> {
    let is_it = |known: &SecretString| {
        bool::from(known.expose_secret().as_bytes().ct_eq(secret.as_bytes()))
    };
    let mut found = None;
    for realm in realms.iter() {
        let has_it = realm
            .secrets
            .iter()
            .fold(false, |found, known| found | is_it(known));
        if has_it && (found.is_none() || realm.gateway.is_some()) {
            found = Some(realm);
        }
    }
    found
}

/// Whether a gateway realm names the account, so that a wrong secret is the only fault.
fn names(realm: &Realm, id: &str) -> bool {
    realm.gateway.is_some()
        && (realm.apps.as_ref().is_some_and(|apps| apps.contains(id))
            || realm.agents.contains_key(id))
}

/// The one `access_token` of `query`.
pub(super) fn only_token(query: &[u8]) -> Result<&[u8], Refusal> {
    let mut tokens = query::values(query, "access_token");
    match (tokens.next(), tokens.next()) {
        (Some(token), None) if !token.is_empty() => Ok(token),
        _ => Err(Refusal::TokenMissing),
    }
}

/// How `path` is handled.
pub(super) fn handling(path: &str) -> Handling {
    presets::find(path.trim_end_matches('/')).map_or(Handling::Call, |row| row.handling)
}
