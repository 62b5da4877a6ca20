//! `GET /`: an empty page, or WeChat's server check when a proxy names the app.

use reqwest::Method;
use serde_json::json;
use wechat::signature;

use crate::support::app::{APP, APP_SECRET, Response, TestApp};

const TOKEN: &str = "push-token-marker-77";

async fn app() -> TestApp {
    let account = json!({ "key": APP, "secret": APP_SECRET, "token": TOKEN });
    TestApp::with(json!({ "apps": [account, { "key": "wx-without-token", "secret": "s-1" }] }))
        .await
}

async fn ask(app: &TestApp, app_id: &str, query: &str) -> Response {
    app.send(
        app.request(Method::GET, &format!("/?{query}"))
            .header("X-WeChat-AppId", app_id),
    )
    .await
}

fn signed(token: &str, echo: &str) -> String {
    let signature = signature::push(token, "1589203758", "n-9").text();
    format!("signature={signature}&timestamp=1589203758&nonce=n-9&echostr={echo}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_without_a_signature_is_an_empty_page() {
    let app = app().await;
    for path in ["/", "/?signature=abc", "/?x=1"] {
        let answer = app.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (200, ""),
            "{path}"
        );
    }
    // The header alone is not a check either.
    assert_eq!(ask(&app, "wx-unknown", "timestamp=1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_signature_gets_the_echo_as_plain_text() {
    let app = app().await;
    let answer = ask(&app, APP, &signed(TOKEN, "a%2Bb+%3Cscript%3E")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "a+b <script>")
    );
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_in_capitals_is_right_too() {
    let signature = signature::push(TOKEN, "1", "2").text().to_uppercase();
    let answer = ask(
        &app().await,
        APP,
        &format!("signature={signature}&timestamp=1&nonce=2&echostr=hello"),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "hello")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_echoes_nothing() {
    let app = app().await;
    for query in [
        signed("another-token", "x"),
        signed(TOKEN, "x").replace("nonce=n-9", "nonce=n-8"),
        "signature=".to_owned(),
    ] {
        let answer = ask(&app, APP, &query).await;
        answer.problem(401, "bad_push_signature");
        assert!(!answer.body.contains(TOKEN));
    }
    ask(&app, "wx-without-token", &signed(TOKEN, "x"))
        .await
        .problem(401, "bad_push_signature");
    ask(&app, "wx-without-token", &signed("", "x"))
        .await
        .problem(401, "bad_push_signature");
    ask(&app, "wx-unknown", &signed(TOKEN, "x"))
        .await
        .problem(404, "unknown_app");
}
