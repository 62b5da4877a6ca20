//! WeCom's pages: `/jsapi/{corpid}/config` for `wx.config`, and with `?type=agent` for
//! `wx.agentConfig`. The sandbox plays WeCom.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::settings::{check_faults, check_lines, faults, good};
use crate::support::app::{APP, Response, TestApp, config_of};
use crate::support::keepers::dead_address;
use crate::support::redis::RedisServer;

const CORP: &str = "ww0123456789abcdef";
const SECRET: &str = "corp-secret-marker-1c1c";
const PAGE: &str = "https://shop.example.com/?id=7";

/// The settings of one application, with the sandbox as WeCom.
fn wecom(app: &TestApp) -> Value {
    json!([{ "corpid": CORP, "agentid": 1000002, "secret": SECRET, "api": app.sandbox.url() }])
}

/// A server with one WeCom application besides the default account.
async fn start() -> TestApp {
    start_with(json!({})).await
}

async fn start_with(settings: Value) -> TestApp {
    let app = TestApp::build(settings.clone());
    let app = app
        .sandbox(|sandbox| sandbox.accounts.push((CORP.to_owned(), SECRET.to_owned())))
        .start()
        .await;
    let mut settings = settings;
    settings["wecom"] = wecom(&app);
    app.reloader.apply(config_of(&app.sandbox, settings));
    app
}

/// Posts `body` to `/jsapi/{id}/config` with `query`.
async fn post(app: &TestApp, id: &str, query: &str, body: Value) -> Response {
    let request = app.request(Method::POST, &format!("/jsapi/{id}/config{query}"));
    app.send(
        request
            .header("content-type", "application/json")
            .body(body.to_string()),
    )
    .await
}

/// The current ticket of `kind`, requested as WeCom's own clients do.
async fn ticket(app: &TestApp, kind: &str) -> String {
    let get = async |path: String| -> Value {
        let text = reqwest::get(format!("{}{path}", app.sandbox.url()))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let token = get(format!(
        "/cgi-bin/gettoken?corpid={CORP}&corpsecret={SECRET}"
    ))
    .await;
    let token = token["access_token"].as_str().unwrap().to_owned();
    let path = match kind {
        "agent" => format!("/cgi-bin/ticket/get?access_token={token}&type=agent_config"),
        _ => format!("/cgi-bin/get_jsapi_ticket?access_token={token}"),
    };
    get(path).await["ticket"].as_str().unwrap().to_owned()
}

/// Computed by hand as WeCom's page on the signature describes it (JS-SDK使用权限签名算法).
#[track_caller]
fn assert_signed(config: &Value, ticket: &str) {
    let (nonce, timestamp) = (
        config["nonceStr"].as_str().unwrap(),
        config["timestamp"].as_u64().unwrap(),
    );
    let signed = format!("jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={PAGE}");
    let digest: String = Sha1::digest(signed)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(config["signature"], digest, "{config}");
}

fn names(config: &Value) -> Vec<&str> {
    config
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_wecoms_is_signed_with_the_corps_ticket() {
    let app = start().await;
    let answer = post(
        &app,
        CORP,
        "",
        json!({ "url": format!("{PAGE}#top"), "beta": true, "appId": "forged" }),
    )
    .await;
    let config = answer.json();
    assert_signed(&config, &ticket(&app, "jsapi").await);
    assert_eq!(
        (&config["appId"], &config["beta"]),
        (&json!(CORP), &json!(true))
    );
    assert_eq!(
        (
            answer.header("content-type"),
            answer.header("cache-control")
        ),
        ("application/json; charset=utf-8", "no-store")
    );
    let got = app
        .get(&format!(
            "/JSAPI/{CORP}/config/?url={}&jsApiList=a,b",
            "https://shop.example.com/?id=7"
        ))
        .await
        .json();
    assert_signed(&got, &ticket(&app, "jsapi").await);
    assert_eq!(
        (&got["appId"], &got["jsApiList"]),
        (&json!(CORP), &json!(["a", "b"]))
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_config_is_signed_with_the_applications_own_ticket() {
    let app = start().await;
    let body = json!({ "z": 1, "url": PAGE, "corpid": "forged", "agentid": 1, "signature": "forged", "jsApiList": ["x"] });
    let answer = post(&app, CORP, "?type=agent", body).await;
    let begins = format!(
        r#"{{"jsApiList":["x"],"url":"{PAGE}","z":1,"corpid":"{CORP}","agentid":"1000002","timestamp":"#
    );
    assert!(answer.body.starts_with(&begins), "{}", answer.body);
    let (agent, corp) = (ticket(&app, "agent").await, ticket(&app, "jsapi").await);
    assert_ne!(agent, corp);
    assert_signed(&answer.json(), &agent);
    let got = app
        .get(&format!(
            "/jsapi/{CORP}/config?type=agent&agentid=1000002&url={PAGE}"
        ))
        .await
        .json();
    assert_signed(&got, &agent);
    assert_eq!(
        names(&got),
        [
            "agentid",
            "corpid",
            "nonceStr",
            "signature",
            "timestamp",
            "url"
        ]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_origins_and_bodies_follow_the_same_rules() {
    let app = start().await;
    for query in ["", "?type=agent"] {
        let wrong = async |body: &str| {
            let request = app.request(Method::POST, &format!("/jsapi/{CORP}/config{query}"));
            app.send(
                request
                    .header("content-type", "application/json")
                    .body(body.to_owned()),
            )
            .await
        };
        wrong("{").await.problem(400, "invalid_json");
        wrong("[]").await.problem(400, "body_not_an_object");
        wrong(r#"{"url":"/page"}"#)
            .await
            .problem(400, "invalid_url");
        assert!(
            wrong("")
                .await
                .header("warning")
                .contains("an empty url is signed")
        );
        let request = app
            .request(Method::POST, &format!("/jsapi/{CORP}/config{query}"))
            .header("origin", "https://page.example");
        let page = app
            .send(
                request
                    .header("content-type", "application/json")
                    .body("{}"),
            )
            .await;
        assert_eq!(
            (
                page.status.as_u16(),
                page.header("access-control-allow-origin")
            ),
            (200, "https://page.example")
        );
    }
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "wecom": wecom(&app), "cors": "example\\.com" }),
    ));
    let request = app
        .request(Method::GET, &format!("/jsapi/{CORP}/config?type=agent"))
        .header("origin", "https://evil.example");
    app.send(request).await.problem(403, "origin_not_allowed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unconfigured_applications_are_not_found() {
    let app = start().await;
    post(&app, "ww0000000000000000", "", json!({}))
        .await
        .problem(404, "unknown_app");
    post(&app, "ww0000000000000000", "?type=agent", json!({}))
        .await
        .problem(404, "unknown_app");
    post(&app, CORP, "?type=agent&agentid=7", json!({}))
        .await
        .problem(404, "unknown_app");
    post(&app, CORP, "?type=agnet", json!({}))
        .await
        .problem(400, "malformed_query");
    post(&app, CORP, "?type=agent&type=agent", json!({}))
        .await
        .problem(400, "malformed_query");
    for answer in [
        post(&app, APP, "?type=agent", json!({})).await,
        app.get(&format!("/jsapi/{APP}/config?url={PAGE}&type=agent"))
            .await,
    ] {
        let problem = answer.problem(400, "malformed_query");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("WeCom")),
            "{problem}"
        );
    }
    assert_eq!(
        app.get(&format!("/jsapi/{APP}/config?url={PAGE}&type=other"))
            .await
            .json()["type"],
        "other"
    );
    app.get(&format!("/token?name=wecom.{CORP}.ticket"))
        .await
        .problem(404, "not_found");
    let sources = json!({ "a": { "url": dead_address() } });
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "wecom": wecom(&app), "sources": sources }),
    ));
    assert_eq!(
        app.get(&format!("/token?name=wecom.{CORP}.ticket"))
            .await
            .body,
        r#"{"error":"not found"}"#
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_applications_one_must_be_named() {
    let app = start().await;
    let second =
        json!({ "corpid": CORP, "agentid": "1000003", "secret": SECRET, "api": app.sandbox.url() });
    let mut both = wecom(&app);
    both.as_array_mut().unwrap().push(second);
    app.reloader
        .apply(config_of(&app.sandbox, json!({ "wecom": both })));
    post(&app, CORP, "?type=agent", json!({}))
        .await
        .problem(400, "malformed_query");
    for agentid in ["1000002", "1000003"] {
        let config = post(
            &app,
            CORP,
            &format!("?type=agent&agentid={agentid}"),
            json!({ "url": PAGE }),
        )
        .await
        .json();
        assert_eq!(config["agentid"], agentid);
    }
    assert_eq!(post(&app, CORP, "", json!({})).await.json()["appId"], CORP);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_pages_cost_one_fetch_per_kind() {
    let app = start().await;
    let pages = (0..100).map(|turn| {
        post(
            &app,
            CORP,
            if turn % 2 == 0 { "" } else { "?type=agent" },
            json!({ "url": PAGE }),
        )
    });
    assert!(
        join_all(pages)
            .await
            .iter()
            .all(|answer| answer.status == 200)
    );
    for path in [
        "/cgi-bin/gettoken",
        "/cgi-bin/get_jsapi_ticket",
        "/cgi-bin/ticket/get",
    ] {
        assert_eq!(app.sandbox.calls(path), 1, "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_renewed_when_a_ticket_is_refused() {
    let app = start().await;
    post(&app, CORP, "", json!({ "url": PAGE })).await.json();
    app.sandbox.void_token(CORP);
    let config = post(&app, CORP, "?type=agent", json!({ "url": PAGE }))
        .await
        .json();
    assert_eq!(
        (
            app.sandbox.calls("/cgi-bin/gettoken"),
            app.sandbox.calls("/cgi-bin/ticket/get")
        ),
        (2, 2)
    );
    assert_signed(&config, &ticket(&app, "agent").await);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wecoms_refusals_look_like_wechats() {
    let app = start().await;
    let with = |secret: &str, api: &str| json!([{ "corpid": CORP, "agentid": 1000002, "secret": secret, "api": api }]);
    let apply = |wecom: Value| {
        app.reloader
            .apply(config_of(&app.sandbox, json!({ "wecom": wecom })))
    };
    apply(with("wrong-secret", &app.sandbox.url()));
    for (status, code) in [(502, "upstream_refused"), (503, "cooling_down")] {
        let answer = post(&app, CORP, "?type=agent", json!({ "url": PAGE })).await;
        let problem = answer.problem(status, code);
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(
            (&problem["errcode"], answer.header("retry-after").is_empty()),
            (&json!(40001), status == 502)
        );
        assert!(
            detail.contains("40001") && detail.ends_with("compare it with the console"),
            "{detail}"
        );
        assert!(!answer.body.contains("wrong-secret"), "{}", answer.body);
    }
    apply(with(SECRET, &dead_address()));
    post(&app, CORP, "", json!({ "url": PAGE }))
        .await
        .problem(502, "upstream_unreachable");
    apply(json!([]));
    post(&app, CORP, "", json!({ "url": PAGE }))
        .await
        .problem(404, "unknown_app");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_on_one_redis_have_one_ticket() {
    let redis = RedisServer::start();
    let one = start_with(json!({ "cache": { "redis": redis.url() } })).await;
    let two =
        TestApp::with(json!({ "cache": { "redis": redis.url() }, "wecom": wecom(&one) })).await;
    let (left, right) = tokio::join!(
        post(&one, CORP, "?type=agent", json!({ "url": PAGE })),
        post(&two, CORP, "?type=agent", json!({ "url": PAGE }))
    );
    let agent = ticket(&one, "agent").await;
    assert_signed(&left.json(), &agent);
    assert_signed(&right.json(), &agent);
    one.stop().await;
    two.stop().await;
}

#[test]
fn one_application_is_enough() {
    let loaded = good(
        "{ wecom: [{ corpid: 'ww1', agentid: 7, secret: 's' }, { corpid: 'ww1', agentid: '8', secret: 's' }] }",
    );
    let corp = &loaded.config.wecom.corps["ww1"];
    assert_eq!(
        corp.agents.keys().map(String::as_str).collect::<Vec<_>>(),
        ["7", "8"]
    );
    assert_eq!(
        (
            loaded.config.wecom.sources.len(),
            loaded.config.accounts.len(),
            loaded.warnings.len()
        ),
        (5, 0, 0)
    );
    assert!(loaded.config.sources.is_empty());
    let marked = good(&format!(
        "{{ wecom: [{{ corpid: 'ww1', agentid: 7, secret: '{SECRET}' }}] }}"
    ))
    .config;
    assert!(!format!("{marked:?} {marked:#?}").contains(SECRET));
    assert!(faults("{ wecom: [] }").contains("nothing to serve"));
}

#[test]
fn every_fault_has_its_place() {
    let text = r#"{ apps: [{ key: "wx1", secret: "s" }], wecom: [
  { corpid: "wx1", agentid: 1, secret: "s" },
  { corpid: "w w", agentid: "x1", secret: "" },
  { corpid: "ww2", agentid: 1, secret: "s", api: "lan" }, "ww3",
  { corpid: "ww4", agentid: 1, secret: "s" },
  { corpid: "ww4", agentid: "1", secret: "s", agentID: 2 },
  {},
] }"#;
    let expected = [
        "jsdkd.json:2:5 wecom[0].corpid: wx1 … apps … appid",
        "jsdkd.json:3:5 wecom[1].corpid: \"w w\" … 2 to 64 characters",
        "jsdkd.json:3:20 wecom[1].agentid: \"x1\" … AgentId … 1000002",
        "jsdkd.json:3:35 wecom[1].secret: empty … { env",
        "jsdkd.json:4:45 wecom[2].api: \"https://wx.example.com\" … user, query or fragment",
        "jsdkd.json:4:59 wecom[3]: text … object",
        "jsdkd.json:6:3 wecom[5]: application 1 of ww4",
        "jsdkd.json:7:3 wecom[6].corpid: missing … 企业ID",
        "jsdkd.json:7:3 wecom[6].agentid: missing … AgentId",
        "jsdkd.json:7:3 wecom[6].secret: missing … Secret",
    ];
    let found = faults(text);
    let (lines, warnings): (Vec<&str>, Vec<&str>) = found
        .lines()
        .partition(|line| !line.starts_with("warning: "));
    check_lines(&lines, &expected);
    check_lines(
        &warnings,
        &["warning: jsdkd.json:6:47 wecom[5].agentID: unknown … \"agentid\""],
    );
    check_faults(
        "{ wecom: {} }",
        &[
            "jsdkd.json:1:3 wecom: list … corpid",
            "jsdkd.json: nothing to serve … apps",
        ],
    );
    assert!(faults("{ wecm: [], apps: [] }").contains("did you mean \"wecom\"?"));
}
