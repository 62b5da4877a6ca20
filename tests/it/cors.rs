//! Which pages may call: the origin policy as seen by a browser.

use reqwest::Method;
use serde_json::json;

use crate::support::app::{APP, Response, TestApp, config_of};
use crate::support::raw;

const PATH: &str = "/jsapi/wx0123456789abcdef/config";

/// `GET /ping` from a page with this `origin`.
async fn from(app: &TestApp, origin: &str) -> Response {
    app.send(app.request(Method::GET, "/ping").header("origin", origin))
        .await
}

fn access_control(answer: &Response) -> Vec<String> {
    answer
        .headers()
        .keys()
        .map(ToString::to_string)
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}

#[track_caller]
fn assert_let_in(answer: &Response, origin: &str) {
    assert_eq!(
        (
            answer.header("access-control-allow-origin"),
            answer.header("vary")
        ),
        (origin, "Origin"),
        "{answer:?}"
    );
}

#[track_caller]
fn assert_refused(answer: &Response, origin: &str) {
    assert_eq!(
        (answer.status.as_u16(), access_control(answer)),
        (403, vec![]),
        "{origin}"
    );
    answer.problem(403, "origin_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_or_a_star_allows_every_origin() {
    for cors in [
        json!([]),
        json!(["*"]),
        json!("*"),
        json!(["example\\.com", "*"]),
    ] {
        let app = TestApp::with(json!({ "cors": cors })).await;
        for origin in [
            "https://anything.example.org",
            "http://a.cn:8080",
            "null",
            "chrome-extension://abc",
        ] {
            let answer = from(&app, origin).await;
            answer.json();
            assert_let_in(&answer, origin);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cors_pattern_matches_whole_labels_at_the_end_of_the_host() {
    let app =
        TestApp::with(json!({ "cors": ["Example\\.com", "^https://shop\\.only\\.org$", "^caret.com", "ported\\.net:8443"] })).await;
    for origin in [
        "http://example.com",
        "https://www.example.com:8443",
        "https://a.b.EXAMPLE.com",
        "https://shop.only.org",
        "https://ported.net:8443",
        "https://www.ported.net:8443",
    ] {
        let answer = from(&app, origin).await;
        answer.json();
        assert_let_in(&answer, origin);
    }
    for origin in [
        "https://example.com.evil.org",
        "https://notexample.com",
        "https://example.com@evil.org",
        "https://evil.org?example.com",
        "https://evil.org#example.com",
        "https://evil.org/example.com",
        "https://example-com",
        "https://examplexcom",
        "http://shop.only.org",
        "https://shop.only.org:444",
        "https://www.shop.only.org",
        "https://caret.com",
        "https://ported.net",
        "https://ported.net:84430",
        "null",
        "",
        "example.com",
        "https://",
        "https://example.com/",
        "https://example.com, https://evil.org",
        "https://evil.org https://example.com",
    ] {
        assert_refused(&from(&app, origin).await, origin);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_may_be_one_string() {
    let app = TestApp::with(json!({ "cors": "example\\.com" })).await;
    assert_let_in(
        &from(&app, "https://example.com").await,
        "https://example.com",
    );
    assert_refused(
        &from(&app, "https://example.org").await,
        "https://example.org",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn private_and_reserved_addresses_are_always_allowed() {
    let app = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    for host in [
        "localhost",
        "localhost:3000",
        "127.0.0.1:8080",
        "10.1.2.3",
        "172.16.0.9",
        "192.168.1.1:80",
        "169.254.1.1",
        "0.0.0.0",
        "[::1]:3000",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
    ] {
        let origin = format!("http://{host}");
        assert_let_in(&from(&app, &origin).await, &origin);
    }
    for host in [
        "10.evil.org",
        "127.0.0.1.evil.org",
        "172.32.0.1",
        "8.8.8.8",
        "192.168.evil.org",
        "[2606:4700::1]",
        "localhost.evil.org",
        "127.1",
    ] {
        assert_refused(&from(&app, &format!("http://{host}")).await, host);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_origin_gets_no_cors_headers() {
    let app = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    let answer = app.get("/ping").await;
    answer.json();
    assert_eq!(
        (access_control(&answer), answer.header("vary")),
        (vec![], "Origin")
    );
    // Caches must separate the answers for different origins, including refusals.
    assert_eq!(
        from(&app, "https://evil.org").await.header("vary"),
        "Origin"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_origin_reaches_no_handler() {
    let app = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    for (method, path) in [
        (Method::POST, PATH),
        (Method::GET, PATH),
        (Method::GET, "/jsapi/wx0123456789abcdef/query"),
        (Method::GET, "/MP_verify_a.txt"),
        (Method::GET, "/nothing"),
        (Method::DELETE, "/ping"),
        (Method::OPTIONS, PATH),
    ] {
        let request = app
            .request(method.clone(), path)
            .header("origin", "https://evil.org");
        assert_refused(
            &app.send(request.header("access-control-request-method", "POST"))
                .await,
            path,
        );
    }
    let head = app
        .send(
            app.request(Method::HEAD, "/ping")
                .header("origin", "https://evil.org"),
        )
        .await;
    assert_eq!((head.status.as_u16(), access_control(&head)), (403, vec![]));
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 0);
    // Invalid UTF-8 is not an origin.
    let odd = raw::send(
        app.address(),
        "GET /ping",
        "Origin: https://\u{fc}.example.com\r\n",
        b"",
    )
    .await;
    assert_eq!(
        (odd.status, odd.code().as_str()),
        (403, "origin_not_allowed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_origin_gets_cors_headers_on_errors_too() {
    let app = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    let origin = "https://www.example.com";
    let refused = sandbox::Fault::errcode(40164, "invalid ip");
    app.sandbox.fault(refused);
    let post = |path: &str, body: &'static str| {
        app.request(Method::POST, path)
            .header("origin", origin)
            .header("content-type", "application/json")
            .body(body)
    };
    for (request, status) in [
        (post(PATH, "["), 400),
        (post(PATH, r#"{"url":1}"#), 400),
        (
            app.request(Method::POST, PATH)
                .header("origin", origin)
                .body("{}"),
            415,
        ),
        (post("/jsapi/wx-unknown/config", "{}"), 404),
        (post("/nothing", "{}"), 404),
        (post("/ping", "{}"), 405),
        (
            app.request(Method::GET, "/jsapi/wx0123456789abcdef/query")
                .header("origin", origin),
            401,
        ),
        (post(PATH, "{}"), 502),
        (post(PATH, "{}"), 503),
    ] {
        let answer = app.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_let_in(&answer, origin);
        let exposed = answer
            .header("access-control-expose-headers")
            .to_ascii_lowercase();
        assert!(
            exposed.contains("retry-after")
                && exposed.contains("credential-expires-in")
                && exposed.contains("warning"),
            "{exposed}"
        );
        assert!(answer.body.contains("\"code\":"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_answers_with_methods_content_type_and_a_day() {
    let app = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    let origin = "https://example.com";
    for headers in [None, Some("content-type"), Some("Content-Type, X-Own")] {
        let mut request = app
            .request(Method::OPTIONS, PATH)
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        if let Some(headers) = headers {
            request = request.header("access-control-request-headers", headers);
        }
        let answer = app.send(request).await;
        assert!(
            answer.status.is_success() && answer.body.is_empty(),
            "{answer:?}"
        );
        assert_let_in(&answer, origin);
        let methods = answer.header("access-control-allow-methods");
        assert!(
            ["GET", "HEAD", "POST"]
                .iter()
                .all(|method| methods.split(", ").any(|listed| listed == *method)),
            "{methods}"
        );
        let allowed = answer
            .header("access-control-allow-headers")
            .to_ascii_lowercase();
        assert!(
            allowed.contains("content-type")
                && (headers.is_none_or(|headers| !headers.contains("Own"))
                    || allowed.contains("x-own"))
        );
        assert_eq!(answer.header("access-control-max-age"), "86400");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        assert_eq!(
            (
                answer.header("x-content-type-options"),
                answer.header("server")
            ),
            ("nosniff", "")
        );
    }
    // A method without a handler is not offered.
    let request = app
        .request(Method::OPTIONS, PATH)
        .header("origin", origin)
        .header("access-control-request-method", "DELETE");
    let answer = app.send(request).await;
    answer.problem(400, "bad_request");
    assert_eq!(answer.header("access-control-allow-methods"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_options_names_the_methods() {
    let app = TestApp::start().await;
    for (path, allow) in [
        (PATH, "GET, HEAD, POST, OPTIONS"),
        ("/ping", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/MP_verify_a.txt", "GET, HEAD, OPTIONS"),
    ] {
        let answer = app.send(app.request(Method::OPTIONS, path)).await;
        assert_eq!(
            (
                answer.status.as_u16(),
                answer.header("allow"),
                answer.body.as_str()
            ),
            (204, allow, ""),
            "{path}"
        );
    }
    app.send(app.request(Method::OPTIONS, "/nothing"))
        .await
        .problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_from_an_allowed_page_is_signed() {
    let app = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    let request = app
        .request(Method::POST, PATH)
        .header("origin", "https://example.com")
        .header("content-type", "application/json");
    let answer = app
        .send(request.body(r#"{"url":"https://example.com/"}"#))
        .await;
    assert_eq!(answer.json()["appId"], APP);
    assert_let_in(&answer, "https://example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_who_may_call_from_the_next_request_on() {
    let app = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    assert_refused(&from(&app, "https://a.cn").await, "https://a.cn");
    app.reloader
        .apply(config_of(&app.sandbox, json!({ "cors": ["a\\.cn"] })));
    assert_let_in(&from(&app, "https://a.cn").await, "https://a.cn");
    assert_refused(
        &from(&app, "https://example.com").await,
        "https://example.com",
    );
}
