//! songquanpeng/wechat-server: the tables `options` and `users` of its database, SQLite or MySQL.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::json;
use url::Url;

use super::draft::Draft;
use super::input::{Input, address_of, rows, unreadable};
use crate::settings::Environment;
use wechat::crypt::EnvelopeKey;
use wechat::signature::random_id;

/// Where it listens.
const PORT: u16 = 3000;

/// Its file, in the working directory.
const FILE: &str = "wechat-server.db";

const OPTIONS: &str = "SELECT `key`, `value` FROM options";

/// The tokens with which its API is called: only an administrator's opens it.
const TOKENS: &str = "SELECT token FROM users WHERE token <> '' AND role >= 10 AND status = 1 ORDER BY role DESC, id";

/// Options that are taken over, or spoken of.
const TAKEN: [&str; 6] = [
    "WeChatMenu",
    "WeChatAppID",
    "WeChatAppSecret",
    "WeChatToken",
    "WeChatEncodingAESKey",
    "ServerAddress",
];

/// True if the variables name its database, or its file is in the working directory.
pub(super) fn is_its(env: &Environment) -> bool {
    ["SQLITE_PATH", "SQL_DSN"]
        .iter()
        .any(|name| env.get(name).is_some())
        || Path::new(FILE).exists()
}

/// Reads the database.
pub(super) fn read(input: &Input) -> anyhow::Result<Draft> {
    let address = match input {
        Input::Database(address) => address.clone(),
        Input::Variables(env) => match env.get("SQL_DSN") {
            Some(dsn) => mysql(dsn)?,
            None => address_of(Path::new(env.get("SQLITE_PATH").unwrap_or(FILE))),
        },
        Input::Text(..) => {
            return unreadable("songquanpeng/wechat-server", "its SQLite file or database");
        }
    };
    let options: BTreeMap<String, String> = rows(&address, OPTIONS)?
        .into_iter()
        .filter_map(|row| {
            let mut cells = row.into_iter();
            Some((cells.next()??, cells.next()??))
        })
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let option = |name: &str| options.get(name).map(String::as_str);
    let (Some(app_id), Some(secret)) = (option("WeChatAppID"), option("WeChatAppSecret")) else {
        bail!(
            "its table options has no WeChatAppID and WeChatAppSecret, so there is nothing to take over"
        );
    };
    let mut draft = Draft::default();
    let mut app = json!({ "key": app_id, "secret": secret });
    match option("WeChatToken") {
        Some(token) => app["token"] = token.into(),
        None => draft.note("WeChatToken is not set, so WeChat's messages are refused; write the token of WeChat's console into the app's token"),
    }
    if let Some(key) = option("WeChatEncodingAESKey") {
        if EnvelopeKey::parse(&key.into()).is_ok() {
            // It understands the plain mode alone, so WeChat's console is set to it.
            app["aesKey"] = key.into();
            app["mode"] = "plain".into();
            draft.note("choose the safe mode (安全模式) in WeChat's console, then take mode: \"plain\" out of the app");
        } else {
            draft.note("WeChatEncodingAESKey is no key of 43 characters, so it was left out");
        }
    }
    draft.set("apps", json!([app]));
    let tokens: Vec<String> = rows(&address, TOKENS)?
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect();
    if tokens.len() > 1 {
        draft.note(format!(
            "{} administrators have a token, and wechatServer has one: that of the first is kept, so give it to the others' programs",
            tokens.len()
        ));
    }
    let token = tokens.into_iter().next().unwrap_or_else(|| {
        draft.note("no administrator has a token, so wechatServer.token is a new one; give it to the programs that log people in");
        random_id()
    });
    draft.set("wechatServer", json!({ "token": token, "app": app_id }));
    if let Some(address) = option("ServerAddress").filter(|address| address.starts_with("https://"))
    {
        draft.server("publicUrl", address.into());
    }
    let left: Vec<&str> = options
        .iter()
        .filter(|(name, value)| {
            !TAKEN.contains(&name.as_str()) && !matches!(value.as_str(), "true" | "false")
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if !left.is_empty() {
        draft.note(format!("not taken over: {}", left.join(", ")));
    }
    if option("WeChatMenu").is_some() {
        draft.note(
            "the menu stays as WeChat has it; change it in WeChat's console or through the gateway",
        );
    }
    draft.port(PORT);
    Ok(draft)
}

/// Go's `user:password@tcp(host:port)/database?…` as an address.
fn mysql(dsn: &str) -> anyhow::Result<String> {
    const EXPECTED: &str = "SQL_DSN is not of the form user:password@tcp(host:port)/database";
    let (login, rest) = dsn.rsplit_once("@tcp(").context(EXPECTED)?;
    let (host, rest) = rest.split_once(")/").context(EXPECTED)?;
    let database = rest.split('?').next().unwrap_or_default();
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut url: Url = format!("mysql://{host}/{database}")
        .parse()
        .ok()
        .context(EXPECTED)?;
    let set = url
        .set_username(user)
        .and_then(|()| url.set_password(Some(password).filter(|word| !word.is_empty())));
    set.ok().context(EXPECTED)?;
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_dsn_becomes_an_address() {
        assert_eq!(
            mysql("root:a:b@c/d@tcp(db.local:3306)/gofile?parseTime=true").ok(),
            Some("mysql://root:a%3Ab%40c%2Fd@db.local:3306/gofile".to_owned())
        );
        assert!(mysql("root@unix(/tmp/x)/gofile").is_err());
    }
}
