//! The original's end-to-end tests, run against our server with the original's test settings.

use serde_json::{Value, json};
use wechat::signature;

use crate::support::app::{Response, TestApp, now_ms};
use reqwest::Method;

const APP: &str = "dummy_app_key";

/// The original's fake of WeChat grants fixed values; here they are in the cache from the start, in
/// its format.
async fn app() -> TestApp {
    let expires = now_ms().parse::<u64>().unwrap() / 1000 + 7000;
    let memo = json!({
        "dummy_app_key.token": { "value": "access_token", "__expires": expires },
        "dummy_app_key.ticket": { "value": "ticket", "__expires": expires },
    });
    TestApp::with(json!({
        "cors": ["example\\.com"],
        "cache": { "memo": memo },
        "realms": [{ "key": "dummy_realm_key", "secret": "dummy_realm_secret" }],
        "apps": [{ "key": APP, "secret": "dummy_app_secret" }],
    }))
    .await
}

/// A query as the original's clients sign it: md5 over the text between `?` or `&` and `&sign`.
async fn query(app: &TestApp, extra: &str) -> Response {
    let ts = now_ms();
    let sign = signature::realm_v1("dummy_realm_key", "nonce", &ts, "dummy_realm_secret").text();
    app.get(&format!(
        "/jsapi/{APP}/query?{extra}realm=dummy_realm_key&nonce=nonce&ts={ts}&sign={sign}"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_answers_a_number() {
    assert!(app().await.get("/ping").await.json()["pong"].is_number());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_file_answers_its_code() {
    let answer = app().await.get("/MP_verify_randomString.txt").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "randomString")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_keeps_the_callers_fields_and_adds_four() {
    let app = app().await;
    let request = app
        .request(Method::POST, &format!("/jsapi/{APP}/config"))
        .header("content-type", "application/json");
    let config = app.send(request.body(r#"{"any":"data"}"#)).await.json();
    assert_eq!(
        (&config["appId"], &config["any"]),
        (&json!(APP), &json!("data"))
    );
    assert!(
        config["timestamp"].is_number()
            && config["nonceStr"].is_string()
            && config["signature"].is_string(),
        "{config}"
    );
    assert_eq!(config.as_object().map(serde_json::Map::len), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_answers_the_token_unless_the_ticket_is_asked_for() {
    let app = app().await;
    let expect: [(&str, Value); 3] = [
        ("", json!({ "key": "token", "value": "access_token" })),
        (
            "key=token&",
            json!({ "key": "token", "value": "access_token" }),
        ),
        ("key=ticket&", json!({ "key": "ticket", "value": "ticket" })),
    ];
    for (extra, answer) in expect {
        assert_eq!(query(&app, extra).await.json(), answer, "{extra}");
    }
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 0);
}
