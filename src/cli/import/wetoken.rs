//! micro-plat/wetoken: the table `wechat_app_info` of its database. The registry in which it keeps
//! its own settings is not read.

use serde_json::{Value, json};

use super::draft::Draft;
use super::input::{Input, rows, unreadable};
use crate::settings::Environment;

/// The accounts that can be used.
const APPS: &str =
    "SELECT appid, secret, token, aes_key FROM wechat_app_info WHERE secret <> '' ORDER BY appid";

/// Apps that were created and never completed.
const WITHOUT_SECRET: &str = "SELECT appid FROM wechat_app_info WHERE secret = '' ORDER BY appid";

/// Where it listens.
const PORT: u16 = 9999;

/// The variable that names the database; wetoken itself has none.
const ADDRESS: &str = "JSDKD__CACHE__SQL";

/// True if the variables name a database.
pub(super) fn is_its(env: &Environment) -> bool {
    env.get(ADDRESS).is_some()
}

/// Reads the database.
pub(super) fn read(input: &Input) -> anyhow::Result<Draft> {
    let address = match input {
        Input::Database(address) => Some(address.clone()),
        Input::Variables(env) => env.get(ADDRESS).map(str::to_owned),
        Input::Text(..) => None,
    };
    let Some(address) = address else {
        return unreadable(
            "wetoken",
            "its database, such as mysql://user:password@host/database",
        );
    };
    let mut draft = Draft::default();
    let apps: Vec<Value> = rows(&address, APPS)?
        .into_iter()
        .filter_map(|row| app(&row))
        .collect();
    if apps.is_empty() {
        draft.note("the table wechat_app_info has no app with a secret; apps that are made later are served as well");
    } else {
        draft.set("apps", apps.into());
    }
    draft.set("cache", json!({ "sql": address }));
    draft.set("wetoken", json!({}));
    draft.port(PORT);
    draft.note("run `jsdkd install` once: it widens columns that are too short for today's tokens, and removes nothing");
    let left = rows(&address, WITHOUT_SECRET)?;
    let left: Vec<String> = left
        .into_iter()
        .filter_map(|row| row.into_iter().next()?)
        .collect();
    if !left.is_empty() {
        draft.note(format!(
            "not taken over, because they have no secret: {}",
            left.join(", ")
        ));
    }
    draft.note("apps stay in the database too; an app in the settings overrides its row, and one that is only in the database is served from there");
    draft.note("wetoken's registry was not read: compare server.port, and say in wetoken.allow who may ask (by default this machine and private networks)");
    Ok(draft)
}

fn app(row: &[Option<String>]) -> Option<Value> {
    let cell = |at: usize| {
        let cell = row.get(at)?.as_deref()?.trim();
        Some(cell).filter(|cell| !cell.is_empty())
    };
    let mut app = json!({ "key": cell(0)?, "secret": cell(1)? });
    for (name, at) in [("token", 2), ("aesKey", 3)] {
        if let Some(value) = cell(at) {
            app[name] = value.into();
        }
    }
    Some(app)
}
