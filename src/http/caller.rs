//! Who is calling, behind proxies: forwarded headers count only from trusted ones, and the caller is the rightmost address that is
//! not one of them. Whatever stands further left was written by the caller.

use std::net::{IpAddr, SocketAddr};

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use super::state::AppState;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The caller's address; `None` when the connection has none, as on a unix socket.
pub(super) fn address(head: &RequestHead, state: &AppState) -> Option<IpAddr> {
    let peer = head.peer_addr?.ip().to_canonical();
    if !state.trusts(peer) {
        return Some(peer);
    }
    let mut caller = peer;
    for hop in hops(head.headers()).into_iter().rev() {
        // A word such as `unknown` hides who came before; what we know ends here.
        let Some(hop) = hop else { break };
        caller = hop;
        if !state.trusts(hop) {
            break;
        }
    }
    Some(caller)
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
        .filter_map(|element| {
            let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, node)| parse(node))
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
