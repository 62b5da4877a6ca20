//! Who is answered at the addresses of our neighbours that know no signature of their own: networks, and perhaps a realm as well. And the
//! host names that are this server's own.

use url::Host;

use super::config::CallerPolicy;
use super::node::Node;
use super::reader::{At, did_you_mean};
use crate::ip_allowlist::TrustedProxies;

const KNOWN: [&str; 2] = ["allow", "realm"];

/// The callers of `/token`; `None` after a fault.
pub(super) fn tokenboy(root: &At<'_>) -> Option<CallerPolicy> {
    policy(&root.get("tokenboy")?, root)
}

/// The callers of wetoken's addresses, which only its section opens; `None` after a fault.
pub(super) fn wetoken(root: &At<'_>) -> Option<Option<CallerPolicy>> {
    match root.get("wetoken") {
        Some(section) => policy(&section, root).map(Some),
        None => Some(None),
    }
}

fn policy(section: &At<'_>, root: &At<'_>) -> Option<CallerPolicy> {
    if !section.is_table(&KNOWN) {
        return None;
    }
    let allow = section.get("allow").map_or_else(|| Some(TrustedProxies::nearby()), |allow| trusted(&allow));
    let realm = section.get("realm").map(|realm| realm_key(&realm, root));
    Some(CallerPolicy {
        allow: allow?,
        realm: match realm {
            Some(key) => Some(key?),
            None => None,
        },
    })
}

/// The key of one of `realms`, whether or not there is anything else wrong with that realm.
fn realm_key(at: &At<'_>, root: &At<'_>) -> Option<String> {
    let key = at.text("the key of one of realms")?;
    let realms = if let Some(Node::List(realms)) = root.node().get("realms") { realms.as_slice() } else { &[] };
    let keys: Vec<&str> =
        realms.iter().filter_map(|realm| if let Node::Text(key) = realm.get("key")? { Some(key.as_ref()) } else { None }).collect();
    if !keys.contains(&key) {
        at.fault(format!("found {key:?}, and no realm of that key is configured{}", did_you_mean(key, &keys)));
        return None;
    }
    Some(key.to_owned())
}

/// A list of networks.
pub(super) fn trusted(at: &At<'_>) -> Option<TrustedProxies> {
    let mut proxies = TrustedProxies::default();
    let mut whole = true;
    for item in at.one_or_more() {
        let fits = matches!(item.node(), Node::Text(text) if proxies.add(text));
        let text = if let Node::Text(text) = item.node() { text.trim() } else { "" };
        if matches!(text, "*" | "0.0.0.0" | "::") {
            item.expected("an address that somebody has, or a network; everybody is \"0.0.0.0/0\", \"::/0\"");
        } else if !fits {
            item.expected("\"loopback\", \"private\", an address or a network such as \"203.0.113.0/24\"");
        }
        whole &= fits;
    }
    whole.then_some(proxies)
}

/// A list of host names, as browsers write them in a `Host` header.
pub(super) fn hosts(at: &At<'_>) -> Option<Vec<String>> {
    let mut hosts = Vec::new();
    let mut whole = true;
    for item in at.one_or_more() {
        let host = if let Node::Text(text) = item.node() { host_name(text) } else { None };
        if host.is_none() {
            item.expected("a host name such as \"wx.example.com\", without a scheme, a port, a path or a \"*\"");
        }
        whole &= host.is_some();
        hosts.extend(host);
    }
    whole.then_some(hosts)
}

fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    // The parser would decode a `%`.
    if name.is_empty() || name.contains(['*', '%', ',']) {
        return None;
    }
    Host::parse(name).ok().map(|host| host.to_string())
}
