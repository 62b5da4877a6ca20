//! TokenBoy's contract: any service's expiring credential, from `/token?name=NAME`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, UnixMillis};
use credentials::store::{MemoryStore, Record, Store};
use futures_util::future::join_all;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::keepers::{dead_address, eventually};
use crate::support::redis::RedisServer;
use crate::support::service::{Service, errcode, pair};

const NOT_FOUND: &str = r#"{"error":"not found"}"#;

async fn with(sources: Value) -> TestApp {
    TestApp::with(json!({ "sources": sources })).await
}

/// The `access_token` of a source.
async fn token(app: &TestApp, name: &str) -> String {
    app.get(&format!("/token?name={name}")).await.json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

/// The error of a source, and its status.
async fn error(app: &TestApp, name: &str) -> (u16, String) {
    let answer = app.get(&format!("/token?name={name}")).await;
    let object: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    let members = object.as_object().expect("an object");
    assert_eq!(
        (members.len(), answer.header("cache-control")),
        (1, "no-store"),
        "{object}"
    );
    (
        answer.status.as_u16(),
        object["error"].as_str().expect("words").to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sources_object_is_unchanged_but_for_its_remaining_time() {
    let sent = r#"{ "z": 1.0, "access_token": "T", "expires_in": 7200, "long": 12345678901234567890, "deep": {"b": [1, 2]} }"#;
    let service = Service::start(move |_, _| (200, sent.to_owned()));
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let app =
        TestApp::build(json!({ "sources": { "weixin": { "url": service.url, "method": "GET" } } }));
    let app = app.clock(clock.clone()).start().await;
    let answer = app.get("/token?name=weixin").await;
    let expected = r#"{"z":1.0,"access_token":"T","expires_in":7200,"long":12345678901234567890,"deep":{"b": [1, 2]}}"#;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, expected)
    );
    assert_eq!(
        (
            answer.header("content-type"),
            answer.header("cache-control")
        ),
        ("application/json; charset=utf-8", "no-store")
    );
    clock.advance(Duration::from_secs(1000));
    assert_eq!(
        app.get("/TOKEN/?name=+weixin+").await.json()["expires_in"],
        6200
    );
    assert_eq!(service.asked().len(), 1);
    let head = app
        .send(app.request(Method::HEAD, "/token?name=weixin"))
        .await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
    let post = app
        .send(app.request(Method::POST, "/token?name=weixin"))
        .await;
    assert_eq!(
        (post.status.as_u16(), post.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_and_a_server_without_sources_are_not_found() {
    let app = with(json!({ "weixin": { "url": dead_address() } })).await;
    for path in [
        "/token?name=other",
        "/token",
        "/token?name=",
        "/token?name=weixin&name=other",
    ] {
        let answer = app.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (200, NOT_FOUND),
            "{path}"
        );
    }
    app.stop().await;
    let without = TestApp::start().await;
    without
        .get("/token?name=weixin")
        .await
        .problem(404, "not_found");
    without.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_simultaneous_misses_are_one_call() {
    let service = Service::granting(7200);
    service.think(Duration::from_millis(300));
    let app = with(json!({ "weixin": { "url": service.url } })).await;
    let tokens = join_all((0..1000).map(|_| token(&app, "weixin"))).await;
    assert!(tokens.iter().all(|token| token == "token-1"));
    assert_eq!(service.asked().len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_early_renewal_keeps_the_current_object() {
    let service = Service::granting(7200);
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let app =
        TestApp::build(json!({ "sources": { "a": { "url": service.url, "reserve": "10m" } } }))
            .clock(clock.clone())
            .start()
            .await;
    assert_eq!(token(&app, "a").await, "token-1");
    clock.advance(Duration::from_secs(6590));
    assert_eq!(
        (token(&app, "a").await.as_str(), service.asked().len()),
        ("token-1", 1),
        "its reserve is not reached yet"
    );
    service.order(|_, _| (503, "busy".to_owned()));
    clock.advance(Duration::from_secs(75));
    eventually("a renewal is tried", async || {
        assert_eq!(token(&app, "a").await, "token-1", "it lives");
        service.asked().len() == 2
    })
    .await;
    service.order(|_, number| {
        (
            200,
            json!({ "access_token": format!("token-{number}"), "expires_in": 7200 }).to_string(),
        )
    });
    eventually("the next one succeeds", async || {
        clock.advance(Duration::from_secs(2));
        token(&app, "a").await == "token-3"
    })
    .await;
    assert_eq!(service.asked().len(), 3, "nobody asks while it pauses");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_value_again_does_not_extend_its_expiry() {
    let service = Service::start(|_, _| {
        (
            200,
            json!({ "access_token": "same", "expires_in": 7200 }).to_string(),
        )
    });
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let app = TestApp::build(json!({ "sources": { "a": { "url": service.url } } }))
        .clock(clock.clone())
        .start()
        .await;
    token(&app, "a").await;
    clock.advance(Duration::from_secs(7100));
    eventually("a renewal runs", async || {
        assert!(app.get("/token?name=a").await.json()["expires_in"].as_u64() <= Some(100));
        service.asked().len() > 1
    })
    .await;
    clock.advance(Duration::from_secs(101));
    let left = app.get("/token?name=a").await.json()["expires_in"].as_u64();
    assert!(
        left >= Some(7000),
        "once it has ended it is believed: {left:?}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_source_backs_off_with_an_error_in_tokenboys_form() {
    let service =
        Service::start(|_, _| errcode(40125, "invalid appsecret hidden-secret, rid: 1-2"));
    let app =
        with(json!({ "a": { "url": service.url, "args": { "secret": "hidden-secret" } } })).await;
    let (status, words) = error(&app, "a").await;
    assert!(
        status == 502
            && words.starts_with("failed to fetch a: ")
            && words.ends_with(" 40125 invalid appsecret ***, rid: 1-2"),
        "{words}"
    );
    let (status, words) = error(&app, "a").await;
    assert!(
        status == 503
            && words.starts_with("a is cooling down for 1")
            && words.ends_with("40125 invalid appsecret ***, rid: 1-2"),
        "{words}"
    );
    assert!(
        app.get("/token?name=a")
            .await
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds > 5)
    );
    assert_eq!(service.asked().len(), 1);
    app.stop().await;

    let away = with(json!({ "a": { "url": dead_address() } })).await;
    let (status, words) = error(&away, "a").await;
    assert!(
        status == 502 && words.starts_with("failed to fetch a: ") && words.contains("reached"),
        "{words}"
    );
    away.stop().await;

    let slow = Service::granting(7200);
    slow.think(Duration::from_secs(5));
    let waiting = TestApp::with(
        json!({ "sources": { "a": { "url": slow.url } }, "wechat": { "timeout": "300ms" } }),
    )
    .await;
    let (status, words) = error(&waiting, "a").await;
    assert!(
        status == 504 && words.starts_with("failed to fetch a: ") && words.ends_with("300ms"),
        "{words}"
    );
    waiting.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_is_exactly_the_configured_one() {
    let service = Service::start(|_, number| {
        (
            200,
            json!({ "code": "0", "data": { "token": number, "ttl": "60" } }).to_string(),
        )
    });
    let url = |path: &str| format!("{}{path}", service.url);
    let rule = json!({ "field": "code", "equals": "0" });
    let app = with(json!({
        "get": { "url": url("/get?own=1"), "args": { "a": "x y", "n": 5 }, "headers": { "Authorization": "Bearer {{results.first.data.token}}" } },
        "first": { "url": url("/first"), "method": "delete", "expires": "data.ttl", "ok": rule },
        "form": { "url": url("/form"), "method": "POST", "args": { "a": "1&2" } },
        "both": { "url": url("/both"), "method": "POST", "args": { "q": "1" }, "form": { "f": "é" } },
        "json": { "url": url("/json"), "method": "PUT", "args": { "q": "1" }, "expires": "90s",
                  "body": { "t": "t-{{results.first.data.token}}", "n": 1, "list": [true, null, "x"], "deep": { "b": {} } } },
    }))
    .await;
    let first = app.get("/token?name=first").await.json();
    assert!(
        first["data"]["ttl"] == "59" || first["data"]["ttl"] == "60",
        "still a text, and counted down: {first}"
    );
    for name in ["get", "form", "both", "json"] {
        assert_eq!(
            app.get(&format!("/token?name={name}")).await.json()["code"],
            "0"
        );
    }
    let seen = |path: &str| {
        service
            .asked()
            .into_iter()
            .find(|asked| asked.path == path)
            .expect("it was asked")
    };
    let (get, first, form, both, json) = (
        seen("/get"),
        seen("/first"),
        seen("/form"),
        seen("/both"),
        seen("/json"),
    );
    assert_eq!(
        (
            get.method.as_str(),
            get.query.as_str(),
            get.authorization.as_str()
        ),
        ("GET", "own=1&a=x+y&n=5", "Bearer 1")
    );
    assert_eq!(
        (
            first.method.as_str(),
            first.query.as_str(),
            first.body.as_str()
        ),
        ("DELETE", "", "")
    );
    assert_eq!((form.query.as_str(), form.body.as_str()), ("", "a=1%262"));
    assert_eq!(
        (both.query.as_str(), both.body.as_str()),
        ("q=1", "f=%C3%A9")
    );
    assert_eq!(form.content_type, "application/x-www-form-urlencoded");
    assert_eq!(
        (
            json.method.as_str(),
            json.query.as_str(),
            json.content_type.as_str()
        ),
        ("PUT", "q=1", "application/json")
    );
    let body: Value = serde_json::from_str(&json.body).expect("JSON");
    assert_eq!(
        body,
        json!({ "t": "t-1", "n": 1, "list": [true, null, "x"], "deep": { "b": {} } })
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_body_is_sent_unchanged() {
    let service = Service::start(|_, _| {
        (
            200,
            json!({ "errcode": 0, "t": "a+b/c=&d", "expires_in": 7200 }).to_string(),
        )
    });
    let url = |path: &str| format!("{}{path}", service.url);
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "client_id=x&client_secret=s%2Bt\n").unwrap();
    let text = "grant_type=client_credentials&scope=a+b";
    let xml = json!({ "Content-Type": "text/xml" });
    let app = with(json!({
        "first": { "url": url("/first") },
        "form": { "url": url("/form"), "method": "POST", "body": text },
        "places": { "url": url("/places"), "method": "POST", "body": "a=1&t={{results.first.t}}&b=%20" },
        "xml": { "url": url("/xml"), "method": "POST", "body": "<t>{{results.first.t}}</t>", "headers": xml },
        "json": { "url": url("/json"), "method": "PUT", "body": r#"{"n":1.0, "t":"{{results.first.t}}"}"#, "headers": { "content-type": "application/json; charset=utf-8" } },
        "charset": { "url": url("/charset"), "method": "POST", "body": "t={{results.first.t}}", "headers": { "content-type": "Application/x-www-form-urlencoded; charset=utf-8" } },
        "file": { "url": url("/file"), "method": "POST", "body": { "file": secret.path() } },
        "list": { "url": url("/list"), "method": "POST", "body": [text] },
        "number": { "url": url("/number"), "method": "POST", "body": 5 },
    }))
    .await;
    let form = "application/x-www-form-urlencoded";
    for (name, media, body) in [
        ("form", form, text),
        ("places", form, "a=1&t=a%2Bb%2Fc%3D%26d&b=%20"),
        ("xml", "text/xml", "<t>a+b/c=&d</t>"),
        (
            "json",
            "application/json; charset=utf-8",
            r#"{"n":1.0, "t":"a+b/c=&d"}"#,
        ),
        (
            "charset",
            "Application/x-www-form-urlencoded; charset=utf-8",
            "t=a%2Bb%2Fc%3D%26d",
        ),
        ("file", form, "client_id=x&client_secret=s%2Bt"),
        (
            "list",
            "application/json",
            r#"["grant_type=client_credentials&scope=a+b"]"#,
        ),
        ("number", "application/json", "5"),
    ] {
        app.get(&format!("/token?name={name}")).await.json();
        let asked = service
            .asked()
            .into_iter()
            .find(|asked| asked.path == format!("/{name}"))
            .expect("it was asked");
        assert_eq!(
            (asked.content_type.as_str(), asked.body.as_str()),
            (media, body),
            "{name}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_extracted_from_the_services_text() {
    let service = Service::start(|asked, _| {
        (
            400,
            json!({ "error": format!("no {}", pair(&asked.body, "key").expect("it was sent")) })
                .to_string(),
        )
    });
    let app = with(
        json!({ "a": { "url": service.url, "method": "POST", "body": "id=me&key=s3cret+key" } }),
    )
    .await;
    let (_, words) = error(&app, "a").await;
    assert!(!words.contains("s3cret"), "{words}");
    app.stop().await;
}

/// A service whose `/token` issues tokens and whose `/ticket` accepts only the last one.
fn chained() -> Service {
    Service::start(|asked, number| {
        match asked.path.as_str() {
        "/token" => (200, json!({ "access_token": format!("token-{number}"), "expires_in": 7200 }).to_string()),
        _ => (200, json!({ "errcode": 0, "ticket": pair(&asked.query, "access_token"), "expires_in": 7200 }).to_string()),
    }
    })
}

fn chain(service: &Service) -> Value {
    json!({
        "ticket": { "url": format!("{}/ticket", service.url), "args": { "access_token": "{{results.weixin.access_token}}", "type": "jsapi" } },
        "weixin": { "url": format!("{}/token", service.url) },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_is_fetched_first_and_once() {
    let service = chained();
    let app = with(chain(&service)).await;
    assert_eq!(
        app.get("/token?name=ticket").await.json()["ticket"],
        "token-1"
    );
    assert_eq!(token(&app, "weixin").await, "token-1");
    assert_eq!((service.calls("/token"), service.calls("/ticket")), (1, 1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_token_is_renewed_once_and_the_call_repeated() {
    let service = chained();
    let app = with(chain(&service)).await;
    assert_eq!(token(&app, "weixin").await, "token-1");
    service.order(|asked, number| {
        match (asked.path.as_str(), pair(&asked.query, "access_token")) {
            ("/token", _) => (
                200,
                json!({ "access_token": format!("token-{number}"), "expires_in": 7200 })
                    .to_string(),
            ),
            (_, Some(dead)) if dead == "token-1" => errcode(42001, "access_token expired"),
            (_, token) => (
                200,
                json!({ "errcode": 0, "ticket": token, "expires_in": 7200 }).to_string(),
            ),
        }
    });
    assert_eq!(
        app.get("/token?name=ticket").await.json()["ticket"],
        "token-3"
    );
    assert_eq!(token(&app, "weixin").await, "token-3");
    assert_eq!((service.calls("/token"), service.calls("/ticket")), (2, 2));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_refuses_every_token_costs_one_renewal() {
    let service = chained();
    let app = with(chain(&service)).await;
    service.order(|asked, number| match asked.path.as_str() {
        "/token" => (
            200,
            json!({ "access_token": format!("token-{number}"), "expires_in": 7200 }).to_string(),
        ),
        _ => errcode(40001, "invalid credential"),
    });
    let (status, words) = error(&app, "ticket").await;
    assert!(
        status == 502
            && words.starts_with("failed to fetch ticket: ")
            && words.ends_with(" 40001 invalid credential"),
        "{words}"
    );
    assert_eq!((service.calls("/token"), service.calls("/ticket")), (2, 2));
    eventually("its pause ends", async || {
        error(&app, "ticket").await.0 == 502
    })
    .await;
    assert_eq!(service.calls("/token"), 2, "at most once in 30 s");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_networks_are_answered() {
    let service = Service::granting(7200);
    let sources = json!({ "a": { "url": service.url } });
    let app = TestApp::with(
        json!({ "sources": sources, "tokenboy": { "allow": ["loopback", "203.0.113.0/24"] } }),
    )
    .await;
    let from = async |header: &str, value: &str| {
        let answer = app
            .send(
                app.request(Method::GET, "/token?name=a")
                    .header(header, value),
            )
            .await;
        if answer.status != 200 {
            assert!(
                answer.body.starts_with(r#"{"error":""#) && answer.body.contains("tokenboy.allow"),
                "{answer:?}"
            );
        }
        answer.status.as_u16()
    };
    assert_eq!(token(&app, "a").await, "token-1");
    assert_eq!(from("x-forwarded-for", "203.0.113.9").await, 200);
    assert_eq!(from("forwarded", "for=203.0.113.9").await, 200);
    for stranger in ["8.8.8.8", "10.0.0.1", "unknown", "", "127.0.0.1, 8.8.8.8"] {
        assert_eq!(from("x-forwarded-for", stranger).await, 403, "{stranger}");
    }
    for trace in ["via", "x-real-ip", "x-forwarded-proto"] {
        assert_eq!(
            from(trace, "127.0.0.1").await,
            403,
            "{trace}: a proxy that names no caller"
        );
    }
    assert_eq!(token(&app, "a").await, "token-1");
    let page = app
        .send(
            app.request(Method::GET, "/token?name=a")
                .header("origin", "https://example.com"),
        )
        .await;
    assert!(
        page.status == 403 && page.body.contains("page") && page.body.contains("program"),
        "a person on the network may look at any page: {page:?}"
    );
    app.stop().await;
    let usual = with(json!({ "a": { "url": service.url } })).await;
    let lan = usual
        .send(
            usual
                .request(Method::GET, "/token?name=a")
                .header("x-forwarded-for", "192.168.1.9"),
        )
        .await;
    let outside = usual
        .send(
            usual
                .request(Method::GET, "/token?name=a")
                .header("x-forwarded-for", "8.8.8.8"),
        )
        .await;
    assert_eq!((lan.status.as_u16(), outside.status.as_u16()), (200, 403));
    usual.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_object_survives_a_restart() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("cache.json");
    let service = Service::granting(7200);
    let settings = json!({ "cache": { "file": path }, "sources": { "a": { "url": service.url } } });
    let first = TestApp::with(settings.clone()).await;
    token(&first, "a").await;
    first.stop().await;
    let again = TestApp::with(settings).await;
    let answer = again.get("/token?name=a").await.json();
    assert!(
        answer["expires_in"]
            .as_u64()
            .is_some_and(|left| (7000..=7200).contains(&left)),
        "{answer}"
    );
    assert_eq!(
        (answer["access_token"].as_str(), service.asked().len()),
        (Some("token-1"), 1)
    );
    again.stop().await;
    let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("a file"))
        .expect("a whole file");
    let object: Value =
        serde_json::from_str(file["source.a"]["value"].as_str().expect("a text")).expect("JSON");
    assert_eq!(
        object,
        json!({ "access_token": "token-1", "expires_in": 7200 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_fetch_once_and_survive_a_redis_outage() {
    let mut redis = RedisServer::start();
    let service = Service::granting(7200);
    service.think(Duration::from_millis(300));
    let settings = json!({ "cache": { "redis": redis.url() }, "sources": { "a": { "url": service.url }, "b": { "url": service.url } } });
    let (one, two) = (
        TestApp::with(settings.clone()).await,
        TestApp::with(settings).await,
    );
    let asked =
        join_all((0..40).map(|turn| token(if turn % 2 == 0 { &one } else { &two }, "a"))).await;
    assert!(asked.iter().all(|token| token == "token-1"), "{asked:?}");
    assert_eq!(service.asked().len(), 1);
    redis.kill();
    for app in [&one, &two] {
        assert_eq!(token(app, "a").await, "token-1", "what is held is served");
    }
    let (status, words) = error(&one, "b").await;
    assert!(status == 503 && words.contains("redis store"), "{words}");
    assert_eq!(
        service.asked().len(),
        1,
        "without a claim a fetch could void what the other one holds"
    );
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_record_under_its_key_is_fetched_again() {
    let records = BTreeMap::from([(
        "source.a".to_owned(),
        Record {
            value: "not ours".into(),
            expires_at: Clock::system().wall().plus(Duration::from_secs(600)),
        },
    )]);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(records, Clock::system()));
    let service = Service::granting(7200);
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let text = format!("{{ sources: {{ a: {{ url: '{}' }} }} }}", service.url);
    let set = crate::settings::good(&text).config.sources;
    let timeout = Duration::from_secs(2);
    let parts = credentials::engine::Parts::new(store, Clock::system(), Default::default());
    let sources = credentials::sources::Sources::new(set, timeout, parts).expect("a client");
    let object = sources
        .object("a")
        .await
        .expect("a source")
        .expect("an object");
    assert!(
        object
            .expose_secret()
            .starts_with(r#"{"access_token":"token-1","expires_in":7"#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_adds_and_removes_sources_and_keeps_the_rest() {
    let service = Service::granting(7200);
    let app = TestApp::start().await;
    app.get("/token?name=a").await.problem(404, "not_found");
    let apply = |sources: Value| {
        app.reloader.apply(crate::support::app::config_of(
            &app.sandbox,
            json!({ "sources": sources }),
        ));
    };
    apply(json!({ "a": { "url": service.url } }));
    assert_eq!(token(&app, "a").await, "token-1");
    apply(
        json!({ "a": { "url": service.url, "args": { "x": "y" } }, "b": { "url": service.url } }),
    );
    assert_eq!(
        (token(&app, "a").await, token(&app, "b").await),
        ("token-1".to_owned(), "token-2".to_owned())
    );
    apply(json!({ "b": { "url": service.url } }));
    assert_eq!(app.get("/token?name=a").await.body, NOT_FOUND);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_always_fetches_at_start() {
    let service = chained();
    let app =
        TestApp::with(json!({ "sources": chain(&service), "keep": "always", "apps": null })).await;
    eventually("both are fetched", async || service.calls("/ticket") == 1).await;
    assert_eq!(service.calls("/token"), 1);
    assert_eq!(
        app.get("/token?name=ticket").await.json()["ticket"],
        "token-1"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presets_send_what_their_services_require() {
    let service = Service::start(|_, number| {
        (200, json!({ "errcode": 0, "access_token": format!("t{number}"), "ticket": "k", "expires_in": 7200 }).to_string())
    });
    let url = |path: &str| format!("{}{path}", service.url);
    let app = with(json!({
        "corp": { "preset": "wecom", "url": url("/corp"), "corpid": "ww1", "corpsecret": "corp-secret" },
        "corp_ticket": { "preset": "wecom_jsapi_ticket", "url": url("/ticket"), "token": "corp" },
        "agent_ticket": { "preset": "wecom_agent_ticket", "url": url("/agent"), "token": "corp" },
        "api": { "preset": "oauth2_client_credentials", "url": url("/oauth"), "client_id": "id", "client_secret": "s&t", "scope": "a b" },
    }))
    .await;
    for name in ["corp", "corp_ticket", "agent_ticket", "api"] {
        app.get(&format!("/token?name={name}")).await.json();
    }
    let seen = |path: &str| {
        service
            .asked()
            .into_iter()
            .find(|asked| asked.path == path)
            .expect("it was asked")
    };
    assert_eq!(seen("/corp").query, "corpid=ww1&corpsecret=corp-secret");
    assert_eq!(
        (
            seen("/ticket").query.as_str(),
            seen("/agent").query.as_str()
        ),
        ("access_token=t1", "access_token=t1&type=agent_config")
    );
    let oauth = seen("/oauth");
    assert_eq!((oauth.method.as_str(), oauth.query.as_str()), ("POST", ""));
    assert_eq!(
        oauth.body,
        "grant_type=client_credentials&client_id=id&client_secret=s%26t&scope=a+b"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wecoms_presets_work_against_the_sandbox() {
    let app = TestApp::start().await;
    let at = |path: &str| format!("{}{path}", app.sandbox.url());
    let sources = json!({
        "corp": { "preset": "wecom", "url": at("/cgi-bin/gettoken"), "corpid": APP, "corpsecret": APP_SECRET },
        "corp_ticket": { "preset": "wecom_jsapi_ticket", "url": at("/cgi-bin/get_jsapi_ticket"), "token": "corp" },
        "agent_ticket": { "preset": "wecom_agent_ticket", "url": at("/cgi-bin/ticket/get"), "token": "corp" },
        "wrong": { "preset": "wecom", "url": at("/cgi-bin/gettoken"), "corpid": APP, "corpsecret": "wrong-secret" },
    });
    app.reloader.apply(crate::support::app::config_of(
        &app.sandbox,
        json!({ "sources": sources }),
    ));
    let first = token(&app, "corp").await;
    let ticket = app.get("/token?name=corp_ticket").await.json();
    assert_eq!(
        ticket["ticket"].as_str(),
        app.sandbox.current_ticket(APP).as_deref()
    );
    // A token that WeCom revokes early is renewed as soon as a ticket is refused.
    app.sandbox.void_token(APP);
    let agent = app.get("/token?name=agent_ticket").await.json();
    assert!(
        agent["errcode"] == 0 && agent["ticket"].is_string() && agent["ticket"] != ticket["ticket"],
        "{agent}"
    );
    let second = token(&app, "corp").await;
    assert!(second != first && app.sandbox.accepts(&second));
    assert_eq!(app.sandbox.calls("/cgi-bin/gettoken"), 2);
    let (status, words) = error(&app, "wrong").await;
    assert!(
        status == 502 && words.contains("40001 invalid credential"),
        "{words}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokenboys_example_works_against_the_sandbox() {
    let app = TestApp::start().await;
    let at = |path: &str| format!("{}{path}", app.sandbox.url());
    let sources = json!({
        "weixin": { "url": at("/cgi-bin/token"), "method": "GET",
                    "args": { "grant_type": "client_credential", "appid": APP, "secret": APP_SECRET } },
        "weixin_jsticket": { "url": at("/cgi-bin/ticket/getticket"), "method": "GET",
                             "args": { "type": "jsapi", "access_token": "{{results.weixin.access_token}}" } },
        "stable": { "preset": "wechat_stable_token", "url": at("/cgi-bin/stable_token"), "appid": APP, "secret": APP_SECRET },
    });
    app.reloader.apply(crate::support::app::config_of(
        &app.sandbox,
        json!({ "sources": sources }),
    ));
    let ticket = app.get("/token?name=weixin_jsticket").await.json();
    assert_eq!(
        (ticket["errcode"].as_u64(), ticket["ticket"].as_str()),
        (Some(0), app.sandbox.current_ticket(APP).as_deref())
    );
    assert!(
        app.sandbox.accepts(&token(&app, "weixin").await)
            && app.sandbox.accepts(&token(&app, "stable").await)
    );
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 1);
    app.stop().await;
}
