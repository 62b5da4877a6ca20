//! The Node server of the same name: its `jsdkd.json`, which is taken over as it is.

use std::path::Path;

use anyhow::{anyhow, bail};
use serde_json::{Value, json};

use super::draft::Draft;
use super::input::{Input, text_of, unreadable};
use crate::settings::{self, Environment};

/// What it reads of its file.
const KNOWN: [&str; 4] = ["cors", "cache", "realms", "apps"];

/// Reads the file, or the one that the Node server would find.
pub(super) fn read(input: &Input) -> anyhow::Result<Draft> {
    match input {
        Input::Text(text) => parse(text),
        Input::Variables(env) => {
            let file = env.get("APP_CONFIG").unwrap_or("jsdkd.json");
            let mut draft = parse(&text_of(Path::new(file))?)?;
            port(env, &mut draft);
            Ok(draft)
        }
        Input::Database(_) => unreadable("the Node server jsdkd", "its jsdkd.json"),
    }
}

/// True if `text` can be its file.
pub(super) fn is_its(text: &str) -> bool {
    settings::read_json5(text).is_ok_and(|value| value.get("apps").is_some())
}

fn parse(text: &str) -> anyhow::Result<Draft> {
    let value = settings::read_json5(text).map_err(|fault| anyhow!("no settings: {fault}"))?;
    let Value::Object(members) = value else {
        bail!("no settings: expected an object {{…}}");
    };
    let mut draft = Draft::default();
    for (name, value) in members {
        if KNOWN.contains(&name.as_str()) {
            draft.set(&name, value);
        } else {
            draft.note(format!(
                "{name}: the Node server does not read this, so it was left out"
            ));
        }
    }
    if draft.settings.get("cache").is_some_and(Value::is_null) {
        draft.settings.remove("cache");
    }
    Ok(draft)
}

fn port(env: &Environment, draft: &mut Draft) {
    match env.get("SERVER_PORT").map(str::parse::<u16>) {
        Some(Ok(port)) => draft.server("port", json!(port)),
        Some(Err(_)) => draft.note("SERVER_PORT is no port, so it was left out"),
        None => {}
    }
}
