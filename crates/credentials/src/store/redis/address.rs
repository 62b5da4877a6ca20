//! The defaults of a Redis configuration, and the parsing of host names and ports.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::super::{RedisConfig, RedisTopology};

pub(super) const REDIS_PORT: u16 = 6379;
pub(super) const LOCALHOST: &str = "127.0.0.1";

pub(super) fn defaults() -> RedisConfig {
    RedisConfig {
        topology: RedisTopology::Standalone(LOCALHOST.to_owned(), REDIS_PORT),
        username: None,
        password: None,
        db: 0,
        prefix: String::new(),
        tls: None,
        timeout: Duration::from_secs(1),
        sentinel_username: None,
        sentinel_password: None,
        notes: Vec::new(),
    }
}

/// Checks the combination of all options.
pub(super) fn checked(config: RedisConfig) -> Result<RedisConfig, String> {
    match &config.topology {
        RedisTopology::Cluster(_) if config.db != 0 => Err("a cluster has only the database 0".to_owned()),
        RedisTopology::Unix(_) if config.tls.is_some() => Err("a unix socket has no TLS".to_owned()),
        RedisTopology::Sentinel(_, master) if master.is_empty() => {
            Err("the name of the master that the sentinels watch is missing: `name`".to_owned())
        }
        RedisTopology::Cluster(_) if config.tls.as_ref().is_some_and(|tls| tls.server_name.is_some()) => Err(
            "`servername` is one name, and each node of a cluster is held to its own: take it out, and name the nodes as their \
                 certificates do"
                .to_owned(),
        ),
        _ => Ok(config),
    }
}

/// A host name or address with an optional port; an IPv6 address is in brackets.
pub(super) fn host(text: &str, default: u16) -> Result<(String, u16), String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), default));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("an IPv6 address ends with ]")?;
        host.parse::<Ipv6Addr>()
            .map_err(|_| "expected an IPv6 address in the brackets")?;
        return match rest {
            "" => Ok((host.to_owned(), default)),
            rest => Ok((
                host.to_owned(),
                port(
                    rest.strip_prefix(':')
                        .ok_or("expected :PORT after the bracket")?,
                )?,
            )),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, number)) => (host, port(number)?),
        None => (text, default),
    };
    let host = if host.is_empty() && !text.is_empty() {
        LOCALHOST
    } else {
        host
    };
    if host.is_empty()
        || !host
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        return Err("expected a host name or an IP address".to_owned());
    }
    Ok((host.to_owned(), port))
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    let digits = text.chars().all(|c| c.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| digits && *port != 0)
        .ok_or_else(|| "expected a port from 1 to 65535".to_owned())
}

/// Comma-separated hosts.
pub(super) fn list(hosts: &str, default: u16) -> Result<Vec<(String, u16)>, String> {
    hosts
        .split(',')
        .map(|one| host(one.trim(), default))
        .collect()
}
