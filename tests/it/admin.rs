//! The admin listener: what it serves, what it does not, and who may read it.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::app::{APP, TestApp};
use crate::support::process::{Process, folder, settings, write_settings};
use crate::support::raw;
use crate::support::redis::RedisServer;
use sandbox::Fault;

fn with_admin() -> Value {
    json!({ "server": { "admin": "127.0.0.1:0" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_without_the_setting() {
    let app = TestApp::start().await;
    assert_eq!(app.admin, "");
    for path in ["/metrics", "/status", "/status.json", "/status.css"] {
        app.get(path).await.problem(404, "not_found");
    }
    assert_eq!(app.get("/ready").await.json(), json!({ "ready": true }));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_only_what_operators_read() {
    let app = TestApp::with(with_admin()).await;
    for path in ["/metrics", "/status", "/status.json"] {
        app.get(path).await.problem(404, "not_found");
    }
    for path in [
        "/",
        "/jsdkd.js",
        "/status/",
        "/metrics.txt",
        "/MP_verify_a.txt",
    ] {
        let answer = app.admin(path).await;
        let status = answer.status.as_u16();
        // A slash at the end and another case are accepted as everywhere.
        assert_eq!(status, if path == "/status/" { 200 } else { 404 }, "{path}");
    }
    let query = app.admin(&format!("/jsapi/{APP}/query")).await;
    query.problem(404, "not_found");
    assert!(app.admin("/ping").await.json()["pong"].is_u64());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_follows_the_accounts_in_use() {
    let app = TestApp::with(with_admin()).await;
    assert_eq!(app.admin("/ready").await.json(), json!({ "ready": true }));
    app.sandbox
        .fault(Fault::errcode(40125, "invalid appsecret").on("/cgi-bin/token"));
    assert_eq!(app.query("token").await.status, 502);
    for answer in [app.admin("/ready").await, app.get("/ready").await] {
        assert_eq!(answer.status, 503);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["ready"], false);
        let reason = body["reasons"][0].as_str().unwrap();
        assert!(reason.contains(APP) && reason.contains("40125"), "{reason}");
    }
    app.sandbox.clear_faults();
    app.reloader
        .apply(crate::support::app::config_of(&app.sandbox, with_admin()));
    assert_eq!(app.query("token").await.status, 200);
    assert_eq!(app.admin("/ready").await.json(), json!({ "ready": true }));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_follows_the_store() {
    let mut redis = RedisServer::start();
    let settings =
        json!({ "cache": { "redis": redis.url() }, "server": { "admin": "127.0.0.1:0" } });
    let app = TestApp::with(settings).await;
    assert_eq!(app.get("/ready").await.json(), json!({ "ready": true }));
    redis.kill();
    let reason = loop {
        let answer = app.get("/ready").await;
        if answer.status == 503 {
            break answer.body;
        }
    };
    assert!(reason.contains("the store does not answer"), "{reason}");
    let metrics = app.admin("/metrics").await.body;
    assert!(metrics.contains("\njsdkd_store_up 0\n"));
    let page = app.admin("/status").await.body;
    assert!(page.contains("The store does not answer"), "{page}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_always_counts_every_account() {
    let settings = json!({ "keep": "always", "server": { "admin": "127.0.0.1:0" }, "wechat": { "api": ["http://127.0.0.1:9"] } });
    let app = TestApp::with(settings).await;
    let answer = app.get("/ready").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains(APP), "{}", answer.body);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_foreign_names_are_refused() {
    let app = TestApp::with(json!({ "cors": ["*"], "server": { "admin": "127.0.0.1:0", "hosts": ["ops.example.com"] } })).await;
    let address = app.admin.trim_start_matches("http://").parse().unwrap();
    let ask = async |headers: &str| {
        let request = format!("GET /status.json HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        raw::exchange(address, request.as_bytes()).await
    };
    for good in [
        "host: 127.0.0.1\r\n",
        "host: localhost:3031\r\n",
        "host: jsdkd:3031\r\n",
        "host: ops.example.com\r\n",
        "host: 127.0.0.1\r\nsec-fetch-site: none\r\nsec-fetch-mode: navigate\r\n",
        "host: 127.0.0.1\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n",
    ] {
        let answer = ask(good).await;
        assert_eq!(answer.status, 200, "{good}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{good}");
    }
    for bad in [
        "host: evil.example\r\n",
        "host: evil.example:3031\r\n",
        "host: 127.0.0.1.evil.example\r\n",
        "host: 127.0.0.1\r\nhost: evil.example\r\n",
        "host: 127.0.0.1\r\nx-forwarded-host: evil.example\r\n",
        "host: 127.0.0.1\r\norigin: http://127.0.0.1:3031\r\n",
        "host: 127.0.0.1\r\norigin: null\r\n",
        "host: 127.0.0.1\r\nsec-fetch-site: cross-site\r\n",
        "host: 127.0.0.1\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: script\r\n",
        "host: 127.0.0.1\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n",
        "",
    ] {
        let answer = ask(bad).await;
        assert!([400, 403].contains(&answer.status), "{bad}: {answer:?}");
        assert!(!answer.body.contains(APP), "{bad}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_fails_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder();
    let settings = settings(
        "http://127.0.0.1:9",
        json!({ "server": { "admin": address } }),
    );
    write_settings(folder.path(), &settings);
    let ended = Process::start(folder.path(), &[], &[]).ended().await;
    assert_eq!(ended.code, Some(1));
    let said = format!("{}{}", ended.out, ended.err);
    assert!(
        said.contains(&format!("cannot listen on {address}"))
            && said.contains("choose another server.admin"),
        "{said}"
    );
}

#[test]
fn a_faulty_address_is_reported_with_its_cure() {
    for (admin, expected) in [
        (json!("3031"), "127.0.0.1:3031"),
        (json!(3031), "127.0.0.1:3031"),
        (json!(":3031"), "address and a port"),
        (json!("http://127.0.0.1:3031"), "address and a port"),
        (json!(true), "address and a port"),
        (json!("127.0.0.1:3030"), "choose another port"),
        (json!("[::]:3030"), "choose another port"),
    ] {
        let settings =
            json!({ "apps": [{ "key": APP, "secret": "s" }], "server": { "admin": admin } });
        let source = jsdkd::settings::Source::text("t", settings.to_string());
        let loaded = jsdkd::settings::load(&source, &jsdkd::settings::Environment::default());
        let error = loaded
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("server.admin") && error.contains(expected),
            "{admin}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_json_has_the_promised_shape() {
    let app = TestApp::with(with_admin()).await;
    app.config(json!({ "url": "https://a.example/" }))
        .await
        .json();
    app.query("token").await.json();
    app.get(&format!(
        "/jsapi/{APP}/query?realm=R123&nonce=1&ts=1&sign={}",
        "0".repeat(32)
    ))
    .await
    .problem(401, "unauthorized");
    let status = app.admin("/status.json").await.json();
    let members: Vec<_> = status
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut wanted = [
        "sentence",
        "served_until",
        "accounts",
        "findings",
        "instances",
        "realms",
        "events",
    ];
    wanted.sort_unstable();
    let mut sorted = members.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
    let now = clock::Clock::system().wall().seconds().0;
    let sentence = status["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("Everything is served. If WeChat fell silent now, until "),
        "{sentence}"
    );
    let until = status["served_until"].as_u64().unwrap();
    assert!((now + 7000..now + 7300).contains(&until), "{until}");
    let account = &status["accounts"][0];
    let keys: Vec<_> = account
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "appid",
            "expires_at",
            "kind",
            "last_error",
            "renews_at",
            "state"
        ]
    );
    assert_eq!(
        (&account["appid"], &account["kind"], &account["state"]),
        (&json!(APP), &json!("token"), &json!("fresh"))
    );
    assert!(account["last_error"].is_null());
    assert_eq!(status["accounts"][1]["kind"], "ticket");
    assert_eq!(status["realms"][0]["realm"], "R123");
    assert_eq!(
        (
            &status["realms"][0]["calls_today"],
            &status["realms"][0]["refused_today"]
        ),
        (&json!(2), &json!(1))
    );
    assert!(status["realms"][0]["last_seen"].as_u64().unwrap() + 60 > now);
    assert_eq!(status["instances"].as_array().unwrap().len(), 1);
    assert_eq!(status["instances"][0]["version"], env!("CARGO_PKG_VERSION"));
    let events: Vec<_> = status["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].clone())
        .collect();
    assert_eq!(events, ["renewed", "renewed"]);

    app.sandbox
        .fault(Fault::errcode(48001, "api unauthorized").on("/cgi-bin/ticket/getticket"));
    assert_eq!(app.query("card_ticket").await.status, 502);
    let status = app.admin("/status.json").await.json();
    let card = status["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["kind"] == "card_ticket")
        .unwrap();
    assert_eq!(card["state"], "missing");
    assert_eq!(
        (&card["last_error"]["code"], &card["last_error"]["errcode"]),
        (&json!("upstream_refused"), &json!(48001))
    );
    assert!(card["last_error"]["retry_at"].as_u64().unwrap() >= now);
    assert!(card["last_error"]["advice"].as_str().unwrap().len() > 10);
    assert!(status["served_until"].is_null());
    assert_eq!(status["events"][0]["event"], "refused");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_share_the_store_see_each_other() {
    let redis = RedisServer::start();
    let settings =
        json!({ "cache": { "redis": redis.url() }, "server": { "admin": "127.0.0.1:0" } });
    let (first, second) = (
        TestApp::with(settings.clone()).await,
        TestApp::with(settings).await,
    );
    let names = async |app: &TestApp| {
        app.admin("/status.json").await.json()["instances"]
            .as_array()
            .unwrap()
            .len()
    };
    // The second one finds the first at once, and the first finds it within its next turn.
    while names(&second).await < 2 || names(&first).await < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_leads_from_the_callers_error_to_the_renewal() {
    let (sandbox, _running) = sandbox::Sandbox::start(
        ([127, 0, 0, 1], 0).into(),
        sandbox::SandboxOptions {
            accounts: vec![(APP.to_owned(), crate::support::app::APP_SECRET.to_owned())],
            ..Default::default()
        },
    )
    .await
    .unwrap();
    sandbox.fault(Fault::errcode(40164, "invalid ip 192.0.2.1 rid: 6-1-2").on("/cgi-bin/token"));
    let folder = folder();
    let process = Process::serve(folder.path(), &settings(&sandbox.url(), json!({}))).await;
    let answer = process
        .get(&crate::support::app::signed_v2(
            "GET",
            APP,
            &[("key", "token")],
        ))
        .await;
    assert_eq!(answer.status, 502);
    let id = answer.header("x-request-id").to_owned();
    assert_eq!(id.len(), 16, "{answer:?}");
    let failed = process.logged("a renewal failed").await;
    assert!(
        failed["error"].as_str().unwrap().contains("rid: "),
        "{failed}"
    );
    let spans = failed["spans"].as_array().unwrap();
    let of = |name: &str| {
        spans
            .iter()
            .find(|span| span["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {failed}"))
    };
    assert_eq!(of("request")["request_id"], id);
    assert_eq!(of("renewal")["credential"], format!("{APP}.token"));
}
