//! Every failure that can be caused from outside: its code, status, envelope, and retry delay.

use std::time::{Duration, Instant};

use reqwest::Method;
use sandbox::Fault;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::{
    APP, APP_SECRET, REALM, REALM_SECRET, Response, TestApp, signed_v1, signed_v2,
};

const CONFIG: &str = "/jsapi/wx0123456789abcdef/config";

/// Asserts a problem's status and code, that its envelope has nothing else in it, and the `words`
/// without which its detail would not help.
#[track_caller]
fn check(answer: &Response, status: u16, code: &str, words: &[&str]) {
    let problem = answer.problem(status, code);
    let title = answer.status.canonical_reason();
    let detail = problem["detail"].as_str().expect("a detail");
    let envelope = json!({ "code": code, "detail": detail, "status": status, "title": title });
    assert_eq!(problem, envelope);
    for word in words {
        assert!(detail.contains(word), "{word:?} is not in {detail:?}");
    }
    assert_eq!(answer.header("cache-control"), "no-store");
}

async fn post(app: &TestApp, body: &str) -> Response {
    app.config_text(body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_a_config_say_what_to_send() {
    let app = TestApp::with(json!({ "server": { "bodyLimit": 64 } })).await;
    check(
        &post(&app, "{").await,
        400,
        "invalid_json",
        &["not valid JSON", "line 1 column 1", "{\"url\": "],
    );
    check(
        &post(&app, "[1]").await,
        400,
        "body_not_an_object",
        &["JSON object", "list"],
    );
    check(
        &post(&app, r#"{"url":"/page"}"#).await,
        400,
        "invalid_url",
        &["http://", "https://", "location.href.split('#')[0]"],
    );
    check(
        &post(&app, &" ".repeat(65)).await,
        413,
        "body_too_large",
        &["64 bytes", "server.bodyLimit"],
    );
    let plain = app.send(app.request(Method::POST, CONFIG).body("{}")).await;
    check(
        &plain,
        415,
        "unsupported_media_type",
        &["application/json", "UTF-8", "compressed"],
    );
    let unknown = app.get("/jsapi/wx-unknown/config").await;
    check(&unknown, 404, "unknown_app", &["appid", "apps", "wecom"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_a_query_say_what_to_sign() {
    let realms = json!([{ "key": REALM, "secret": REALM_SECRET }, { "key": "R-few", "secret": "few", "apps": ["wx-else"] }]);
    let app = TestApp::with(
        json!({ "realms": realms, "apps": [{ "key": APP, "secret": APP_SECRET }, { "key": "wx-else", "secret": "s-2" }] }),
    )
    .await;
    let unknown = app.get(&format!("/jsapi/{APP}/query?realm={REALM}")).await;
    check(
        &unknown,
        401,
        "unauthorized",
        &["realm", "signature", "md5(", "HMAC-SHA256"],
    );
    assert_eq!(unknown.header("www-authenticate"), "Realm-Signature");
    let sign = wechat::signature::realm_v1(REALM, "n", "1589203758", REALM_SECRET).text();
    let old = app
        .get(&format!(
            "/jsapi/{APP}/query?realm={REALM}&nonce=n&ts=1589203758&sign={sign}"
        ))
        .await;
    check(
        &old,
        401,
        "timestamp_out_of_range",
        &["ts ", "5 minutes", " ms"],
    );
    check(
        &app.get("/qrcode/%ff").await,
        400,
        "invalid_text",
        &["UTF-8", "percent-encoded", "unescape=true"],
    );
    check(
        &app.get(&format!("/qrcode/{}", "x".repeat(2332))).await,
        400,
        "text_too_long",
        &["QR code", "2331 bytes"],
    );
    check(
        &app.get(&signed_v1(APP, "key=tokens&")).await,
        400,
        "unknown_key",
        &["token, ticket or card_ticket"],
    );
    check(
        &app.get(&signed_v1(APP, "key=token&key=ticket&")).await,
        400,
        "malformed_query",
        &["\"key\"", "more than once"],
    );
    let ts = crate::support::app::now_ms();
    let sign = wechat::signature::realm_v1("R-few", "n", &ts, "few").text();
    let foreign = app
        .get(&format!(
            "/jsapi/{APP}/query?realm=R-few&nonce=n&ts={ts}&sign={sign}"
        ))
        .await;
    check(&foreign, 403, "realm_not_allowed", &["realm", "app"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_methods_origins_and_tokens_have_their_codes() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    // A folder that is a file cannot be read. This is a fault of the server, and its path must not
    // be shown.
    let account = json!({ "key": APP, "secret": APP_SECRET, "token": "push" });
    let app = TestApp::with(
        json!({ "cors": ["example\\.com"], "apps": [account], "server": { "static": file } }),
    )
    .await;
    check(&app.get("/nothing").await, 404, "not_found", &[]);
    let put = app.send(app.request(Method::PUT, "/ping")).await;
    check(&put, 405, "method_not_allowed", &["GET, HEAD, OPTIONS"]);
    let evil = app
        .send(
            app.request(Method::GET, "/ping")
                .header("origin", "https://evil.org"),
        )
        .await;
    check(&evil, 403, "origin_not_allowed", &["origin", "cors"]);
    let push = app
        .send(
            app.request(Method::GET, "/?signature=x")
                .header("x-wechat-appid", APP),
        )
        .await;
    check(
        &push,
        401,
        "bad_push_signature",
        &["token, aesKey and mode", "clock"],
    );
    check(&app.get("/a.txt").await, 500, "internal_error", &["log"]);
    let preflight = app
        .request(Method::OPTIONS, "/ping")
        .header("origin", "https://example.com");
    let preflight = app
        .send(preflight.header("access-control-request-method", "DELETE"))
        .await;
    check(&preflight, 400, "bad_request", &["400 Bad Request"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wechats_refusal_is_passed_on_and_then_cached() {
    let app = TestApp::start().await;
    app.sandbox.fault(Fault::errcode(
        40164,
        "invalid ip 1.2.3.4, not in whitelist rid: 5f-01",
    ));
    let refused = app.query("token").await;
    let problem = refused.problem(502, "upstream_refused");
    assert_eq!(
        (
            &problem["errcode"],
            problem["errmsg"]
                .as_str()
                .map(|text| text.starts_with("invalid ip"))
        ),
        (&json!(40164), Some(true)),
        "{problem}"
    );
    assert_eq!(refused.header("retry-after"), "");
    let remembered = app.query("token").await;
    let problem = remembered.problem(503, "cooling_down");
    assert_eq!(problem["errcode"], 40164);
    let wait: u64 = remembered.header("retry-after").parse().unwrap();
    assert!((1..=600).contains(&wait), "{wait}");
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 1);
    for answer in [&refused, &remembered, &app.config(json!({})).await] {
        assert!(
            !answer.body.contains(APP_SECRET) && answer.body.contains("40164"),
            "{}",
            answer.body
        );
    }
}

/// The first answer while WeChat has `fault`.
async fn first_answer_under(fault: Fault) -> (Response, Duration) {
    let app = TestApp::with(json!({ "wechat": { "timeout": "2s" } })).await;
    app.sandbox.fault(fault);
    let begun = Instant::now();
    let answer = app.query("token").await;
    (answer, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_and_a_silent_wechat_have_different_codes() {
    for (fault, status, code) in [
        (Fault::garbage(), 502, "upstream_unreadable"),
        (Fault::html(500), 502, "upstream_unreadable"),
        (Fault::half_body(), 502, "upstream_unreachable"),
        (Fault::empty_token(), 502, "upstream_unreadable"),
        (Fault::reset(), 502, "upstream_unreachable"),
        (Fault::hang(), 504, "upstream_timeout"),
        (Fault::status(500, -1), 502, "upstream_refused"),
    ] {
        let about = format!("{fault:?}");
        let (answer, took) = first_answer_under(fault).await;
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (answer.status.as_u16(), problem["code"].as_str()),
            (status, Some(code)),
            "{about}: {}",
            answer.body
        );
        assert!(took < Duration::from_secs(6), "{about} took {took:?}");
        assert!(!answer.body.contains(APP_SECRET), "{}", answer.body);
        answer.problem(status, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_wechat_is_unreachable() {
    let app = TestApp::with(json!({ "wechat": { "api": ["http://127.0.0.1:1"] } })).await;
    let answer = app.get(CONFIG).await;
    answer.problem(502, "upstream_unreachable");
    assert!(!answer.body.contains(APP_SECRET), "{}", answer.body);
    app.get(CONFIG).await.problem(503, "cooling_down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_error_has_retry_after_and_no_address() {
    let app =
        TestApp::with(json!({ "cache": { "redis": "redis://:redis-secret-marker@127.0.0.1:1" } }))
            .await;
    app.get("/ping").await.json();
    for answer in [app.query("token").await, app.config(json!({})).await] {
        check(&answer, 503, "store_unavailable", &["redis store"]);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_of_an_error_has_status_and_headers_only() {
    let app = TestApp::start().await;
    app.sandbox.fault(Fault::errcode(40164, "invalid ip"));
    app.query("token").await.problem(502, "upstream_refused");
    let head = app
        .send(app.request(Method::HEAD, &signed_v2("HEAD", APP, &[])))
        .await;
    assert_eq!(
        (
            head.status.as_u16(),
            head.body.as_str(),
            head.header("content-type")
        ),
        (503, "", "application/problem+json")
    );
    assert_ne!(head.header("retry-after"), "");
}
