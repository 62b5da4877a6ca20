//! Reads `cache`: the one store that is used.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde_json::{Map, Value};

#[cfg(feature = "sql")]
use super::cache_sql::sql_config;
use super::node::Node;
use super::reader::{At, did_you_mean};

use super::variables::Variables;
use clock::UnixSeconds;
use credentials::store::{Record, RedisConfig, StoreConfig, redis};

const KINDS: [&str; 4] = ["memo", "file", "redis", "sql"];

/// The store of credentials; `None` after a fault. Of several caches the first one written is used,
/// as in the original.
pub(super) fn store(root: &At<'_>, variables: &Variables) -> Option<StoreConfig> {
    let in_memory = StoreConfig::Memory(BTreeMap::new());
    let Some(cache) = root.get("cache") else {
        return Some(in_memory);
    };
    if !matches!(cache.node(), Node::Table(_)) {
        cache.expected_secret("an object, such as cache: { file: \"/var/lib/jsdkd/cache.json\" }");
        return None;
    }
    let written: Vec<(&str, At<'_>)> = cache.members().collect();
    let mut unknown = written
        .iter()
        .filter(|(kind, _)| !KINDS.contains(kind))
        .peekable();
    if unknown.peek().is_some() {
        for (kind, at) in unknown {
            at.fault(format!(
                "unknown kind of cache, expected \"memo\", \"file\", \"redis\" or \"sql\"{}",
                did_you_mean(kind, &KINDS)
            ));
        }
        return None;
    }
    let Some((kind, at)) = written.first() else {
        return Some(in_memory);
    };
    if written.len() > 1 {
        let others: Vec<&str> = written[1..].iter().map(|(kind, _)| *kind).collect();
        cache.note(format!(
            "only one cache can be used: {kind:?}, which is written first; {:?} is ignored, remove one of them",
            others.join(", ")
        ));
    }
    match *kind {
        "memo" => memo(at).map(StoreConfig::Memory),
        "file" => at
            .text("the path of a file")
            .map(|path| StoreConfig::File(PathBuf::from(path))),
        "redis" => redis_config(at, variables.redis_is_bare()).map(StoreConfig::Redis),
        _ => sql_config(at),
    }
}

/// Whether the cache that is used is a database, even if its settings have faults.
pub(super) fn is_sql(root: &At<'_>) -> bool {
    root.get("cache").is_some_and(|cache| {
        cache
            .members()
            .next()
            .is_some_and(|(kind, _)| kind == "sql")
    })
}

/// Initial records, in the format of the original's memory and file caches.
fn memo(at: &At<'_>) -> Option<BTreeMap<String, Record>> {
    if !matches!(at.node(), Node::Table(_)) {
        at.expected_secret("an object of initial records, or {}");
        return None;
    }
    let record = |(key, at): (&str, At<'_>)| {
        if !at.is_table(&["value", "__expires"]) {
            return None;
        }
        let value = at
            .need("value", "the credential")
            .and_then(|value| value.secret());
        let expires = at
            .need("__expires", "its expiry in unix seconds")
            .and_then(|expires| unix_seconds(&expires));
        Some((
            key.to_owned(),
            Record {
                value: value?,
                expires_at: expires?.millis(),
            },
        ))
    };
    Some(at.members().filter_map(record).collect())
}

fn unix_seconds(at: &At<'_>) -> Option<UnixSeconds> {
    let seconds = match at.node() {
        Node::Int(seconds) => u64::try_from(seconds).ok(),
        _ => None,
    };
    if seconds.is_none() {
        at.expected("unix seconds");
    }
    seconds.map(UnixSeconds)
}

/// An address (with `bare`, `host:port`), a list of addresses, or the options object of the
/// original's client. All of it is secret.
fn redis_config(at: &At<'_>, bare: bool) -> Option<RedisConfig> {
    let said = |fault: String| at.fault(fault);
    let noted = |config: RedisConfig| {
        for (name, why) in &config.notes {
            remark(at, name, why);
        }
        config
    };
    if at.secret_reference().is_some() {
        return redis::from_url(at.secret()?.expose_secret())
            .map_err(said)
            .ok()
            .map(noted);
    }
    match at.node() {
        Node::Text(text) if bare => redis::from_address(text).map_err(said).ok(),
        Node::Text(text) if !text.is_empty() => redis::from_url(text).map_err(said).ok().map(noted),
        // The original's client takes a bare port for one on this machine.
        Node::Int(port) => redis::from_url(&port.to_string()).map_err(said).ok(),
        Node::List(items) if !items.is_empty() => {
            // An address, or an object as ioredis has it: { host, port }.
            let node = |(index, item): (usize, At<'_>)| match item.node() {
                Node::Text(_) => {
                    let config = redis::from_url(item.secret()?.expose_secret());
                    config
                        .map_err(|fault| said(format!("node {}: {fault}", index + 1)))
                        .ok()
                        .map(noted)
                }
                Node::Table(_) => from_options(&item),
                _ => {
                    item.expected_secret("an address such as redis://127.0.0.1:6379");
                    None
                }
            };
            // Read every node, so that all faulty ones are reported.
            let nodes: Vec<Option<RedisConfig>> = at.items()?.enumerate().map(node).collect();
            redis::together(nodes.into_iter().collect::<Option<_>>()?)
                .map_err(said)
                .ok()
        }
        Node::Table(_) => from_options(at),
        _ => {
            at.expected_secret(
                "an address such as \"redis://127.0.0.1:6379\", a list of them, or an object",
            );
            None
        }
    }
}

fn from_options(at: &At<'_>) -> Option<RedisConfig> {
    let mut options = Map::new();
    for (name, member) in at.members() {
        options.insert(name.to_owned(), resolved(&member)?);
    }
    let faults = match redis::from_options(&options) {
        Ok(config) => {
            for (name, why) in &config.notes {
                let option = name.split('.').next().and_then(|name| at.get(name));
                remark(option.as_ref().unwrap_or(at), name, why);
            }
            return Some(config);
        }
        Err(faults) => faults,
    };
    for (name, message) in faults {
        match at.get(&name) {
            Some(member) => member.fault(message),
            None => at.fault(format!("{name}: {message}")),
        }
    }
    None
}

fn remark(at: &At<'_>, option: &str, why: &str) {
    let message = format!("{option} has no effect here: {why}");
    if why == redis::UNKNOWN_OPTION {
        at.unknown(message)
    } else {
        at.note(message)
    }
}

/// A value in which secrets are read from where they are; a blank one becomes null.
fn resolved(at: &At<'_>) -> Option<Value> {
    Some(match at.node() {
        Node::Table(_) if at.is_blank() => Value::Null,
        Node::Table(_) if at.secret_reference().is_some() => {
            Value::String(at.secret()?.expose_secret().to_owned())
        }
        Node::Table(_) => {
            let members = at
                .members()
                .map(|(name, member)| Some((name.to_owned(), resolved(&member)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
        _ => at.node().to_json(),
    })
}

#[cfg(not(feature = "sql"))]
fn sql_config(at: &At<'_>) -> Option<StoreConfig> {
    at.fault(
        "this build of jsdkd has no databases: build it with the feature \"sql\", or use redis",
    );
    None
}
