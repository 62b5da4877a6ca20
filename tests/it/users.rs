//! A follower's data, for a back end that signs.

use reqwest::Method;
use sandbox::Fault;

use crate::support::app::{APP, TestApp, signed_v1};
use crate::support::visitor::signed;

const INFO: &str = "/cgi-bin/user/info";

#[tokio::test]
async fn a_follower_has_wechats_fields() {
    let app = TestApp::start().await;
    let openid = app.sandbox.follow(APP, "Alice", true).unwrap();
    let user = app
        .get(&signed("GET", &format!("/users/{APP}/{openid}"), &[]))
        .await;
    assert_eq!(user.header("cache-control"), "no-store");
    let user = user.json();
    assert_eq!(
        (user["subscribe"].as_i64(), user["openid"].as_str()),
        (Some(1), Some(openid.as_str()))
    );
    assert!(user["subscribe_time"].is_i64(), "{user}");

    let stranger = app.sandbox.follow(APP, "Bob", false).unwrap();
    let user = app
        .get(&signed(
            "GET",
            &format!("/users/{APP}/{stranger}"),
            &[("lang", "en")],
        ))
        .await
        .json();
    assert_eq!(user["subscribe"].as_i64(), Some(0));
}

#[tokio::test]
async fn a_dead_token_is_renewed_and_the_call_repeated() {
    let app = TestApp::start().await;
    let openid = app.sandbox.follow(APP, "Alice", true).unwrap();
    let path = format!("/users/{APP}/{openid}");
    let dead = app.value("token").await;
    app.sandbox.void_token(APP);
    assert_eq!(
        app.get(&signed("GET", &path, &[])).await.json()["subscribe"].as_i64(),
        Some(1)
    );
    assert_ne!(app.value("token").await, dead);
    assert_eq!(
        (app.sandbox.calls("/cgi-bin/token"), app.sandbox.calls(INFO)),
        (2, 2)
    );

    // The renewal uses the limit of forced renewals: the next one within 30 s is refused, and
    // nothing loops.
    app.sandbox
        .fault(Fault::errcode(40001, "invalid credential").on(INFO));
    let problem = app
        .get(&signed("GET", &path, &[]))
        .await
        .problem(502, "upstream_refused");
    assert_eq!(problem["errcode"], 40001);
    assert_eq!(
        (app.sandbox.calls("/cgi-bin/token"), app.sandbox.calls(INFO)),
        (2, 3)
    );
}

#[tokio::test]
async fn a_refusal_is_passed_on_without_a_backoff() {
    let app = TestApp::start().await;
    let problem = app
        .get(&signed("GET", &format!("/users/{APP}/onobodyatall"), &[]))
        .await
        .problem(502, "upstream_refused");
    assert_eq!(problem["errcode"], 40003, "{problem}");
    assert_eq!(app.query("token").await.status, 200);
    app.sandbox.fault(Fault::hang().on(INFO));
    app.get(&signed("GET", &format!("/users/{APP}/o1"), &[]))
        .await
        .problem(504, "upstream_timeout");
}

#[tokio::test]
async fn only_a_realm_that_signs_with_version_2_may_ask() {
    let app = TestApp::start().await;
    let path = format!("/users/{APP}/o1");
    app.get(&path).await.problem(401, "unauthorized");
    let v1 = signed_v1(APP, "");
    app.get(&format!("{path}?{}", v1.split_once('?').unwrap().1))
        .await
        .problem(401, "unauthorized");
    let other = signed("GET", &path, &[]);
    app.get(&other.replace("/o1", "/o2"))
        .await
        .problem(401, "unauthorized");
    app.get(&signed("GET", "/users/wxunknown/o1", &[]))
        .await
        .problem(404, "unknown_app");
    app.get(&signed("GET", &path, &[("lang", "fr")]))
        .await
        .problem(400, "malformed_query");
    let post = app.request(Method::POST, &path);
    assert_eq!(app.send(post).await.status, 405);
    assert_eq!(app.sandbox.calls(INFO), 0);
}
