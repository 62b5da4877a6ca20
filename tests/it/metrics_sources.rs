//! WeCom's credentials and those of other sources: in the metrics, on the page and in `/ready`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{APP, TestApp, config_of};
use crate::support::scrape::{promtool_accepts, scrape, value};
use crate::support::service::{Service, errcode};

const CORP: &str = "ww0123456789abcdef";
const SECRET: &str = "corp-secret-marker-1c1c";
/// A source's name may contain what a label must escape.
const ODD: &str = "支付\"a\\b";

/// A server with two sources and, after a reload, one WeCom application.
async fn start(source: &Service, settings: Value) -> (TestApp, Value) {
    let mut settings = settings;
    settings["server"] = json!({ "admin": "127.0.0.1:0" });
    settings["sources"] = json!({ "weixin": { "url": source.url }, ODD: { "url": source.url } });
    let app = TestApp::build(settings.clone())
        .sandbox(|sandbox| sandbox.accounts.push((CORP.to_owned(), SECRET.to_owned())))
        .start()
        .await;
    let agent =
        json!({ "corpid": CORP, "agentid": 1000002, "secret": SECRET, "api": app.sandbox.url() });
    let mut with_wecom = settings;
    with_wecom["wecom"] = json!([agent]);
    app.reloader
        .apply(config_of(&app.sandbox, with_wecom.clone()));
    (app, with_wecom)
}

fn series(name: &str, appid: &str, kind: &str) -> String {
    let appid = appid.replace('\\', "\\\\").replace('"', "\\\"");
    format!("jsdkd_credential_{name}{{appid=\"{appid}\",kind=\"{kind}\"}}")
}

fn ready(text: &str, appid: &str, kind: &str) -> Option<f64> {
    value(text, &series("ready", appid, kind))
}

async fn sign(app: &TestApp, query: &str) {
    let request = app.request(Method::POST, &format!("/jsapi/{CORP}/config{query}"));
    let body = json!({ "url": "https://a.example/" }).to_string();
    let answer = app.send(
        request
            .header("content-type", "application/json")
            .body(body),
    );
    answer.await.json();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_has_series_from_the_start() {
    let source = Service::granting(7200);
    let (app, settings) = start(&source, json!({})).await;
    let agent = format!("{CORP}/1000002");
    let (odd, corp) = (format!("source/{ODD}"), format!("{CORP}/corp"));
    let all = [
        ("source/weixin", "token"),
        (&odd, "token"),
        (&agent, "token"),
        (&agent, "ticket"),
        (&corp, "ticket"),
        (APP, "card_ticket"),
    ];
    let text = scrape(&app).await;
    for (appid, kind) in all {
        assert_eq!(
            ready(&text, appid, kind),
            Some(0.0),
            "{appid} {kind}: {text}"
        );
        let expiry = series("expiry_timestamp_seconds", appid, kind);
        assert!(value(&text, &expiry).unwrap().is_nan(), "{appid} {kind}");
        let renewal = series("renewal_timestamp_seconds", appid, kind);
        assert!(value(&text, &renewal).unwrap().is_nan(), "{appid} {kind}");
    }
    let refused = "jsdkd_renewals_total{appid=\"source/weixin\",kind=\"token\",why=\"ahead\",result=\"refused\"}";
    assert_eq!(value(&text, refused), Some(0.0));
    assert!(!text.contains("jsdkd_budget_used{appid=\"source/"));
    assert!(!text.contains(&format!("jsdkd_push_messages_total{{appid=\"{CORP}")));
    promtool_accepts(&text);

    app.get("/token?name=weixin").await.json();
    sign(&app, "").await;
    let text = scrape(&app).await;
    for (appid, kind, expected) in [
        ("source/weixin", "token", 1.0),
        (&odd, "token", 0.0),
        (&agent, "token", 1.0),
        (&corp, "ticket", 1.0),
        (&agent, "ticket", 0.0),
    ] {
        assert_eq!(ready(&text, appid, kind), Some(expected), "{appid} {kind}");
    }
    let now = clock::Clock::system().wall().seconds().0 as f64;
    let expiry = series("expiry_timestamp_seconds", &agent, "token");
    assert!(value(&text, &expiry).unwrap() > now + 7000.0, "{text}");
    let granted = format!(
        "jsdkd_renewals_total{{appid=\"{agent}\",kind=\"token\",why=\"missing\",result=\"granted\"}}"
    );
    assert_eq!(value(&text, &granted), Some(1.0), "{text}");
    promtool_accepts(&text);
    let kinds = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(",kind=\"")?;
        rest.split('"').next()
    });
    for kind in kinds {
        assert!(["token", "ticket", "card_ticket"].contains(&kind), "{kind}");
    }
    let page = app.admin("/status").await.body;
    for shown in ["WeCom", "agent_ticket", "weixin", "支付&#34;a\\b"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    for secret in [SECRET, "source.", &source.url] {
        assert!(!text.contains(secret) && !page.contains(secret), "{secret}");
    }

    // What a reload takes away has no series any more, and what stays keeps its counts.
    let mut fewer = settings;
    fewer["sources"].as_object_mut().unwrap().remove(ODD);
    fewer["wecom"] = Value::Null;
    app.reloader.apply(config_of(&app.sandbox, fewer));
    let text = scrape(&app).await;
    assert!(!text.contains(CORP) && !text.contains("支付"), "{text}");
    let granted = "jsdkd_renewals_total{appid=\"source/weixin\",kind=\"token\",why=\"missing\",result=\"granted\"}";
    assert_eq!(value(&text, granted), Some(1.0), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_source_makes_the_server_unready() {
    let source = Service::start(|_, _| (401, r#"{"error":"invalid_client"}"#.to_owned()));
    let (app, settings) = start(&source, json!({})).await;
    assert_eq!(app.admin("/ready").await.json(), json!({ "ready": true }));
    assert_ne!(app.get("/token?name=weixin").await.status, 200);
    for answer in [app.admin("/ready").await, app.get("/ready").await] {
        assert_eq!(answer.status, 503);
        assert!(
            answer
                .body
                .contains("source/weixin has no valid token (errcode 401)"),
            "{answer:?}"
        );
    }
    let text = scrape(&app).await;
    let failure = "jsdkd_failure_errcode{appid=\"source/weixin\",kind=\"token\",errcode=\"401\"}";
    assert_eq!(value(&text, failure), Some(1.0), "{text}");
    let expiry = series("expiry_timestamp_seconds", "source/weixin", "token");
    assert_eq!(value(&text, &expiry), Some(0.0));
    let refused = "jsdkd_renewals_total{appid=\"source/weixin\",kind=\"token\",why=\"missing\",result=\"refused\"}";
    assert_eq!(value(&text, refused), Some(1.0));
    // Whatever it is a source of, it says nothing of WeChat's silence.
    assert_eq!(value(&text, "jsdkd_reserve_seconds"), Some(f64::INFINITY));
    let status = app.admin("/status.json").await.json();
    let sentence = status["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("source/weixin is not served. Its service refuses: 401."),
        "{sentence}"
    );
    let line = &status["accounts"][0];
    assert_eq!(
        (&line["appid"], &line["state"]),
        (&json!("source/weixin"), &json!("missing"))
    );
    assert_eq!(line["last_error"]["errcode"], 401);
    assert!(line["last_error"]["retry_at"].is_u64(), "{line}");
    let event = &status["events"][0];
    assert_eq!(
        (&event["event"], &event["errcode"]),
        (&json!("refused"), &json!(401))
    );

    source.order(|_, _| (200, r#"{"access_token":"T","expires_in":7200}"#.to_owned()));
    app.reloader.apply(config_of(&app.sandbox, settings));
    app.get("/token?name=weixin").await.json();
    assert_eq!(app.admin("/ready").await.json(), json!({ "ready": true }));
    assert_eq!(value(&scrape(&app).await, failure), None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_always_must_be_there() {
    let source = Service::start(|_, _| errcode(40164, "invalid ip"));
    let (app, _) = start(&source, json!({ "keep": "always" })).await;
    // Nobody has asked for it.
    let answer = app.admin("/ready").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.contains("source/weixin has no valid token"),
        "{answer:?}"
    );
    app.stop().await;
}
