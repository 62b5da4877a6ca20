//! The whole server on a real Redis: migration from the original, two servers on one Redis, and
//! outages under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::support::app::{APP, TestApp, signed_v2};
use super::support::redis::RedisServer;

const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

async fn on(redis: &RedisServer) -> TestApp {
    TestApp::with(json!({ "cache": { "redis": redis.url() } })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_and_we_share_values() {
    let redis = RedisServer::start();
    redis.cli(&[
        "SETEX",
        &format!("{APP}.token"),
        "7000",
        "\"left-by-the-original\"",
    ]);
    let app = on(&redis).await;
    assert_eq!(app.value("token").await, "left-by-the-original");
    assert_eq!(app.sandbox.calls(TOKEN), 0);
    redis.cli(&["DEL", &format!("{APP}.token")]);
    // The deletion is seen within a second.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    let mut ours = app.value("token").await;
    while ours == "left-by-the-original" && std::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ours = app.value("token").await;
    }
    assert_eq!(
        redis.cli(&["GET", &format!("{APP}.token")]).trim(),
        format!("\"{ours}\"")
    );
    let left: i64 = redis
        .cli(&["TTL", &format!("{APP}.token")])
        .trim()
        .parse()
        .expect("a lifetime");
    assert!((7190..=7200).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_written_elsewhere_is_served_within_a_second() {
    let redis = RedisServer::start();
    let app = on(&redis).await;
    app.value("token").await;
    redis.cli(&[
        "SETEX",
        &format!("{APP}.token"),
        "7000",
        "\"written-elsewhere\"",
    ]);
    let begun = std::time::Instant::now();
    while app.value("token").await != "written-elsewhere" {
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "the store's truth never came"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_returns_empty_costs_no_answer_and_no_call() {
    let mut redis = RedisServer::start();
    let app = Arc::new(on(&redis).await);
    let token = app.value("token").await;
    app.value("ticket").await;
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (app, stop, answered) =
                (Arc::clone(&app), Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    app.config(json!({ "url": "https://example.com/" }))
                        .await
                        .json();
                    app.query("token").await.json();
                    answered.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    redis.kill();
    let before = answered.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(
        answered.load(Ordering::SeqCst) > before + 20,
        "the load stood still while redis was away"
    );
    redis.restart();
    let written_back = format!("\"{token}\"");
    for _ in 0..100 {
        if redis.cli(&["GET", &format!("{APP}.token")]).trim() == written_back {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        redis.cli(&["GET", &format!("{APP}.token")]).trim(),
        written_back
    );
    stop.store(true, Ordering::SeqCst);
    for caller in load {
        caller.await.expect("every answer was good");
    }
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_without_redis_and_serves_when_it_comes() {
    let mut redis = RedisServer::start();
    redis.kill();
    let app = on(&redis).await;
    assert!(app.get("/ping").await.json()["pong"].is_u64());
    let refused = app.query("token").await;
    refused.problem(503, "store_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(
        app.sandbox.calls(TOKEN),
        0,
        "a fetch without the lease could void another's token"
    );
    redis.restart();
    for _ in 0..100 {
        let answer = app.get(&signed_v2("GET", APP, &[])).await;
        if answer.status == 200 {
            assert_eq!(app.sandbox.calls(TOKEN), 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("redis is back, and nothing is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_redis_does_not_delay_cached_values() {
    let redis = RedisServer::start();
    let app = on(&redis).await;
    app.value("token").await;
    redis.pause();
    let begun = std::time::Instant::now();
    for _ in 0..10 {
        app.value("token").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    redis.resume();
    // One call may have waited for the store's timeout of a second.
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(app.sandbox.calls(TOKEN), 1);
}
