//! Reads `realms`: who may query and call, with which secrets, from where and until when.
//! `realm_scope` reads what they may call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::accounts::app_id;
use super::config::WecomConfig;
use super::node::Node;
use super::reader::{At, did_you_mean};
use super::{callers, realm_scope};
use crate::realm::{Algorithm, Realm, Realms};
use wechat::account::{Account, AppId};
use wechat::credential::CredentialKind;

const KNOWN: [&str; 10] = [
    "key",
    "secret",
    "apps",
    "algorithm",
    "gateway",
    "deny",
    "keys",
    "perMinute",
    "networks",
    "until",
];
const ALGORITHMS: [(&str, Algorithm); 2] = [
    ("any", Algorithm::Any),
    ("hmac-sha256", Algorithm::HmacSha256),
];

/// A realm has one secret, and two while it is being changed.
const MAX_SECRETS: usize = 2;

/// A virtual AppSecret shorter than a real one is easier to guess than its tokens.
const SHORT_SECRET_LEN: usize = 32;

/// More calls a minute than one instance forwards.
const MAX_PER_MINUTE: u32 = 10_000_000;

/// What realms may name.
pub(super) struct Configured<'a> {
    pub(super) accounts: &'a [Account],
    pub(super) wecom: &'a WecomConfig,
    /// The store may hold other apps.
    pub(super) holds_apps: bool,
}

/// All realms.
pub(super) fn realms(root: &At<'_>, configured: &Configured<'_>) -> Realms {
    let Some(list) = root.get("realms") else {
        return Realms::default();
    };
    let Some(items) = list.items() else {
        // The original treats anything but a list as an empty one; only a value that is visibly
        // empty is accepted here.
        if list.members().next().is_none() && matches!(list.node(), Node::Table(_)) {
            return Realms::default();
        }
        list.expected_secret("a list: realms: [{ key: \"…\", secret: \"…\" }]");
        return Realms::default();
    };
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut realms: Vec<(usize, Realm)> = Vec::with_capacity(items.len());
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
                Some(first) => item.fault(format!(
                    "the realm {key:?} is already written as realms[{first}]; remove one of them"
                )),
                None => drop(places.insert(key, index)),
            }
        }
        let secrets = item
            .need("secret", "the realm's secret")
            .map(|secret| secrets(&secret))
            .unwrap_or_default();
        let realm = realm(
            item,
            key.unwrap_or_default().to_owned(),
            secrets,
            configured,
        );
        if realm.gateway.is_some() {
            virtual_secrets(item, &realm, configured.accounts);
        }
        if key.is_some() && !realm.secrets.is_empty() {
            realms.push((index, realm));
        }
    }
    no_secret_in_common(&items, &realms);
    realms.into_iter().map(|(_, realm)| realm).collect()
}

fn realm(
    item: &At<'_>,
    key: String,
    secrets: Vec<SecretString>,
    configured: &Configured<'_>,
) -> Realm {
    let gateway = realm_scope::scope(item);
    let is_caller = item.get("gateway").is_some();
    let apps = item
        .get("apps")
        .map(|apps| its_apps(&apps, configured, is_caller));
    if is_caller && apps.is_none() {
        item.get("gateway").iter().for_each(|gateway| {
            gateway.fault("a realm with gateway needs apps, the accounts that it may call for: write apps: [\"wx…\"]");
        });
    }
    let (apps, agents) = apps.map_or((None, BTreeMap::new()), |(apps, agents)| {
        (Some(apps), agents)
    });
    Realm {
        key,
        secrets,
        apps,
        agents,
        algorithm: item.get("algorithm").and_then(|algorithm| algorithm.word(&ALGORITHMS)).unwrap_or_default(),
        gateway,
        keys: item.get("keys").map(|keys| its_keys(&keys)),
        per_minute: item.get("perMinute").and_then(|most| {
            if !is_caller {
                most.note("limits calls through the gateway, but this realm has no gateway; add gateway, or remove perMinute");
            }
            most.number(1..=MAX_PER_MINUTE)
        }),
        networks: item.get("networks").and_then(|networks| {
            if matches!(networks.node(), Node::List(items) if items.is_empty()) {
                networks.note("is empty, so this realm is refused from every address; remove it to allow every address");
            }
            callers::trusted(&networks)
        }),
        until: item.get("until").and_then(|until| realm_scope::last_day(&until)),
        queries: Arc::default(),
    }
}

/// One secret, or a list of two.
fn secrets(at: &At<'_>) -> Vec<SecretString> {
    let Node::List(items) = at.node() else {
        return at.secret().into_iter().collect();
    };
    if items.is_empty() || items.len() > MAX_SECRETS {
        at.fault(format!(
            "found a list of {}, expected one secret, or two while it is being changed: [new, old]",
            items.len()
        ));
        return Vec::new();
    }
    let written = at.one_or_more();
    // A variable that is set to nothing says that there is no old secret any more.
    let has_one = written.iter().any(|secret| !secret.is_blank());
    let written = written
        .iter()
        .filter(|secret| !(has_one && secret.is_blank()));
    let secrets: Vec<SecretString> = written.filter_map(|secret| secret.secret()).collect();
    if let [new, old] = secrets.as_slice()
        && new.expose_secret() == old.expose_secret()
    {
        at.note("both secrets are the same; remove one of them");
    }
    secrets
}

/// Checks secrets that are used as a virtual AppSecret.
fn virtual_secrets(item: &At<'_>, realm: &Realm, accounts: &[Account]) {
    let Some(at) = item.get("secret") else { return };
    let is = |test: &dyn Fn(&str) -> bool| {
        realm
            .secrets
            .iter()
            .any(|secret| test(secret.expose_secret()))
    };
    if is(&|secret| {
        accounts
            .iter()
            .any(|account| account.secret.expose_secret() == secret)
    }) {
        at.fault("is the AppSecret of one of the apps; a realm needs one of its own: jsdkd realm new prints one");
    } else if is(&|secret| secret.len() < SHORT_SECRET_LEN) {
        at.note("is shorter than 32 characters, so anyone who sees a virtual token could guess it; jsdkd realm new prints a good one");
    }
}

/// The gateway identifies realms only by their secrets.
fn no_secret_in_common(items: &[At<'_>], realms: &[(usize, Realm)]) {
    let mut owners: HashMap<&str, &(usize, Realm)> = HashMap::new();
    for entry in realms {
        for secret in &entry.1.secrets {
            let Some(first) = owners.insert(secret.expose_secret(), entry) else {
                continue;
            };
            if first.0 != entry.0 && (first.1.gateway.is_some() || entry.1.gateway.is_some()) {
                let at = items[entry.0].get("secret");
                at.iter().for_each(|at| {
                    at.fault(format!(
                        "realms[{}] has the same secret, but the gateway identifies realms by their secrets; jsdkd realm new prints another",
                        first.0
                    ));
                });
            }
        }
    }
}

/// The appids of a list, and the WeCom applications.
fn its_apps(
    list: &At<'_>,
    configured: &Configured<'_>,
    is_caller: bool,
) -> (BTreeSet<AppId>, BTreeMap<AppId, BTreeSet<String>>) {
    let (mut apps, mut agents) = (BTreeSet::new(), BTreeMap::<AppId, BTreeSet<String>>::new());
    let Some(items) = list.items() else {
        list.expected("a list of appids");
        return (apps, agents);
    };
    if is_caller && items.len() == 0 {
        list.fault("is empty, so this realm may call for no account; name one, or remove gateway");
    }
    for item in items {
        let Some(text) = item.text("an appid, or corpid/agentid for an application of WeCom")
        else {
            continue;
        };
        // An app that is missing may be about to come; a program that calls through the gateway
        // fails without it.
        let missing = |message: String| {
            if is_caller {
                item.fault(message)
            } else {
                item.note(message)
            }
        };
        match text.split_once('/') {
            Some((corp, agent)) => {
                let Some(corp) = app_id(&item, corp) else {
                    continue;
                };
                let known = configured
                    .wecom
                    .corps
                    .get(&corp)
                    .map(|corp| corp.agents.keys());
                if !known.is_some_and(|mut agents| agents.any(|known| known == agent)) {
                    missing(format!(
                        "no application {text} is configured{}; add it to wecom",
                        configured.near(text)
                    ));
                }
                agents.entry(corp).or_default().insert(agent.to_owned());
            }
            None => {
                let Some(id) = app_id(&item, text) else {
                    continue;
                };
                if let Some(corp) = configured.wecom.corps.get(&id).filter(|_| is_caller) {
                    let agent = corp.agents.keys().next().map_or("", String::as_str);
                    item.fault(format!("is a corp of WeCom; write one of its applications, such as \"{id}/{agent}\""));
                } else if !configured.has(&id) {
                    missing(format!(
                        "no app {id} is configured{}",
                        configured.near(text)
                    ));
                }
                apps.insert(id);
            }
        }
    }
    (apps, agents)
}

impl Configured<'_> {
    fn has(&self, id: &AppId) -> bool {
        self.holds_apps || self.accounts.iter().any(|account| account.app_id == *id)
    }

    /// "; did you mean …" for a name that is nearly one of ours.
    fn near(&self, text: &str) -> String {
        let corps = self.wecom.corps.iter();
        let agents = corps
            .flat_map(|(id, corp)| corp.agents.keys().map(move |agent| format!("{id}/{agent}")));
        let names: Vec<String> = self
            .accounts
            .iter()
            .map(|account| account.app_id.to_string())
            .chain(agents)
            .collect();
        did_you_mean(text, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn its_keys(list: &At<'_>) -> BTreeSet<CredentialKind> {
    let words = CredentialKind::ALL.map(|kind| (kind.name(), kind));
    list.one_or_more()
        .iter()
        .filter_map(|item| item.word(&words))
        .collect()
}
