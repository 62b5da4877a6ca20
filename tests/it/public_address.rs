//! The public address behind proxies, which state it in different ways, and every place where it is
//! used.

use reqwest::Method;
use sandbox::Answer;
use serde_json::{Value, json};

use crate::oauth::{SITE, one_site};
use crate::scan_confirm::field;
use crate::scan_login::behind_qrcode;
use crate::support::app::{APP, TestApp};
use crate::support::process::{Process, folder, until};
use crate::support::visitor::{parameter, returned};

const HOST: &str = "host";
const PROTO: &str = "x-forwarded-proto";
const PORT: &str = "x-forwarded-port";
const FORWARDED: &str = "forwarded";
const X_HOST: &str = "x-forwarded-host";

type Headers<'a> = &'a [(&'a str, &'a str)];

fn with(request: reqwest::RequestBuilder, headers: Headers<'_>) -> reqwest::RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

/// Asserts that every URL of ours in the answers to `headers` begins with `base`.
async fn all_begin_with(app: &TestApp, headers: Headers<'_>, base: &str) {
    let begun = app
        .send(with(
            app.request(Method::GET, &format!("/oauth/{APP}?redirect={SITE}")),
            headers,
        ))
        .await;
    assert_eq!(
        returned(&begun, "redirect_uri"),
        Some(format!("{base}/oauth/{APP}/callback")),
        "{headers:?}"
    );
    assert_eq!(
        begun.header("set-cookie").contains("Secure"),
        base.starts_with("https"),
        "{headers:?}"
    );

    let answer = app
        .send(with(app.request(Method::POST, "/login"), headers))
        .await;
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    for (name, path) in [("query_url", "login"), ("qrcode_url", "qrcode")] {
        assert!(
            answer[name]
                .as_str()
                .unwrap()
                .starts_with(&format!("{base}/{path}/")),
            "{headers:?} {answer}"
        );
    }
    let at_wechat = behind_qrcode_of(answer["qrcode_url"].as_str().unwrap(), base);
    assert_eq!(
        parameter(&at_wechat, "redirect_uri"),
        Some(format!("{base}/wechat/weblogin")),
        "{headers:?}"
    );

    // A person who refused can start again at the same address.
    let state = parameter(&at_wechat, "state").unwrap();
    let refused = app
        .send(with(
            app.request(Method::GET, &format!("/wechat/weblogin?state={state}")),
            headers,
        ))
        .await;
    let encoded: String =
        url::form_urlencoded::byte_serialize(format!("{base}/wechat/weblogin").as_bytes())
            .collect();
    assert!(
        refused.body.contains(&format!("redirect_uri={encoded}&")),
        "{headers:?} {}",
        refused.body
    );
}

/// Like [`behind_qrcode`], for any host.
fn behind_qrcode_of(address: &str, base: &str) -> String {
    behind_qrcode(&address.replacen(base, "http://example.com", 1))
}

#[tokio::test]
async fn a_contradictory_port_of_a_proxy_is_replaced() {
    let app = TestApp::with(one_site()).await;
    for (headers, base) in [
        (
            &[(HOST, "wx.example.com:80"), (PROTO, "https")][..],
            "https://wx.example.com",
        ),
        (
            &[(X_HOST, "wx.example.com:80"), (PROTO, "https")],
            "https://wx.example.com",
        ),
        (
            &[(HOST, "wx.example.com:443"), (PROTO, "http")],
            "http://wx.example.com",
        ),
        (
            &[(
                FORWARDED,
                "for=8.8.8.8;proto=https;host=\"wx.example.com:80\"",
            )],
            "https://wx.example.com",
        ),
        (
            &[(HOST, "wx.example.com:80"), (FORWARDED, "proto=https")],
            "https://wx.example.com",
        ),
        (
            &[(HOST, "[2001:db8::1]:80"), (PROTO, "https")],
            "https://[2001:db8::1]",
        ),
        (
            &[(HOST, "wx.example.com:80"), (PROTO, "https"), (PORT, "443")],
            "https://wx.example.com",
        ),
        (
            &[(HOST, "wx.example.com"), (PROTO, "https"), (PORT, "8443")],
            "https://wx.example.com:8443",
        ),
        (
            &[
                (HOST, "wx.example.com:3030"),
                (PROTO, "https"),
                (PORT, "443"),
            ],
            "https://wx.example.com",
        ),
        (&[(HOST, "wx.example.com:443")], "https://wx.example.com"),
        (
            &[(HOST, "wx.example.com:8080")],
            "http://wx.example.com:8080",
        ),
    ] {
        all_begin_with(&app, headers, base).await;
    }
}

#[tokio::test]
async fn an_untrusted_peer_cannot_set_the_port() {
    let mut settings = one_site();
    settings["server"] = json!({ "trustedProxies": ["203.0.113.0/24"] });
    let app = TestApp::with(settings).await;
    all_begin_with(
        &app,
        &[
            (HOST, "wx.example.com:8080"),
            (PROTO, "https"),
            (PORT, "8443"),
        ],
        "http://wx.example.com:8080",
    )
    .await;
}

#[tokio::test]
async fn the_confirmation_form_posts_to_the_public_address() {
    let app = TestApp::with(
        json!({ "login": { "confirm": true }, "server": { "publicUrl": "http://127.0.0.1:1/wx" } }),
    )
    .await;
    let answer = app.send(app.request(Method::POST, "/login")).await;
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let at_wechat = behind_qrcode_of(
        answer["qrcode_url"].as_str().unwrap(),
        "http://127.0.0.1:1/wx",
    );
    let callback = app
        .sandbox
        .visit(&at_wechat, "Alice", Answer::Agree)
        .unwrap();
    let asks = app
        .get(callback.strip_prefix("http://127.0.0.1:1/wx").unwrap())
        .await;
    assert!(
        asks.body.contains("action=\"/wx/wechat/weblogin\"") && !field(&asks, "token").is_empty(),
        "{}",
        asks.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradictory_proxy_is_logged_once_with_advice() {
    let folder = folder();
    let process = Process::serve(
        folder.path(),
        &json!({ "apps": [{ "key": APP, "secret": "s" }], "server": { "bind": "127.0.0.1", "port": 0 } }),
    )
    .await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |headers: Headers<'_>| {
        let answer = with(client.post(format!("{}/login", process.url)), headers)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
    };
    post(&[(PROTO, "https"), (HOST, "wx.example.com:8443")]).await;
    for _ in 0..3 {
        post(&[(PROTO, "https"), (HOST, "wx.example.com:80")]).await;
    }
    let warns = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|message| message.contains("server.publicUrl"))
    };
    let told = until(|| process.log().into_iter().find(warns))
        .await
        .unwrap_or_else(|| panic!("{}", process.out()));
    assert_eq!(
        (
            told["level"].as_str(),
            told["host"].as_str(),
            told["used"].as_str()
        ),
        (
            Some("WARN"),
            Some("wx.example.com:80"),
            Some("https://wx.example.com/")
        )
    );
    post(&[(PORT, "80"), (PROTO, "https")]).await;
    assert_eq!(process.log().into_iter().filter(warns).count(), 1);
}
