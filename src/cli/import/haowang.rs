//! haowang1013/wechat-server: its variables.

use serde_json::json;

use super::draft::Draft;
use super::input::{Input, unreadable};
use crate::settings::Environment;

/// Where it listens.
const PORT: u16 = 8080;

/// True if its variables are set.
pub(super) fn is_its(env: &Environment) -> bool {
    env.get("WECHAT_APP_ID").is_some() || env.get("WECHAT_APP_SECRET").is_some()
}

/// Reads the variables.
pub(super) fn read(input: &Input) -> anyhow::Result<Draft> {
    const WHOSE: &str = "haowang1013/wechat-server";
    const EXPECTED: &str =
        "the variables WECHAT_APP_ID and WECHAT_APP_SECRET, or a file with such lines";
    let env = input.variables().filter(is_its);
    let Some(env) = env else {
        return unreadable(WHOSE, EXPECTED);
    };
    let (Some(app_id), Some(secret)) = (env.get("WECHAT_APP_ID"), env.get("WECHAT_APP_SECRET"))
    else {
        return unreadable(WHOSE, EXPECTED);
    };
    let mut draft = Draft::default();
    let mut app = json!({ "key": app_id, "secret": secret, "messages": "echo" });
    match env.get("WECHAT_APP_TOKEN") {
        Some(token) => app["token"] = token.into(),
        None => {
            draft.note("WECHAT_APP_TOKEN is not set, so WeChat's messages are refused; write the token of WeChat's console into the app's token");
        }
    }
    draft.set("apps", json!([app]));
    if let Some(address) = env.get("REDIS_SERVER_ADDRESS") {
        draft.set("cache", json!({ "redis": format!("redis://{address}") }));
    }
    draft.port(PORT);
    draft.note("set server.publicUrl to the address under which phones reach this server; the QR codes of its login lead there");
    Ok(draft)
}
