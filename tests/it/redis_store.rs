//! The Redis store on real servers: the original's format, every way to connect, and every kind of
//! outage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use credentials::store::{OpenError, Store, StoreConfig, StoreError, open, redis};
use serde_json::json;

use crate::store_contract::{has_lease, record, release, renews, value};
use crate::support::redis::{RedisCluster, RedisServer};

const HOUR: Duration = Duration::from_secs(3600);

/// The timeout of these stores, with some slack for a loaded machine.
const BOUND: Duration = Duration::from_millis(1_000 + 700);

async fn store_at(url: &str) -> Arc<dyn Store> {
    let config = redis::from_url(url).expect("a sound address");
    open(&StoreConfig::Redis(config), &Clock::system())
        .await
        .expect("a store opens whether or not its server is up")
}

async fn read(store: &dyn Store, key: &str) -> Option<String> {
    value(store.get(key).await.unwrap())
}

/// Reads, with retries while the client looks for a replacement of a dead node.
async fn read_nevertheless(store: &dyn Store, key: &str) -> Option<String> {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        match store.get(key).await {
            Ok(found) => return value(found),
            Err(fault) => assert!(began.elapsed() < Duration::from_secs(5), "{fault}"),
        }
        assert!(
            asked.elapsed() < BOUND,
            "a fault came after {:?}",
            asked.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes and reads one record.
async fn works(store: &dyn Store) {
    store.put("wx1.token", &record("abc", HOUR)).await.unwrap();
    assert_eq!(read(store, "wx1.token").await.as_deref(), Some("abc"));
    assert!(has_lease(store, "wx1.token", "me").await);
    release(store, "wx1.token", "me").await;
}

/// The error of a call, which must come within the timeout.
async fn fault(store: &dyn Store) -> StoreError {
    let began = Instant::now();
    let fault = store
        .get("wx1.token")
        .await
        .expect_err("the server is down");
    assert!(
        began.elapsed() < BOUND,
        "a fault came after {:?}",
        began.elapsed()
    );
    fault
}

/// Waits until calls succeed again.
async fn heals(store: &dyn Store) {
    let began = Instant::now();
    while let Err(fault) = store.put("wx1.healed", &record("yes", HOUR)).await {
        assert!(
            began.elapsed() < Duration::from_secs(9),
            "still down: {fault}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read(store, "wx1.healed").await.as_deref(), Some("yes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_have_the_originals_format() {
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    store
        .put(
            "wx1.token",
            &record("a\"b\\c\n微\u{7f}/", Duration::from_millis(7_199_900)),
        )
        .await
        .unwrap();
    assert_eq!(
        server.cli(&["GET", "wx1.token"]),
        "\"a\\\"b\\\\c\\n微\u{7f}/\""
    );
    let left: u64 = server.cli(&["TTL", "wx1.token"]).parse().unwrap();
    assert!((7_198..=7_199).contains(&left), "{left}");

    server.cli(&[
        "SETEX",
        "wx2.ticket",
        "7200",
        "\"written \\u0001 elsewhere\\/\"",
    ]);
    let found = store.get("wx2.ticket").await.unwrap().expect("it is there");
    let left = Clock::system().wall().until(found.expires_at);
    assert!(
        left > Duration::from_millis(7_195_000) && left <= Duration::from_secs(7200),
        "{left:?}"
    );
    assert_eq!(
        value(Some(found)).as_deref(),
        Some("written \u{1} elsewhere/")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_data_counts_as_absent_and_is_replaced() {
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    for on_condition in [false, true] {
        server.cli(&["FLUSHALL"]);
        server.cli(&["SET", "wx1.for_ever", "\"abc\""]);
        server.cli(&["SETEX", "wx1.bare", "100", "abc"]);
        server.cli(&["SETEX", "wx1.number", "100", "12"]);
        server.cli(&["SETEX", "wx1.bytes", "100", "\"\u{fffd}"]);
        server.cli(&["RPUSH", "wx1.list", "abc"]);
        for key in [
            "wx1.for_ever",
            "wx1.bare",
            "wx1.number",
            "wx1.bytes",
            "wx1.list",
        ] {
            assert_eq!(read(&*store, key).await, None, "{key}");
            assert_eq!(value(store.take(key).await.unwrap()), None, "{key}");
            let ours = record("ours", HOUR);
            if on_condition {
                assert!(renews(&*store, key, "ours").await, "{key}");
            } else {
                store.put(key, &ours).await.unwrap();
            }
            assert_eq!(read(&*store, key).await.as_deref(), Some("ours"), "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_has_the_prefix() {
    let server = RedisServer::start();
    let store = store_at(&format!("{}?prefix=site:", server.url())).await;
    works(&*store).await;
    assert!(has_lease(&*store, "wx1.token", "me").await);
    assert!(store.take_permit("wx1.rotate", 1, HOUR).await.unwrap());
    let keys = server.cli(&["KEYS", "*"]);
    let mut keys: Vec<&str> = keys.lines().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "site:jsdkd:lease:wx1.token",
            "site:jsdkd:spent:wx1.rotate",
            "site:wx1.token"
        ]
    );
    for key in keys {
        assert!(
            server.cli(&["PTTL", key]).parse::<u64>().unwrap() > 3_000_000,
            "{key} ends some day"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_a_user_and_a_database_are_used() {
    let server = RedisServer::with_password("p@ss/wörd");
    server.cli(&[
        "ACL", "SETUSER", "jsdkd", "on", ">s3cret", "~*", "+get", "+set", "+del", "+incr", "+pttl",
        "+pexpire", "+eval", "+select",
    ]);
    let host = format!("127.0.0.1:{}", server.port());
    works(&*store_at(&format!("redis://:p%40ss%2Fw%C3%B6rd@{host}/3")).await).await;
    assert_eq!(server.cli(&["-n", "3", "GET", "wx1.token"]), "\"abc\"");
    works(&*store_at(&format!("redis://jsdkd:s3cret@{host}")).await).await;
    let options = json!({ "host": "127.0.0.1", "port": server.port().to_string(), "auth_pass": "p@ss/wörd", "db": "2", "string_numbers": null });
    let config = redis::from_options(options.as_object().unwrap()).unwrap();
    works(
        &*open(&StoreConfig::Redis(config), &Clock::system())
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(server.cli(&["-n", "2", "GET", "wx1.token"]), "\"abc\"");

    let none = fault(&*store_at(&format!("redis://{host}")).await).await;
    assert!(none.cause.contains("wants a password"), "{none}");
    let wrong = fault(&*store_at(&format!("redis://:wr0ng@{host}")).await).await;
    assert!(
        wrong.cause.contains("refused the password") && !wrong.to_string().contains("wr0ng"),
        "{wrong}"
    );
    server.cli(&[
        "ACL", "SETUSER", "reader", "on", ">s3cret", "~*", "+get", "+pttl",
    ]);
    let reader = store_at(&format!("redis://reader:s3cret@{host}")).await;
    assert_eq!(read(&*reader, "wx1.token").await.as_deref(), Some("abc"));
    let denied = reader
        .put("wx1.token", &record("SECRET", HOUR))
        .await
        .unwrap_err();
    assert!(
        denied.cause.contains("may not") && denied.operation == "write",
        "{denied}"
    );

    let absent = fault(&*store_at(&format!("redis://:p%40ss%2Fw%C3%B6rd@{host}/99")).await).await;
    assert!(
        absent.cause.contains("no database of that number"),
        "{absent}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unneeded_password_is_ignored_as_by_the_original() {
    let server = RedisServer::start();
    works(&*store_at(&format!("redis://:p@127.0.0.1:{}/1", server.port())).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_what_to_do() {
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = store
        .put("wx1.token", &record("SECRET", HOUR))
        .await
        .unwrap_err();
    assert!(
        full.cause.contains("maxmemory") && !full.to_string().contains("SECRET"),
        "{full}"
    );
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    works(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_works() {
    let server = RedisServer::with_socket();
    let path = server.socket().display().to_string();
    works(&*store_at(&format!("redis+unix://{path}?db=1")).await).await;
    works(&*store_at(&path).await).await;
    let nowhere = fault(&*store_at("unix:///nowhere/redis.sock").await).await;
    assert!(nowhere.cause.contains("/nowhere/redis.sock"), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_given_authority_and_no_other() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (server, other) = (RedisServer::with_tls(), RedisServer::with_tls());
    let url = |host: &str, ca: &RedisServer| {
        format!("rediss://{host}:{}?ca={}", server.port(), ca.ca().display())
    };
    works(&*store_at(&url("127.0.0.1", &server)).await).await;
    works(&*store_at(&url("localhost", &server)).await).await;
    for refused in [
        url("127.0.0.1", &other),
        format!("rediss://127.0.0.1:{}", server.port()),
    ] {
        let untrusted = fault(&*store_at(&refused).await).await;
        assert!(untrusted.cause.contains("certificate"), "{untrusted}");
    }
    // An unencrypted connection to it fails within the timeout.
    fault(&*store_at(&server.url()).await).await;
}

#[tokio::test]
async fn only_invalid_settings_prevent_opening() {
    let mut config = redis::from_url("rediss://127.0.0.1:1").unwrap();
    for broken in [
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        config.tls = Some(credentials::store::RedisTls {
            ca: Some(broken.to_owned()),
            ..Default::default()
        });
        let refused = open(&StoreConfig::Redis(config.clone()), &Clock::system())
            .await
            .err();
        assert!(
            matches!(refused, Some(OpenError::Misconfigured(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_fails_at_once_and_recovers() {
    let mut server = RedisServer::start();
    server.kill();
    let store = store_at(&server.url()).await;
    let began = Instant::now();
    for _ in 0..100 {
        let dead = fault(&*store).await;
        assert!(
            dead.cause.contains(&format!(
                "nothing listens at redis at 127.0.0.1:{}",
                server.port()
            )),
            "{dead}"
        );
    }
    assert!(
        began.elapsed() < BOUND,
        "a hundred faults took {:?}",
        began.elapsed()
    );
    server.restart();
    heals(&*store).await;
    server.kill();
    fault(&*store).await;
    server.restart();
    heals(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_two_calls_is_not_noticed() {
    let mut server = RedisServer::start();
    let store = store_at(&server.url()).await;
    works(&*store).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.restart();
        assert_eq!(read(&*store, "wx1.token").await.as_deref(), Some("abc"));
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(store.take_permit("wx1.rotate", 100, HOUR).await.unwrap());
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        store
            .put("wx1.ticket", &record("once", HOUR))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert_eq!(
            value(store.take("wx1.ticket").await.unwrap()).as_deref(),
            Some("once")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_server_times_out_and_recovers() {
    let server = RedisServer::start();
    let (warm, cold) = (store_at(&server.url()).await, store_at(&server.url()).await);
    works(&*warm).await;
    server.pause();
    for store in [&warm, &cold] {
        let hanging = fault(&**store).await;
        assert!(hanging.cause.contains("did not answer"), "{hanging}");
        // From then on nobody waits long.
        let began = Instant::now();
        fault(&**store).await;
        assert!(
            began.elapsed() < Duration::from_millis(950),
            "the second fault took {:?}",
            began.elapsed()
        );
    }
    server.resume();
    for store in [warm, cold] {
        heals(&*store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_disconnects_harms_no_other() {
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    server.pause();
    let waiting = {
        let store = Arc::clone(&store);
        let first = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.get("wx1.token").await.map(drop) }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let second = tokio::spawn(async move { store.get("wx1.token").await.map(value) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.abort();
        second
    };
    server.resume();
    assert_eq!(waiting.await.unwrap().unwrap(), None);
    works(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_share_one_connection() {
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.get("wx1.token").await.map(value) })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), None);
    }
    let clients = server.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
    assert_eq!(
        clients.lines().count(),
        2,
        "ours and the tool's own:\n{clients}"
    );
    store.close().await.unwrap();
    let closed = store.get("wx1.token").await.unwrap_err();
    assert!(closed.cause.contains("closed"), "{closed}");
    server.await_answer(&["INFO", "clients"], "connected_clients:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_name_the_master_and_its_successor() {
    let mut master = RedisServer::start();
    let replica = RedisServer::with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    replica.await_answer(&["INFO", "replication"], "master_link_status:up");
    let sentinel = RedisServer::sentinel_of(master.port());
    sentinel.await_answer(
        &["SENTINEL", "replicas", "mymaster"],
        &replica.port().to_string(),
    );

    // The first of the sentinels does not exist and is skipped.
    let url = format!(
        "redis-sentinel://127.0.0.1:1,127.0.0.1:{}/mymaster",
        sentinel.port()
    );
    let store = store_at(&url).await;
    works(&*store).await;
    assert_eq!(master.cli(&["GET", "wx1.token"]), "\"abc\"");
    replica.await_answer(&["GET", "wx1.token"], "\"abc\"");
    let unknown = fault(
        &*store_at(&format!(
            "redis-sentinel://127.0.0.1:{}/other",
            sentinel.port()
        ))
        .await,
    )
    .await;
    assert!(
        unknown.cause.contains("no sentinel knows that master"),
        "{unknown}"
    );

    master.kill();
    heals(&*store).await;
    assert_eq!(replica.cli(&["GET", "wx1.healed"]), "\"yes\"");
    assert_eq!(
        read(&*store, "wx1.token").await.as_deref(),
        Some("abc"),
        "nothing was lost on the way"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_works_while_master_and_a_sentinel_hang() {
    let mut master = RedisServer::start();
    let replica = RedisServer::with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    replica.await_answer(&["INFO", "replication"], "master_link_status:up");
    let (hung, sentinel) = (
        RedisServer::sentinel_of(master.port()),
        RedisServer::sentinel_of(master.port()),
    );
    sentinel.await_answer(
        &["SENTINEL", "replicas", "mymaster"],
        &replica.port().to_string(),
    );
    hung.pause();
    let store = store_at(&format!(
        "redis-sentinel://127.0.0.1:{},127.0.0.1:{}/mymaster",
        hung.port(),
        sentinel.port()
    ))
    .await;
    works(&*store).await;
    // A sentinel alone cannot elect itself if it knows another one, so the promotion is done by
    // hand.
    master.pause();
    fault(&*store).await;
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    sentinel.cli(&["SENTINEL", "REMOVE", "mymaster"]);
    sentinel.cli(&[
        "SENTINEL",
        "MONITOR",
        "mymaster",
        "127.0.0.1",
        &replica.port().to_string(),
        "1",
    ]);
    heals(&*store).await;
    assert_eq!(replica.cli(&["GET", "wx1.healed"]), "\"yes\"");
    master.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_clusters_take_the_password_too() {
    let master = RedisServer::with_password("s3cret");
    let sentinel = RedisServer::sentinel_with_password(master.port(), "s3cret");
    works(
        &*store_at(&format!(
            "redis-sentinel://:s3cret@127.0.0.1:{}/mymaster/1",
            sentinel.port()
        ))
        .await,
    )
    .await;
    assert_eq!(master.cli(&["-n", "1", "GET", "wx1.token"]), "\"abc\"");

    let cluster = RedisCluster::start();
    for node in &cluster.nodes {
        node.cli(&["CONFIG", "SET", "requirepass", "s3cret"]);
    }
    works(&*store_at(&cluster.url().replace("redis://", "redis://:s3cret@")).await).await;
    for (url, wanted) in [
        (cluster.url(), "password"),
        (
            cluster.url().replace("redis://", "redis://:wr0ng@"),
            "refused the password",
        ),
    ] {
        let refused = fault(&*store_at(&url).await).await;
        assert!(
            refused.cause.contains(wanted) && !refused.to_string().contains("wr0ng"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_master_is_abandoned_for_the_new_one() {
    let master = RedisServer::start();
    let replica = RedisServer::with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    replica.await_answer(&["INFO", "replication"], "master_link_status:up");
    let sentinel = RedisServer::sentinel_of(master.port());
    sentinel.await_answer(
        &["SENTINEL", "replicas", "mymaster"],
        &replica.port().to_string(),
    );
    let store = store_at(&format!(
        "redis-sentinel://127.0.0.1:{}/mymaster",
        sentinel.port()
    ))
    .await;
    works(&*store).await;
    sentinel.await_answer(&["SENTINEL", "failover", "mymaster"], "OK");
    sentinel.await_answer(
        &["SENTINEL", "get-master-addr-by-name", "mymaster"],
        &replica.port().to_string(),
    );
    // The sentinel will do this too, but takes up to ten seconds.
    master.cli(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    master.await_answer(&["ROLE"], "slave");
    heals(&*store).await;
    assert_eq!(replica.cli(&["GET", "wx1.healed"]), "\"yes\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_a_read_only_replica() {
    let master = RedisServer::start();
    let replica = RedisServer::with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    replica.await_answer(&["INFO", "replication"], "master_link_status:up");
    let fault = store_at(&replica.url())
        .await
        .put("wx1.token", &record("abc", HOUR))
        .await
        .unwrap_err();
    assert!(fault.cause.contains("read-only replica"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_of_a_credential_share_a_cluster_slot() {
    let cluster = RedisCluster::start();
    let store = store_at(&format!("{}?prefix=site:", cluster.url())).await;
    let slot = |key: &str| cluster.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]);
    for app in ["wx1", "wx2", "wx3"] {
        let key = format!("{app}.token");
        store.put(&key, &record("abc", HOUR)).await.unwrap();
        store
            .put(&format!("{key}.version"), &record("{}", HOUR))
            .await
            .unwrap();
        assert_eq!(
            read(&*store, &format!("{key}.version")).await.as_deref(),
            Some("{}")
        );
        assert!(has_lease(&*store, &key, "me").await);
        assert!(
            store
                .take_permit(&format!("{key}.rotation"), 1, HOUR)
                .await
                .unwrap()
        );
        assert!(
            store
                .take_permit(&format!("{key}.rotations.20000"), 1, HOUR)
                .await
                .unwrap()
        );
        let keys: Vec<String> = cluster
            .nodes
            .iter()
            .flat_map(|node| node.names_like(&format!("*{app}*")))
            .collect();
        assert_eq!(keys.len(), 5, "{keys:?}");
        assert!(
            keys.contains(&format!("site:{key}"))
                && keys.iter().all(|name| slot(name) == slot(&keys[0])),
            "{keys:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_slots_of_a_cluster_are_followed() {
    let cluster = RedisCluster::start();
    let store = store_at(&cluster.url()).await;
    let keys: Vec<String> = (0..20).map(|n| format!("wx{n}.token")).collect();
    for key in &keys {
        store.put(key, &record(key, HOUR)).await.unwrap();
    }
    let key = keys[0].as_str();
    for _ in 0..2 {
        let owner = cluster.move_slot_of(key);
        assert_eq!(read(&*store, key).await.as_deref(), Some(key));
        store.put(key, &record(key, HOUR)).await.unwrap();
        assert_eq!(
            cluster.nodes[owner].cli(&["GET", key]),
            format!("\"{key}\"")
        );
        assert!(has_lease(&*store, key, "me").await);
        release(&*store, key, "me").await;
        assert_eq!(value(store.take(key).await.unwrap()).as_deref(), Some(key));
        store.put(key, &record(key, HOUR)).await.unwrap();
    }
    for key in &keys {
        assert_eq!(read(&*store, key).await.as_deref(), Some(key.as_str()));
    }
    // If one of its nodes is configured as a single server, the error says so.
    let elsewhere = keys.iter().find(|key| cluster.owner(key) != 0).unwrap();
    let lone = store_at(&cluster.nodes[0].url())
        .await
        .get(elsewhere)
        .await
        .unwrap_err();
    assert!(lone.cause.contains("belongs to a cluster"), "{lone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_cluster_node_stops_only_its_own_keys() {
    one_node_fails(|node| node.pause(), |node| node.resume()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_cluster_node_stops_only_its_own_keys() {
    one_node_fails(RedisServer::kill, RedisServer::restart).await;
}

async fn one_node_fails(fail: fn(&mut RedisServer), recover: fn(&mut RedisServer)) {
    let mut cluster = RedisCluster::start();
    let store = store_at(&cluster.url()).await;
    let key_of = |node| {
        (0..)
            .map(|n| format!("wx{n}.token"))
            .find(|key| cluster.owner(key) == node)
            .unwrap()
    };
    let keys: Vec<String> = (0..3).map(key_of).collect();
    for key in &keys {
        store.put(key, &record(key, HOUR)).await.unwrap();
    }
    fail(&mut cluster.nodes[0]);
    let crowd = (0..40).map(|_| {
        let (store, key) = (Arc::clone(&store), keys[0].clone());
        tokio::spawn(async move {
            let began = Instant::now();
            store.get(&key).await.expect_err("its node is down");
            assert!(
                began.elapsed() < BOUND,
                "a fault came after {:?}",
                began.elapsed()
            );
        })
    });
    let crowd: Vec<_> = crowd.collect();
    let cold = store_at(&cluster.url()).await;
    for key in &keys[1..] {
        assert_eq!(read_nevertheless(&*store, key).await.as_ref(), Some(key));
        assert_eq!(
            read_nevertheless(&*cold, key).await.as_ref(),
            Some(key),
            "nor does it harm who comes only now"
        );
    }
    for one in crowd {
        one.await.unwrap();
    }
    recover(&mut cluster.nodes[0]);
    let began = Instant::now();
    while store.get(&keys[0]).await.is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "the node is back, and nobody noticed"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_cluster_node_is_abandoned_for_its_replica() {
    let cluster = RedisCluster::start();
    let store = store_at(&cluster.url()).await;
    works(&*store).await;
    let owner = cluster.owner("wx1.token");
    let replica = cluster.add_replica_of(owner);
    cluster.nodes[owner].pause();
    let began = Instant::now();
    while store.put("wx1.token", &record("new", HOUR)).await.is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(7),
            "the replica was never found"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(replica.cli(&["GET", "wx1.token"]), "\"new\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_recovers_after_an_outage() {
    let mut cluster = RedisCluster::start();
    let store = store_at(&cluster.url()).await;
    works(&*store).await;
    cluster.nodes.iter_mut().for_each(RedisServer::kill);
    for _ in 0..20 {
        fault(&*store).await;
    }
    cluster.nodes.iter_mut().for_each(RedisServer::restart);
    heals(&*store).await;
    assert_eq!(read(&*store, "wx1.token").await.as_deref(), Some("abc"));
}
