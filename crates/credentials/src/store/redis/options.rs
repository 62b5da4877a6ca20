//! The options objects of node_redis and ioredis.

use serde_json::{Map, Value};

use super::super::{RedisConfig, RedisTopology};
use super::address::{checked, defaults};
use super::option::{PLACE, set};
use super::url::from_url;

/// Reads the object; every fault is returned, under the key it belongs to.
pub fn from_options(options: &Map<String, Value>) -> Result<RedisConfig, Vec<(String, String)>> {
    let mut faults = Vec::new();
    let mut config = match options.get("url") {
        None | Some(Value::Null) => defaults(),
        Some(Value::String(url)) if url.is_empty() => defaults(),
        Some(Value::String(url)) => from_url(url).unwrap_or_else(|fault| {
            faults.push(("url".to_owned(), fault));
            defaults()
        }),
        Some(_) => {
            faults.push(("url".to_owned(), "expected a string".to_owned()));
            defaults()
        }
    };
    let choices = options
        .iter()
        .filter(|(key, _)| *key != "url" && !PLACE.contains(&key.as_str()));
    // Ours goes before theirs.
    let (ours, choices): (Vec<_>, Vec<_>) = choices.partition(|(key, _)| *key == "timeout");
    let place = PLACE.iter().filter_map(|key| options.get_key_value(*key));
    for (key, value) in choices.into_iter().chain(ours).chain(place) {
        if let Err(fault) = set(&mut config, key, value) {
            faults.push((key.clone(), fault));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let blamed = match &config.topology {
        RedisTopology::Sentinel(_, name) if name.is_empty() => "name",
        _ if config.db != 0 => "db",
        _ => "tls",
    };
    checked(config).map_err(|fault| vec![(blamed.to_owned(), fault)])
}
