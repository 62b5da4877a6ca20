//! Who is calling, behind proxies: forwarded headers count only from trusted ones, and the caller is the rightmost address that is
//! not one of them. Whatever stands further left was written by the caller.

use std::net::{IpAddr, SocketAddr};

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use super::state::AppState;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The caller's address; `None` when the connection has none, as on a unix socket.
pub(super) fn address(head: &RequestHead, state: &AppState) -> Option<IpAddr> {
    Some(beyond(head.peer_addr?.ip().to_canonical(), head.headers(), |address| state.trusts(address)))
}

/// Why an address cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hidden {
    /// The request came through a proxy, and its peer is not in `server.trustedProxies`.
    UntrustedProxy,
    /// The request came through a proxy that does not say on whose behalf.
    Unnamed,
}

/// The caller's address, for addresses of ours that a network alone opens. A trusted proxy must name the caller, and a peer that is not
/// trusted must not show any trace of a proxy: in both cases the proxy's own address would open them to everybody behind it. A proxy that
/// leaves no trace cannot be told from a caller.
pub(super) fn named(head: &RequestHead, state: &AppState) -> Result<IpAddr, Hidden> {
    let peer = head.peer_addr.ok_or(Hidden::Unnamed)?.ip().to_canonical();
    strictly(peer, head.headers(), |address| state.trusts(address))
}

/// Headers that a proxy, a load balancer or a content delivery network adds to a request, in small letters. No client library sends any of
/// them by default.
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

/// Whole families of such headers.
const TRACE_FAMILIES: [&str; 8] =
    ["x-forwarded", "x-original-", "cf-", "cloudfront-", "x-envoy-", "x-azure-", "x-appengine-", "x-arr-"];

fn is_trace(header: &str) -> bool {
    TRACES.contains(&header) || TRACE_FAMILIES.iter().any(|family| header.starts_with(family))
}

fn strictly(peer: IpAddr, headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Result<IpAddr, Hidden> {
    if !headers.keys().any(|name| is_trace(name.as_str())) {
        return Ok(peer);
    }
    if !trusts(peer) {
        return Err(Hidden::UntrustedProxy);
    }
    // A proxy that writes only one of the two passes the other on as the caller wrote it, so both must name the same caller.
    let mut named = [x_forwarded_for(headers), forwarded(headers)].into_iter().flatten().map(|hops| named_by(peer, &hops, &trusts));
    match (named.next().flatten(), named.next()) {
        (Some(caller), None) => Ok(caller),
        (Some(caller), Some(other)) if other == Some(caller) => Ok(caller),
        _ => Err(Hidden::Unnamed),
    }
}

/// The caller that the proxies name; `None` when one of them hides it.
fn named_by(peer: IpAddr, hops: &[Option<IpAddr>], trusts: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut caller = peer;
    for hop in hops.iter().rev() {
        let hop = (*hop)?;
        // The loopback address of another machine is that machine, and not ours.
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
        // A word such as `unknown` hides who came before; what we know ends here.
        let Some(hop) = hop else { break };
        caller = hop;
        if !trusts(hop) {
            break;
        }
    }
    caller
}

/// The addresses that the proxies name, from the caller's side to ours. `Forwarded` counts only where there is no
/// `X-Forwarded-For`: a proxy that writes the one passes a caller's own other on unread.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    x_forwarded_for(headers).or_else(|| forwarded(headers)).unwrap_or_default()
}

/// Its addresses; `None` = there is no such header.
fn x_forwarded_for(headers: &HeaderMap) -> Option<Vec<Option<IpAddr>>> {
    Some(list(headers, X_FORWARDED_FOR)?.split(',').map(parse).collect())
}

/// The addresses of its `for`; `None` = there is no such header.
fn forwarded(headers: &HeaderMap) -> Option<Vec<Option<IpAddr>>> {
    let element = |element: &str| {
        let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).and_then(|(_, node)| parse(node))
    };
    Some(list(headers, header::FORWARDED)?.split(',').map(element).collect())
}

/// All values of a header as one list. Bytes that are no text stay in it, so that they hide an address and do not remove it.
fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// An address with or without a port, quotes or brackets.
fn parse(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let bare = node.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(node);
    let address = bare.parse::<IpAddr>().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    /// Proxies here are 10.0.0.0/8 and ::1.
    #[track_caller]
    fn check(peer: &str, headers: &[(&'static str, &'static str)], caller: &str) {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let trusts = |address: IpAddr| address.to_string().starts_with("10.") || address.is_loopback();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(beyond(address(peer), &map, trusts), address(caller), "{peer} {headers:?}");
    }

    const FOR: &str = "x-forwarded-for";

    #[test]
    fn a_stranger_is_not_believed() {
        check("8.8.8.8", &[(FOR, "1.1.1.1"), ("forwarded", "for=1.1.1.1")], "8.8.8.8");
        check("10.0.0.1", &[], "10.0.0.1");
    }

    #[test]
    fn the_caller_is_the_rightmost_address_that_is_no_proxy() {
        check("10.0.0.1", &[(FOR, "1.1.1.1")], "1.1.1.1");
        check("10.0.0.1", &[(FOR, "6.6.6.6, 1.1.1.1,10.0.0.2 , 10.0.0.3")], "1.1.1.1");
        check("10.0.0.1", &[(FOR, "6.6.6.6, 10.9.9.9"), (FOR, "1.1.1.1, 10.0.0.2")], "1.1.1.1");
        check("10.0.0.1", &[(FOR, "10.0.0.9, 10.0.0.2")], "10.0.0.9");
        check("::1", &[(FOR, "[2606::1]:4711")], "2606::1");
        check("10.0.0.1", &[(FOR, "1.1.1.1:4711")], "1.1.1.1");
        check("10.0.0.1", &[(FOR, "::ffff:1.1.1.1, ::ffff:10.0.0.2")], "1.1.1.1");
    }

    #[test]
    fn a_word_for_an_address_ends_what_is_known() {
        check("10.0.0.1", &[(FOR, "1.1.1.1, unknown, 10.0.0.2")], "10.0.0.2");
        for nonsense in ["", ",", "unknown", "1.1.1.1.1", "[", "[]", "\"", "2606::1]"] {
            check("10.0.0.1", &[(FOR, nonsense)], "10.0.0.1");
        }
    }

    /// The caller as an address that a network opens tells it; proxies here are loopback and 10.0.0.0/8.
    fn strict(peer: &str, headers: &[(&str, &str)]) -> Result<String, Hidden> {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.append(name.parse().expect("a name"), value.parse().expect("a value"));
        }
        let trusts = |address: IpAddr| address.is_loopback() || address.to_string().starts_with("10.");
        strictly(peer.parse().expect("an address"), &map, trusts).map(|address| address.to_string())
    }

    fn ok(address: &str) -> Result<String, Hidden> {
        Ok(address.to_owned())
    }

    #[test]
    fn a_trusted_proxy_must_name_the_caller() {
        assert_eq!(strict("127.0.0.1", &[]), ok("127.0.0.1"));
        assert_eq!(strict("127.0.0.1", &[(FOR, "8.8.8.8"), ("x-real-ip", "127.0.0.1")]), ok("8.8.8.8"));
        assert_eq!(strict("127.0.0.1", &[(FOR, "8.8.8.8, 127.0.0.1")]), ok("8.8.8.8"));
        for headers in [[(FOR, "unknown")], [(FOR, "")], [("via", "1.1 x")], [("x-real-ip", "10.0.0.1")], [("forwarded", "for=_x")]]
        {
            assert_eq!(strict("127.0.0.1", &headers), Err(Hidden::Unnamed), "{headers:?}");
        }
    }

    #[test]
    fn any_trace_of_a_proxy_from_an_untrusted_peer_hides_the_caller() {
        for name in
            TRACES.into_iter().chain([FOR, "X-Forwarded-Server", "X-Forwarded", "X-Original-Forwarded-For", "CF-Connecting-IP"])
        {
            assert_eq!(strict("192.168.1.9", &[(name, "127.0.0.1")]), Err(Hidden::UntrustedProxy), "{name}");
        }
        for name in ["user-agent", "accept", "x-request-id", "authorization", "traceparent", "x-caller"] {
            assert_eq!(strict("192.168.1.9", &[(name, "1")]), ok("192.168.1.9"), "{name}");
        }
    }

    #[test]
    fn two_headers_that_name_different_callers_name_none() {
        let both = |forwarded| strict("127.0.0.1", &[(FOR, "10.0.0.9"), ("forwarded", forwarded)]);
        assert_eq!(both("for=10.0.0.9"), ok("10.0.0.9"));
        assert_eq!((both("for=8.8.8.8"), both("proto=https")), (Err(Hidden::Unnamed), Err(Hidden::Unnamed)));
    }

    #[test]
    fn the_loopback_address_of_another_machine_is_not_ours() {
        assert_eq!(strict("10.0.0.5", &[(FOR, "127.0.0.1")]), ok("10.0.0.5"));
        assert_eq!(strict("127.0.0.1", &[(FOR, "::1, 10.0.0.5")]), ok("10.0.0.5"));
        assert_eq!(strict("10.0.0.5", &[(FOR, "8.8.8.8, 127.0.0.1")]), ok("8.8.8.8"));
        assert_eq!(strict("127.0.0.1", &[(FOR, "10.0.0.7, 127.0.0.1")]), ok("10.0.0.7"));
    }

    #[test]
    fn forwarded_counts_where_there_is_no_x_forwarded_for() {
        check("10.0.0.1", &[("forwarded", "for=6.6.6.6, proto=https;For=\"[2606::1]:80\";by=_x, for=10.0.0.2")], "2606::1");
        check("10.0.0.1", &[("forwarded", "for=6.6.6.6"), (FOR, "1.1.1.1")], "1.1.1.1");
        for hidden in ["for=_hidden", "for=6.6.6.6, for=_hidden", "for=6.6.6.6, proto=https"] {
            check("10.0.0.1", &[("forwarded", hidden)], "10.0.0.1");
        }
    }
}
