//! The options object of the original's client (node_redis 3), and the same names in an address's query. Options that tune that
//! client and mean nothing here are accepted in silence. It opens no connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::files::{self, FileError};

use super::super::{RedisConfig, RedisTls, RedisTopology};
use super::url::{checked, defaults, from_url, host, port};

/// Where the server is: read last and in this order, so that a socket's path wins over a host, as in the original's client.
const PLACE: [&str; 3] = ["host", "port", "path"];

const MEANT: [&str; 8] = ["user", "username", "password", "auth_pass", "db", "prefix", "tls", "timeout"];

/// They tune the original's client; ours needs no such advice.
const TUNING: [&str; 22] = [
    "retry_strategy",
    "connect_timeout",
    "string_numbers",
    "enable_offline_queue",
    "no_ready_check",
    "socket_keepalive",
    "socket_initial_delay",
    "socket_initialdelay",
    "socket_nodelay",
    "family",
    "detect_buffers",
    "return_buffers",
    "retry_unfulfilled_commands",
    "retry_max_delay",
    "retry_delay",
    "retry_backoff",
    "max_attempts",
    "parser",
    "rename_commands",
    "disable_resubscribing",
    "command_queue_high_water",
    "command_queue_low_water",
];

/// Reads the object; every fault is returned, under the key it belongs to.
pub fn from_options(options: &Map<String, Value>) -> Result<RedisConfig, Vec<(String, String)>> {
    let mut faults = Vec::new();
    let mut config = match options.get("url") {
        None | Some(Value::Null) => defaults(),
        Some(Value::String(url)) => from_url(url).unwrap_or_else(|fault| {
            faults.push(("url".to_owned(), fault));
            defaults()
        }),
        Some(_) => {
            faults.push(("url".to_owned(), "expected a string".to_owned()));
            defaults()
        }
    };
    let choices = options.iter().filter(|(key, _)| *key != "url" && !PLACE.contains(&key.as_str()));
    let place = PLACE.iter().filter_map(|key| options.get_key_value(*key));
    for (key, value) in choices.chain(place) {
        if let Err(fault) = set(&mut config, key, value) {
            faults.push((key.clone(), fault));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let blamed = if config.db != 0 { "db" } else { "tls" };
    checked(config).map_err(|fault| vec![(blamed.to_owned(), fault)])
}

/// Whether the name may be repeated in a message.
pub(super) fn is_known(key: &str) -> bool {
    PLACE.contains(&key) || MEANT.contains(&key) || TUNING.contains(&key)
}

/// Applies one option; the fault does not repeat its value.
pub(super) fn set(config: &mut RedisConfig, key: &str, value: &Value) -> Result<(), String> {
    if value.is_null() && is_known(key) {
        return Ok(());
    }
    match key {
        "host" => match &mut config.topology {
            RedisTopology::Standalone(place, _) => {
                let (name, number) = host(&text(value)?, 0)?;
                if number != 0 {
                    return Err("expected a host alone; its port goes under `port`".to_owned());
                }
                *place = name;
            }
            _ => return Err("`url` says already where the servers are".to_owned()),
        },
        "port" => match &mut config.topology {
            RedisTopology::Standalone(_, number) => *number = port(&text(value)?)?,
            _ => return Err("`url` says already where the servers are".to_owned()),
        },
        "path" => config.topology = RedisTopology::Unix(PathBuf::from(filled(value)?)),
        "user" | "username" => config.username = Some(text(value)?).filter(|user| !user.is_empty()),
        "auth_pass" if config.password.is_some() => {}
        "password" | "auth_pass" => {
            config.password = Some(text(value)?).filter(|password| !password.is_empty()).map(SecretString::from);
        }
        "db" => {
            let db = text(value)?.parse::<u32>().map_err(|_| "expected the number of a database, 0 or more")?;
            config.db = db.into();
        }
        "prefix" => config.prefix = text(value)?,
        "tls" => config.tls = tls(value)?,
        "timeout" => config.timeout = duration(value)?,
        key if TUNING.contains(&key) => {}
        _ => return Err(format!("unknown option; known are url, {}, {}", PLACE.join(", "), MEANT.join(", "))),
    }
    Ok(())
}

/// The text of a certificate, given itself or as a file's path.
pub(super) fn certificate(given: &str) -> Result<String, String> {
    if given.contains("-----BEGIN") {
        return Ok(given.to_owned());
    }
    files::read_text(Path::new(given), files::SMALL).map_err(|error| match error {
        FileError::Io(error) => format!("`ca` is neither PEM text nor a readable file: {}", error.kind()),
        error => format!("the file of `ca` {error}"),
    })
}

fn tls(value: &Value) -> Result<Option<RedisTls>, String> {
    let choices = match value {
        Value::Bool(on) => return Ok(on.then(RedisTls::default)),
        Value::Object(choices) => choices,
        _ => return Err("expected true, false or an object like { ca: \"…\" }".to_owned()),
    };
    let mut tls = RedisTls::default();
    for (key, value) in choices {
        match (key.as_str(), value) {
            (_, Value::Null) | ("rejectUnauthorized", Value::Bool(true)) => {}
            ("rejectUnauthorized", _) => {
                return Err(
                    "certificates are always checked; give the authority's as `ca` instead of `rejectUnauthorized`".to_owned()
                );
            }
            ("ca", Value::String(given)) => tls.ca = Some(certificate(given)?),
            ("ca", Value::Array(several)) => {
                let all: Option<Vec<&str>> = several.iter().map(Value::as_str).collect();
                let all = all.ok_or("expected `ca` to be a string or a list of strings")?;
                tls.ca = Some(all.into_iter().map(certificate).collect::<Result<Vec<_>, _>>()?.join("\n"));
            }
            ("ca", _) => return Err("expected `ca` to be a string or a list of strings".to_owned()),
            _ => return Err("unknown option of tls; known is ca".to_owned()),
        }
    }
    Ok(Some(tls))
}

fn duration(value: &Value) -> Result<Duration, String> {
    let duration = match value {
        Value::Number(millis) => millis.as_u64().map(Duration::from_millis),
        Value::String(text) => humantime::parse_duration(text).ok(),
        _ => None,
    };
    duration.filter(|span| !span.is_zero()).ok_or_else(|| "expected a time like \"2s\" or \"500ms\"".to_owned())
}

/// A string, or a number that someone wrote without quotes.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("expected a string or a number".to_owned()),
    }
}

fn filled(value: &Value) -> Result<String, String> {
    text(value).ok().filter(|text| !text.is_empty()).ok_or_else(|| "expected a path".to_owned())
}
