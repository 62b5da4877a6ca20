//! One callback domain for many sites (网页授权): a visitor is sent to WeChat (`begin`), comes back to us (`callback`) and goes on to
//! the site, whose back end asks who it was (`user`). Here is what binds a trip to its browser: a cookie.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use url::Url;

use super::error::ApiError;
use crate::login::Departure;
use wechat::signature::{is_id, random_id};

pub(super) mod begin;
pub(super) mod callback;
pub(super) mod user;

/// On https the prefix keeps neighbours on other subdomains from planting a cookie of this name. Source: RFC 6265bis, `__Host-`.
const COOKIE_NAME: &str = "jsdkd";
const SECURE_COOKIE_NAME: &str = "__Host-jsdkd";

/// As long as a trip.
const COOKIE_LIFE: Duration = Duration::minutes(10);

/// What the browser was given when it set out, if it sends it back.
fn browser(req: &HttpRequest, base: &Url) -> Option<String> {
    let cookie = req.cookie(cookie_name(base))?;
    Some(cookie.value().to_owned()).filter(|value| is_id(value))
}

/// The cookie that binds this browser's trips to it. One that it has already is used again, so that two tabs do not disturb each other.
fn binding(req: &HttpRequest, base: &Url) -> Cookie<'static> {
    let value = browser(req, base).unwrap_or_else(random_id);
    Cookie::build(cookie_name(base), value)
        .path("/")
        .secure(is_https(base))
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(COOKIE_LIFE)
        .finish()
}

fn cookie_name(base: &Url) -> &'static str {
    if is_https(base) { SECURE_COOKIE_NAME } else { COOKIE_NAME }
}

fn is_https(base: &Url) -> bool {
    base.scheme() == "https"
}

/// An address of ours below `base`.
fn below(base: &Url, path: &str) -> Result<Url, ApiError> {
    base.join(path).map_err(|_| ApiError::Internal)
}

/// Where `departure` begins, for a visitor who has to begin again.
fn beginning(base: &Url, departure: &Departure) -> Option<String> {
    let mut url = base.join(&format!("oauth/{}", departure.app_id)).ok()?;
    let redirect = departure.redirect.to_string();
    let mode = begin::name_of(departure.mode);
    url.query_pairs_mut().append_pair("redirect", &redirect).append_pair("scope", departure.scope.name()).append_pair("mode", mode);
    if let Some(state) = &departure.state {
        url.query_pairs_mut().append_pair("state", state);
    }
    Some(url.into())
}
