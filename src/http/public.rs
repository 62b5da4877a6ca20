//! How browsers reach us: `server.publicUrl`, else what the request says, where forwarded headers count only from trusted proxies.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use url::Url;

use super::error::ApiError;
use super::state::AppState;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Our own address as the caller's browser knows it; its path ends in `/`, so that `join` extends it.
pub(super) fn base(req: &HttpRequest, state: &AppState) -> Result<Url, ApiError> {
    if let Some(url) = &state.options.public_url {
        return Ok(url.clone());
    }
    let trusted = req.head().peer_addr.is_some_and(|peer| state.trusts(peer.ip().to_canonical()));
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| req.uri().authority().map(|authority| authority.as_str()));
    as_said(req.headers(), trusted, host).ok_or(ApiError::Other(StatusCode::BAD_REQUEST))
}

fn as_said(headers: &HeaderMap, trusted: bool, own_host: Option<&str>) -> Option<Url> {
    let (proto, host) = if trusted { forwarded(headers) } else { (None, None) };
    let proto = proto.filter(|proto| proto.eq_ignore_ascii_case("https")).map_or("http", |_| "https");
    let host = host.as_deref().or(own_host)?;
    let url: Url = format!("{proto}://{host}/").parse().ok()?;
    // A host that is more than a host and a port could lead anywhere.
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    (plain && url.password().is_none() && !host.contains(['/', '\\', '@'])).then_some(url)
}

/// Scheme and host by the nearest proxy, who wrote last. `Forwarded` counts only where there is none of the others: a proxy that
/// writes those passes a caller's own `Forwarded` on unread.
fn forwarded(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let last = |name: HeaderName| {
        let value = headers.get_all(name).last()?.to_str().ok()?;
        value.rsplit(',').next().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let (proto, host) = (last(X_FORWARDED_PROTO), last(X_FORWARDED_HOST));
    if proto.is_some() || host.is_some() {
        return (proto, host);
    }
    let element = last(header::FORWARDED).unwrap_or_default();
    let pair = |wanted: &str| {
        let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    (pair("proto"), pair("host"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[track_caller]
    fn check(trusted: bool, headers: &[(&'static str, &'static str)], own_host: &str, base: Option<&str>) {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let url = as_said(&map, trusted, Some(own_host));
        assert_eq!(url.as_ref().map(Url::as_str), base, "{headers:?}");
    }

    const PROTO: &str = "x-forwarded-proto";
    const HOST: &str = "x-forwarded-host";

    #[test]
    fn a_stranger_is_heard_for_the_host_alone() {
        check(false, &[(PROTO, "https"), (HOST, "evil.org")], "wx.example.com:3030", Some("http://wx.example.com:3030/"));
    }

    #[test]
    fn the_nearest_proxy_is_believed() {
        check(true, &[(PROTO, "https"), (HOST, "wx.example.com")], "127.0.0.1:3030", Some("https://wx.example.com/"));
        check(true, &[(PROTO, "http, https"), (HOST, "evil.org, wx.example.com")], "a", Some("https://wx.example.com/"));
        check(true, &[(HOST, "evil.org"), (HOST, "wx.example.com:8080")], "a", Some("http://wx.example.com:8080/"));
        check(true, &[(PROTO, "https")], "wx.example.com", Some("https://wx.example.com/"));
        check(
            true,
            &[("forwarded", "host=evil.org, for=1.1.1.1;Proto=https;host=\"wx.example.com\"")],
            "a",
            Some("https://wx.example.com/"),
        );
        check(true, &[("forwarded", "host=evil.org"), (PROTO, "https")], "wx.example.com", Some("https://wx.example.com/"));
    }

    #[test]
    fn what_is_more_than_a_host_is_no_address() {
        for host in ["", "a/b", "a@b", "a?b", "a#b", "a\\b", "a b", "a:b", ":80"] {
            check(false, &[], host, None);
        }
        check(true, &[(PROTO, "javascript")], "a", Some("http://a/"));
    }
}
