//! Who calls `POST /login`: a page, by its origin, or a back end. Pages may do so from our own origin, from private ones, and from
//! those that the settings name: whoever shows a QR code learns who scanned it.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::http::error::ApiError;
use crate::http::public;
use crate::http::state::AppState;
use crate::login::Beginner;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Longer than any origin of the web: a name has at most 253 characters.
const LONGEST_ORIGIN: usize = 300;

/// What a request shows of the page that sent it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shown<'a> {
    /// No trace of a page.
    Nothing,
    /// A page of the origin that it calls.
    Same,
    /// A page of this origin, as its browser says.
    Origin(&'a str),
    /// A page that does not say whose it is, such as one in a sandboxed frame.
    Nameless,
}

/// Who begins a login by this request to us at `base`; an error if it is a page that may not.
pub(super) fn of(req: &HttpRequest, state: &AppState, base: &Url) -> Result<Beginner, ApiError> {
    let page = match shown(req.headers()) {
        Shown::Nothing => return Ok(Beginner::BackEnd(host_of(base))),
        Shown::Same => return Ok(Beginner::Page(base.origin().ascii_serialization())),
        Shown::Origin(origin) if origin.len() <= LONGEST_ORIGIN => origin,
        Shown::Origin(_) | Shown::Nameless => "null",
    };
    let access = state.access();
    if is_own(page, base) || access.login.sites.contains(page) || access.origins.names(page) {
        Ok(Beginner::Page(page.to_owned()))
    } else {
        Err(ApiError::SiteNotAllowed(page.to_owned()))
    }
}

/// Whether pages of `origin` may use the login's addresses although `cors` does not let them in.
pub(in crate::http) fn lets_in(req: &HttpRequest, state: &AppState, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    is_below_login(req.path())
        && (state.access().login.sites.contains(origin) || public::base(req, state).is_ok_and(|base| is_own(origin, &base)))
}

/// The addresses of [`super::open`], [`super::poll`] and of the QR codes, in any case as the router takes them.
fn is_below_login(path: &str) -> bool {
    ["/login", "/qrcode"].iter().any(|start| {
        let (begin, rest) = path.split_at_checked(start.len()).unwrap_or_default();
        begin.eq_ignore_ascii_case(start) && (rest.is_empty() || rest.starts_with('/'))
    })
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
    // Every browser of today sends an Origin with a POST; these are what older ones and some extensions leave.
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let referer = headers.get(header::REFERER).and_then(|referer| origin_of(referer.to_str().ok()?));
    match (site, referer) {
        (Some(b"same-origin" | b"none"), _) => Shown::Same,
        (_, Some(origin)) => Shown::Origin(origin),
        (Some(_), None) => Shown::Nameless,
        (None, None) => Shown::Nothing,
    }
}

/// The scheme, host and port that an address of the web begins with.
fn origin_of(address: &str) -> Option<&str> {
    let host = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
    let end = address.len() - host.len() + host.find(['/', '?', '#']).unwrap_or(host.len());
    Some(&address[..end])
}

/// Whether `origin` is ours. One on https is, too, if a proxy in between does not say that it speaks https.
fn is_own(origin: &str, base: &Url) -> bool {
    let Ok(page) = Url::parse(origin) else { return false };
    let is_silent_proxy = page.scheme() == "https" && base.scheme() == "http" && page.port().or(base.port()).is_none();
    page.origin() == base.origin() || (is_silent_proxy && page.host() == base.host())
}

/// Our own name, for a site whose back end does not name it.
fn host_of(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: &Shown<'_>) {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|&(name, value)| map.append(HeaderName::from_static(name), HeaderValue::from_static(value)));
        assert_eq!(&shown(&map), expected, "{headers:?}");
    }

    #[test]
    fn a_page_is_known_by_its_origin_or_by_what_older_browsers_send() {
        let evil = Shown::Origin("https://evil.org");
        check(&[("origin", "https://evil.org")], &evil);
        check(&[("origin", "https://evil.org"), ("sec-fetch-site", "same-origin")], &evil);
        check(&[("referer", "https://evil.org/page?x=https://shop.example.com/")], &evil);
        check(&[("referer", "https://evil.org"), ("sec-fetch-site", "cross-site")], &evil);
        for nameless in [
            &[("origin", "null")][..],
            &[("origin", "")],
            &[("origin", "https://a.example"), ("origin", "https://b.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("referer", "about:blank")],
        ] {
            check(nameless, &Shown::Nameless);
        }
        check(&[("sec-fetch-site", "same-origin")], &Shown::Same);
    }

    #[test]
    fn the_clients_of_back_ends_are_no_pages() {
        for headers in [
            &[][..],
            &[("user-agent", "curl/8.5.0"), ("accept", "*/*")],
            // Node's fetch.
            &[("sec-fetch-mode", "cors"), ("user-agent", "node"), ("accept-language", "*")],
            &[("referer", "")],
        ] {
            check(headers, &Shown::Nothing);
        }
    }

    #[test]
    fn our_own_origin_is_known_by_scheme_host_and_port() {
        let is = |origin: &str, base: &str| is_own(origin, &base.parse().expect("an address"));
        assert!(is("https://wx.example.com", "https://wx.example.com/prefix/") && is("http://a:3030", "http://a:3030/"));
        assert!(is("https://wx.example.com", "http://wx.example.com/"), "a proxy that says nothing of https");
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

    #[test]
    fn only_the_logins_own_addresses_are_open_to_their_sites() {
        for path in ["/login", "/login/", "/LOGIN/0af1", "/login/0af1", "/qrcode/x"] {
            assert!(is_below_login(path), "{path}");
        }
        for path in ["/", "/loginx", "/jsapi/wx1/config", "/log", "/wechat/login", "/登录登录"] {
            assert!(!is_below_login(path), "{path}");
        }
    }
}
