//! waynecraig/wechat-token-hub: its variables.

use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::input::{Input, unreadable};
use crate::settings::Environment;

/// The prefix of a key's variable; its `kid` follows.
const KEY: &str = "JWT_KEY_";

/// Where it listens.
const PORT: u16 = 8567;

/// True if its variables are set.
pub(super) fn is_its(env: &Environment) -> bool {
    env.get("APPID").is_some() || env.get("APPSECRET").is_some()
}

/// Reads the variables.
pub(super) fn read(input: &Input) -> anyhow::Result<Draft> {
    const EXPECTED: &str = "the variables APPID and APPSECRET, or a file with such lines";
    let env = input.variables().filter(is_its);
    let Some(env) = env else {
        return unreadable("wechat-token-hub", EXPECTED);
    };
    let (Some(app_id), Some(secret)) = (env.get("APPID"), env.get("APPSECRET")) else {
        return unreadable("wechat-token-hub", EXPECTED);
    };
    let mut draft = Draft::default();
    draft.set("apps", json!([{ "key": app_id, "secret": secret }]));
    let keys: Map<String, Value> = env
        .beginning(KEY)
        .map(|(name, key)| (name[KEY.len()..].to_owned(), key.into()))
        .collect();
    if keys.is_empty() {
        draft.note("no variable JWT_KEY_{kid} is set, so /access-token and /ticket are not served; give the hub's callers a key in hub.keys");
    } else {
        draft.set("hub", json!({ "keys": keys, "app": app_id }));
    }
    if let Some(root) = env.get("WECHAT_API_ROOT") {
        draft.set("wechat", json!({ "api": [root] }));
    }
    let port = env.get("PORT").and_then(|port| port.parse().ok());
    draft.port(port.unwrap_or(PORT));
    Ok(draft)
}
