//! Checks the `Host` of a request against DNS rebinding. A web page whose host name is made to
//! resolve to our address has the same origin as we have, so no other header shows the attack. But
//! its browser still sends the page's name as `Host`.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::HttpRequest;
use actix_web::http::Version;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use url::Host;

use super::state::AppState;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whether every host that the request names is an IP address, a name without a dot, the host of
/// `server.publicUrl` or one of `server.hosts`. A trusted proxy's forwarded host is checked, too,
/// but never replaces `Host`: a page can set it, and its visitor's machine may be a trusted proxy.
pub(super) fn is_named(req: &HttpRequest, state: &AppState) -> bool {
    let public = state
        .options
        .public_url
        .as_ref()
        .and_then(|url| url.host_str());
    let is_known = |name: &str| {
        state
            .options
            .hosts
            .iter()
            .map(String::as_str)
            .chain(public)
            .any(|own| own.eq_ignore_ascii_case(name))
    };
    let is_trusted = req
        .head()
        .peer_addr
        .is_some_and(|peer| state.trusts(peer.ip().to_canonical()));
    let authority = req.uri().authority().map(|authority| authority.as_str());
    directly(req.headers(), authority, req.version(), is_known)
        && (!is_trusted || by_proxy(req.headers(), is_known))
}

/// Checks `Host` and the host of an absolute request target. A browser sends exactly one `Host`;
/// only HTTP/1.0 may leave it out.
fn directly(
    headers: &HeaderMap,
    authority: Option<&str>,
    version: Version,
    is_known: impl Fn(&str) -> bool + Copy,
) -> bool {
    let mut hosts = headers.get_all(header::HOST);
    let is_good = match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => host.to_str().is_ok_and(|host| is_own(host, is_known)),
        (Some(_), Some(_)) => false,
    };
    is_good && authority.is_none_or(|authority| is_own(authority, is_known))
}

/// Checks the hosts that proxies report.
fn by_proxy(headers: &HeaderMap, is_known: impl Fn(&str) -> bool + Copy) -> bool {
    let mut listed = headers.get_all(X_FORWARDED_HOST);
    let is_listed = listed.all(|hosts| {
        hosts
            .to_str()
            .is_ok_and(|hosts| hosts.split(',').all(|host| is_own(host.trim(), is_known)))
    });
    let mut elements = headers.get_all(header::FORWARDED);
    is_listed
        && elements.all(|elements| {
            elements.to_str().is_ok_and(|elements| {
                let pairs = elements
                    .split([',', ';'])
                    .filter_map(|pair| pair.split_once('='));
                let mut hosts = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("host"));
                hosts.all(|(_, host)| is_own(host.trim().trim_matches('"'), is_known))
            })
        })
}

/// Checks one host, with or without a port.
fn is_own(host: &str, is_known: impl Fn(&str) -> bool) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        // Clients may add the zone of a link-local address.
        let address = address.split('%').next().unwrap_or_default();
        return address.parse::<Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    is_port(port)
        && (is_single_label(name)
            || is_known(name)
            || matches!(Host::parse(name), Ok(Host::Ipv4(_))))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name such as `localhost` or a container's, which cannot be registered in the DNS.
fn is_single_label(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn known(name: &str) -> bool {
        name.eq_ignore_ascii_case("wx.example.com")
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for &(name, value) in pairs {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        map
    }

    #[test]
    fn addresses_single_labels_and_known_names_are_own() {
        for own in [
            "127.0.0.1",
            "127.0.0.1:3030",
            "10.1.2.3",
            "[::1]",
            "[::1]:3030",
            "::1",
            "[fe80::1%25eth0]:3030",
            "127.1:3030",
            "localhost",
            "LOCALHOST:3030",
            "localhost.",
            "jsdkd",
            "wechat_token:3030",
            "wx.example.com",
            "WX.Example.COM:443",
            "wx.example.com.",
            "wx.example.com.:80",
            "wx.example.com:",
        ] {
            assert!(is_own(own, known), "{own}");
        }
        for foreign in [
            "",
            ".",
            ":3030",
            "evil.example",
            "evil.example:3030",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "wx.example.com.evil.example",
            "awx.example.com",
            "a.wx.example.com",
            "wx.example.com:80:80",
            "wx.example.com:x",
            "user@localhost",
            "user@wx.example.com",
            "localhost/",
            "127.0.0.1, evil.example",
            "[::1",
            "[::1]x",
            "[evil.example]",
            "[]",
            "evil%2eexample",
            "localhost..",
            "wx.example.com..",
        ] {
            assert!(!is_own(foreign, known), "{foreign}");
        }
    }

    #[test]
    fn host_and_request_target_are_both_checked() {
        let directly = |pairs: &[(&'static str, &'static str)], authority, version| {
            directly(&headers(pairs), authority, version, known)
        };
        assert!(directly(&[("host", "127.0.0.1")], None, Version::HTTP_11));
        assert!(directly(
            &[("host", "127.0.0.1")],
            Some("wx.example.com"),
            Version::HTTP_11
        ));
        assert!(
            !directly(
                &[("host", "127.0.0.1")],
                Some("evil.example"),
                Version::HTTP_11
            ),
            "an absolute target wins"
        );
        assert!(!directly(
            &[("host", "evil.example")],
            Some("127.0.0.1"),
            Version::HTTP_11
        ));
        assert!(!directly(
            &[("host", "127.0.0.1"), ("host", "127.0.0.1")],
            None,
            Version::HTTP_11
        ));
        assert!(
            directly(&[], None, Version::HTTP_10),
            "an old client names no host"
        );
        assert!(!directly(&[], Some("evil.example"), Version::HTTP_10));
        assert!(
            !directly(&[], None, Version::HTTP_11)
                && !directly(&[("host", "")], None, Version::HTTP_11)
        );
    }

    #[test]
    fn every_forwarded_host_is_checked() {
        const HOST: &str = "x-forwarded-host";
        for own in [
            &[][..],
            &[(HOST, "wx.example.com:443, jsdkd")],
            &[(
                "forwarded",
                "for=1.1.1.1;Host=\"wx.example.com:443\", for=x",
            )],
        ] {
            assert!(by_proxy(&headers(own), known), "{own:?}");
        }
        for foreign in [
            &[(HOST, "evil.example, wx.example.com")][..],
            &[(HOST, "wx.example.com"), (HOST, "evil.example")],
            &[(HOST, "")],
            &[(
                "forwarded",
                "host=wx.example.com, for=1.1.1.1;host=evil.example",
            )],
            &[
                (HOST, "wx.example.com"),
                ("forwarded", "HOST = evil.example"),
            ],
        ] {
            assert!(!by_proxy(&headers(foreign), known), "{foreign:?}");
        }
    }
}
