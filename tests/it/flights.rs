//! One fetch at a time per credential, however many callers wait or hang up.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use sandbox::Fault;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::app::{APP, TestApp};
use crate::support::keepers::eventually;

const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

fn calls(app: &TestApp) -> (u64, u64) {
    (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_requests_make_one_call_each() {
    let app = TestApp::with(json!({ "wechat": { "timeout": "20s" } })).await;
    // Late enough that all callers have arrived before the first answer.
    app.sandbox.fault(Fault::delay(Duration::from_secs(1)));
    let configs = join_all((0..400).map(|_| app.config(json!({ "url": "https://example.com/" }))));
    let tokens = join_all((0..300).map(|_| app.value("token")));
    let tickets = join_all((0..300).map(|_| app.value("ticket")));
    let (configs, tokens, tickets) = tokio::join!(configs, tokens, tickets);
    assert!(configs.iter().all(|config| {
        config.json()["signature"]
            .as_str()
            .is_some_and(|signature| signature.len() == 40)
    }));
    assert!(tokens.iter().all(|token| *token == tokens[0]) && app.sandbox.accepts(&tokens[0]));
    assert!(tickets.iter().all(|ticket| *ticket == tickets[0]));
    assert_eq!(
        app.sandbox.current_ticket(APP).as_deref(),
        Some(tickets[0].as_str())
    );
    assert_eq!(calls(&app), (1, 1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_survives_the_caller_that_started_it() {
    let app = TestApp::start().await;
    app.sandbox.fault(Fault::delay(Duration::from_millis(300)));
    let mut caller = TcpStream::connect(app.address()).await.unwrap();
    let request = format!(
        "GET /jsapi/{APP}/config?url=https://example.com/ HTTP/1.1\r\nhost: localhost\r\n\r\n"
    );
    caller.write_all(request.as_bytes()).await.unwrap();
    eventually("the fetch begins", async || app.sandbox.calls(TOKEN) == 1).await;
    drop(caller);
    // Nobody waits any more, and yet both calls are made.
    eventually("the fetch goes on to the ticket", async || {
        calls(&app) == (1, 1)
    })
    .await;
    let followers =
        join_all((0..20).map(|_| app.config(json!({ "url": "https://example.com/" })))).await;
    assert!(
        followers
            .iter()
            .all(|follower| follower.json()["appId"] == APP)
    );
    assert_eq!(calls(&app), (1, 1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_is_served_after_the_first_caller_left() {
    let app = TestApp::start().await;
    app.sandbox
        .fault(Fault::delay(Duration::from_millis(400)).on(TOKEN));
    let hasty = app.request(
        Method::GET,
        &crate::support::app::signed_v2("GET", APP, &[("key", "token")]),
    );
    let (hasty, follower) = tokio::join!(
        hasty.timeout(Duration::from_millis(150)).send(),
        app.value("token")
    );
    assert!(hasty.is_err_and(|error| error.is_timeout()));
    assert!(app.sandbox.accepts(&follower));
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_shared_by_all_waiters() {
    let app = TestApp::start().await;
    app.sandbox
        .fault(Fault::errcode(40013, "invalid appid").after(Duration::from_millis(700)));
    let tickets = join_all((0..50).map(|_| app.query("ticket")));
    let (tokens, tickets) = tokio::join!(join_all((0..50).map(|_| app.query("token"))), tickets);
    for answer in tokens.iter().chain(&tickets) {
        let problem = answer.problem(502, "upstream_refused");
        assert_eq!(problem["errcode"], 40013);
        assert!(
            problem["errmsg"]
                .as_str()
                .is_some_and(|message| message.starts_with("invalid appid")),
            "{problem}"
        );
    }
    assert_eq!(calls(&app), (1, 0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_longer_than_the_upstream_timeout() {
    let app = TestApp::with(json!({ "wechat": { "timeout": "500ms" } })).await;
    app.sandbox.fault(Fault::hang());
    let begun = Instant::now();
    let queries = join_all((0..20).map(|_| app.query("token")));
    let configs = join_all((0..20).map(|_| app.config(json!({ "url": "https://example.com/" }))));
    let (queries, configs) = tokio::join!(queries, configs);
    for answer in queries.iter().chain(&configs) {
        answer.problem(504, "upstream_timeout");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(calls(&app), (1, 0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_token_and_ticket_together_keep_callers_bounds() {
    let app = TestApp::with(json!({ "wechat": { "timeout": "4s" } })).await;
    app.sandbox.fault(Fault::delay(Duration::from_millis(3200)));
    let begun = Instant::now();
    app.query("ticket").await.problem(504, "upstream_timeout");
    assert!(
        begun.elapsed() < Duration::from_millis(5500),
        "{:?}",
        begun.elapsed()
    );
    // The running fetch continues, and the next caller gets it.
    eventually("the ticket comes", async || {
        app.query("ticket").await.status == 200
    })
    .await;
    assert_eq!(calls(&app), (1, 1));
    app.stop().await;
}
