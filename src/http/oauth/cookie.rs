//! The cookie that binds an OAuth login to its browser, and the URL where a login starts.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use url::Url;

use crate::http::error::ApiError;
use crate::login::{LoginRequest, Mode};
use wechat::signature::{is_id, random_id};

/// The values of the parameter `mode`.
pub(super) const MODES: [(&str, Mode); 2] = [("login", Mode::Login), ("relay", Mode::Relay)];

fn name_of(mode: Mode) -> &'static str {
    MODES
        .iter()
        .find(|(_, known)| *known == mode)
        .map_or("login", |(word, _)| word)
}

/// On https the prefix `__Host-` stops other subdomains from setting a cookie of this name. Source:
/// RFC 6265bis.
const COOKIE_NAME: &str = "jsdkd";
const SECURE_COOKIE_NAME: &str = "__Host-jsdkd";

/// The lifetime of a login.
const COOKIE_MAX_AGE: Duration = Duration::minutes(10);

/// The cookie's value, if the browser sends one.
pub(super) fn browser(req: &HttpRequest, base: &Url) -> Option<String> {
    let cookie = req.cookie(cookie_name(base))?;
    Some(cookie.value().to_owned()).filter(|value| is_id(value))
}

/// The cookie that binds a login to this browser. An existing value is kept, so that two tabs do not
/// disturb each other.
pub(super) fn browser_cookie(req: &HttpRequest, base: &Url) -> Cookie<'static> {
    let value = browser(req, base).unwrap_or_else(random_id);
    Cookie::build(cookie_name(base), value)
        .path("/")
        .secure(is_https(base))
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(COOKIE_MAX_AGE)
        .finish()
}

fn cookie_name(base: &Url) -> &'static str {
    if is_https(base) {
        SECURE_COOKIE_NAME
    } else {
        COOKIE_NAME
    }
}

fn is_https(base: &Url) -> bool {
    base.scheme() == "https"
}

/// The URL of `path` on this server.
pub(super) fn own_url(base: &Url, path: &str) -> Result<Url, ApiError> {
    base.join(path).map_err(|_| ApiError::Internal)
}

/// The URL at which a visitor starts the login of `request` again.
pub(super) fn restart_url(base: &Url, request: &LoginRequest) -> Option<String> {
    let mut url = base.join(&format!("oauth/{}", request.app_id)).ok()?;
    let redirect = request.redirect.to_string();
    let mode = name_of(request.mode);
    url.query_pairs_mut()
        .append_pair("redirect", &redirect)
        .append_pair("scope", request.scope.name())
        .append_pair("mode", mode);
    if let Some(state) = &request.state {
        url.query_pairs_mut().append_pair("state", state);
    }
    Some(url.into())
}
