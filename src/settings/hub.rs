//! Reads `hub` and the variables `JWT_KEY_{kid}`: the keys of callers of
//! waynecraig/wechat-token-hub's routes.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};

use super::accounts::app_id;
use super::config::HubConfig;
use super::environment::Environment;
use super::faults::{About, Weight};
use super::reader::{At, Reader};
use super::variables::{HUB, Variables};
use wechat::account::{Account, AppId};

const KNOWN: [&str; 2] = ["keys", "app"];

/// The prefix of a key's variable; its `kid` follows.
const VARIABLE: &str = "JWT_KEY_";

/// In bytes. A shorter key is easier to guess than the HMAC itself. Source: RFC 7518, 3.2.
const SHORT: usize = 32;

/// The hub's settings; `None` without a key, because its routes are then not served. A variable's
/// key wins over the file's.
pub(super) fn hub(
    root: &At<'_>,
    variables: &Variables,
    env: &Environment,
    reader: &Reader<'_>,
    accounts: &[Account],
    holds_apps: bool,
) -> Option<HubConfig> {
    let mut keys = HashMap::new();
    let mut chosen = None;
    let section = root.get("hub");
    if let Some(section) = &section
        && section.is_table(&KNOWN)
    {
        if let Some(written) = section.get("keys") {
            written_keys(&written, &mut keys);
        }
        chosen = section
            .get("app")
            .and_then(|app| chosen_app(&app, accounts, holds_apps));
    }
    for (name, key) in env.beginning(VARIABLE) {
        let remark = |weight, message: &str| {
            reader.remark(About::Variable(name.to_owned()), weight, message)
        };
        let kid = &name[VARIABLE.len()..];
        if !is_kid(kid) {
            remark(
                Weight::Fault,
                &format!("after {VARIABLE} there must be a kid, {KID}"),
            );
            continue;
        }
        if key.len() < SHORT {
            remark(Weight::Note, MIN_KEY_LEN);
        }
        keys.insert(kid.to_owned(), key.into());
    }
    if keys.is_empty() {
        if let Some(section) = &section {
            section.note("no key is set, so its routes are not served; write keys: { KID: \"…\" } or set JWT_KEY_KID");
        }
        return None;
    }
    let app = chosen.or_else(|| default_app(variables, env, accounts));
    if app.is_none() && holds_apps {
        reader.remark(
            About::Everything,
            Weight::Note,
            "the routes of the hub are not served, because no app is chosen; write hub: { app: \"wx…\" }",
        );
    }
    Some(HubConfig { keys, app: app? })
}

const KID: &str = "1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'";
const MIN_KEY_LEN: &str =
    "this key is shorter than 32 bytes; anyone who sees a token signed with it can try to guess it";

fn is_kid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn written_keys(list: &At<'_>, keys: &mut HashMap<String, SecretString>) {
    if !matches!(list.node(), super::node::Node::Table(_)) {
        return list.expected_secret("an object: keys: { KID: \"…\" }");
    }
    for (kid, at) in list.members() {
        if !is_kid(kid) {
            at.fault(format!("the name of a key is its kid, {KID}"));
        }
        let Some(key) = at.secret() else { continue };
        if key.expose_secret().len() < SHORT {
            at.note(MIN_KEY_LEN);
        }
        keys.insert(kid.to_owned(), key);
    }
}

/// The account that a section names with `app`.
pub(super) fn chosen_app(at: &At<'_>, accounts: &[Account], holds_apps: bool) -> Option<AppId> {
    let text = at.text("the appid of one of the apps")?;
    if holds_apps {
        return app_id(at, text);
    }
    let found = accounts
        .iter()
        .find(|account| account.app_id.as_str() == text);
    // Without any account, the missing account is the fault to report.
    if found.is_none() && !accounts.is_empty() {
        at.fault(format!(
            "found {text:?}, and no app of that key is configured"
        ));
    }
    found.map(|account| account.app_id.clone())
}

/// The account in the hub's own variables, else the first account.
fn default_app(variables: &Variables, env: &Environment, accounts: &[Account]) -> Option<AppId> {
    let whole = variables.apps.iter().any(|app| app.key == HUB.key);
    let named = env.get(HUB.key).filter(|_| whole);
    let named = accounts
        .iter()
        .find(|account| Some(account.app_id.as_str()) == named);
    named
        .or(accounts.first())
        .map(|account| account.app_id.clone())
}
