//! What an address of Redis means: one server, a socket, sentinels or a cluster, with the choices
//! that its query holds. It opens no connection. A fault never quotes the address, which may hold a
//! password.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::form_urlencoded;

use super::super::{RedisConfig, RedisTls, RedisTopology};
use super::address::{LOCALHOST, REDIS_PORT, checked, defaults, host, list, port};
use super::{option, tls_options};

const SENTINEL_PORT: u16 = 26379;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One server, or a cluster when there are several.
    Servers,
    Cluster,
    Sentinels,
    Socket,
}

/// Reads `redis://`, `rediss://`, `redis+unix://`, `redis-sentinel://` and their kin, and what the
/// original's client takes besides: a socket's path and a bare port.
pub fn from_url(text: &str) -> Result<RedisConfig, String> {
    let text = text.trim();
    if text.starts_with('/') && !text.starts_with("//") {
        return Ok(RedisConfig {
            topology: RedisTopology::Unix(PathBuf::from(text)),
            ..defaults()
        });
    }
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        return Ok(RedisConfig {
            topology: RedisTopology::Standalone(LOCALHOST.to_owned(), port(text)?),
            ..defaults()
        });
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => (
            "redis",
            text.strip_prefix("//")
                .ok_or("expected an address like redis://:PASSWORD@host:6379/0")?,
        ),
    };
    let (kind, tls) = kind(scheme)?;
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = before
        .find('/')
        .map_or((before, ""), |at| before.split_at(at));
    if kind != Kind::Socket && !authority.contains('@') && rest.contains('@') {
        return Err("the characters / ? # @ : in a user or password must be percent-encoded (%2F %3F %23 %40 %3A)".to_owned());
    }
    let (userinfo, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut config = RedisConfig {
        tls: tls.then(RedisTls::default),
        ..defaults()
    };
    identify(&mut config, userinfo)?;

    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    config.topology = match kind {
        Kind::Servers if !hosts.contains(',') => {
            let (host, port) = host(if hosts.is_empty() { LOCALHOST } else { hosts }, REDIS_PORT)?;
            RedisTopology::Standalone(host, port)
        }
        Kind::Servers | Kind::Cluster => RedisTopology::Cluster(list(hosts, REDIS_PORT)?),
        Kind::Sentinels => RedisTopology::Sentinel(list(hosts, SENTINEL_PORT)?, String::new()),
        Kind::Socket if hosts.is_empty() && path.len() > 1 => {
            RedisTopology::Unix(PathBuf::from(decoded(path)?))
        }
        Kind::Socket => {
            return Err("expected a socket's path, as in redis+unix:///run/redis.sock".to_owned());
        }
    };
    let mut steps = path.split('/').filter(|step| !step.is_empty());
    if let RedisTopology::Sentinel(_, master) = &mut config.topology {
        let named = pairs
            .iter()
            .position(|(key, _)| key == "master")
            .map(|at| pairs.remove(at).1);
        *master = match named {
            Some(name) => name,
            None => decoded(steps.next().ok_or(
                "expected the master's name, as in redis-sentinel://host:26379/mymaster",
            )?)?,
        };
    }
    if kind != Kind::Socket {
        if let Some(db) = steps.next() {
            option::set(&mut config, "db", &Value::from(db))
                .map_err(|fault| format!("the database after the host: {fault}"))?;
        }
        if steps.next().is_some() {
            return Err("expected nothing after the database's number".to_owned());
        }
    }
    for (key, value) in pairs {
        match key.as_str() {
            "host" | "port" | "path" | "url" | "tls" | "ssl" | "socket" | "sentinels" => {
                return Err(format!("`{key}` belongs before the question mark"));
            }
            "ca" | "cert" | "key" | "servername" => {
                let choices = config
                    .tls
                    .as_mut()
                    .ok_or_else(|| format!("`{key}` has a meaning with rediss:// only"))?;
                match key.as_str() {
                    "servername" => {
                        choices.server_name = tls_options::server_name(&value).map(Some)?
                    }
                    "ca" => choices.ca = Some(tls_options::pem_text(&key, &value)?),
                    _ => {
                        return Err(format!(
                            "`{key}` goes into an object: {{ url: \"…\", tls: {{ cert: \"…\", key: \"…\" }} }}"
                        ));
                    }
                }
            }
            _ => {
                // An unknown key might be a piece of a password that was not encoded.
                let known = if option::is_known(&key) {
                    key.as_str()
                } else {
                    "an option after the question mark"
                };
                if !option::is_known(&key) {
                    return Err(format!("{known} is unknown"));
                }
                option::set(&mut config, &key, &Value::from(value))
                    .map_err(|fault| format!("{known}: {fault}"))?;
            }
        }
    }
    checked(config)
}

/// Reads several addresses, which together are a cluster.
pub fn from_nodes(urls: Vec<&str>) -> Result<RedisConfig, String> {
    let read = urls.into_iter().enumerate();
    let configs = read
        .map(|(index, url)| from_url(url).map_err(|fault| format!("node {}: {fault}", index + 1)));
    together(configs.collect::<Result<_, _>>()?)
}

/// One cluster of what its nodes say.
pub fn together(configs: Vec<RedisConfig>) -> Result<RedisConfig, String> {
    let mut nodes = Vec::new();
    let mut cluster: Option<RedisConfig> = None;
    for (index, mut config) in configs.into_iter().enumerate() {
        match std::mem::replace(&mut config.topology, RedisTopology::Cluster(Vec::new())) {
            RedisTopology::Standalone(host, port) => nodes.push((host, port)),
            RedisTopology::Cluster(several) => nodes.extend(several),
            _ => {
                return Err(format!(
                    "node {}: expected redis:// or rediss://",
                    index + 1
                ));
            }
        }
        match &cluster {
            Some(first) if !alike(first, &config) => {
                return Err(format!(
                    "node {}: all nodes of a cluster have the same user, password, prefix and TLS",
                    index + 1
                ));
            }
            Some(_) => {}
            None => cluster = Some(config),
        }
    }
    let first = cluster.ok_or("expected at least one address")?;
    checked(RedisConfig {
        topology: RedisTopology::Cluster(nodes),
        ..first
    })
}

/// Reads a bare `host:port` or `host`, as `REDIS_SERVER_ADDRESS` has it; `:6379` is this machine.
/// An URL does as well.
pub fn from_address(address: &str) -> Result<RedisConfig, String> {
    let address = address.trim();
    if address.contains("://") || address.starts_with('/') {
        return from_url(address);
    }
    if address.contains('@') {
        return Err(
            "expected host:port; a password needs an URL: redis://:PASSWORD@host:6379".to_owned(),
        );
    }
    let topology = match list(address, REDIS_PORT)? {
        nodes if nodes.len() > 1 => RedisTopology::Cluster(nodes),
        mut one => one
            .pop()
            .map(|(host, port)| RedisTopology::Standalone(host, port))
            .ok_or("expected host:port")?,
    };
    Ok(RedisConfig {
        topology,
        ..defaults()
    })
}

fn kind(scheme: &str) -> Result<(Kind, bool), String> {
    Ok(match scheme.to_ascii_lowercase().as_str() {
        "redis" | "redis+tcp" | "valkey" => (Kind::Servers, false),
        "rediss" | "redis+tls" | "valkeys" => (Kind::Servers, true),
        "redis+cluster" | "redis-cluster" => (Kind::Cluster, false),
        "rediss+cluster" | "rediss-cluster" => (Kind::Cluster, true),
        "redis+sentinel" | "redis-sentinel" => (Kind::Sentinels, false),
        "rediss+sentinel" | "rediss-sentinel" => (Kind::Sentinels, true),
        "redis+unix" | "redis-socket" | "redis+socket" | "unix" => (Kind::Socket, false),
        _ => {
            return Err("expected one of redis:// rediss:// redis+unix:// redis-sentinel:// rediss-sentinel:// redis+cluster:// rediss+cluster://"
                .to_owned());
        }
    })
}

/// `user:password`, `:password`, or a password alone, as the original's client reads it.
fn identify(config: &mut RedisConfig, userinfo: &str) -> Result<(), String> {
    let (user, password) = userinfo.split_once(':').unwrap_or(("", userinfo));
    let (user, password) = (decoded(user)?, decoded(password)?);
    config.username = Some(user).filter(|user| !user.is_empty());
    config.password = Some(password)
        .filter(|password| !password.is_empty())
        .map(SecretString::from);
    Ok(())
}

fn decoded(text: &str) -> Result<String, String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| "the percent-encoding is not UTF-8".to_owned())
}

fn alike(a: &RedisConfig, b: &RedisConfig) -> bool {
    let password = |config: &RedisConfig| {
        config
            .password
            .as_ref()
            .map(|password| password.expose_secret().to_owned())
    };
    let ca = |config: &RedisConfig| {
        config
            .tls
            .as_ref()
            .map(|tls| (tls.ca.clone(), tls.server_name.clone()))
    };
    a.username == b.username
        && password(a) == password(b)
        && a.prefix == b.prefix
        && a.timeout == b.timeout
        && ca(a) == ca(b)
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
