//! Who calls `POST /login`: a page, by its origin, or a back end. Pages may begin a login from our
//! own origin, from private addresses and from the origins in the settings, because a page that
//! shows a QR code learns who scanned it.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::http::error::ApiError;
use crate::http::public_address;
use crate::http::state::AppState;
use crate::login::Requester;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Longer than any real origin: a host name has at most 253 characters.
const MAX_ORIGIN_LEN: usize = 300;

/// What the headers show about the page that sent a request.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shown<'a> {
    /// No page.
    Nothing,
    /// A page of this server's origin.
    Same,
    /// A page of this origin.
    Origin(&'a str),
    /// A page that hides its origin, such as one in a sandboxed frame.
    Nameless,
}

/// Who begins a login by this request; `base` is this server's address. An error if it is a page
/// that may not.
pub(super) fn of(req: &HttpRequest, state: &AppState, base: &Url) -> Result<Requester, ApiError> {
    let page = match shown(req.headers()) {
        Shown::Nothing => return Ok(Requester::BackEnd(host_of(base))),
        Shown::Same => return Ok(Requester::Page(base.origin().ascii_serialization())),
        Shown::Origin(origin) if origin.len() <= MAX_ORIGIN_LEN => origin,
        Shown::Origin(_) | Shown::Nameless => "null",
    };
    let access = state.access();
    if is_own(page, base) || access.login.sites.contains(page) || access.origins.names(page) {
        Ok(Requester::Page(page.to_owned()))
    } else {
        Err(ApiError::SiteNotAllowed(page.to_owned()))
    }
}

/// Whether pages of `origin` may call the login's routes although `cors` does not list it.
pub(in crate::http) fn may_call(req: &HttpRequest, state: &AppState, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    state.access().login.sites.contains(origin)
        || public_address::base(req, state).is_ok_and(|base| is_own(origin, &base))
}

fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut origins = headers.get_all(header::ORIGIN);
    match (origins.next(), origins.next()) {
        (None, _) => {}
        (Some(origin), None) if origin != "null" && !origin.is_empty() => {
            return origin.to_str().map_or(Shown::Nameless, Shown::Origin);
        }
        _ => return Shown::Nameless,
    }
    // Current browsers send an Origin with a POST; older ones and some extensions send only these.
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let referer = headers
        .get(header::REFERER)
        .and_then(|referer| origin_of(referer.to_str().ok()?));
    match (site, referer) {
        (Some(b"same-origin" | b"none"), _) => Shown::Same,
        (_, Some(origin)) => Shown::Origin(origin),
        (Some(_), None) => Shown::Nameless,
        (None, None) => Shown::Nothing,
    }
}

/// The scheme, host and port of an http address.
fn origin_of(address: &str) -> Option<&str> {
    let host = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))?;
    let end = address.len() - host.len() + host.find(['/', '?', '#']).unwrap_or(host.len());
    Some(&address[..end])
}

/// Whether `origin` is this server's. An https origin counts as ours, too, if a proxy does not
/// report https.
fn is_own(origin: &str, base: &Url) -> bool {
    let Ok(page) = Url::parse(origin) else {
        return false;
    };
    let is_silent_proxy = page.scheme() == "https"
        && base.scheme() == "http"
        && page.port().or(base.port()).is_none();
    page.origin() == base.origin() || (is_silent_proxy && page.host() == base.host())
}

/// This server's host and port, as the site's name for a back end that sends none.
fn host_of(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    base.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: &Shown<'_>) {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|&(name, value)| {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        assert_eq!(&shown(&map), expected, "{headers:?}");
    }

    #[test]
    fn a_page_is_detected_by_origin_or_older_headers() {
        let evil = Shown::Origin("https://evil.org");
        check(&[("origin", "https://evil.org")], &evil);
        check(
            &[
                ("origin", "https://evil.org"),
                ("sec-fetch-site", "same-origin"),
            ],
            &evil,
        );
        check(
            &[(
                "referer",
                "https://evil.org/page?x=https://shop.example.com/",
            )],
            &evil,
        );
        check(
            &[
                ("referer", "https://evil.org"),
                ("sec-fetch-site", "cross-site"),
            ],
            &evil,
        );
        for nameless in [
            &[("origin", "null")][..],
            &[("origin", "")],
            &[
                ("origin", "https://a.example"),
                ("origin", "https://b.example"),
            ],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("referer", "about:blank")],
        ] {
            check(nameless, &Shown::Nameless);
        }
        check(&[("sec-fetch-site", "same-origin")], &Shown::Same);
    }

    #[test]
    fn clients_of_back_ends_are_not_pages() {
        for headers in [
            &[][..],
            &[("user-agent", "curl/8.5.0"), ("accept", "*/*")],
            // Node's fetch.
            &[
                ("sec-fetch-mode", "cors"),
                ("user-agent", "node"),
                ("accept-language", "*"),
            ],
            &[("referer", "")],
        ] {
            check(headers, &Shown::Nothing);
        }
    }

    #[test]
    fn an_origin_is_ours_by_scheme_host_and_port() {
        let is = |origin: &str, base: &str| is_own(origin, &base.parse().expect("an address"));
        assert!(
            is("https://wx.example.com", "https://wx.example.com/prefix/")
                && is("http://a:3030", "http://a:3030/")
        );
        assert!(
            is("https://wx.example.com", "http://wx.example.com/"),
            "a proxy that says nothing of https"
        );
        for other in [
            "http://wx.example.com",
            "https://wx.example.com:8443",
            "https://evil.org",
            "null",
            "",
            "https://wx.example.com.evil.org",
        ] {
            assert!(!is(other, "https://wx.example.com/"), "{other}");
        }
        assert!(!is("https://a", "http://a:3030/") && !is("https://a:8443", "http://a/"));
    }
}
