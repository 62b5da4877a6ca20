//! This server's address as browsers see it: `server.publicUrl`, else what the request says.
//! Forwarded headers count only from trusted proxies.

use std::net::Ipv6Addr;
use std::sync::atomic::Ordering;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use url::Url;

use super::error::ApiError;
use super::state::AppState;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A DNS name has at most 253 characters, and our addresses must fit into a QR code.
const MAX_HOST_LEN: usize = 253;

/// This server's address in the caller's browser. The path ends in `/`, so that `join` extends it.
pub(super) fn base(req: &HttpRequest, state: &AppState) -> Result<Url, ApiError> {
    if let Some(url) = &state.options.public_url {
        return Ok(url.clone());
    }
    let trusted = req
        .head()
        .peer_addr
        .is_some_and(|peer| state.trusts(peer.ip().to_canonical()));
    let host = req
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.or_else(|| req.uri().authority().map(|authority| authority.as_str()));
    let (url, is_corrected) = from_header(req.headers(), trusted, host)
        .ok_or(ApiError::Other(StatusCode::BAD_REQUEST))?;
    if is_corrected && !state.address_warned.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            host,
            used = url.as_str(),
            "a proxy's headers contradict each other about the port by which browsers reach this server; set server.publicUrl, or let the proxy send the Host of the browser"
        );
    }
    Ok(url)
}

/// The address, and whether the headers contradict each other about the port.
fn from_header(headers: &HeaderMap, trusted: bool, own_host: Option<&str>) -> Option<(Url, bool)> {
    let said = if trusted {
        forwarded(headers)
    } else {
        ForwardedAddress::default()
    };
    let (name, stated) = split(said.host.as_deref().or(own_host)?)?;
    let is_https = match &said.proto {
        Some(proto) => proto.eq_ignore_ascii_case("https"),
        // A proxy that forwards `host:443` means https even if it does not say so.
        None => trusted && said.port.or(stated) == Some(443),
    };
    let (scheme, usual, of_other) = if is_https {
        ("https", 443, 80)
    } else {
        ("http", 80, 443)
    };
    let (port, is_corrected) = if trusted {
        // The other scheme's port belongs to a connection between proxies, never to the browser.
        let port = [said.port, stated]
            .into_iter()
            .flatten()
            .find(|port| *port != of_other)
            .unwrap_or(usual);
        (
            port,
            [said.port, stated]
                .into_iter()
                .flatten()
                .any(|other| other != port),
        )
    } else {
        (stated.unwrap_or(usual), false)
    };
    let url: Url = format!("{scheme}://{name}:{port}/").parse().ok()?;
    // A `Host` with a path, a user or a query could lead to another site.
    let plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    let short = url
        .host_str()
        .is_some_and(|host| host.len() <= MAX_HOST_LEN);
    (plain && short && url.password().is_none() && !name.contains(['/', '\\', '@']))
        .then_some((url, is_corrected))
}

/// What trusted proxies report about our address.
#[derive(Default)]
struct ForwardedAddress {
    proto: Option<String>,
    host: Option<String>,
    port: Option<u16>,
}

/// Scheme, host and port from the nearest proxy, which wrote last. `Forwarded` counts only if the
/// other headers have neither scheme nor host: a proxy that writes those forwards the client's own
/// `Forwarded` unchanged.
fn forwarded(headers: &HeaderMap) -> ForwardedAddress {
    let last = |name: HeaderName| {
        let value = headers.get_all(name).last()?.to_str().ok()?;
        value
            .rsplit(',')
            .next()
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    let port = last(X_FORWARDED_PORT)
        .and_then(|port| port.parse().ok())
        .filter(|port| *port > 0);
    let (proto, host) = (last(X_FORWARDED_PROTO), last(X_FORWARDED_HOST));
    if proto.is_some() || host.is_some() {
        return ForwardedAddress { proto, host, port };
    }
    let element = last(header::FORWARDED).unwrap_or_default();
    let pair = |wanted: &str| {
        let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    ForwardedAddress {
        proto: pair("proto"),
        host: pair("host"),
        port,
    }
}

/// Name and port of `host`. An IPv6 address gets the brackets that some proxies leave out.
fn split(host: &str) -> Option<(String, Option<u16>)> {
    if host.parse::<Ipv6Addr>().is_ok() {
        return Some((format!("[{host}]"), None));
    }
    let end = match host.strip_prefix('[') {
        Some(inner) => inner.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let port = match port.strip_prefix(':') {
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        None if port.is_empty() => None,
        _ => return None,
    };
    (!name.is_empty()).then(|| (name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[track_caller]
    fn check(
        trusted: bool,
        headers: &[(&'static str, &'static str)],
        own_host: &str,
        base: Option<&str>,
    ) {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let said = from_header(&map, trusted, Some(own_host));
        assert_eq!(
            said.as_ref().map(|(url, _)| url.as_str()),
            base,
            "{headers:?} {own_host}"
        );
    }

    /// The same behind a trusted proxy; also checks whether the headers contradict each other.
    #[track_caller]
    fn check_ports(
        own_host: &str,
        headers: &[(&'static str, &'static str)],
        base: &str,
        is_corrected: bool,
    ) {
        check(true, headers, own_host, Some(base));
        let mut map = HeaderMap::new();
        headers.iter().for_each(|&(name, value)| {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        assert_eq!(
            from_header(&map, true, Some(own_host)).map(|(_, corrected)| corrected),
            Some(is_corrected),
            "{headers:?}"
        );
    }

    const PROTO: &str = "x-forwarded-proto";
    const HOST: &str = "x-forwarded-host";
    const PORT: &str = "x-forwarded-port";
    const FORWARDED: &str = "forwarded";

    #[test]
    fn the_other_schemes_port_is_ignored() {
        check_ports(
            "wx.example.com:80",
            &[(PROTO, "https")],
            "https://wx.example.com/",
            true,
        );
        check_ports(
            "wx.example.com:80",
            &[(PROTO, "HTTPS"), (HOST, "wx.example.com:80")],
            "https://wx.example.com/",
            true,
        );
        check_ports(
            "wx.example.com:443",
            &[(PROTO, "http")],
            "http://wx.example.com/",
            true,
        );
        check_ports("wx.example.com:443", &[], "https://wx.example.com/", false);
        check_ports(
            "a",
            &[(FORWARDED, "proto=https;host=\"wx.example.com:80\"")],
            "https://wx.example.com/",
            true,
        );
        check_ports(
            "wx.example.com:80",
            &[(FORWARDED, "for=1.1.1.1;proto=https")],
            "https://wx.example.com/",
            true,
        );
        check_ports(
            "wx.example.com:8443",
            &[(PROTO, "https")],
            "https://wx.example.com:8443/",
            false,
        );
        check_ports(
            "wx.example.com:443",
            &[(PROTO, "https")],
            "https://wx.example.com/",
            false,
        );
        check_ports("wx.example.com:80", &[], "http://wx.example.com/", false);
        check(
            false,
            &[(PROTO, "https")],
            "wx.example.com:443",
            Some("http://wx.example.com:443/"),
        );
    }

    #[test]
    fn a_proxy_may_name_the_port() {
        check_ports(
            "wx.example.com",
            &[(PROTO, "https"), (PORT, "8443")],
            "https://wx.example.com:8443/",
            false,
        );
        check_ports(
            "wx.example.com:80",
            &[(PROTO, "https"), (PORT, "8443")],
            "https://wx.example.com:8443/",
            true,
        );
        check_ports(
            "wx.example.com:3030",
            &[(PROTO, "https"), (PORT, "443")],
            "https://wx.example.com/",
            true,
        );
        check_ports(
            "wx.example.com:8443",
            &[(PROTO, "https"), (PORT, "80")],
            "https://wx.example.com:8443/",
            true,
        );
        check_ports(
            "wx.example.com:80",
            &[(PROTO, "https"), (PORT, "80")],
            "https://wx.example.com/",
            true,
        );
        check_ports(
            "wx.example.com",
            &[(PORT, "443")],
            "https://wx.example.com/",
            false,
        );
        check_ports(
            "wx.example.com",
            &[(PORT, "8080, 443"), (HOST, "b.example")],
            "https://b.example/",
            false,
        );
        check_ports(
            "a",
            &[
                (FORWARDED, "proto=https;host=wx.example.com"),
                (PORT, "8443"),
            ],
            "https://wx.example.com:8443/",
            false,
        );
        for nonsense in ["", "x", "0", "-1", "65536", "443:80"] {
            check_ports(
                "wx.example.com",
                &[(PROTO, "https"), (PORT, nonsense)],
                "https://wx.example.com/",
                false,
            );
        }
        check(
            false,
            &[(PORT, "8443")],
            "wx.example.com",
            Some("http://wx.example.com/"),
        );
    }

    #[test]
    fn ipv6_hosts_keep_their_brackets() {
        check_ports(
            "[2001:db8::1]:80",
            &[(PROTO, "https")],
            "https://[2001:db8::1]/",
            true,
        );
        check_ports(
            "[2001:db8::1]:3030",
            &[],
            "http://[2001:db8::1]:3030/",
            false,
        );
        check_ports(
            "a",
            &[(PROTO, "https"), (HOST, "2001:db8::1")],
            "https://[2001:db8::1]/",
            false,
        );
        check_ports(
            "a",
            &[(FORWARDED, "host=\"[2001:db8::1]:80\";proto=https")],
            "https://[2001:db8::1]/",
            true,
        );
        check_ports(
            "[::1]",
            &[(PROTO, "https"), (PORT, "8443")],
            "https://[::1]:8443/",
            false,
        );
        for broken in ["[::1", "[::1]x", "[]", "::1:x", "[1.2.3.4]:80"] {
            check(true, &[], broken, None);
        }
    }

    #[test]
    fn an_untrusted_peer_sets_only_the_host() {
        check(
            false,
            &[(PROTO, "https"), (HOST, "evil.org")],
            "wx.example.com:3030",
            Some("http://wx.example.com:3030/"),
        );
    }

    #[test]
    fn the_nearest_proxy_counts() {
        check(
            true,
            &[(PROTO, "https"), (HOST, "wx.example.com")],
            "127.0.0.1:3030",
            Some("https://wx.example.com/"),
        );
        check(
            true,
            &[(PROTO, "http, https"), (HOST, "evil.org, wx.example.com")],
            "a",
            Some("https://wx.example.com/"),
        );
        check(
            true,
            &[(HOST, "evil.org"), (HOST, "wx.example.com:8080")],
            "a",
            Some("http://wx.example.com:8080/"),
        );
        check(
            true,
            &[(PROTO, "https")],
            "wx.example.com",
            Some("https://wx.example.com/"),
        );
        check(
            true,
            &[(
                "forwarded",
                "host=evil.org, for=1.1.1.1;Proto=https;host=\"wx.example.com\"",
            )],
            "a",
            Some("https://wx.example.com/"),
        );
        check(
            true,
            &[("forwarded", "host=evil.org"), (PROTO, "https")],
            "wx.example.com",
            Some("https://wx.example.com/"),
        );
    }

    #[test]
    fn a_host_with_anything_else_is_refused() {
        check(true, &[], &format!("{}.example", "a".repeat(250)), None);
        for host in ["", "a/b", "a@b", "a?b", "a#b", "a\\b", "a b", "a:b", ":80"] {
            check(false, &[], host, None);
        }
        check(true, &[(PROTO, "javascript")], "a", Some("http://a/"));
    }
}
