//! Which pages may start a login by scan, and that the public id gives no access to the login.

use reqwest::Method;
use sandbox::Answer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::scan_login::{begin, begin_from, is_page, scan};
use crate::sql_store::{install, sqlite};
use crate::support::app::{Response, TestApp, config_of, lay};
use crate::support::databases;
use crate::support::redis::RedisServer;
use crate::support::visitor::Browser;

const SHOP: &str = "https://shop.example.com";

async fn post(app: &TestApp, headers: &[(&str, &str)]) -> Response {
    let request = app.request(Method::POST, "/login");
    app.send(headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    }))
    .await
}

async fn from(app: &TestApp, origin: &str) -> Response {
    post(app, &[("origin", origin)]).await
}

/// Every `cors` that opens our routes to everybody.
fn open_to_all() -> [Value; 4] {
    [
        json!([]),
        json!("*"),
        json!([".*"]),
        json!(["^https?://.*$"]),
    ]
}

#[tokio::test]
async fn without_cors_no_foreign_page_begins_a_login() {
    for cors in open_to_all() {
        let app = TestApp::with(json!({ "cors": cors })).await;
        for headers in [
            &[("origin", SHOP)][..],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "chrome-extension://abcdef")],
            &[("origin", "https://10.evil.org")],
            &[("origin", "https://127.0.0.1.evil.org")],
            &[
                ("origin", SHOP),
                ("content-type", "application/x-www-form-urlencoded"),
                ("sec-fetch-mode", "no-cors"),
            ],
            &[("origin", SHOP), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("referer", "https://shop.example.com/page")],
        ] {
            let refused = post(&app, headers).await;
            let told = refused.problem(403, "origin_not_allowed");
            // `.*` does not allow invalid origins.
            let detail = told["detail"].as_str().unwrap();
            assert!(
                detail.contains("login.sites") || detail.contains("add its host to cors"),
                "{told}"
            );
        }
    }
}

#[tokio::test]
async fn own_private_and_listed_pages_begin_logins() {
    let app =
        TestApp::with(json!({ "cors": ["shop\\.example\\.com", "*"], "login": { "sites": ["https://Club.example.com:443/"] } }))
            .await;
    let own = app.url.clone();
    for origin in [
        SHOP,
        "http://www.shop.example.com:8080",
        "https://club.example.com",
        "http://localhost:3000",
        "http://10.1.2.3",
        "http://[fd00::1]:81",
        &own,
    ] {
        let begun = from(&app, origin).await;
        assert_eq!(
            (
                begun.status.as_u16(),
                begun.header("access-control-allow-origin")
            ),
            (201, origin)
        );
    }
    for origin in [
        "https://evil.org",
        "http://club.example.com",
        "https://club.example.com:8443",
        "https://a.club.example.com",
        "null",
    ] {
        from(&app, origin).await.problem(403, "origin_not_allowed");
    }
}

#[tokio::test]
async fn our_own_origin_is_the_public_address() {
    let app =
        TestApp::with(json!({ "server": { "publicUrl": "https://wx.example.com/wx" }, "cors": ["shop\\.example\\.com"] })).await;
    assert_eq!(from(&app, "https://wx.example.com").await.status, 201);
    for origin in [
        "http://wx.example.com",
        "https://wx.example.com:8443",
        "https://wx.example.com.evil.org",
    ] {
        from(&app, origin).await.problem(403, "origin_not_allowed");
    }
    // A host name that resolves to us, as after DNS rebinding, is not our own origin.
    post(&app, &[("origin", "http://evil.org"), ("host", "evil.org")])
        .await
        .problem(403, "origin_not_allowed");
    let behind = TestApp::start().await;
    let forwarded = |origin| {
        [
            ("origin", origin),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "wx.example.com"),
        ]
    };
    assert_eq!(
        post(&behind, &forwarded("https://wx.example.com"))
            .await
            .status,
        201
    );
    post(&behind, &forwarded("https://127.0.0.1.nip.example"))
        .await
        .problem(403, "origin_not_allowed");
}

#[tokio::test]
async fn a_listed_site_needs_no_cors_for_logins() {
    let app =
        TestApp::with(json!({ "cors": ["other\\.example\\.com"], "login": { "sites": [SHOP] } }))
            .await;
    let login = begin_from(&app, Some(SHOP)).await;
    let by_page = |method: Method, path: &str| app.request(method, path).header("origin", SHOP);
    let told = app.send(by_page(Method::GET, &login.query)).await;
    assert_eq!(told.header("access-control-allow-origin"), SHOP);
    told.problem(404, "not_scanned_yet");
    let asked = app
        .send(by_page(Method::OPTIONS, "/login").header("access-control-request-method", "POST"))
        .await;
    assert!(
        asked.status.is_success() && asked.header("access-control-allow-origin") == SHOP,
        "{asked:?}"
    );
    for path in ["/ping", "/jsdkd.js", "/jsapi/wx0123456789abcdef/config"] {
        app.send(by_page(Method::GET, path))
            .await
            .problem(403, "origin_not_allowed");
    }
}

#[tokio::test]
async fn back_ends_begin_a_login_as_before() {
    let app = TestApp::with(json!({ "cors": ["other\\.example\\.com"] })).await;
    for headers in [
        &[][..],
        &[("user-agent", "curl/8.5.0"), ("accept", "*/*")],
        &[
            ("user-agent", "node"),
            ("sec-fetch-mode", "cors"),
            ("accept-language", "*"),
        ],
        &[
            ("user-agent", "Go-http-client/1.1"),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        &[
            ("user-agent", "Java/17.0.2"),
            (
                "accept",
                "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            ),
        ],
    ] {
        assert_eq!(post(&app, headers).await.status, 201, "{headers:?}");
    }
    for method in [Method::GET, Method::HEAD, Method::PUT] {
        assert_eq!(app.send(app.request(method, "/login")).await.status, 405);
    }
}

#[tokio::test]
async fn a_reload_changes_who_may_begin_and_who_is_asked() {
    let app = TestApp::start().await;
    from(&app, SHOP).await.problem(403, "origin_not_allowed");
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "login": { "sites": [SHOP], "confirm": false } }),
    ));
    let login = begin_from(&app, Some(SHOP)).await;
    is_page(
        &scan(&app, &login, "Alice", Answer::Agree).await,
        200,
        "You are logged in",
    );
    app.reloader.apply(config_of(&app.sandbox, json!({})));
    from(&app, SHOP).await.problem(403, "origin_not_allowed");
}

/// With only the public id one can scan and nothing else, at both of two instances.
async fn the_picture_opens_nothing(first: &TestApp, second: &TestApp) {
    let login = begin(first).await;
    for app in [first, second] {
        for wait in ["", "?wait=20s"] {
            app.get(&format!("/login/{}{wait}", login.picture))
                .await
                .problem(404, "unknown_login");
        }
        app.get(&login.query).await.problem(404, "not_scanned_yet");
    }
    let phone = Browser::new(second);
    is_page(
        &phone
            .open(&format!("/wechat/weblogin?state={}&code=x", login.uuid))
            .await,
        400,
        "no longer works",
    );
    let callback = first
        .sandbox
        .visit(&login.at_wechat, "Alice", Answer::Agree)
        .unwrap();
    is_page(&phone.open(&callback).await, 200, "logged in");
    for app in [first, second] {
        app.get(&format!("/login/{}", login.picture))
            .await
            .problem(404, "unknown_login");
        let told = app.get(&login.query).await;
        assert!(
            !told.body.contains(&login.picture) && told.json()["user"]["nickname"] == "Alice",
            "{}",
            told.body
        );
    }
}

async fn two_instances(cache: Value) {
    let first = TestApp::with(json!({ "cache": cache.clone() })).await;
    let mut settings =
        json!({ "wechat": { "api": [first.sandbox.url()], "open": first.sandbox.url() } });
    lay(&mut settings, json!({ "cache": cache }));
    let second = TestApp::with(settings).await;
    the_picture_opens_nothing(&first, &second).await;
}

#[tokio::test]
async fn the_public_id_opens_nothing_in_memory_and_in_a_file() {
    let folder = TempDir::new().unwrap();
    for cache in [
        json!({ "memo": {} }),
        json!({ "file": folder.path().join("cache.json") }),
    ] {
        let app = TestApp::with(json!({ "cache": cache })).await;
        the_picture_opens_nothing(&app, &app).await;
    }
}

#[tokio::test]
async fn the_public_id_opens_nothing_across_instances_on_redis() {
    let redis = RedisServer::start();
    two_instances(json!({ "redis": redis.url() })).await;
    let keys = redis.cli(&["KEYS", "login.scan.*"]);
    assert_eq!(keys.lines().count(), 1, "one record for one login: {keys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_id_opens_nothing_across_instances_on_sql() {
    let (_folder, file) = sqlite();
    let databases = [databases::mariadb(), databases::postgres()];
    for url in databases
        .iter()
        .flatten()
        .map(|database| database.url())
        .chain([file])
    {
        install(&url).await;
        two_instances(json!({ "sql": url })).await;
    }
}
