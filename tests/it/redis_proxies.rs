//! Redis behind proxies, or with users, that refuse scripts, `PUBLISH`, `SUBSCRIBE` and more. The
//! contract holds, and the log says what is missing.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use credentials::store::{Store, StoreConfig, open, redis};
use reqwest::Method;
use sandbox::Answer;
use serde_json::{Value, json};

use crate::oauth_stores::{app_with, many_trips, one_of_twenty_redeems};
use crate::scan_login::{begin, scan};
use crate::store_contract::{has_lease, keeps_the_contract, record, release, renews, value};
use crate::support::app::{APP, TestApp};
use crate::support::filter::{Filter, Rule, Treatment};
use crate::support::fleet::Fleet;
use crate::support::redis::{RedisCluster, RedisServer};

const HOUR: Duration = Duration::from_secs(3600);

fn publishes(command: &[String]) -> bool {
    command[0] == "EVAL" && command[1].to_ascii_uppercase().contains("PUBLISH")
}

/// Refuses a script by its text, as proxies that check scripts do.
fn no_publish_in_scripts(command: &[String]) -> Treatment {
    if publishes(command) {
        Treatment::Say("ERR command 'publish' is not allowed in script")
    } else {
        Treatment::Pass
    }
}

fn no_publish(command: &[String]) -> Treatment {
    match command[0].as_str() {
        "PUBLISH" => Treatment::Say("ERR handle request, command 'PUBLISH' is not allowed"),
        "EVAL" if publishes(command) => Treatment::Say("ERR bad lua script for redis cluster"),
        _ => Treatment::Pass,
    }
}

fn no_scripts(command: &[String]) -> Treatment {
    match command[0].as_str() {
        "EVAL" | "EVALSHA" | "SCRIPT" => Treatment::Say("ERR unknown command 'EVAL'"),
        _ => Treatment::Pass,
    }
}

/// Envoy's errors do not begin with `ERR`.
fn no_scripts_in_other_words(command: &[String]) -> Treatment {
    match command[0].as_str() {
        "EVAL" | "EVALSHA" | "SCRIPT" => Treatment::Say("unsupported command 'eval'"),
        _ => Treatment::Pass,
    }
}

fn no_listening(command: &[String]) -> Treatment {
    match command[0].as_str() {
        "SUBSCRIBE" | "PSUBSCRIBE" => Treatment::Say(
            "ERR unknown command `SUBSCRIBE`, with args beginning with: `jsdkd:changed`, ",
        ),
        _ => Treatment::Pass,
    }
}

/// The commands that the most limited proxies accept.
fn is_plain(command: &[String]) -> bool {
    let plain = [
        "GET", "SET", "DEL", "INCR", "DECR", "PTTL", "PEXPIRE", "EXISTS", "HGET", "HGETALL",
        "HSET", "AUTH", "QUIT",
    ];
    plain.contains(&command[0].as_str())
}

fn plain_commands_only(command: &[String]) -> Treatment {
    if is_plain(command) {
        Treatment::Pass
    } else {
        Treatment::Say("ERR Command not supported")
    }
}

/// As twemproxy does.
fn closes_on_all_others(command: &[String]) -> Treatment {
    if is_plain(command) || command[0] == "PING" {
        Treatment::Pass
    } else {
        Treatment::Close
    }
}

const PROXIES: [Rule; 7] = [
    no_publish_in_scripts,
    no_publish,
    no_scripts,
    no_scripts_in_other_words,
    no_listening,
    plain_commands_only,
    closes_on_all_others,
];

async fn store(url: &str) -> Arc<dyn Store> {
    let config = redis::from_url(url).expect("a sound address");
    open(&StoreConfig::Redis(config), &Clock::system())
        .await
        .expect("it opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_behind_every_proxy() {
    for rule in PROXIES {
        let server = RedisServer::start();
        let proxy = Filter::to(server.port(), rule).await;
        keeps_the_contract(store(&proxy.url()).await, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_for_users_without_scripts() {
    let server = RedisServer::start();
    server.cli(&[
        "ACL",
        "SETUSER",
        "plain",
        "on",
        ">s3cret",
        "~*",
        "resetchannels",
        "+@all",
        "-@scripting",
        "-publish",
        "-subscribe",
    ]);
    let url = |user: &str| format!("redis://{user}:s3cret@127.0.0.1:{}", server.port());
    keeps_the_contract(store(&url("plain")).await, true).await;
    server.cli(&["FLUSHALL"]);
    // It may run scripts, but not the commands inside them.
    server.cli(&[
        "ACL", "SETUSER", "odd", "on", ">s3cret", "~*", "+@all", "-publish", "-ping", "-info",
        "-config", "-client",
    ]);
    keeps_the_contract(store(&url("odd")).await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_where_commands_are_renamed() {
    let renamed = [
        "EVAL",
        "EVALSHA",
        "SCRIPT",
        "PUBLISH",
        "SUBSCRIBE",
        "CONFIG",
        "MULTI",
        "WATCH",
    ];
    let args: Vec<&str> = renamed
        .iter()
        .flat_map(|name| ["--rename-command", name, ""])
        .collect();
    let server = RedisServer::with(&args);
    keeps_the_contract(store(&server.url()).await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_scripts_keeps_the_contract() {
    let cluster = RedisCluster::start();
    for node in &cluster.nodes {
        assert_eq!(
            node.cli(&["ACL", "SETUSER", "default", "-@scripting", "-publish"]),
            "OK"
        );
    }
    keeps_the_contract(store(&cluster.url()).await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_with_and_without_scripts_share_one_redis() {
    let server = RedisServer::start();
    let proxy = Filter::to(server.port(), plain_commands_only).await;
    let (with, without) = (store(&server.url()).await, store(&proxy.url()).await);
    for (one, other) in [(&with, &without), (&without, &with)] {
        server.cli(&["FLUSHALL"]);
        assert!(
            has_lease(&**one, "wx1.token", "one").await
                && !has_lease(&**other, "wx1.token", "other").await
        );
        release(&**other, "wx1.token", "other").await;
        assert!(!has_lease(&**other, "wx1.token", "other").await);
        release(&**one, "wx1.token", "one").await;
        assert!(has_lease(&**other, "wx1.token", "other").await);
        assert!(renews(&**one, "wx2.token", "a").await && renews(&**other, "wx2.token", "b").await);
        assert_eq!(
            value(one.take("wx2.token").await.unwrap()).as_deref(),
            Some("b")
        );
        for (spender, granted) in [(one, true), (other, true), (one, false), (other, false)] {
            assert_eq!(
                spender.take_permit("wx1.rotate", 2, HOUR).await.unwrap(),
                granted
            );
        }
        one.return_permit("wx1.rotate").await.unwrap();
        assert!(
            other.take_permit("wx1.rotate", 2, HOUR).await.unwrap()
                && !one.take_permit("wx1.rotate", 2, HOUR).await.unwrap()
        );
    }
    for name in server.names_like("*") {
        assert!(
            server.cli(&["PTTL", &name]).parse::<i64>().unwrap() > 0,
            "{name} ends some day"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_remembered_until_the_next_connection() {
    let server = RedisServer::start();
    let proxy = Filter::to(server.port(), plain_commands_only).await;
    let store = store(&proxy.url()).await;
    for turn in 0..5 {
        store.put("wx1.token", &record("x", HOUR)).await.unwrap();
        assert!(has_lease(&*store, &format!("wx{turn}.token"), "me").await);
    }
    assert_eq!((proxy.count("EVAL"), proxy.count("PUBLISH")), (1, 1));
    proxy.change(|_| Treatment::Pass);
    for turn in 5..8 {
        store.put("wx1.token", &record("x", HOUR)).await.unwrap();
        assert!(has_lease(&*store, &format!("wx{turn}.token"), "me").await);
    }
    assert_eq!((proxy.count("EVAL"), proxy.count("PUBLISH")), (4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_no_failure_when_publish_is_refused() {
    let server = RedisServer::start();
    let proxy = Filter::to(server.port(), |command| match command[0].as_str() {
        "PUBLISH" => Treatment::Close,
        _ => Treatment::Pass,
    })
    .await;
    let store = store(&proxy.url()).await;
    for turn in 0..20 {
        let key = format!("wx{turn}.token");
        store.put(&key, &record("x", HOUR)).await.unwrap();
        assert!(renews(&*store, &key, "y").await);
        assert_eq!(value(store.take(&key).await.unwrap()).as_deref(), Some("y"));
    }
    assert_eq!(
        proxy.count("PUBLISH"),
        1,
        "each attempt would cost a connection"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_behind_a_proxy_log_what_is_missing_once() {
    for (rule, refused, words) in [
        (
            no_scripts as Rule,
            vec!["scripts (EVAL)"],
            "ERR unknown command 'EVAL'",
        ),
        (
            no_publish,
            vec!["PUBLISH"],
            "ERR handle request, command 'PUBLISH' is not allowed",
        ),
        (
            no_listening,
            vec!["SUBSCRIBE"],
            "ERR unknown command `SUBSCRIBE`",
        ),
        (
            plain_commands_only,
            vec!["scripts (EVAL)", "PUBLISH", "SUBSCRIBE"],
            "ERR Command not supported",
        ),
    ] {
        let server = RedisServer::start();
        let proxy = Filter::to(server.port(), rule).await;
        let fleet = Fleet::on(json!({ "redis": proxy.url() })).await;
        fleet.agree_on_a_living(APP).await;
        let token = fleet.token(0, APP).await;
        fleet.rotate(1, APP, &token).await;
        let renewed = fleet.token(1, APP).await;
        assert_ne!(renewed, token);
        fleet
            .convergence(APP, &renewed)
            .await
            .within(Duration::from_secs(1), "a new token behind a proxy");
        assert_eq!(fleet.tokens(APP), 2, "one call for each renewal");
        for process in 0..3 {
            let process = fleet.process(process);
            for missing in &refused {
                if *missing == "SUBSCRIBE" {
                    process.said("redis refuses SUBSCRIBE").await;
                }
                let log = process.log();
                let lines = log.iter().filter(|line| {
                    line["message"]
                        .as_str()
                        .is_some_and(|text| text.contains(&format!("refuses {missing}")))
                });
                let lines: Vec<_> = lines.collect();
                // A process that has never written has published nothing.
                assert!(lines.len() <= 1, "{missing} is told once: {lines:?}");
                assert!(lines.iter().all(|line| line["said"] == words), "{lines:?}");
                let cost = if missing.starts_with("scripts") {
                    "overwrite a newer value"
                } else {
                    "within a second"
                };
                let says_cost = |line: &&Value| {
                    line["message"]
                        .as_str()
                        .is_some_and(|text| text.contains(cost))
                };
                assert!(
                    lines.iter().all(says_cost),
                    "{missing}: the log says what it costs: {lines:?}"
                );
            }
        }
        let told = (0..3).flat_map(|process| fleet.process(process).log());
        let told: Vec<_> = told
            .filter_map(|line| line["message"].as_str().map(str::to_owned))
            .collect();
        for missing in &refused {
            assert!(
                told.iter()
                    .any(|line| line.contains(&format!("refuses {missing}"))),
                "{missing}: {told:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_log_in_behind_every_proxy() {
    for rule in PROXIES {
        let server = RedisServer::start();
        let proxy = Filter::to(server.port(), rule).await;
        let cache = json!({ "redis": proxy.url() });
        many_trips(cache.clone(), 30).await;
        one_of_twenty_redeems(app_with(cache).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_at_another_instance_is_seen_behind_every_proxy() {
    for rule in PROXIES {
        let server = RedisServer::start();
        let proxy = Filter::to(server.port(), rule).await;
        let cache = json!({ "redis": proxy.url() });
        let first = TestApp::with(json!({ "cache": cache })).await;
        let same_wechat = json!({ "api": [first.sandbox.url()], "open": first.sandbox.url() });
        let second = TestApp::with(json!({ "cache": cache, "wechat": same_wechat })).await;
        let login = begin(&first).await;
        let poll = second.send(second.request(Method::GET, &format!("{}?wait=25s", login.query)));
        let (told, page) = tokio::join!(poll, scan(&first, &login, "小明", Answer::Agree));
        assert_eq!(page.status, 200);
        assert_eq!(told.json()["user"]["nickname"], "小明");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_a_proxy_cannot_select_is_named() {
    let server = RedisServer::start();
    let proxy = Filter::to(server.port(), plain_commands_only).await;
    let fault = store(&format!("{}/1", proxy.url()))
        .await
        .get("wx1.token")
        .await
        .unwrap_err();
    assert!(
        fault.cause.contains("no database 1") && fault.cause.contains("ERR Command not supported"),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_quote_the_servers_words() {
    let server = RedisServer::start();
    let proxy = Filter::to(server.port(), |command| match command[0].as_str() {
        "SET" => Treatment::Say(
            "ERR the instance is frozen, contact support, with args beginning with: 'SECRET'",
        ),
        "EVAL" => Treatment::Say("ERR no 'SECRETSECRETSECRETSECRETSECRET' for you"),
        _ => Treatment::Pass,
    })
    .await;
    let store = store(&proxy.url()).await;
    for fault in [
        store
            .put("wx1.token", &record("SECRET", HOUR))
            .await
            .unwrap_err(),
        store
            .acquire("wx1.token", "SECRET", HOUR, 0)
            .await
            .unwrap_err(),
    ] {
        assert!(
            fault
                .cause
                .contains("ERR the instance is frozen, contact support")
                && !fault.cause.contains("SECRET"),
            "{fault}"
        );
    }
}
