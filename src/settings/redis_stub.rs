//! TO BE REPLACED by `store::redis::url` when the redis store is merged: the same functions, for `redis://host[:port]` alone.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::store::{RedisConfig, RedisTopology};

pub(super) fn from_url(text: &str) -> Result<RedisConfig, String> {
    let rest = text.strip_prefix("redis://").ok_or("expected an address such as redis://127.0.0.1:6379")?;
    from_address(rest.trim_end_matches('/'))
}

pub(super) fn from_options(options: &Map<String, Value>) -> Result<RedisConfig, Vec<(String, String)>> {
    let host = options.get("host").and_then(Value::as_str).unwrap_or("127.0.0.1");
    let port = match options.get("port") {
        None => 6379,
        Some(port) => port
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .ok_or_else(|| vec![("port".to_owned(), "expected a whole number from 0 to 65535".to_owned())])?,
    };
    Ok(standalone(host, port))
}

pub(super) fn from_nodes(nodes: Vec<&str>) -> Result<RedisConfig, String> {
    let first = nodes.first().ok_or("expected at least one address")?;
    from_url(first)
}

pub(super) fn from_address(text: &str) -> Result<RedisConfig, String> {
    let (host, port) = text.split_once(':').unwrap_or((text, "6379"));
    let port = port.parse().map_err(|_| "expected HOST:PORT".to_owned())?;
    if host.is_empty() { Err("expected HOST:PORT".to_owned()) } else { Ok(standalone(host, port)) }
}

fn standalone(host: &str, port: u16) -> RedisConfig {
    RedisConfig {
        topology: RedisTopology::Standalone(host.to_owned(), port),
        username: None,
        password: None,
        db: 0,
        prefix: String::new(),
        tls: None,
        timeout: Duration::from_secs(3),
    }
}
