//! `GET /ping`: the server's time.

use std::time::Duration;

use clock::{Clock, UnixMillis};
use reqwest::Method;

use crate::support::app::{TestApp, now_ms};

#[tokio::test(flavor = "multi_thread")]
async fn pong_is_the_time_in_milliseconds() {
    let app = TestApp::start().await;
    let before: u64 = now_ms().parse().unwrap();
    let answer = app.get("/ping").await;
    let after: u64 = now_ms().parse().unwrap();
    let pong = answer.json()["pong"].as_u64().unwrap();
    assert!((before..=after).contains(&pong), "{before} {pong} {after}");
    assert_eq!(answer.body, format!("{{\"pong\":{pong}}}"));
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pong_follows_the_servers_clock() {
    let clock = Clock::manual(UnixMillis(1_589_203_758_123));
    let app = TestApp::build(serde_json::json!({}))
        .clock(clock.clone())
        .start()
        .await;
    assert_eq!(app.get("/ping").await.body, r#"{"pong":1589203758123}"#);
    clock.advance(Duration::from_millis(7));
    assert_eq!(
        app.get("/ping?anything=else").await.body,
        r#"{"pong":1589203758130}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_asks_nothing_of_wechat() {
    let app = TestApp::start().await;
    app.get("/ping").await.json();
    app.send(app.request(Method::HEAD, "/ping"))
        .await
        .status
        .is_success()
        .then_some(())
        .expect("HEAD works too");
    assert_eq!(
        (
            app.sandbox.calls("/cgi-bin/token"),
            app.sandbox.calls("/cgi-bin/ticket/getticket")
        ),
        (0, 0)
    );
}
