//! A poll learns of a scan at another instance by a notice from Redis, sooner than by polling the
//! store. The notices add no cost for ten thousand waiting polls.

use std::time::{Duration, Instant};

use clock::Clock;
use credentials::store::{StoreConfig, open, redis};
use futures_util::stream::{FuturesUnordered, StreamExt};
use jsdkd::login::{Logins, Polled, Requester};
use reqwest::Method;
use sandbox::Answer;
use serde_json::json;
use tokio::sync::watch;

use crate::scan_login::{begin, scan};
use crate::store_contract::record;
use crate::support::app::{APP, Response, TestApp};
use crate::support::keepers::{client, eventually};
use crate::support::redis::RedisServer;

/// A poll reads twice a second, so that nine polls cannot all be this quick by chance.
const TOLD: Duration = Duration::from_millis(150);
const TURNS: usize = 9;

/// The number of reads.
fn reads(server: &RedisServer) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_get:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

async fn all_listen(server: &RedisServer, instances: usize) {
    let wanted = format!("jsdkd:changed\n{instances}");
    eventually("all listen", async || {
        server.cli(&["PUBSUB", "NUMSUB", "jsdkd:changed"]) == wanted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_elsewhere_notifies_the_poll() {
    let redis = RedisServer::start();
    let first = TestApp::with(json!({ "cache": { "redis": redis.url() } })).await;
    let same_wechat = json!({ "api": [first.sandbox.url()], "open": first.sandbox.url() });
    let second =
        TestApp::with(json!({ "cache": { "redis": redis.url() }, "wechat": same_wechat })).await;
    all_listen(&redis, 2).await;
    let mut took = Vec::new();
    for turn in 0..TURNS {
        let login = begin(&first).await;
        let before = reads(&redis);
        let poll = second.request(Method::GET, &format!("{}?wait=25s", login.query));
        let poll = tokio::spawn(async move {
            (
                Response::of(poll.send().await.unwrap()).await,
                Instant::now(),
            )
        });
        // It reads once, registers, and reads again.
        eventually("the poll waits", async || reads(&redis) >= before + 2).await;
        assert_eq!(
            scan(&first, &login, &format!("visitor {turn}"), Answer::Agree)
                .await
                .status,
            200
        );
        let scanned = Instant::now();
        let (told, at) = poll.await.unwrap();
        assert_eq!(
            told.json()["user"]["nickname"].as_str(),
            Some(format!("visitor {turn}").as_str())
        );
        took.push(at.saturating_duration_since(scanned));
    }
    println!(
        "MEASURED a scan at another instance, from the phone's page to the poll's answer: {took:?}"
    );
    assert!(
        took.iter().filter(|took| **took < TOLD).count() >= TURNS - 1,
        "{took:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_polls_have_a_bounded_cost() {
    const POLLS: usize = 10_000;
    let redis = RedisServer::start();
    let app = TestApp::with(json!({ "cache": { "redis": redis.url() } })).await;
    let store = async || {
        open(
            &StoreConfig::Redis(redis::from_url(&redis.url()).unwrap()),
            &Clock::system(),
        )
        .await
        .unwrap()
    };
    let logins = Logins::new(
        store().await,
        client(&[&app.sandbox.url()]),
        Clock::system(),
    );
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(logins.clone().listen(stopped));
    all_listen(&redis, 2).await;

    let login = begin(&app).await;
    let mut ids = vec![login.uuid.clone()];
    for _ in 1..100 {
        let requester = Requester::BackEnd("shop.example.com".to_owned());
        ids.push(logins.open_scan(APP, requester, None).await.unwrap().uuid);
    }
    let before = reads(&redis);
    let polls: FuturesUnordered<_> = (0..POLLS)
        .map(|number| {
            let (logins, id) = (logins.clone(), ids[number % ids.len()].clone());
            tokio::spawn(async move {
                logins
                    .poll(&id, Duration::from_secs(60), None)
                    .await
                    .unwrap()
            })
        })
        .collect();
    eventually("all polls wait", async || {
        reads(&redis) >= before + 2 * POLLS as u64
    })
    .await;

    let (before, begun) = (reads(&redis), Instant::now());
    let other = store().await;
    for number in 0..500 {
        other
            .put(
                &format!("wx{number}.token"),
                &record("told", Duration::from_secs(60)),
            )
            .await
            .unwrap();
    }
    assert_eq!(scan(&app, &login, "Alice", Answer::Agree).await.status, 200);
    let scanned = Instant::now();
    let done = polls
        .take(POLLS / ids.len())
        .map(|told| assert!(matches!(told.unwrap(), Polled::Done { .. })))
        .count()
        .await;
    println!(
        "MEASURED a scan at another instance among {POLLS} polls: {done} told within {:?}",
        scanned.elapsed()
    );
    // Ten thousand polls read again every 5.5 s; a notice wakes only its own polls.
    let (read, rounds) = (
        reads(&redis) - before,
        begun.elapsed().as_secs_f64() / 5.5 + 1.0,
    );
    println!(
        "MEASURED {read} reads in {:?} while {POLLS} polls waited",
        begun.elapsed()
    );
    assert!(
        (read as f64) < rounds * POLLS as f64 + 500.0,
        "{read} reads in {:?}",
        begun.elapsed()
    );
}
