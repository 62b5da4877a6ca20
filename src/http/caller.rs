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

/// The caller's address, as [`address`] tells it; but `None` when a proxy of ours stands between and does not say for whom. Where an
/// address alone opens something, the proxy's own must not.
pub(super) fn named(head: &RequestHead, state: &AppState) -> Option<IpAddr> {
    strictly(head.peer_addr?.ip().to_canonical(), head.headers(), |address| state.trusts(address))
}

/// What a proxy adds to a request; a caller that speaks to us itself sends none of them.
const TRACES: [&str; 8] = [
    "x-forwarded-for",
    "forwarded",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-real-ip",
    "via",
];

fn strictly(peer: IpAddr, headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    if !trusts(peer) || !TRACES.iter().any(|trace| headers.contains_key(*trace)) {
        return Some(peer);
    }
    let mut caller = None;
    for hop in hops(headers).into_iter().rev() {
        let hop = hop?;
        caller = Some(hop);
        if !trusts(hop) {
            break;
        }
    }
    caller
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
    let list = |name: HeaderName| {
        let values: Vec<String> = headers.get_all(name).filter_map(|value| Some(value.to_str().ok()?.to_owned())).collect();
        values.join(",")
    };
    if headers.contains_key(X_FORWARDED_FOR) {
        return list(X_FORWARDED_FOR).split(',').map(parse).collect();
    }
    let elements = list(header::FORWARDED);
    elements
        .split(',')
        .map(|element| {
            let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).and_then(|(_, node)| parse(node))
        })
        .collect()
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

    #[test]
    fn a_proxy_that_names_no_caller_is_none() {
        let caller = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for &(name, value) in headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let trusts = |address: IpAddr| address.is_loopback();
            strictly([127, 0, 0, 1].into(), &map, trusts).map(|address| address.to_string())
        };
        assert_eq!(caller(&[]).as_deref(), Some("127.0.0.1"));
        assert_eq!(caller(&[(FOR, "8.8.8.8"), ("x-real-ip", "127.0.0.1")]).as_deref(), Some("8.8.8.8"));
        assert_eq!(caller(&[(FOR, "8.8.8.8, 127.0.0.1")]).as_deref(), Some("8.8.8.8"));
        for headers in [[(FOR, "unknown")], [(FOR, "")], [("via", "1.1 x")], [("x-real-ip", "10.0.0.1")], [("forwarded", "for=_x")]]
        {
            assert_eq!(caller(&headers), None, "{headers:?}");
        }
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
