//! Unknown appids: the store is read once before a refusal, and lookups are limited.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::hub;
use crate::sql_store::{install, sqlite};
use crate::support::app::{APP_SECRET, Response, TestApp, signed_v2};
use crate::support::databases;
use crate::support::redis::RedisServer;
use crate::wetoken::{succeeded, with};

/// Every route with an appid, requested as far as possible without a visitor.
const ADDRESSES: [&str; 14] = [
    "GET /{appid}/wechat/token/get",
    "GET /wx/{appid}/ticket/get",
    "GET /wx/{appid}/token/query",
    "GET /token/query?appid={appid}",
    "GET /wx/{appid}/token/refresh",
    "GET /wx/{appid}/wxcode/send?user_name=u&system_name=s&code=1",
    "POST /jsapi/{appid}/config",
    "GET /jsapi/{appid}/config?url=https%3A%2F%2Fexample.com%2F",
    "QUERY",
    "HUB /hub/{appid}/access-token",
    "GET /wechat/{appid}",
    "POST /wechat/{appid}",
    "GET /oauth/{appid}?redirect=https%3A%2F%2Fshop.example.com%2F",
    "POST /login?appid={appid}",
];

async fn instance(cache: &Value, wechat: Option<&TestApp>) -> TestApp {
    let mut over = json!({ "apps": null, "cache": cache, "hub": { "app": "wx-hub", "keys": { "key1": hub::KEY } } });
    if let Some(first) = wechat {
        over["wechat"] = json!({ "api": [first.sandbox.url()] });
    }
    with(over).await
}

async fn create(app: &TestApp, app_id: &str) {
    app.sandbox.add_account(app_id, APP_SECRET);
    succeeded(
        &app.get(&format!(
            "/wechat/app/create?appid={app_id}&secret={APP_SECRET}&token=t"
        ))
        .await,
    );
}

async fn ask(app: &TestApp, address: &str, app_id: &str) -> Response {
    let (method, path) = address.split_once(' ').unwrap_or((address, ""));
    let path = path.replace("{appid}", app_id);
    match method {
        "QUERY" => app.get(&signed_v2("GET", app_id, &[])).await,
        "HUB" => hub::ask(app, &path, &hub::good()).await,
        method => app.send(app.request(method.parse().unwrap(), &path)).await,
    }
}

fn is_unknown(answer: &Response) -> bool {
    answer.body.contains("no app of this appid")
}

/// Two instances on `cache`: an app created at one is known to the other at its next request.
async fn knows_at_once(cache: Value) {
    let first = instance(&cache, None).await;
    let second = instance(&cache, Some(&first)).await;
    for (number, address) in ADDRESSES.iter().enumerate() {
        let app_id = format!("wx-new-{number}");
        create(&first, &app_id).await;
        let answer = ask(&second, address, &app_id).await;
        assert!(!is_unknown(&answer), "{cache} {address}: {answer:?}");
        assert!(
            is_unknown(&ask(&second, address, "wx-none").await),
            "{cache} {address}"
        );
    }
    // A hundred callers at once cause one lookup, and none is refused.
    create(&first, "wx-crowd").await;
    let all = join_all((0..100).map(|_| ask(&second, ADDRESSES[0], "wx-crowd"))).await;
    assert!(
        all.iter()
            .all(|answer| answer.body.starts_with(r#"{"errcode":0"#)),
        "{cache}"
    );
    // MySQL's default collations treat them as equal.
    create(&first, "wx-case").await;
    assert!(
        is_unknown(&ask(&second, ADDRESSES[0], "WX-CASE").await),
        "{cache}"
    );
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_app_is_known_everywhere_on_mariadb() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    install(&database.url()).await;
    knows_at_once(json!({ "sql": database.url() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_app_is_known_everywhere_on_wetokens_tables() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    crate::sql_wetoken::create_wetokens_tables(&database);
    install(&database.url()).await;
    knows_at_once(json!({ "sql": database.url() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_app_is_known_everywhere_on_postgres_and_sqlite() {
    if let Some(database) = databases::postgres() {
        install(&database.url()).await;
        knows_at_once(json!({ "sql": database.url() })).await;
    }
    let (_folder, url) = sqlite();
    install(&url).await;
    knows_at_once(json!({ "sql": url })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_app_is_known_everywhere_on_redis() {
    let redis = RedisServer::start();
    knows_at_once(json!({ "redis": redis.url() })).await;
}

/// The number of lookups of a single app in Redis.
fn lookups(redis: &RedisServer) -> u64 {
    let told = redis.cli(&["INFO", "commandstats"]);
    let line = told
        .lines()
        .find(|line| line.starts_with("cmdstat_hget:"))
        .unwrap_or_default()
        .to_owned();
    line.split(['=', ','])
        .nth(1)
        .and_then(|calls| calls.parse().ok())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_of_unknown_appids_are_limited() {
    let redis = RedisServer::start();
    let app = instance(&json!({ "redis": redis.url() }), None).await;
    let begun = Instant::now();
    for answer in join_all((0..500).map(|_| ask(&app, ADDRESSES[10], "wx-none"))).await {
        answer.problem(404, "unknown_app");
    }
    let seconds = begun.elapsed().as_secs();
    assert!(
        (1..=seconds + 2).contains(&lookups(&redis)),
        "{} in {seconds} s",
        lookups(&redis)
    );

    let begun = Instant::now();
    let strangers: Vec<String> = (0..5000)
        .map(|number| format!("wx-stranger-{number}"))
        .collect();
    for strangers in strangers.chunks(250) {
        for answer in join_all(
            strangers
                .iter()
                .map(|stranger| ask(&app, ADDRESSES[10], stranger)),
        )
        .await
        {
            answer.problem(404, "unknown_app");
        }
    }
    let most = 256 * (begun.elapsed().as_secs() + 2);
    assert!(
        lookups(&redis) <= most,
        "{} of at most {most}",
        lookups(&redis)
    );

    // An invalid appid, or a missing signature, causes no lookup.
    let before = lookups(&redis);
    for path in [
        "/wechat/weblogin-",
        "/jsapi/w%20x/config",
        "/jsapi/wx-unsigned/query?realm=R123&nonce=1&ts=1&sign=0",
        "/hub/wx-h/ticket",
    ] {
        let answer = app.get(path).await;
        assert!(!answer.status.is_success(), "{path}: {answer:?}");
    }
    let signed = app.get(&signed_v2("GET", "wx-signed", &[])).await;
    signed.problem(404, "unknown_app");
    assert!(
        lookups(&redis) <= before + 2,
        "one for each appid that may be asked for"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_apps_and_corps_cost_no_lookup() {
    let redis = RedisServer::start();
    let wecom = json!([{ "corpid": "ww0123456789abcdef", "agentid": 1, "secret": "s" }]);
    let app = with(json!({ "cache": { "redis": redis.url() }, "wecom": wecom })).await;
    let before = lookups(&redis);
    assert_eq!(
        app.config(json!({ "url": "https://example.com/" }))
            .await
            .status,
        200
    );
    let corp = app
        .send(app.request(Method::POST, "/jsapi/ww0123456789abcdef/config"))
        .await;
    assert_ne!(corp.status, 404, "{corp:?}");
    assert_eq!(lookups(&redis), before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_store_delays_callers_only_briefly() {
    let redis = RedisServer::start();
    let app = instance(&json!({ "redis": redis.url() }), None).await;
    redis.pause();
    let begun = Instant::now();
    let answers = join_all((0..300).map(|number| {
        let app_id = format!("wx-{number}");
        let app = &app;
        async move { ask(app, "GET /wechat/{appid}", &app_id).await }
    }));
    for answer in answers.await {
        answer.problem(404, "unknown_app");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    redis.resume();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stored_apps_the_store_is_not_read() {
    let redis = RedisServer::start();
    let app = TestApp::with(json!({ "cache": { "redis": redis.url() } })).await;
    let before = lookups(&redis);
    app.get("/wechat/wx-none").await.problem(404, "unknown_app");
    assert_eq!(lookups(&redis), before);
    app.stop().await;
    // A database may hold apps, even if wetoken's routes are closed.
    let (_folder, url) = sqlite();
    install(&url).await;
    let cache = json!({ "sql": url });
    let opened = instance(&cache, None).await;
    let closed =
        TestApp::with(json!({ "cache": cache, "wechat": { "api": [opened.sandbox.url()] } })).await;
    create(&opened, "wx-made").await;
    assert_eq!(closed.get("/wechat/wx-made").await.body, "Hello World");
    closed
        .get("/wx-made/wechat/token/get")
        .await
        .problem(404, "not_found");
    opened.stop().await;
    closed.stop().await;
}
