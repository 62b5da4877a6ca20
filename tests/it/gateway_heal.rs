//! A token that dies at WeChat while the gateway uses it: healed under proof, and only then.

use std::time::Duration;

use reqwest::Method;
use sandbox::Fault;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::app::{APP, TestApp, config_of};
use crate::support::gateway::{VIRTUAL, settings, token};
use crate::support::keepers::eventually;
use crate::support::process::{self, Process, folder};

const CALL: &str = "/cgi-bin/get_api_domain_ip";
const OTHER: &str = "/cgi-bin/menu/get";
const PROBE: &str = "/cgi-bin/getcallbackip";
const SEND: &str = "/cgi-bin/message/custom/send";
const CORP: &str = "ww0123456789abcdef";

async fn start() -> (TestApp, String) {
    let app = TestApp::with(settings(
        json!({}),
        json!({ "gateway": { "keepWhole": "64kb" } }),
    ))
    .await;
    let token = token(&app).await;
    (app, token)
}

/// How often a real token was asked for.
fn renewals(app: &TestApp) -> u64 {
    app.sandbox.calls("/cgi-bin/token") + app.sandbox.calls("/cgi-bin/stable_token")
}

async fn code(app: &TestApp, path: &str, token: &str) -> i64 {
    app.get(&format!("{path}?access_token={token}"))
        .await
        .json()["errcode"]
        .as_i64()
        .unwrap_or_default()
}

/// Somebody else's program fetches a token, which kills ours.
fn kill(app: &TestApp) {
    app.sandbox.void_token(APP);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_with_a_dead_token_cost_one_renewal() {
    let (app, token) = start().await;
    assert_eq!(code(&app, CALL, &token).await, 0);
    kill(&app);
    let before = renewals(&app);
    let mut calls = JoinSet::new();
    for _ in 0..1000 {
        let request = app.request(Method::GET, &format!("{CALL}?access_token={token}"));
        calls.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
    }
    for answer in calls.join_all().await {
        assert!(answer.contains("ip_list"), "{answer}");
    }
    assert_eq!((app.sandbox.calls(PROBE), renewals(&app) - before), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_renewed_by_now_needs_no_probe() {
    let (app, token) = start().await;
    assert_eq!(code(&app, CALL, &token).await, 0);
    app.sandbox.fault(
        Fault::errcode(40001, "invalid credential")
            .after(Duration::from_secs(2))
            .on(CALL)
            .times(1),
    );
    let slow = code(&app, CALL, &token);
    let meanwhile = async {
        eventually("the slow call has arrived", async || {
            app.sandbox.calls(CALL) == 2
        })
        .await;
        kill(&app);
        code(&app, OTHER, &token).await
    };
    let (slow, other) = tokio::join!(slow, meanwhile);
    assert_eq!(
        (
            slow,
            other != 40001,
            app.sandbox.calls(PROBE),
            renewals(&app)
        ),
        (0, true, 1, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_refuses_a_living_token_costs_one_probe() {
    for refusal in [40001, 40014, 42001] {
        let (app, token) = start().await;
        app.sandbox
            .fault(Fault::errcode(refusal, "invalid credential").on(CALL));
        for _ in 0..3 {
            assert_eq!(code(&app, CALL, &token).await, i64::from(refusal));
        }
        assert_eq!(
            (
                app.sandbox.calls(PROBE),
                renewals(&app),
                app.sandbox.calls(CALL)
            ),
            (1, 1, 3)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclear_probe_renews_nothing() {
    for fault in [
        Fault::garbage(),
        Fault::html(502),
        Fault::errcode(-1, "system error"),
        Fault::reset(),
    ] {
        let (app, token) = start().await;
        app.sandbox.fault(fault.on(PROBE));
        app.sandbox
            .fault(Fault::errcode(40001, "invalid credential").on(CALL));
        for _ in 0..3 {
            assert_eq!(code(&app, CALL, &token).await, 40001);
        }
        assert_eq!((app.sandbox.calls(PROBE), renewals(&app)), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_probe_is_allowed_the_refusal_is_passed_on() {
    let (app, token) = start().await;
    app.sandbox.fault(
        Fault::errcode(40001, "invalid credential")
            .on(CALL)
            .times(1),
    );
    assert_eq!(code(&app, CALL, &token).await, 40001);
    kill(&app);
    assert_eq!(
        code(&app, OTHER, &token).await,
        40001,
        "an earlier probe does not count"
    );
    assert_eq!((app.sandbox.calls(PROBE), renewals(&app)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_repeated_once_at_most() {
    let (app, token) = start().await;
    assert_eq!(code(&app, CALL, &token).await, 0);
    kill(&app);
    app.sandbox
        .fault(Fault::errcode(40001, "invalid credential").on(CALL));
    assert_eq!(code(&app, CALL, &token).await, 40001);
    assert_eq!(
        (
            app.sandbox.calls(CALL),
            app.sandbox.calls(PROBE),
            renewals(&app)
        ),
        (3, 1, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_body_is_not_repeated_but_the_token_is_renewed() {
    let (app, token) = start().await;
    assert_eq!(code(&app, CALL, &token).await, 0);
    kill(&app);
    let path = format!("/cgi-bin/media/upload?type=image&access_token={token}");
    let body = [
        b"--B\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.jpg\"\r\n\r\n",
        &[b'x'; 200_000][..],
        b"\r\n--B--\r\n",
    ];
    let upload = || {
        let request = app
            .request(Method::POST, &path)
            .header("content-type", "multipart/form-data; boundary=B");
        app.send(request.body(body.concat()))
    };
    assert_eq!(upload().await.json()["errcode"], 40001);
    eventually("the token is renewed", async || renewals(&app) == 2).await;
    eventually("the repetition succeeds", async || {
        upload().await.json()["media_id"].is_string()
    })
    .await;
    assert_eq!((renewals(&app), app.sandbox.calls(PROBE)), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_message_is_one_arrival_and_504() {
    let (app, token) = start().await;
    app.sandbox.fault(Fault::half_body().on(SEND));
    let request = app.request(Method::POST, &format!("{SEND}?access_token={token}"));
    let answer = app
        .send(request.body(
            r#"{"touser":"oAbcdefghijklmnopqrstuvwxyz0","msgtype":"text","text":{"content":"x"}}"#,
        ))
        .await;
    assert_eq!(
        (answer.status.as_u16(), app.sandbox.calls(SEND)),
        (504, 1),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_tokens_again_never_renews_the_real_one() {
    let (app, token) = start().await;
    assert_eq!(code(&app, CALL, &token).await, 0);
    let body = json!({ "grant_type": "client_credential", "appid": APP, "secret": VIRTUAL, "force_refresh": true }).to_string();
    for _ in 0..200 {
        let answer = app
            .send(
                app.request(Method::POST, "/cgi-bin/stable_token")
                    .body(body.clone()),
            )
            .await
            .json();
        assert!(
            answer["access_token"]
                .as_str()
                .is_some_and(|token| token.starts_with("jv1_")),
            "{answer}"
        );
        assert_eq!(answer["expires_in"], 7200);
    }
    assert_eq!((renewals(&app), code(&app, CALL, &token).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wecom_application_is_healed_too() {
    let base = json!({ "gateway": { "keepWhole": "64kb" } });
    let app = TestApp::build(settings(json!({}), base));
    let app = app
        .sandbox(|sandbox| {
            sandbox
                .accounts
                .push((CORP.to_owned(), "corp-secret".to_owned()))
        })
        .start()
        .await;
    let wecom = json!([{ "corpid": CORP, "agentid": 1000002, "secret": "corp-secret", "api": app.sandbox.url() }]);
    let realm = json!({ "apps": [format!("{CORP}/1000002")], "gateway": ["read", "notify"] });
    app.reloader.apply(config_of(
        &app.sandbox,
        settings(realm, json!({ "wecom": wecom })),
    ));
    let asked = app
        .get(&format!(
            "/cgi-bin/gettoken?corpid={CORP}&corpsecret={VIRTUAL}"
        ))
        .await;
    assert!(
        asked
            .body
            .starts_with(r#"{"errcode":0,"errmsg":"ok","access_token":"jv1_"#),
        "{}",
        asked.body
    );
    let token = asked.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(code(&app, CALL, &token).await, 0);
    let before = app.sandbox.calls("/cgi-bin/gettoken");
    app.sandbox.fault(
        Fault::errcode(42001, "access_token expired")
            .on(CALL)
            .times(1),
    );
    app.sandbox.fault(
        Fault::errcode(42001, "access_token expired")
            .on(PROBE)
            .times(1),
    );
    // WeCom hands out the same token again until it has expired, so that a renewal may bring
    // nothing new.
    assert!([0, 42001].contains(&code(&app, CALL, &token).await));
    assert_eq!(
        (
            app.sandbox.calls(PROBE),
            app.sandbox.calls("/cgi-bin/gettoken") - before
        ),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_our_address_is_passed_on_and_logged() {
    let app = TestApp::start().await;
    let folder = folder();
    let over = settings(json!({}), json!({}));
    let server = Process::serve(folder.path(), &process::settings(&app.sandbox.url(), over)).await;
    let ask = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={VIRTUAL}");
    let token = server.get(&ask).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    for (code, message) in [
        (
            40164,
            "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist",
        ),
        (
            60020,
            "not allow to access from your ip, from ip: 203.0.113.9",
        ),
    ] {
        app.sandbox.clear_faults();
        app.sandbox.fault(Fault::errcode(code, message).on(CALL));
        let answer: Value = server
            .get(&format!("{CALL}?access_token={token}"))
            .await
            .json();
        assert_eq!(answer["errcode"], code, "{answer}");
        let is_it = |line: &Value| line["level"] == "ERROR" && line["errcode"] == code;
        let line = process::until(|| server.log().into_iter().find(is_it))
            .await
            .expect("an error");
        assert!(
            line["message"].as_str().unwrap().contains("203.0.113.9"),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_line_tells_of_healing_and_of_wechats_rid() {
    let app = TestApp::start().await;
    let folder = folder();
    let over = settings(json!({}), json!({}));
    let server = Process::serve(folder.path(), &process::settings(&app.sandbox.url(), over)).await;
    let ask = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={VIRTUAL}");
    let token = server.get(&ask).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let call = async |path: &str, id: &str| {
        let request = server.request(Method::GET, &format!("{path}?access_token={token}"));
        let answer = request.header("x-request-id", id).send().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let line = process::until(|| {
            let log = server.log();
            let is_it = |line: &Value| line["target"] == "jsdkd::audit" && line["request_id"] == id;
            log.into_iter().find(is_it)
        });
        (answer, line.await.expect("an audit line"))
    };
    let (answer, line) = call(CALL, "r-1").await;
    assert_eq!(
        (&answer["errcode"], &line["healed"]),
        (&Value::Null, &json!(false))
    );
    kill(&app);
    let (answer, line) = call(CALL, "r-2").await;
    assert!(answer["ip_list"].is_array(), "{answer}");
    assert_eq!(
        (&line["healed"], &line["status"], &line["errcode"]),
        (&json!(true), &json!(200), &Value::Null),
        "{line}"
    );
    app.sandbox
        .fault(Fault::errcode(48001, "api unauthorized").on(OTHER));
    let (answer, line) = call(OTHER, "r-3").await;
    let rid = answer["errmsg"].as_str().unwrap().rsplit_once("rid: ");
    assert_eq!(
        (line["rid"].as_str(), &line["errcode"], &line["healed"]),
        (rid.map(|(_, rid)| rid), &json!(48001), &json!(false)),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_that_is_too_late_is_not_made() {
    let (app, token) = start().await;
    assert_eq!(code(&app, CALL, &token).await, 0);
    kill(&app);
    app.sandbox
        .fault(Fault::delay(Duration::from_secs(5)).on(CALL).times(1));
    assert_eq!(code(&app, CALL, &token).await, 40001);
    eventually("the token is renewed", async || renewals(&app) == 2).await;
    assert_eq!(app.sandbox.calls(CALL), 2);
}
