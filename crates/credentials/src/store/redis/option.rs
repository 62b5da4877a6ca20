//! A single option of a Redis client, from an options object or from a URL's query. An option
//! without effect here becomes a note. One that would be dangerous to ignore is a fault.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use super::super::{RedisConfig, RedisTopology};
use super::address::{host, list, port};
use super::idle::{self, UNKNOWN_OPTION};
use super::tls_options;

/// The options that name the server. They are applied last and in this order, so that a socket's
/// path wins over a host, as in the original's client.
pub(super) const PLACE: [&str; 5] = ["host", "port", "path", "sentinels", "name"];

const MEANT: [&str; 17] = [
    "user",
    "username",
    "password",
    "auth_pass",
    "db",
    "database",
    "prefix",
    "keyPrefix",
    "tls",
    "ssl",
    "socket",
    "commandTimeout",
    "timeout",
    "sentinelUsername",
    "sentinelPassword",
    "role",
    "master",
];

/// True if the name may be repeated in a message.
pub(super) fn is_known(key: &str) -> bool {
    PLACE.contains(&key)
        || MEANT.contains(&key)
        || idle::reason(key).is_some()
        || tls_options::is_check(key)
}

/// Applies one option; the fault does not repeat its value.
pub(super) fn set(config: &mut RedisConfig, key: &str, value: &Value) -> Result<(), String> {
    // An empty value is unset: templates and compose files pass on missing values as empty ones.
    if value.is_null()
        || value.as_str() == Some("")
        || (value == &Value::Bool(false) && key.contains("pass"))
    {
        return if is_known(key) {
            Ok(())
        } else {
            unknown(config, key)
        };
    }
    match key {
        "host" => {
            let (name, number) = host(&text(value)?, 0)?;
            if number != 0 {
                return Err("expected a host alone; its port goes under `port`".to_owned());
            }
            *standalone(config)?.0 = name;
        }
        "port" => *standalone(config)?.1 = port(&text(value)?)?,
        "path" => config.topology = RedisTopology::Unix(text(value)?.into()),
        "sentinels" => config.topology = RedisTopology::Sentinel(sentinels(value)?, String::new()),
        "name" | "master" => match &mut config.topology {
            RedisTopology::Sentinel(_, master) => *master = text(value)?,
            _ => note(config, key, "it names a connection, and is not sent"),
        },
        "role" if value == "master" => {}
        "role" => return Err("only the master takes writes: leave `role` out".to_owned()),
        "user" | "username" => config.username = Some(text(value)?),
        "sentinelUsername" => config.sentinel_username = Some(text(value)?),
        "auth_pass" if config.password.is_some() => {}
        "password" | "auth_pass" => config.password = Some(SecretString::from(text(value)?)),
        "sentinelPassword" => config.sentinel_password = Some(SecretString::from(text(value)?)),
        "db" | "database" => {
            let db = text(value)?
                .trim()
                .parse::<u32>()
                .map_err(|_| "expected the number of a database, 0 or more")?;
            config.db = db.into();
        }
        "prefix" | "keyPrefix" => config.prefix = text(value)?,
        "tls" | "ssl" => {
            let (tls, notes) = tls_options::tls(value)?;
            config.tls = tls;
            config.notes.extend(
                notes
                    .into_iter()
                    .map(|(option, why)| (format!("{key}.{option}"), why)),
            );
        }
        "socket" => socket(config, value)?,
        "timeout" | "commandTimeout" => config.timeout = duration(value)?,
        _ if tls_options::is_check(key) => tls_options::keep_checking(key, value)?,
        _ => match idle::reason(key) {
            Some(why) => note(config, key, why),
            None => return unknown(config, key),
        },
    }
    Ok(())
}

fn note(config: &mut RedisConfig, key: &str, why: &'static str) {
    config.notes.push((key.to_owned(), why));
}

/// A name that is nearly one of ours was probably meant to be it, and ignoring it would connect
/// differently than intended.
fn unknown(config: &mut RedisConfig, key: &str) -> Result<(), String> {
    let names = PLACE.iter().chain(&MEANT).copied();
    let near = names
        .filter(|name| {
            strsim::damerau_levenshtein(&key.to_lowercase(), &name.to_lowercase()) <= name.len() / 4
        })
        .min();
    match near {
        Some(name) => Err(format!("unknown option; did you mean `{name}`?")),
        None => {
            note(config, key, UNKNOWN_OPTION);
            Ok(())
        }
    }
}

fn standalone(config: &mut RedisConfig) -> Result<(&mut String, &mut u16), String> {
    match &mut config.topology {
        RedisTopology::Standalone(place, number) => Ok((place, number)),
        _ => Err("`url` says already where the servers are".to_owned()),
    }
}

/// node_redis 4 has the address and TLS in an object of their own.
fn socket(config: &mut RedisConfig, value: &Value) -> Result<(), String> {
    let options = value
        .as_object()
        .ok_or("expected an object like { host: \"…\", port: 6379, tls: true }")?;
    let (tls, place): (Vec<_>, Vec<_>) = options
        .iter()
        .partition(|(key, _)| tls_options::is_known(key) || *key == "tls");
    let inside = |key: &str, fault: String| format!("`{key}`: {fault}");
    // `path` after `host`, as in the object itself; unknown options are recorded.
    let ordered = PLACE.iter().filter_map(|key| options.get_key_value(*key));
    let others = place
        .iter()
        .filter(|(key, _)| !PLACE.contains(&key.as_str()))
        .copied();
    for (key, value) in others.chain(ordered) {
        match key.as_str() {
            "host" | "port" | "path" => {
                set(config, key, value).map_err(|fault| inside(key, fault))?
            }
            _ if tls_options::is_check(key) => {
                tls_options::keep_checking(key, value).map_err(|fault| inside(key, fault))?
            }
            _ => note(
                config,
                &format!("socket.{key}"),
                idle::reason(key).unwrap_or(UNKNOWN_OPTION),
            ),
        }
    }
    let is_on = options
        .get("tls")
        .is_some_and(|tls| !matches!(tls, Value::Null | Value::Bool(false)));
    for (key, value) in &tls {
        tls_options::keep_checking(key, value).map_err(|fault| inside(key, fault))?;
    }
    if is_on {
        let mut merged = options
            .get("tls")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        merged.extend(
            tls.into_iter()
                .filter(|(key, _)| *key != "tls")
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        let (tls, notes) = tls_options::tls(&Value::Object(merged))?;
        config.tls = tls;
        config.notes.extend(
            notes
                .into_iter()
                .map(|(option, why)| (format!("socket.{option}"), why)),
        );
    }
    Ok(())
}

/// A list of `{ host, port }`, as ioredis has it, or of addresses.
fn sentinels(value: &Value) -> Result<Vec<(String, u16)>, String> {
    const EXPECTED: &str = "expected a list like [{ host: \"…\", port: 26379 }]";
    const PORT: u16 = 26379;
    let items = value
        .as_array()
        .filter(|items| !items.is_empty())
        .ok_or(EXPECTED)?;
    let node = |item: &Value| match item {
        Value::String(text) => list(text, PORT).map(|mut nodes| nodes.remove(0)),
        Value::Object(node) => {
            let name = node
                .get("host")
                .ok_or(EXPECTED)
                .and_then(|host| host.as_str().ok_or(EXPECTED))?;
            let number = node.get("port").filter(|port| !port.is_null());
            Ok((
                host(name, 0)?.0,
                number.map_or(Ok(PORT), |number| port(&text(number)?))?,
            ))
        }
        _ => Err(EXPECTED.to_owned()),
    };
    items.iter().map(node).collect()
}

fn duration(value: &Value) -> Result<Duration, String> {
    let duration = match value {
        Value::Number(millis) => millis.as_u64().map(Duration::from_millis),
        Value::String(text) => humantime::parse_duration(text).ok(),
        _ => None,
    };
    duration
        .filter(|span| !span.is_zero())
        .ok_or_else(|| "expected a time like \"2s\" or \"500ms\"".to_owned())
}

/// A string, or a number that someone wrote without quotes.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("expected a string or a number".to_owned()),
    }
}
