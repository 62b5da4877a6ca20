//! Who may call the neighbours whose protocol has no authentication: programs in a network that the
//! settings allow. If the settings name a realm, the request must also be signed by it. Web pages
//! are refused whatever `cors` says, because any page that a person on such a network opens could
//! call with that person's address.

use actix_web::HttpRequest;

use super::browser;
use crate::http::client_ip::{self, Hidden};
use crate::http::own_host;
use crate::http::state::AppState;
use crate::realm::{Accept, RealmError, Realms, SignedRequest};
use crate::settings::CallerPolicy;
use wechat::credential::CredentialKind;

/// What a route does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// It only reads, so a person may open it in a browser.
    Reads,
    /// It changes or sends something, so browsers are refused.
    Changes,
}

/// Why a caller is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// A web page sent it.
    Page,
    /// Its `Host` is not known to be this server's.
    Host,
    /// A browser sent it, to a route that changes something.
    Browser,
    /// It came through a proxy that is not in `server.trustedProxies`.
    UntrustedProxy,
    /// The client is in none of the networks, or a proxy hides it.
    NotInNetwork,
    /// Its signature is wrong or missing.
    Signature(RealmError),
    /// Another realm than the one in the settings signed it.
    OtherRealm,
}

impl Refusal {
    /// The message for the caller; `section` is the section of the settings.
    pub(super) fn message(self, section: &str) -> String {
        match self {
            Self::Page => "requests from web pages are refused here; send the request from a program".to_owned(),
            Self::Host => {
                "this host name is not known here; use an IP address or localhost, or add the name to server.hosts in the settings".to_owned()
            }
            Self::Browser => {
                "this address changes something and refuses browsers; send the request from a program, without Origin, Referer, Cookie and a \
                              User-Agent that begins with Mozilla/"
                    .to_owned()
            }
            Self::UntrustedProxy => {
                "this request came through a proxy that is not in server.trustedProxies; add the proxy there".to_owned()
            }
            Self::NotInNetwork => format!("the caller's address is not in {section}.allow; add its network there"),
            Self::Signature(RealmError::Unauthorized) => {
                format!("unknown realm or wrong signature; sign as {section}.realm of the settings, with version 2 (HMAC-SHA256)")
            }
            Self::Signature(error) => error.to_string(),
            Self::OtherRealm => format!("another realm than {section}.realm has signed this; sign as that realm"),
        }
    }
}

/// Checks that a program in the networks of `policy` calls. [`check_signature`] checks the
/// signature, if one is required.
pub(super) fn check(
    req: &HttpRequest,
    state: &AppState,
    policy: &CallerPolicy,
    effect: Effect,
) -> Result<(), Refusal> {
    if browser::is_page(req.headers()) {
        return Err(Refusal::Page);
    }
    if !own_host::is_named(req, state) {
        return Err(Refusal::Host);
    }
    if effect == Effect::Changes && browser::is_traced(req.headers()) {
        return Err(Refusal::Browser);
    }
    match state.certain_client_ip(req.head()) {
        Ok(client) if policy.allow.contains(client) => Ok(()),
        Err(Hidden::UntrustedProxy) => Err(Refusal::UntrustedProxy),
        Ok(_) | Err(Hidden::Unnamed) => Err(Refusal::NotInNetwork),
    }
}

/// What a signed request is about: the account must be on the realm's list, and the credential
/// among its keys.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Asked<'a> {
    pub(super) app: Option<&'a str>,
    pub(super) kind: Option<CredentialKind>,
}

/// Checks that the realm of `policy` signed the request with version 2; without a realm every
/// request passes.
pub(super) fn check_signature(
    req: &HttpRequest,
    body: &[u8],
    policy: &CallerPolicy,
    realms: &Realms,
    asked: Asked<'_>,
    state: &AppState,
) -> Result<(), Refusal> {
    let Some(wanted) = &policy.realm else {
        return Ok(());
    };
    let request = SignedRequest {
        method: req.method().as_str(),
        path: req.uri().path(),
        raw_query: req.query_string(),
        body,
    };
    let from = || client_ip::named(req.head(), &state.options.trusted_proxies).ok();
    let now = state.clock().wall();
    let (realm, _) = realms
        .signed(&request, from, now, Accept::V2Only)
        .map_err(Refusal::Signature)?;
    // Seldom called, so all threads share one cell.
    realm.queries.count(0, now);
    if realm.key != *wanted {
        return Err(Refusal::OtherRealm);
    }
    if asked.app.is_some_and(|app| !realm.may_ask(app)) {
        return Err(Refusal::Signature(RealmError::NotItsApp));
    }
    match asked.kind.filter(|kind| !realm.may_have(*kind)) {
        Some(kind) => Err(Refusal::Signature(RealmError::NotItsKey(kind))),
        None => Ok(()),
    }
}
