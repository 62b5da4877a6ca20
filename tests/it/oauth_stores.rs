//! Logins on each store: one caller gets a ticket, a thousand visitors are not confused, and
//! instances share their logins.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use sandbox::{Answer, Fault};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::oauth::{EXCHANGE, SITE, one_site, redeeming};
use crate::sql_store::{install, sqlite};
use crate::support::app::{APP, TestApp, lay};
use crate::support::databases;
use crate::support::redis::RedisServer;
use crate::support::visitor::{Browser, returned};

pub(crate) async fn app_with(cache: Value) -> TestApp {
    let mut settings = one_site();
    lay(&mut settings, json!({ "cache": cache }));
    TestApp::with(settings).await
}

/// A thousand visitors, 250 at a time: none confused, none lost.
async fn a_thousand_trips(cache: Value) {
    many_trips(cache, 1000).await;
}

pub(crate) async fn many_trips(cache: Value, many: usize) {
    // A busy machine may need longer for so many exchanges than the tests' timeout for WeChat.
    let mut settings = one_site();
    lay(
        &mut settings,
        json!({ "cache": cache, "wechat": { "timeout": "60s" } }),
    );
    let app = Arc::new(TestApp::with(settings).await);
    let trips = (0..many).map(|number| {
        let app = Arc::clone(&app);
        async move {
            let visitor = format!("visitor {number}");
            let browser = Browser::new(&app);
            let query = format!("redirect={SITE}&state=s{number}&scope=snsapi_userinfo");
            let back = browser.trip(APP, &query, &visitor, Answer::Agree).await;
            assert_eq!(returned(&back, "state"), Some(format!("s{number}")));
            let user = app
                .get(&redeeming(&returned(&back, "ticket").expect("a ticket")))
                .await
                .json();
            assert_eq!(user["nickname"].as_str(), Some(visitor.as_str()));
            user["openid"].as_str().expect("an openid").to_owned()
        }
    });
    // As many as each store handles on a machine that runs other tests; `bench/logins` sends all at
    // once.
    let openids: Vec<String> = stream::iter(trips).buffer_unordered(250).collect().await;
    let different: BTreeMap<_, _> = openids.iter().map(|openid| (openid, ())).collect();
    assert_eq!(
        (different.len(), app.sandbox.calls(EXCHANGE)),
        (many, many as u64)
    );
}

/// Twenty back ends with one ticket: one gets the user.
pub(crate) async fn one_of_twenty_redeems(app: TestApp) {
    for _ in 0..5 {
        let back = Browser::new(&app)
            .trip(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
            .await;
        let ticket = returned(&back, "ticket").unwrap();
        let path = redeeming(&ticket);
        let answers = join_all((0..20).map(|_| app.get(&path))).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        let lost = answers.iter().filter(|answer| answer.status == 404).count();
        assert_eq!((won, lost), (1, 19));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_visitors_are_not_confused_in_memory() {
    a_thousand_trips(json!({ "memo": {} })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_visitors_are_not_confused_in_a_file() {
    let folder = TempDir::new().unwrap();
    a_thousand_trips(json!({ "file": folder.path().join("cache.json") })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_visitors_are_not_confused_in_redis() {
    let redis = RedisServer::start();
    a_thousand_trips(json!({ "redis": redis.url() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_visitors_are_not_confused_in_a_database() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    install(&database.url()).await;
    many_trips(json!({ "sql": database.url() }), 50).await;
}

#[tokio::test]
async fn of_twenty_redemptions_one_wins_on_every_store() {
    one_of_twenty_redeems(app_with(json!({ "memo": {} })).await).await;
    let folder = TempDir::new().unwrap();
    one_of_twenty_redeems(app_with(json!({ "file": folder.path().join("cache.json") })).await)
        .await;
    let redis = RedisServer::start();
    one_of_twenty_redeems(app_with(json!({ "redis": redis.url() })).await).await;
    let (_folder, file) = sqlite();
    let databases = [databases::mariadb(), databases::postgres()];
    for url in databases
        .iter()
        .flatten()
        .map(|database| database.url())
        .chain([file])
    {
        install(&url).await;
        one_of_twenty_redeems(app_with(json!({ "sql": url })).await).await;
    }
}

#[tokio::test]
async fn a_login_survives_a_restart_if_the_store_does() {
    let folder = TempDir::new().unwrap();
    let cache = json!({ "file": folder.path().join("cache.json") });
    let before = app_with(cache.clone()).await;
    let browser = Browser::new(&before);
    let callback = browser
        .at_wechat(
            APP,
            &format!("redirect={SITE}&mode=relay"),
            "Alice",
            Answer::Agree,
        )
        .await;
    let cookie = browser.cookie();
    before.stop().await;
    let after = app_with(cache).await;
    let path = callback
        .split_once("/oauth")
        .map(|(_, rest)| format!("/oauth{rest}"))
        .unwrap();
    let back = after
        .send(
            after
                .request(reqwest::Method::GET, &path)
                .header("cookie", cookie.unwrap()),
        )
        .await;
    assert!(returned(&back, "code").is_some());
}

#[tokio::test]
async fn a_login_may_use_several_instances() {
    let redis = RedisServer::start();
    let first = app_with(json!({ "redis": redis.url() })).await;
    let mut settings = one_site();
    lay(
        &mut settings,
        json!({ "cache": { "redis": redis.url() }, "wechat": { "api": [first.sandbox.url()], "open": first.sandbox.url() } }),
    );
    let (second, third) = (
        TestApp::with(settings.clone()).await,
        TestApp::with(settings).await,
    );
    for _ in 0..5 {
        let before = first.sandbox.calls(EXCHANGE);
        first.sandbox.fault(
            Fault::delay(std::time::Duration::from_millis(100))
                .on(EXCHANGE)
                .times(1),
        );
        let browser = Browser::new(&first);
        let callback = browser
            .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
            .await;
        let (one, other) = (browser.at(&second), browser.at(&third));
        let (one, other) = tokio::join!(one.open(&callback), other.open(&callback));
        assert_eq!(
            (one.status.as_u16(), one.header("location")),
            (302, other.header("location")),
            "{}",
            one.body
        );
        assert_eq!(first.sandbox.calls(EXCHANGE), before + 1);
        let ticket = returned(&one, "ticket").unwrap();
        assert!(third.get(&redeeming(&ticket)).await.json()["openid"].is_string());
        second
            .get(&redeeming(&ticket))
            .await
            .problem(404, "unknown_ticket");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_a_page_and_a_problem() {
    let mut redis = RedisServer::start();
    let app = app_with(json!({ "redis": redis.url() })).await;
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    redis.kill();
    let page = browser.open(&callback).await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (503, "text/html; charset=utf-8")
    );
    assert!(!page.header("retry-after").is_empty());
    app.get(&format!("/oauth/{APP}?redirect={SITE}"))
        .await
        .problem(503, "store_unavailable");
    app.get(&redeeming(&"0".repeat(32)))
        .await
        .problem(503, "store_unavailable");
    assert_eq!(app.sandbox.calls(EXCHANGE), 0);
}
