//! wetoken's routes: who may call, and the form of a credential.

use std::time::Duration;

use chrono::{Local, NaiveDateTime, TimeDelta};
use clock::{Clock, UnixMillis};
use reqwest::Method;
use sandbox::{Fault, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, Response, TestApp, config_of};
use crate::support::process::{Process, folder, settings, write_settings};

const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

/// Every route of a credential.
const CREDENTIALS: [(&str, &str); 11] = [
    ("/{appid}/wechat/token/get", "access_token"),
    ("/{appid}/wechat/ticket/get", "ticket"),
    ("/{appid}/wechat/token/refresh", "access_token"),
    ("/{appid}/wechat/ticket/refresh", "ticket"),
    ("/wx/{appid}/token/get", "access_token"),
    ("/wx/{appid}/token/query", "access_token"),
    ("/wx/{appid}/token/refresh", "access_token"),
    ("/wx/{appid}/ticket/get", "ticket"),
    ("/wx/{appid}/ticket/query", "ticket"),
    ("/wx/{appid}/ticket/refresh", "ticket"),
    ("/token/query?appid={appid}", "access_token"),
];

/// A server with wetoken's routes.
pub(crate) async fn with(over: Value) -> TestApp {
    TestApp::with(laid(over)).await
}

fn laid(mut over: Value) -> Value {
    if over.get("wetoken").is_none() {
        over["wetoken"] = json!({});
    }
    over
}

/// The errmsg of an answer that has nothing besides it and its errcode.
#[track_caller]
pub(crate) fn refused(answer: &Response, errcode: u16) -> String {
    let told: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    assert!(
        answer
            .body
            .starts_with(&format!("{{\"errcode\":{errcode},\"errmsg\":\"")),
        "{}",
        answer.body
    );
    assert_eq!(
        (
            answer.status.as_u16(),
            told.as_object().unwrap().len(),
            answer.header("cache-control")
        ),
        (200, 2, "no-store")
    );
    told["errmsg"].as_str().expect("words").to_owned()
}

/// A successful answer without a credential.
#[track_caller]
pub(crate) fn succeeded(answer: &Response) {
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, r#"{"errcode":0,"errmsg":"success"}"#)
    );
}

/// The value in an answer with wetoken's order of members, and its remaining lifetime.
#[track_caller]
pub(crate) fn granted(answer: &Response, member: &str) -> (String, u64) {
    let told = answer.json();
    let (value, left, date) = (
        told[member].as_str().unwrap_or_default(),
        told["expires_in"].as_u64().unwrap_or_default(),
        &told["expires_date"],
    );
    let expected = format!(
        r#"{{"errcode":0,"errmsg":"success","{member}":"{value}","expires_in":{left},"expires_date":{date}}}"#
    );
    assert_eq!(answer.body, expected);
    assert_eq!(
        (
            answer.header("content-type"),
            answer.header("cache-control")
        ),
        ("application/json; charset=utf-8", "no-store")
    );
    let written = date.as_str().unwrap_or_default();
    assert!(
        !value.is_empty()
            && written.len() == 14
            && written.bytes().all(|byte| byte.is_ascii_digit()),
        "{}",
        answer.body
    );
    (value.to_owned(), left)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_method_in_wetokens_form() {
    let app = with(json!({})).await;
    for key in ["token", "ticket"] {
        app.value(key).await;
    }
    let values = [
        ("access_token", app.value("token").await),
        ("ticket", app.value("ticket").await),
    ];
    for (path, member) in CREDENTIALS {
        let path = path.replace("{appid}", APP);
        let value = &values
            .iter()
            .find(|(name, _)| *name == member)
            .expect("one of the two")
            .1;
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let answer = app.send(app.request(method.clone(), &path)).await;
            let (granted, left) = granted(&answer, member);
            assert!(
                &granted == value && (7100..=7200).contains(&left),
                "{method} {path}: {}",
                answer.body
            );
        }
        let head = app.send(app.request(Method::HEAD, &path)).await;
        assert_eq!(
            (
                head.status.as_u16(),
                head.body.as_str(),
                head.header("cache-control")
            ),
            (200, "", "no-store"),
            "{path}"
        );
        let options = app.send(app.request(Method::OPTIONS, &path)).await;
        assert_eq!(
            (options.status.as_u16(), options.header("allow")),
            (204, "GET, HEAD, POST, OPTIONS"),
            "{path}"
        );
        let loose = if path.contains('?') {
            path.replace("/token/query", "/Token/Query/")
        } else {
            format!("{path}/")
        };
        assert_eq!(
            granted(&app.get(&loose.replace("/wx/", "/WX/")).await, member).0,
            *value,
            "{loose}"
        );
    }
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (1, 1)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wetokens_routes_exist_only_with_their_section() {
    let app = TestApp::start().await;
    let mut all: Vec<String> = CREDENTIALS
        .iter()
        .map(|(path, _)| path.replace("{appid}", APP))
        .collect();
    all.extend([
        format!("/wx/{APP}/wxcode/send"),
        "/wechat/app/create".to_owned(),
    ]);
    for path in &all {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            app.send(app.request(method, path))
                .await
                .problem(404, "not_found");
        }
    }
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "wetoken": { "allow": ["10.0.0.0/8"] } }),
    ));
    for path in &all {
        refused(&app.get(path).await, 403);
    }
    app.reloader
        .apply(config_of(&app.sandbox, json!({ "wetoken": {} })));
    granted(&app.get(&all[0]).await, "access_token");
    app.reloader.apply(config_of(&app.sandbox, json!({})));
    app.get(&all[0]).await.problem(404, "not_found");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_networks_are_answered() {
    let app = with(json!({ "wetoken": { "allow": ["loopback", "203.0.113.0/24"] } })).await;
    for path in [
        format!("/{APP}/wechat/token/get"),
        format!("/wx/{APP}/token/query"),
        "/wechat/app/create".to_owned(),
    ] {
        let from = async |header: &str, value: &str| {
            app.send(app.request(Method::GET, &path).header(header, value))
                .await
        };
        for stranger in ["8.8.8.8", "10.0.0.1", "unknown", "", "127.0.0.1, 8.8.8.8"] {
            let told = refused(&from("x-forwarded-for", stranger).await, 403);
            assert!(told.contains("wetoken.allow"), "{stranger}: {told}");
        }
        for trace in [
            "via",
            "x-real-ip",
            "x-forwarded-proto",
            "true-client-ip",
            "cf-connecting-ip",
            "x-original-forwarded-for",
        ] {
            refused(&from(trace, "127.0.0.1").await, 403);
        }
        assert!(
            !from("x-forwarded-for", "203.0.113.9")
                .await
                .body
                .contains("403"),
            "{path}"
        );
        for (header, value) in [
            ("origin", "https://example.com"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let told = refused(&from(header, value).await, 403);
            assert!(
                told.contains("page") && told.contains("program"),
                "a person on the network may look at any page: {told}"
            );
        }
        let typed = from("sec-fetch-site", "none").await;
        assert_eq!(
            typed.body.contains("403"),
            path.ends_with("create"),
            "a person may look, and change nothing"
        );
        let head = app
            .send(
                app.request(Method::HEAD, &path)
                    .header("x-forwarded-for", "8.8.8.8"),
            )
            .await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
    }
    let unknown = app
        .send(
            app.request(Method::GET, "/wx/wx-none/token/get")
                .header("x-forwarded-for", "8.8.8.8"),
        )
        .await;
    refused(&unknown, 403);
    app.stop().await;
    let usual = with(json!({})).await;
    let path = format!("/wx/{APP}/token/get");
    let from = async |caller: &str| {
        usual
            .send(
                usual
                    .request(Method::GET, &path)
                    .header("x-forwarded-for", caller),
            )
            .await
    };
    granted(&from("192.168.1.9").await, "access_token");
    refused(&from("8.8.8.8").await, 403);
    usual.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_reads_the_store_and_never_calls_wechat() {
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let app = TestApp::build(laid(json!({})))
        .clock(clock.clone())
        .start()
        .await;
    let paths = [
        format!("/wx/{APP}/token/query"),
        format!("/token/query?appid={APP}"),
    ];
    for path in &paths {
        assert!(refused(&app.get(path).await, 400).contains("token/get"));
    }
    assert_eq!(app.sandbox.calls(TOKEN), 0);
    let (token, _) = granted(
        &app.get(&format!("/wx/{APP}/token/get")).await,
        "access_token",
    );
    clock.advance(Duration::from_secs(4000));
    assert_eq!(
        granted(&app.get(&paths[0]).await, "access_token"),
        (token.clone(), 3200)
    );
    assert_eq!(
        granted(&app.get(&paths[1]).await, "access_token"),
        (token, 3200)
    );
    clock.advance(Duration::from_secs(3201));
    for path in &paths {
        refused(&app.get(path).await, 400);
    }
    assert_eq!(
        refused(&app.get("/token/query").await, 400),
        "appid is missing"
    );
    assert!(
        refused(
            &app.get(&format!("/token/query?appid={APP}&appid=wx2"))
                .await,
            400
        )
        .contains("more than once")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_renews_only_what_is_due() {
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let app = TestApp::build(laid(json!({})))
        .clock(clock.clone())
        .start()
        .await;
    let refresh = format!("/{APP}/wechat/token/refresh");
    let (first, left) = granted(&app.get(&refresh).await, "access_token");
    assert_eq!(left, 7200, "nothing was there");
    for _ in 0..5 {
        assert_eq!(
            granted(&app.get(&refresh).await, "access_token").0,
            first,
            "it is fresh"
        );
    }
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    clock.advance(Duration::from_secs(6700));
    let (second, left) = granted(&app.get(&refresh).await, "access_token");
    assert!(second != first && left == 7200, "it was due");
    assert_eq!(granted(&app.get(&refresh).await, "access_token").0, second);
    assert_eq!(app.sandbox.calls(TOKEN), 2);
    app.sandbox
        .fault(Fault::errcode(45009, "reach max api daily quota limit"));
    clock.advance(Duration::from_secs(6700));
    assert_eq!(
        granted(&app.get(&refresh).await, "access_token"),
        (second, 500),
        "what lives is handed out"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_200_with_wechats_errcode() {
    let app = with(json!({})).await;
    for path in [
        "/wx/wx-none/token/get",
        "/wx-none/wechat/ticket/get",
        "/wx/wx-none/token/query",
        "/wx/wx-none/ticket/refresh",
    ] {
        assert!(
            refused(&app.get(path).await, 400).contains("appid"),
            "{path}"
        );
    }
    app.sandbox.fault(Fault::errcode(
        40164,
        &format!("invalid ip 1.2.3.4, not in whitelist {APP_SECRET}"),
    ));
    let path = format!("/wx/{APP}/token/get");
    let told = refused(&app.get(&path).await, 400);
    assert!(
        told.starts_with("WeChat refused: 40164 invalid ip 1.2.3.4, not in whitelist ***"),
        "{told}"
    );
    let cooling = app.get(&format!("/{APP}/wechat/ticket/get")).await;
    let told = refused(&cooling, 400);
    assert!(
        told.contains("40164") && !told.contains(APP_SECRET),
        "{told}"
    );
    assert!(
        cooling
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds > 5)
    );
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_expiry_date_is_local_time() {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    let (sandbox, _running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port");
    for (zone, hours) in [("Asia/Shanghai", 8), ("UTC", 0), ("XXX+3:30", -3)] {
        let folder = folder();
        write_settings(folder.path(), &settings(&sandbox.url(), laid(json!({}))));
        let server = Process::start(folder.path(), &[], &[("TZ", zone)])
            .listening()
            .await;
        let answer = server.get(&format!("/wx/{APP}/token/get")).await;
        let told = answer.json();
        let date =
            NaiveDateTime::parse_from_str(told["expires_date"].as_str().unwrap(), "%Y%m%d%H%M%S")
                .unwrap();
        let left = TimeDelta::seconds(told["expires_in"].as_i64().unwrap());
        let minutes = hours * 60 - if hours < 0 { 30 } else { 0 };
        let expected = Local::now().to_utc().naive_utc() + TimeDelta::minutes(minutes) + left;
        assert!(
            (date - expected).abs() <= TimeDelta::seconds(3),
            "{zone}: {date}, expected {expected}"
        );
    }
}
