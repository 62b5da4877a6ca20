//! `tokenApi: "stable"`: WeChat returns the same token with a decreasing lifetime, until its last
//! five minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use credentials::store::{MemoryStore, Store};
use sandbox::Tuning;
use serde_json::{Value, json};
use wechat::account::TokenApi;

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::keepers::{World, eventually};

const STABLE: &str = "/cgi-bin/stable_token";

fn settings() -> Value {
    json!({ "apps": [{ "key": APP, "secret": APP_SECRET, "tokenApi": "stable" }], "reserve": "60m" })
}

fn left(answer: &crate::support::app::Response) -> u64 {
    answer
        .header("credential-expires-in")
        .parse()
        .expect("seconds")
}

/// Another program of the same account fetches WeChat's stable token first.
async fn fetched_by_another(app: &TestApp) -> String {
    let body = json!({ "grant_type": "client_credential", "appid": APP, "secret": APP_SECRET })
        .to_string();
    let request = reqwest::Client::new()
        .post(format!("{}{STABLE}", app.sandbox.url()))
        .body(body);
    let answer: Value =
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).expect("JSON");
    answer["access_token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remaining_lifetime_counts() {
    let app = TestApp::with(settings()).await;
    let token = fetched_by_another(&app).await;
    app.sandbox.advance(Duration::from_secs(5000));
    let answer = app.query("token").await;
    assert_eq!(
        answer.json()["value"],
        *token,
        "the same token, not a new one"
    );
    let first = left(&answer);
    assert!((2190..=2200).contains(&first), "{first}");
    eventually("it counts down", async || {
        left(&app.query("token").await) + 2 <= first
    })
    .await;
    assert_eq!(
        (
            app.sandbox.calls(STABLE),
            app.sandbox.calls("/cgi-bin/token")
        ),
        (2, 0)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_renewed_only_in_its_last_five_minutes() {
    let app = TestApp::with(settings()).await;
    fetched_by_another(&app).await;
    app.sandbox.advance(Duration::from_secs(7200 - 400));
    app.value("token").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(
        app.sandbox.calls(STABLE),
        2,
        "400 s are left, and WeChat gives no other token before 300"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_value_is_retried_until_it_changes() {
    // 24 seconds stand for two hours: WeChat changes the token in the last of them. The last five
    // minutes are rounded to whole seconds, so we call a little too early.
    let app = TestApp::build(settings()).start().await;
    app.sandbox.tune(Tuning {
        lifetime: Some(24),
        ..Tuning::default()
    });
    let old = fetched_by_another(&app).await;
    app.sandbox.advance(Duration::from_secs(19));
    assert_eq!(app.value("token").await, old);
    let begun = Instant::now();
    while app.value("token").await == old {
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "the change was not picked up"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(app.sandbox.accepts(&app.value("token").await));
    let calls = app.sandbox.calls(STABLE);
    assert!(
        (3..=7).contains(&calls),
        "{calls}: two at first, some too early, one that brought the change"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_change_causes_no_hot_loop() {
    let world = World::new(Clock::manual(Clock::system().wall())).await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(BTreeMap::new(), world.clock.clone()));
    // This token changes in its last 20 s, while we call from its last 300 s on: WeChat returns the
    // old one for a long time.
    world.sandbox.tune(Tuning {
        lifetime: Some(480),
        ..Tuning::default()
    });
    let token = world
        .instance(Arc::clone(&store), TokenApi::Stable)
        .token()
        .await
        .expect("a token");
    world.clock.advance(Duration::from_secs(240));
    let instance = world.instance(store, TokenApi::Stable);
    assert_eq!(instance.token().await.expect("a token"), token);
    eventually("it is due, and asked for", async || {
        world.token_calls() == 2
    })
    .await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(instance.token().await.expect("a token"), token);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        world.token_calls(),
        2,
        "the same value is no progress, and no reason to ask at once again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_agree_without_a_lease() {
    let world = World::new(Clock::system()).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let store: Arc<dyn Store> =
            Arc::new(MemoryStore::new(BTreeMap::new(), world.clock.clone()));
        seen.push(
            world
                .instance(store, TokenApi::Stable)
                .token()
                .await
                .expect("a token"),
        );
    }
    assert!(
        seen.iter()
            .all(|token| *token == seen[0] && world.sandbox.accepts(token))
    );
}
