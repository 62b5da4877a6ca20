//! The library as another program uses it: only its public API.

use std::time::Duration;

use futures_util::future::join_all;
use jsdkd::{Account, Builder, Credentials, Error, ExposeSecret, Kind};
use serde_json::json;
use sha1::{Digest, Sha1};

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::keepers::{dead_address, eventually};
use crate::support::redis::RedisServer;

async fn wechat() -> jsdkd::Sandbox {
    jsdkd::Sandbox::start(APP, APP_SECRET)
        .await
        .expect("a free port")
}

fn builder(api: String) -> Builder {
    Credentials::builder()
        .account(APP, APP_SECRET)
        .api(api)
        .timeout(Duration::from_secs(2))
}

async fn refused(start: Builder) -> Error {
    start.start().await.expect_err("this cannot start")
}

#[tokio::test]
async fn a_program_gets_valid_credentials() {
    let wechat = wechat().await;
    let credentials = builder(wechat.url()).start().await.unwrap();
    let token = credentials.access_token(APP).await.unwrap();
    assert!(
        wechat.accepts(token.value().expose_secret()) && token.left() > Duration::from_secs(7000)
    );
    let (jsapi, card) = (
        credentials.jsapi_ticket(APP).await.unwrap(),
        credentials.card_ticket(APP).await.unwrap(),
    );
    assert_ne!(jsapi.value().expose_secret(), card.value().expose_secret());
    let again = credentials
        .clone()
        .credential(APP, Kind::AccessToken)
        .await
        .unwrap();
    assert_eq!(
        (
            again.value().expose_secret(),
            wechat.calls("/cgi-bin/token")
        ),
        (token.value().expose_secret(), 1)
    );
    credentials.close().await;
    wechat.stop().await;
}

#[tokio::test]
async fn a_page_is_signed_for_its_address_without_its_fragment() {
    let wechat = wechat().await;
    let credentials = builder(wechat.url()).start().await.unwrap();
    let config = credentials
        .sign_config(APP, "https://shop.example.com/?id=7#top")
        .await
        .unwrap();
    let ticket = credentials.jsapi_ticket(APP).await.unwrap();
    let (nonce, timestamp) = (&config.nonce_str, config.timestamp);
    let ticket = ticket.value().expose_secret();
    let signed = format!(
        "jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url=https://shop.example.com/?id=7"
    );
    let digest: String = Sha1::digest(signed)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(config.signature, digest);
    let page =
        json!({ "appId": APP, "timestamp": timestamp, "nonceStr": nonce, "signature": digest });
    assert_eq!(serde_json::to_value(&config).unwrap(), page);
    for url in ["/page", "", "ftp://a.cn"] {
        assert_eq!(
            credentials.sign_config(APP, url).await.unwrap_err().code(),
            "invalid_url",
            "{url}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_make_one_call() {
    let wechat = wechat().await;
    let credentials = builder(wechat.url()).start().await.unwrap();
    let tickets = join_all((0..1000).map(|_| credentials.jsapi_ticket(APP))).await;
    assert!(tickets.iter().all(Result::is_ok));
    assert_eq!(
        (
            wechat.calls("/cgi-bin/token"),
            wechat.calls("/cgi-bin/ticket/getticket")
        ),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_renewed_once() {
    let wechat = wechat().await;
    let stable = Account::new(APP, APP_SECRET).stable().rotations_per_day(5);
    let credentials = Credentials::builder()
        .with_account(stable)
        .api(wechat.url())
        .keep_always()
        .start()
        .await
        .unwrap();
    let first = credentials.access_token(APP).await.unwrap();
    let second = credentials
        .rotate(APP, Kind::AccessToken, first.value().clone())
        .await
        .unwrap();
    assert_ne!(
        first.value().expose_secret(),
        second.value().expose_secret()
    );
    let same = credentials
        .rotate(APP, Kind::AccessToken, first.value().clone())
        .await
        .unwrap();
    assert_eq!(same.value().expose_secret(), second.value().expose_secret());
    assert_eq!(
        (
            wechat.calls("/cgi-bin/token"),
            wechat.calls("/cgi-bin/stable_token")
        ),
        (0, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_and_a_server_share_a_redis() {
    let redis = RedisServer::start();
    let app = TestApp::with(json!({ "cache": { "redis": redis.url() } })).await;
    let credentials = builder(app.sandbox.url())
        .store(redis.url())
        .start()
        .await
        .unwrap();
    let (served, kept) = tokio::join!(app.value("token"), credentials.access_token(APP));
    let kept = kept.unwrap();
    assert_eq!(
        (
            kept.value().expose_secret(),
            app.sandbox.calls("/cgi-bin/token")
        ),
        (served.as_str(), 1)
    );
    let renewed = credentials
        .rotate(APP, Kind::AccessToken, kept.value().clone())
        .await
        .unwrap();
    assert_ne!(renewed.value().expose_secret(), served);
    eventually(
        "the server hands out what the program renewed",
        async || app.value("token").await == *renewed.value().expose_secret(),
    )
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_one_owner_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.json");
    let wechat = wechat().await;
    let first = builder(wechat.url()).file(&path).start().await.unwrap();
    let token = first.access_token(APP).await.unwrap();
    assert_eq!(
        refused(builder(wechat.url()).file(&path)).await.code(),
        "store_in_use"
    );
    first.close().await;
    drop(first);
    let again = async || builder(wechat.url()).file(&path).start().await;
    eventually("the last handle gives the file back", async || {
        again().await.is_ok()
    })
    .await;
    eventually("and what is in it is used", async || match again().await {
        Ok(second) => {
            second
                .access_token(APP)
                .await
                .unwrap()
                .value()
                .expose_secret()
                == token.value().expose_secret()
        }
        Err(_) => false,
    })
    .await;
    assert_eq!(wechat.calls("/cgi-bin/token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_servers_codes_and_no_secrets() {
    let wechat = wechat().await;
    let wrong = Credentials::builder()
        .account(APP, "wrong-secret-marker-3b3b")
        .api(wechat.url())
        .start()
        .await
        .unwrap();
    let refused = wrong.jsapi_ticket(APP).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.errcode(), refused.retry_after()),
        ("upstream_refused", Some(40125), None)
    );
    assert!(
        refused.to_string().contains("AppSecret is wrong"),
        "{refused}"
    );
    let pausing = wrong.jsapi_ticket(APP).await.unwrap_err();
    assert_eq!(
        (pausing.code(), pausing.errcode()),
        ("cooling_down", Some(40125))
    );
    assert!(
        pausing.retry_after() > Some(Duration::from_secs(5)),
        "{pausing:?}"
    );
    assert_eq!(
        wrong.access_token("wx-unknown").await.unwrap_err().code(),
        "unknown_app"
    );
    let away = builder(dead_address()).start().await.unwrap();
    assert_eq!(
        away.access_token(APP).await.unwrap_err().code(),
        "upstream_unreachable"
    );
    let debug = format!(
        "{refused:?} {pausing:?} {wrong:?} {:?}",
        builder(wechat.url()).store("redis://:pass-marker@x")
    );
    for secret in ["wrong-secret-marker", APP_SECRET, "pass-marker"] {
        assert!(!debug.contains(secret), "{debug}");
    }
}

#[tokio::test]
async fn invalid_settings_are_reported_all_at_once() {
    let twice = Credentials::builder()
        .account("w x", "s")
        .account("wx1", "")
        .account("wx2", "s")
        .account("wx2", "s");
    let error = refused(
        twice
            .api("lan")
            .timeout(Duration::ZERO)
            .store("redis://:pass-marker@x:port"),
    )
    .await;
    assert_eq!((error.code(), error.retry_after()), ("misconfigured", None));
    let told = error.to_string();
    for part in [
        "apps[0].key: found \"w x\"",
        "apps[1].secret: ",
        "apps[3]: the app wx2",
        "wechat.api",
        "wechat.timeout: ",
        "cache.redis: ",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!told.contains("pass-marker"), "{told}");
    let nothing = refused(Credentials::builder()).await;
    assert_eq!(nothing.code(), "misconfigured");
    assert!(nothing.to_string().contains("account"), "{nothing}");
    let elsewhere = refused(builder("http://127.0.0.1:1".to_owned()).store("mongodb://x")).await;
    assert!(
        elsewhere.to_string().starts_with("cache.sql: "),
        "{elsewhere}"
    );
}
