//! The client's IP address behind proxies. Forwarded headers count only from trusted proxies; the
//! client is the rightmost address that is not a trusted proxy, because the client itself can write
//! everything further left.

use std::net::{IpAddr, SocketAddr};

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use crate::settings::TrustedProxies;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address; `None` if the connection has none, as on a unix socket.
pub(super) fn address(head: &RequestHead, trusted: &TrustedProxies) -> Option<IpAddr> {
    Some(beyond(
        head.peer_addr?.ip().to_canonical(),
        head.headers(),
        |address| trusted.contains(address),
    ))
}

/// Why the client's address is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hidden {
    /// The request came through a proxy, and its peer is not in `server.trustedProxies`.
    UntrustedProxy,
    /// The request came through a proxy that does not name the client.
    Unnamed,
}

/// The client's address, for routes that check nothing but the network. A trusted proxy must name
/// the client, and an untrusted peer must show no trace of a proxy; otherwise the proxy's own
/// address would let in everybody behind it. A proxy that adds no header looks like a client.
pub(super) fn named(head: &RequestHead, trusted: &TrustedProxies) -> Result<IpAddr, Hidden> {
    let peer = head.peer_addr.ok_or(Hidden::Unnamed)?.ip().to_canonical();
    strictly(peer, head.headers(), |address| trusted.contains(address))
}

/// Headers, in lower case, that proxies, load balancers and content delivery networks add. No
/// client library sends one by default.
const TRACES: [&str; 26] = [
    "cdn-loop",
    "cdn-src-ip",
    "ali-cdn-real-ip",
    "client-ip",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "forwarded-for-ip",
    "max-forwards",
    "proxy-client-ip",
    "proxy-connection",
    "remote-addr",
    "surrogate-capability",
    "true-client-ip",
    "via",
    "wl-proxy-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-nf-client-connection-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-varnish",
];

/// Prefixes of such headers.
const TRACE_FAMILIES: [&str; 8] = [
    "x-forwarded",
    "x-original-",
    "cf-",
    "cloudfront-",
    "x-envoy-",
    "x-azure-",
    "x-appengine-",
    "x-arr-",
];

fn is_trace(header: &str) -> bool {
    TRACES.contains(&header)
        || TRACE_FAMILIES
            .iter()
            .any(|family| header.starts_with(family))
}

fn strictly(
    peer: IpAddr,
    headers: &HeaderMap,
    trusts: impl Fn(IpAddr) -> bool,
) -> Result<IpAddr, Hidden> {
    if !headers.keys().any(|name| is_trace(name.as_str())) {
        return Ok(peer);
    }
    if !trusts(peer) {
        return Err(Hidden::UntrustedProxy);
    }
    // A proxy that writes only one of the two forwards the other unchanged from the client, so both
    // must name the same client.
    let mut named = [x_forwarded_for(headers), forwarded(headers)]
        .into_iter()
        .flatten()
        .map(|hops| named_by(peer, &hops, &trusts));
    match (named.next().flatten(), named.next()) {
        (Some(caller), None) => Ok(caller),
        (Some(caller), Some(other)) if other == Some(caller) => Ok(caller),
        _ => Err(Hidden::Unnamed),
    }
}

/// The client that the proxies name; `None` if one of them hides it.
fn named_by(
    peer: IpAddr,
    hops: &[Option<IpAddr>],
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut caller = peer;
    for hop in hops.iter().rev() {
        let hop = (*hop)?;
        // A loopback address that another machine reports is that machine, not this one.
        if !hop.is_loopback() || caller.is_loopback() {
            caller = hop;
        }
        if !trusts(hop) {
            break;
        }
    }
    Some(caller)
}

fn beyond(peer: IpAddr, headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    if !trusts(peer) {
        return peer;
    }
    let mut caller = peer;
    for hop in hops(headers).into_iter().rev() {
        // A word such as `unknown` hides everything further left.
        let Some(hop) = hop else { break };
        caller = hop;
        if !trusts(hop) {
            break;
        }
    }
    caller
}

/// The addresses that the proxies name, from the client's side to ours. `Forwarded` counts only
/// without `X-Forwarded-For`: a proxy that writes one of the two forwards the client's other one
/// unchanged.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    x_forwarded_for(headers)
        .or_else(|| forwarded(headers))
        .unwrap_or_default()
}

/// The addresses in `X-Forwarded-For`; `None` without that header.
fn x_forwarded_for(headers: &HeaderMap) -> Option<Vec<Option<IpAddr>>> {
    Some(
        list(headers, X_FORWARDED_FOR)?
            .split(',')
            .map(parse)
            .collect(),
    )
}

/// The `for` addresses in `Forwarded`; `None` without that header.
fn forwarded(headers: &HeaderMap) -> Option<Vec<Option<IpAddr>>> {
    let element = |element: &str| {
        let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
            .and_then(|(_, node)| parse(node))
    };
    Some(
        list(headers, header::FORWARDED)?
            .split(',')
            .map(element)
            .collect(),
    )
}

/// All values of a header as one list. Invalid UTF-8 is kept as replacement characters, so that it
/// hides an address instead of removing it.
fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Parses an address with or without port, quotes and brackets.
fn parse(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let bare = node
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next())
        .unwrap_or(node);
    let address = bare
        .parse::<IpAddr>()
        .ok()
        .or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    /// Trusted proxies are 10.0.0.0/8 and loopback.
    #[track_caller]
    fn check(peer: &str, headers: &[(&'static str, &'static str)], caller: &str) {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let trusts =
            |address: IpAddr| address.to_string().starts_with("10.") || address.is_loopback();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(
            beyond(address(peer), &map, trusts),
            address(caller),
            "{peer} {headers:?}"
        );
    }

    const FOR: &str = "x-forwarded-for";

    #[test]
    fn headers_from_an_untrusted_peer_are_ignored() {
        check(
            "8.8.8.8",
            &[(FOR, "1.1.1.1"), ("forwarded", "for=1.1.1.1")],
            "8.8.8.8",
        );
        check("10.0.0.1", &[], "10.0.0.1");
    }

    #[test]
    fn the_client_is_the_rightmost_untrusted_address() {
        check("10.0.0.1", &[(FOR, "1.1.1.1")], "1.1.1.1");
        check(
            "10.0.0.1",
            &[(FOR, "6.6.6.6, 1.1.1.1,10.0.0.2 , 10.0.0.3")],
            "1.1.1.1",
        );
        check(
            "10.0.0.1",
            &[(FOR, "6.6.6.6, 10.9.9.9"), (FOR, "1.1.1.1, 10.0.0.2")],
            "1.1.1.1",
        );
        check("10.0.0.1", &[(FOR, "10.0.0.9, 10.0.0.2")], "10.0.0.9");
        check("::1", &[(FOR, "[2606::1]:4711")], "2606::1");
        check("10.0.0.1", &[(FOR, "1.1.1.1:4711")], "1.1.1.1");
        check(
            "10.0.0.1",
            &[(FOR, "::ffff:1.1.1.1, ::ffff:10.0.0.2")],
            "1.1.1.1",
        );
    }

    #[test]
    fn a_word_instead_of_an_address_hides_the_rest() {
        check(
            "10.0.0.1",
            &[(FOR, "1.1.1.1, unknown, 10.0.0.2")],
            "10.0.0.2",
        );
        for nonsense in ["", ",", "unknown", "1.1.1.1.1", "[", "[]", "\"", "2606::1]"] {
            check("10.0.0.1", &[(FOR, nonsense)], "10.0.0.1");
        }
    }

    /// The result of `strictly`; trusted proxies are loopback and 10.0.0.0/8.
    fn strict(peer: &str, headers: &[(&str, &str)]) -> Result<String, Hidden> {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.append(
                name.parse().expect("a name"),
                value.parse().expect("a value"),
            );
        }
        let trusts =
            |address: IpAddr| address.is_loopback() || address.to_string().starts_with("10.");
        strictly(peer.parse().expect("an address"), &map, trusts).map(|address| address.to_string())
    }

    fn ok(address: &str) -> Result<String, Hidden> {
        Ok(address.to_owned())
    }

    #[test]
    fn a_trusted_proxy_must_name_the_client() {
        assert_eq!(strict("127.0.0.1", &[]), ok("127.0.0.1"));
        assert_eq!(
            strict("127.0.0.1", &[(FOR, "8.8.8.8"), ("x-real-ip", "127.0.0.1")]),
            ok("8.8.8.8")
        );
        assert_eq!(
            strict("127.0.0.1", &[(FOR, "8.8.8.8, 127.0.0.1")]),
            ok("8.8.8.8")
        );
        for headers in [
            [(FOR, "unknown")],
            [(FOR, "")],
            [("via", "1.1 x")],
            [("x-real-ip", "10.0.0.1")],
            [("forwarded", "for=_x")],
        ] {
            assert_eq!(
                strict("127.0.0.1", &headers),
                Err(Hidden::Unnamed),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_proxy_header_from_an_untrusted_peer_is_refused() {
        for name in TRACES.into_iter().chain([
            FOR,
            "X-Forwarded-Server",
            "X-Forwarded",
            "X-Original-Forwarded-For",
            "CF-Connecting-IP",
        ]) {
            assert_eq!(
                strict("192.168.1.9", &[(name, "127.0.0.1")]),
                Err(Hidden::UntrustedProxy),
                "{name}"
            );
        }
        for name in [
            "user-agent",
            "accept",
            "x-request-id",
            "authorization",
            "traceparent",
            "x-caller",
        ] {
            assert_eq!(
                strict("192.168.1.9", &[(name, "1")]),
                ok("192.168.1.9"),
                "{name}"
            );
        }
    }

    #[test]
    fn headers_that_name_different_clients_are_refused() {
        let both = |forwarded| strict("127.0.0.1", &[(FOR, "10.0.0.9"), ("forwarded", forwarded)]);
        assert_eq!(both("for=10.0.0.9"), ok("10.0.0.9"));
        assert_eq!(
            (both("for=8.8.8.8"), both("proto=https")),
            (Err(Hidden::Unnamed), Err(Hidden::Unnamed))
        );
    }

    #[test]
    fn a_remote_loopback_address_is_not_this_machine() {
        assert_eq!(strict("10.0.0.5", &[(FOR, "127.0.0.1")]), ok("10.0.0.5"));
        assert_eq!(
            strict("127.0.0.1", &[(FOR, "::1, 10.0.0.5")]),
            ok("10.0.0.5")
        );
        assert_eq!(
            strict("10.0.0.5", &[(FOR, "8.8.8.8, 127.0.0.1")]),
            ok("8.8.8.8")
        );
        assert_eq!(
            strict("127.0.0.1", &[(FOR, "10.0.0.7, 127.0.0.1")]),
            ok("10.0.0.7")
        );
    }

    #[test]
    fn forwarded_counts_without_x_forwarded_for() {
        check(
            "10.0.0.1",
            &[(
                "forwarded",
                "for=6.6.6.6, proto=https;For=\"[2606::1]:80\";by=_x, for=10.0.0.2",
            )],
            "2606::1",
        );
        check(
            "10.0.0.1",
            &[("forwarded", "for=6.6.6.6"), (FOR, "1.1.1.1")],
            "1.1.1.1",
        );
        for hidden in [
            "for=_hidden",
            "for=6.6.6.6, for=_hidden",
            "for=6.6.6.6, proto=https",
        ] {
            check("10.0.0.1", &[("forwarded", hidden)], "10.0.0.1");
        }
    }
}
