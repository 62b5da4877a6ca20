//! Callers that are let in by where they call from, for the neighbours that know no signatures.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};

use crate::http::caller;
use crate::http::state::AppState;
use crate::settings::TrustedProxies;

/// Browsers alone send it, with `none` for what a person typed.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a caller is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Outside {
    /// It is a page in somebody's browser.
    Page,
    /// It is in none of the networks, or behind a proxy that does not say for whom it asks.
    Stranger,
}

/// Lets programs in the networks of `allow` in.
pub(super) fn let_in(req: &HttpRequest, state: &AppState, allow: &TrustedProxies) -> Result<(), Outside> {
    // Where a network alone opens something, any page that a person on it looks at could ask in their name.
    let headers = req.headers();
    if headers.contains_key(header::ORIGIN) || headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "none") {
        return Err(Outside::Page);
    }
    let is_near = caller::named(req.head(), state).is_some_and(|caller| allow.contains(caller));
    if is_near { Ok(()) } else { Err(Outside::Stranger) }
}
