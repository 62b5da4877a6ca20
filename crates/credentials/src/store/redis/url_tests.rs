//! Tests of addresses and options: what people write, and that nothing they write is a panic or a
//! leak.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::super::from_options;
use super::*;

fn one(host: &str, port: u16) -> RedisTopology {
    RedisTopology::Standalone(host.to_owned(), port)
}

fn nodes(hosts: &[(&str, u16)]) -> Vec<(String, u16)> {
    hosts
        .iter()
        .map(|(host, port)| ((*host).to_owned(), *port))
        .collect()
}

/// The options that had no effect.
fn names(config: &RedisConfig) -> Vec<&str> {
    config.notes.iter().map(|(name, _)| name.as_str()).collect()
}

fn password(config: &RedisConfig) -> Option<&str> {
    config
        .password
        .as_ref()
        .map(|password| password.expose_secret())
}

#[test]
fn one_server_is_parsed_as_by_the_original() {
    for (text, topology, user, secret, db) in [
        ("redis://h", one("h", 6379), None, None, 0),
        ("redis://h:7000/", one("h", 7000), None, None, 0),
        ("redis://:p@h/2", one("h", 6379), None, Some("p"), 2),
        ("redis://p@h", one("h", 6379), None, Some("p"), 0),
        (
            "redis://u:p%40%2f@h:1",
            one("h", 1),
            Some("u"),
            Some("p@/"),
            0,
        ),
        ("redis://u:p:q@h", one("h", 6379), Some("u"), Some("p:q"), 0),
        (
            "redis://h?db=1&password=x%26y",
            one("h", 6379),
            None,
            Some("x&y"),
            1,
        ),
        ("//h:7000", one("h", 7000), None, None, 0),
        ("redis:///3", one("127.0.0.1", 6379), None, None, 3),
        ("redis://[::1]:7000/1", one("::1", 7000), None, None, 1),
        ("6380", one("127.0.0.1", 6380), None, None, 0),
        (
            "unix:///run/redis.sock?db=4",
            RedisTopology::Unix("/run/redis.sock".into()),
            None,
            None,
            4,
        ),
        (
            "redis+unix://:p@/run/a%20b?password=q",
            RedisTopology::Unix("/run/a b".into()),
            None,
            Some("q"),
            0,
        ),
        (
            "/run/redis.sock",
            RedisTopology::Unix("/run/redis.sock".into()),
            None,
            None,
            0,
        ),
    ] {
        let config = from_url(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(config.topology, topology, "{text}");
        assert_eq!(
            (config.username.as_deref(), password(&config), config.db),
            (user, secret, db),
            "{text}"
        );
        assert!(config.tls.is_none());
    }
}

#[test]
fn several_servers_are_a_cluster_or_sentinels() {
    let cluster = from_url("rediss://:p@h1:7000,h2").unwrap();
    assert_eq!(
        cluster.topology,
        RedisTopology::Cluster(nodes(&[("h1", 7000), ("h2", 6379)]))
    );
    assert!(cluster.tls.is_some() && password(&cluster) == Some("p"));
    assert_eq!(
        from_url("redis+cluster://h1").unwrap().topology,
        RedisTopology::Cluster(nodes(&[("h1", 6379)]))
    );
    assert_eq!(
        from_nodes(vec!["redis://h1:7000", "redis://h2:7001"])
            .unwrap()
            .topology,
        RedisTopology::Cluster(nodes(&[("h1", 7000), ("h2", 7001)]))
    );
    let watched =
        RedisTopology::Sentinel(nodes(&[("h1", 26379), ("h2", 7)]), "my master".to_owned());
    let sentinel = from_url("redis-sentinel://u:p@h1,h2:7/my%20master/2").unwrap();
    assert_eq!((sentinel.topology, sentinel.db), (watched.clone(), 2));
    assert_eq!(
        from_url("rediss-sentinel://h1,h2:7?master=my+master")
            .unwrap()
            .topology,
        watched
    );
}

#[test]
fn the_query_has_our_options_and_ignores_the_originals_tuning() {
    let config =
        from_url("redis://h?timeout=2s&keyPrefix=a%3A&retry_strategy=x&family=IPv4").unwrap();
    assert_eq!(
        (config.timeout, config.prefix.as_str()),
        (Duration::from_secs(2), "a:")
    );
    assert_eq!(names(&config), ["retry_strategy", "family"]);
    assert_eq!(
        from_url("redis://h").unwrap().timeout,
        Duration::from_secs(1)
    );
}

#[test]
fn invalid_addresses_are_refused_without_quoting_them() {
    for text in [
        "",
        "h:6379",
        "http://h",
        "redis://h:0",
        "redis://h:SECRET",
        "redis://h:+1",
        "redis://h/SECRET",
        "redis://h/1/SECRET",
        "redis://h?SECRET=1",
        "redis://h?db=SECRET",
        "redis://h?timeout=0s",
        "redis://h?timeout=SECRET",
        "redis://:SEC/RET@h",
        "redis://:SEC?RET=1@h",
        "redis://%ff@h",
        "redis://a b",
        "redis://[::1",
        "redis://[SECRET]",
        "redis://h1,h2/1",
        "redis://h?ca=/SECRET",
        "rediss://h?ca=/nowhere/SECRET",
        "redis-sentinel://h",
        "redis-sentinel:///mymaster",
        "redis+unix://h/path",
        "unix://",
        "70000",
    ] {
        let fault = from_url(text)
            .map(|config| config.topology)
            .expect_err(text);
        assert!(
            !fault.contains("SEC") && !fault.contains("RET"),
            "{text}: {fault}"
        );
    }
    assert!(from_nodes(Vec::new()).is_err());
    assert!(from_nodes(vec!["redis://h1", "unix:///x"]).is_err());
    assert!(from_nodes(vec!["redis://:a@h1", "redis://:b@h2"]).is_err());
}

#[test]
fn a_bare_address_is_a_server() {
    for (text, topology) in [
        ("h:7000", one("h", 7000)),
        ("h", one("h", 6379)),
        (":7000", one("127.0.0.1", 7000)),
        ("::1", one("::1", 6379)),
        ("[::1]:7000", one("::1", 7000)),
        ("redis://h:1", one("h", 1)),
        (
            "h1:1,h2:2",
            RedisTopology::Cluster(nodes(&[("h1", 1), ("h2", 2)])),
        ),
    ] {
        assert_eq!(from_address(text).unwrap().topology, topology, "{text}");
    }
    assert!(
        from_address("").is_err() && from_address("a b").is_err() && from_address("p@h").is_err()
    );
}

#[test]
fn the_originals_options_are_understood() {
    let read = |options: serde_json::Value| from_options(options.as_object().expect("an object"));
    let config = read(
        json!({ "host": "h", "port": "7000", "password": 123, "db": "2", "prefix": "a:", "tls": {}, "timeout": "2s",
        "retry_strategy": null, "connect_timeout": 3600000, "no_ready_check": true }),
    );
    let config = config.unwrap();
    assert_eq!(
        (config.topology.clone(), config.db, config.prefix.as_str()),
        (one("h", 7000), 2, "a:")
    );
    assert!(
        config.tls.is_some()
            && password(&config) == Some("123")
            && config.timeout == Duration::from_secs(2)
    );
    assert_eq!(read(json!({})).unwrap().topology, one("127.0.0.1", 6379));
    assert_eq!(
        read(json!({ "host": "h", "path": "/run/x" }))
            .unwrap()
            .topology,
        RedisTopology::Unix("/run/x".into())
    );
    let config = read(
        json!({ "url": "redis://u:p@h:1/2", "port": 3, "auth_pass": "q", "tls": { "ca": "-----BEGIN CERTIFICATE-----" } }),
    );
    let config = config.unwrap();
    assert_eq!(
        (config.topology.clone(), config.db, password(&config)),
        (one("h", 3), 2, Some("p"))
    );
    assert!(config.tls.unwrap().ca.is_some());
    assert_eq!(
        password(&read(json!({ "password": "p", "auth_pass": "q" })).unwrap()),
        Some("p")
    );
    assert_eq!(
        password(&read(json!({ "auth_pass": "q", "password": null })).unwrap()),
        Some("q")
    );
    assert!(read(json!({ "tls": false })).unwrap().tls.is_none());

    let faults =
        read(json!({ "host": 1.5, "port": 99999, "db": -1, "pasword": "p", "tls": { "rejectUnauthorized": false } })).unwrap_err();
    let mut keys: Vec<&str> = faults.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["db", "pasword", "port", "tls"]);
}

fn read(options: serde_json::Value) -> Result<RedisConfig, Vec<(String, String)>> {
    from_options(options.as_object().expect("an object"))
}

#[test]
fn an_empty_option_is_unset() {
    let options = json!({ "url": "", "host": "", "port": "", "path": "", "user": "", "username": null, "password": "", "db": "",
        "prefix": "", "tls": "", "sentinelPassword": "" });
    let config = read(options).unwrap();
    assert_eq!(config.topology, one("127.0.0.1", 6379));
    assert!(
        config.username.is_none()
            && password(&config).is_none()
            && config.tls.is_none()
            && names(&config).is_empty()
    );
    assert!(password(&read(json!({ "password": false })).unwrap()).is_none());
    assert_eq!(
        password(&read(json!({ "password": 123456 })).unwrap()),
        Some("123456")
    );
    assert!(
        from_url("redis://:@h?password=&user=")
            .unwrap()
            .password
            .is_none()
    );
}

#[test]
fn options_of_other_clients_are_understood() {
    let config =
        read(json!({ "keyPrefix": "p:", "database": 3, "username": "u", "password": "x", "commandTimeout": 700 })).unwrap();
    assert_eq!(
        (config.prefix.as_str(), config.db, config.timeout),
        ("p:", 3, Duration::from_millis(700))
    );
    let ours = read(json!({ "timeout": "2s", "commandTimeout": 700 })).unwrap();
    assert_eq!(ours.timeout, Duration::from_secs(2));
    // node_redis 4.
    let config =
        read(json!({ "socket": { "host": "h", "port": 7, "tls": true, "servername": "n", "connectTimeout": 5, "x": 1 } })).unwrap();
    assert_eq!(
        (config.topology.clone(), names(&config)),
        (one("h", 7), vec!["socket.connectTimeout", "socket.x"])
    );
    assert_eq!(config.tls.unwrap().server_name.as_deref(), Some("n"));
    assert!(
        read(json!({ "socket": { "path": "/run/x", "tls": false } }))
            .unwrap()
            .tls
            .is_none()
    );
    // ioredis.
    let sentinels = json!({ "sentinels": [{ "host": "h1", "port": 7 }, { "host": "h2" }, "h3:9"], "name": "m", "sentinelPassword": "s" });
    let config = read(sentinels).unwrap();
    assert_eq!(
        config.topology,
        RedisTopology::Sentinel(
            nodes(&[("h1", 7), ("h2", 26379), ("h3", 9)]),
            "m".to_owned()
        )
    );
    assert_eq!(
        config
            .sentinel_password
            .as_ref()
            .map(|password| password.expose_secret()),
        Some("s")
    );
    assert_eq!(
        read(json!({ "sentinels": [{ "host": "h" }] })).unwrap_err()[0].0,
        "name"
    );
}

#[test]
fn an_option_without_effect_is_named() {
    let options = json!({ "ttl": 60, "lazyConnect": true, "retry_strategy": null, "retryStrategy": "x", "enable_offline_queue": false,
        "connect_timeout": 1, "family": 4, "keepAlive": 1, "name": "n", "maxRetriesPerRequest": 1, "whatever": 1,
        "tls": { "minVersion": "TLSv1.2", "odd": 1 } });
    let config = read(options).unwrap();
    let mut named = names(&config);
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "connect_timeout",
            "enable_offline_queue",
            "family",
            "keepAlive",
            "lazyConnect",
            "maxRetriesPerRequest",
            "name",
            "retryStrategy",
            "tls.minVersion",
            "tls.odd",
            "ttl",
            "whatever"
        ]
    );
}

#[test]
fn options_that_weaken_tls_are_refused_with_advice() {
    for options in [
        json!({ "tls": { "rejectUnauthorized": false } }),
        json!({ "tls": { "rejectUnauthorized": "false" } }),
        json!({ "tls": { "rejectUnauthorized": 0 } }),
        json!({ "tls": { "checkServerIdentity": "() => undefined" } }),
        json!({ "tls": { "insecureSkipVerify": true } }),
        json!({ "tls": { "verify_peer": false } }),
        json!({ "rejectUnauthorized": false }),
        json!({ "socket": { "tls": true, "rejectUnauthorized": false } }),
        json!({ "socket": { "tls": { "rejectUnauthorized": false } } }),
        json!({ "socket": { "rejectUnauthorized": false } }),
        json!({ "url": "rediss://h?rejectUnauthorized=false" }),
        json!({ "url": "rediss://h?ssl_cert_reqs=none" }),
    ] {
        let fault = read(options.clone())
            .map(|config| config.topology)
            .expect_err(&options.to_string());
        assert!(
            fault[0].1.contains("always checked") && fault[0].1.contains("ca"),
            "{options}: {fault:?}"
        );
    }
    for options in [
        json!({ "tls": { "rejectUnauthorized": true, "checkServerIdentity": null } }),
        json!({ "tls": { "insecure": false } }),
    ] {
        assert!(read(options).unwrap().tls.is_some());
    }
    assert!(
        read(json!({ "url": "redis://h1,h2", "tls": { "servername": "n" } })).unwrap_err()[0]
            .1
            .contains("cluster")
    );
    assert!(
        read(json!({ "tls": { "servername": "no name" } })).is_err()
            && read(json!({ "tls": { "cert": "-----BEGIN" } })).is_err()
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*", scheme in "(redis|rediss|redis-sentinel|redis\\+cluster|redis\\+unix|unix|)(://|//|/|)") {
        for text in [text.clone(), format!("{scheme}{text}")] {
            let _ = (from_url(&text), from_address(&text), from_nodes(vec![&text, &text]));
        }
        for key in ["url", "host", "port", "path", "password", "db", "tls", "timeout", text.as_str()] {
            let _ = from_options(json!({ key: text }).as_object().expect("an object"));
        }
    }

    #[test]
    fn encoded_values_are_decoded(host in "[a-z][a-z0-9.-]{0,20}", at in 1u16.., db in 0u32..100, user in "\\PC{0,12}", secret in "\\PC{1,40}") {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        for url in [
            format!("redis://{}:{}@{host}:{at}/{db}", encoded(&user), encoded(&secret)),
            format!("redis://{host}:{at}?db={db}&user={}&password={}", encoded(&user), encoded(&secret)),
        ] {
            let config = from_url(&url).map_err(TestCaseError::fail)?;
            prop_assert_eq!(&config.topology, &one(&host, at));
            prop_assert_eq!((config.db, password(&config)), (i64::from(db), Some(secret.as_str())));
            prop_assert_eq!(config.username.unwrap_or_default(), user.clone());
        }
    }

    #[test]
    fn a_password_is_never_shown(secret in "[A-Z]{12}", junk in "\\PC{0,8}") {
        for url in [format!("redis://:{secret}@h{junk}"), format!("redis://h?password={secret}&{junk}"), format!("redis://:{junk}{secret}@h")] {
            let shown = format!("{:?}", from_url(&url));
            prop_assert!(!shown.contains(&secret), "{}", shown);
        }
    }
}
