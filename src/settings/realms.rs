//! `realms`, proven.

use std::collections::{BTreeSet, HashMap};

use super::accounts::app_id;
use super::node::Node;
use super::reader::At;
use crate::account::AppId;
use crate::realm::{Algorithm, Realm, Realms};

const KNOWN: [&str; 4] = ["key", "secret", "apps", "algorithm"];
const ALGORITHMS: [(&str, Algorithm); 2] = [("any", Algorithm::Any), ("hmac-sha256", Algorithm::HmacSha256)];

/// All realms. An app that a realm names and nobody configures is a warning: it may be about to come.
pub(super) fn realms(root: &At<'_>, configured: impl Fn(&AppId) -> bool) -> Realms {
    let Some(list) = root.get("realms") else { return Realms::default() };
    let Some(items) = list.items() else {
        // The original takes anything but a list for an empty one; only one that is visibly empty is meant so.
        if list.members().next().is_none() && matches!(list.node(), Node::Table(_)) {
            return Realms::default();
        }
        list.expected_secret("a list: realms: [{ key: \"…\", secret: \"…\" }]");
        return Realms::default();
    };
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut realms = Vec::with_capacity(items.len());
    let items: Vec<At<'_>> = items.collect();
    for (index, item) in items.iter().enumerate() {
        if !item.is_table(&KNOWN) {
            continue;
        }
        let key = item.get("key");
        let key = match &key {
            Some(key) => key.text("the realm's name"),
            None => item.need("key", "the realm's name").and(None),
        };
        if let Some(key) = key {
            match places.get(key) {
                Some(first) => item.fault(format!("the realm {key:?} is already written as realms[{first}]")),
                None => drop(places.insert(key, index)),
            }
        }
        let secret = item.need("secret", "the realm's secret").and_then(|secret| secret.secret());
        let apps = item.get("apps").map(|apps| its_apps(&apps, &configured));
        let algorithm = item.get("algorithm").and_then(|algorithm| algorithm.word(&ALGORITHMS)).unwrap_or_default();
        if let (Some(key), Some(secret)) = (key, secret) {
            realms.push(Realm { apps, algorithm, ..Realm::new(key, secret) });
        }
    }
    realms.into_iter().collect()
}

fn its_apps(list: &At<'_>, configured: &impl Fn(&AppId) -> bool) -> BTreeSet<AppId> {
    let mut apps = BTreeSet::new();
    let Some(items) = list.items() else {
        list.expected("a list of appids");
        return apps;
    };
    for item in items {
        if let Some(id) = item.text("an appid").and_then(|text| app_id(&item, text)) {
            if !configured(&id) {
                item.note(format!("no app {id} is configured"));
            }
            apps.insert(id);
        }
    }
    apps
}
