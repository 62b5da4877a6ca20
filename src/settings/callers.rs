//! Reads who may call the routes of TokenBoy and wetoken, which have no signatures: a list of
//! networks, and optionally a realm. Also reads `server.hosts`.

use url::Host;

use super::config::CallerPolicy;
use super::node::Node;
use super::reader::{At, did_you_mean};
use crate::ip_allowlist::TrustedProxies;

const KNOWN: [&str; 2] = ["allow", "realm"];

/// Who may call `/token`; `None` after a fault.
pub(super) fn tokenboy(root: &At<'_>) -> Option<CallerPolicy> {
    policy(&root.get("tokenboy")?, root)
}

/// Who may call wetoken's routes. `Some(None)` = no section, so they are not served; `None` after a
/// fault.
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
    let allow = section
        .get("allow")
        .map_or_else(|| Some(TrustedProxies::nearby()), |allow| trusted(&allow));
    let realm = section.get("realm").map(|realm| realm_key(&realm, root));
    Some(CallerPolicy {
        allow: allow?,
        realm: match realm {
            Some(key) => Some(key?),
            None => None,
        },
    })
}

/// The key of one of `realms`, even if that realm has other faults.
fn realm_key(at: &At<'_>, root: &At<'_>) -> Option<String> {
    let key = at.text("the key of one of realms")?;
    let realms = root.get("realms");
    let realms: Vec<At<'_>> = realms
        .as_ref()
        .and_then(At::items)
        .into_iter()
        .flatten()
        .collect();
    let keys = realms.iter().filter_map(|realm| {
        if let Node::Text(key) = realm.get("key")?.node() {
            Some(key)
        } else {
            None
        }
    });
    let keys: Vec<&str> = keys.collect();
    if !keys.contains(&key) {
        at.fault(format!(
            "found {key:?}, and no realm of that key is configured{}",
            did_you_mean(key, &keys)
        ));
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
        let text = if let Node::Text(text) = item.node() {
            text.trim()
        } else {
            ""
        };
        if matches!(text, "*" | "0.0.0.0" | "::") {
            item.expected(
                "an address or a network; for every address write \"0.0.0.0/0\" and \"::/0\"",
            );
        } else if !fits {
            item.expected(
                "\"loopback\", \"private\", an address or a network such as \"203.0.113.0/24\"",
            );
        }
        whole &= fits;
    }
    whole.then_some(proxies)
}

/// A list of host names, as browsers send them in the `Host` header.
pub(super) fn hosts(at: &At<'_>) -> Option<Vec<String>> {
    let mut hosts = Vec::new();
    let mut whole = true;
    for item in at.one_or_more() {
        let host = if let Node::Text(text) = item.node() {
            host_name(text)
        } else {
            None
        };
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
    // The parser decodes `%`.
    if name.is_empty() || name.contains(['*', '%', ',']) {
        return None;
    }
    Host::parse(name).ok().map(|host| host.to_string())
}
