//! The headers of every answer, and the methods of every route.

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::support::app::{APP, Response, TestApp, signed_v1, signed_v2};
use crate::support::raw;

const CONFIG: &str = "/jsapi/wx0123456789abcdef/config";

async fn app() -> (TestApp, TempDir) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("file.txt"), "a file").unwrap();
    let app =
        TestApp::with(json!({ "cors": ["example\\.com"], "server": { "static": folder.path() } }))
            .await;
    (app, folder)
}

/// One request of every kind, valid and invalid, and its status.
fn every_kind() -> Vec<(Method, String, &'static str, u16)> {
    let mut all = vec![
        (Method::POST, CONFIG.to_owned(), "{}", 200),
        (Method::POST, CONFIG.to_owned(), "[", 400),
        (Method::POST, CONFIG.to_owned(), "[]", 400),
        (Method::POST, CONFIG.to_owned(), r#"{"url":"x"}"#, 400),
        (
            Method::POST,
            "/jsapi/wx-unknown/config".to_owned(),
            "{}",
            404,
        ),
        (Method::POST, "/nothing".to_owned(), "{}", 404),
        (Method::POST, "/ping".to_owned(), "", 405),
        (Method::OPTIONS, "/ping".to_owned(), "", 204),
        (Method::DELETE, CONFIG.to_owned(), "", 405),
    ];
    for (path, status) in [
        (CONFIG.to_owned(), 200),
        (format!("{CONFIG}?url=x"), 400),
        (signed_v1(APP, ""), 200),
        (signed_v1(APP, "key=none&"), 400),
        (signed_v1("wx-unknown", ""), 404),
        (format!("/jsapi/{APP}/query"), 401),
        ("/ping".to_owned(), 200),
        ("/PING/".to_owned(), 200),
        ("/jsdkd.js".to_owned(), 200),
        ("/qrcode/a".to_owned(), 200),
        ("/qrcode/a.svg".to_owned(), 200),
        ("/qrcode/".to_owned(), 400),
        ("/".to_owned(), 200),
        ("/MP_verify_a.txt".to_owned(), 200),
        ("/file.txt".to_owned(), 200),
        ("/absent.txt".to_owned(), 404),
        ("/nothing".to_owned(), 404),
        ("/%ff/%00".to_owned(), 404),
    ] {
        all.push((Method::GET, path.clone(), "", status));
        all.push((Method::HEAD, path, "", status));
    }
    all
}

async fn ask(app: &TestApp, method: &Method, path: &str, body: &'static str) -> Response {
    app.send(
        app.request(method.clone(), path)
            .header("content-type", "application/json")
            .body(body),
    )
    .await
}

#[track_caller]
fn assert_dressed(answer: &Response, about: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), value, "{name} of {about}");
        assert_eq!(
            answer.headers().get_all(name).iter().count(),
            1,
            "{name} of {about}"
        );
    }
    for name in ["server", "x-powered-by", "set-cookie"] {
        assert_eq!(answer.header(name), "", "{name} of {about}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_security_headers_and_no_server_name() {
    let (app, _folder) = app().await;
    for (method, path, body, status) in every_kind() {
        let answer = ask(&app, &method, &path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        assert_dressed(&answer, &format!("{method} {path}"));
    }
    let refused = app
        .send(
            app.request(Method::GET, "/ping")
                .header("origin", "https://evil.org"),
        )
        .await;
    assert_eq!(refused.status, 403);
    assert_dressed(&refused, "a refused origin");
    app.sandbox
        .fault(sandbox::Fault::errcode(-1, "system error"));
    let failed = app
        .get(&signed_v2("GET", APP, &[("key", "card_ticket")]))
        .await;
    assert_eq!(failed.status, 502);
    assert_dressed(&failed, "a failure of WeChat");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_does_without_the_body() {
    let (app, _folder) = app().await;
    for (method, path, _, status) in every_kind() {
        // A version 1 signature is valid for both methods.
        if method != Method::GET {
            continue;
        }
        let (get, head) = (
            ask(&app, &method, &path, "").await,
            ask(&app, &Method::HEAD, &path, "").await,
        );
        assert_eq!(
            (get.status, head.status.as_u16(), head.body.as_str()),
            (head.status, status, ""),
            "{path}"
        );
        for name in [
            "content-type",
            "content-length",
            "cache-control",
            "www-authenticate",
            "warning",
            "allow",
        ] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
    // No byte of a body is sent.
    let raw = raw::send(app.address(), "HEAD /ping", "", b"").await;
    assert_eq!((raw.status, raw.body.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_405_and_names_the_right_ones() {
    let (app, _folder) = app().await;
    let reading = "GET, HEAD, OPTIONS";
    let query = format!("/jsapi/{APP}/query");
    for (path, allow) in [
        (CONFIG, "GET, HEAD, POST, OPTIONS"),
        ("/jsapi/wx-unknown/config", "GET, HEAD, POST, OPTIONS"),
        (
            "/JSAPI/wx0123456789abcdef/Config/",
            "GET, HEAD, POST, OPTIONS",
        ),
        (&query, reading),
        ("/ping", reading),
        ("/jsdkd.js", reading),
        ("/qrcode/a/b", reading),
        ("/", reading),
        ("/MP_verify_a.txt", reading),
        ("/file.txt", reading),
    ] {
        for method in ["PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
            let answer = app.send(app.request(method.parse().unwrap(), path)).await;
            answer.problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
        }
        if allow == reading {
            assert_eq!(
                ask(&app, &Method::POST, path, "{}").await.header("allow"),
                reading,
                "{path}"
            );
        }
    }
    for method in ["GET", "POST", "PUT"] {
        app.send(app.request(method.parse().unwrap(), "/nothing"))
            .await
            .problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_errors_are_no_store() {
    let (app, _folder) = app().await;
    for (method, path, body, status) in every_kind() {
        let answer = ask(&app, &method, &path, body).await;
        let public =
            path.starts_with("/jsdkd.js") || path.ends_with(".txt") || path == "/" || status == 204;
        if status >= 400 || !public {
            assert_eq!(
                answer.header("cache-control"),
                "no-store",
                "{method} {path}"
            );
        }
    }
    let script = app.get("/jsdkd.js").await;
    assert_eq!(script.header("cache-control"), "public, max-age=3600");
    assert_eq!(
        script.header("content-type"),
        "text/javascript; charset=utf-8"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_match_in_any_case_and_with_a_final_slash() {
    let (app, _folder) = app().await;
    for path in [
        "/ping",
        "/Ping",
        "/ping/",
        "/PING/",
        "/jsdkd.js",
        "/JSDKD.js/",
        CONFIG,
        "/Jsapi/wx0123456789abcdef/CONFIG/",
    ] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    for path in [
        "//ping",
        "/ping//",
        "/pingx",
        "/xping",
        "/ping/x",
        "/jsdkdxjs",
        "/jsapi/a/b/config",
        "/jsapi/wx0123456789abcdef//config",
    ] {
        app.get(path).await.problem(404, "not_found");
    }
    // The realm's signature covers the path as it was sent.
    assert_eq!(
        app.get(&signed_v1(APP, "").replace("/query", "/Query/"))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn long_and_malformed_requests_are_refused() {
    let (app, _folder) = app().await;
    let long = "a".repeat(15_000);
    assert_eq!(app.get(&format!("/{long}")).await.status, 404);
    assert_eq!(app.get(&format!("/ping?{long}")).await.status, 200);
    // A head has 16 KiB.
    assert_eq!(
        app.get(&format!("/ping?{}", long.repeat(4))).await.status,
        431
    );
    let requests: [&[u8]; 7] = [
        b"GARBAGE\r\n\r\n",
        b"GET /ping HTTP/9.9\r\n\r\n",
        b"GET /p ing HTTP/1.1\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHo st: a\r\n\r\n",
        b"POST /jsapi/a/config HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /jsapi/a/config HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    ];
    for request in requests {
        let answer = raw::exchange(app.address(), request).await;
        assert_eq!(
            (answer.status, answer.header("server")),
            (400, ""),
            "{:?}",
            String::from_utf8_lossy(request)
        );
    }
    app.get("/ping").await.json();
}
