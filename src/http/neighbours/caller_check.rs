//! Which callers the neighbours without signatures of their own answer: programs in a network that the settings allow, and with a realm in
//! the settings only those that also sign as that realm. Never a web page, whatever `cors` says: any page that a person on such a network
//! opens could ask in their name.

use actix_web::HttpRequest;

use super::browser;
use crate::http::caller::{self, Hidden};
use crate::http::own_host;
use crate::http::state::AppState;
use crate::realm::{Accept, RealmError, Realms, SignedRequest};
use crate::settings::CallerPolicy;
use wechat::credential::CredentialKind;

/// What an address does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// It only hands something out, so that a person may open it in a browser.
    Reads,
    /// It changes or sends something, so that no browser may ask for it.
    Changes,
}

/// Why a caller is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Outside {
    /// It is a page in somebody's browser.
    Page,
    /// It asks for a name that is not known to be this server's.
    Host,
    /// It is a browser, at an address that changes something.
    Browser,
    /// It came through a proxy that is not trusted.
    UntrustedProxy,
    /// It is in none of the networks, or behind a proxy that does not say for whom it asks.
    Stranger,
    /// It did not sign rightly.
    Signature(RealmError),
    /// It signed as another realm than the one in the settings.
    OtherRealm,
}

impl Outside {
    /// What the caller is told; `section` is that of the settings.
    pub(super) fn message(self, section: &str) -> String {
        match self {
            Self::Page => "pages are not answered here; ask from a program".to_owned(),
            Self::Host => {
                "this host name is not known here; ask by an IP address, or add the name to server.hosts in the settings".to_owned()
            }
            Self::Browser => {
                "this address changes something and answers no browser; ask from a program, without Origin, Referer, Cookie and a \
                              User-Agent that begins with Mozilla/"
                    .to_owned()
            }
            Self::UntrustedProxy => {
                "this request came through a proxy that is not among server.trustedProxies in the settings".to_owned()
            }
            Self::Stranger => format!("this address is not among {section}.allow in the settings"),
            Self::Signature(RealmError::Unauthorized) => {
                format!("unknown realm or wrong signature; sign as {section}.realm of the settings, with version 2 (HMAC-SHA256)")
            }
            Self::Signature(error) => error.to_string(),
            Self::OtherRealm => format!("this is signed by another realm than {section}.realm in the settings"),
        }
    }
}

/// Lets programs in the networks of `policy` in. A signature, if one is needed, is judged by [`check_signature`].
pub(super) fn check(req: &HttpRequest, state: &AppState, policy: &CallerPolicy, effect: Effect) -> Result<(), Outside> {
    if browser::is_page(req.headers()) {
        return Err(Outside::Page);
    }
    if !own_host::is_named(req, state) {
        return Err(Outside::Host);
    }
    if effect == Effect::Changes && browser::is_traced(req.headers()) {
        return Err(Outside::Browser);
    }
    match caller::named(req.head(), state) {
        Ok(caller) if policy.allow.contains(caller) => Ok(()),
        Err(Hidden::UntrustedProxy) => Err(Outside::UntrustedProxy),
        Ok(_) | Err(Hidden::Unnamed) => Err(Outside::Stranger),
    }
}

/// What a signed request is about: the account must be on the realm's list, and the credential among its keys.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Asked<'a> {
    pub(super) app: Option<&'a str>,
    pub(super) kind: Option<CredentialKind>,
}

/// Lets requests in that the realm of `policy` signed with version 2; all of them where it names none.
pub(super) fn check_signature(
    req: &HttpRequest,
    body: &[u8],
    policy: &CallerPolicy,
    realms: &Realms,
    asked: Asked<'_>,
    state: &AppState,
) -> Result<(), Outside> {
    let Some(wanted) = &policy.realm else { return Ok(()) };
    let request = SignedRequest { method: req.method().as_str(), path: req.uri().path(), raw_query: req.query_string(), body };
    let from = || caller::named(req.head(), state).ok();
    let (realm, _) = realms.signed(&request, from, state.clock().wall(), Accept::V2Only).map_err(Outside::Signature)?;
    if realm.key != *wanted {
        return Err(Outside::OtherRealm);
    }
    if asked.app.is_some_and(|app| !realm.may_ask(app)) {
        return Err(Outside::Signature(RealmError::NotItsApp));
    }
    match asked.kind.filter(|kind| !realm.may_have(*kind)) {
        Some(kind) => Err(Outside::Signature(RealmError::NotItsKey(kind))),
        None => Ok(()),
    }
}
