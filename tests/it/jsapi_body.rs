//! The body of `POST /jsapi/{appid}/config`: what is accepted, what is echoed, and what is refused.

use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{APP, Response, TestApp};
use crate::support::raw;

const PATH: &str = "/jsapi/wx0123456789abcdef/config";
const JSON: &str = "Content-Type: application/json\r\n";

/// Posts `bytes` as JSON, whatever they are.
async fn post(app: &TestApp, bytes: impl Into<Vec<u8>>) -> Response {
    app.send(
        app.request(Method::POST, PATH)
            .header("content-type", "application/json")
            .body(bytes.into()),
    )
    .await
}

async fn post_as(app: &TestApp, content_type: &str, body: &str) -> Response {
    app.send(
        app.request(Method::POST, PATH)
            .header("content-type", content_type)
            .body(body.to_owned()),
    )
    .await
}

/// The caller's part of a good answer: everything before our `"appId"`.
#[track_caller]
fn echo(answer: &Response) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body.split("\"appId\":").next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_empty_body_is_an_empty_object() {
    let app = TestApp::start().await;
    for body in ["", " \r\n\t", "{}", "\u{feff}", "\u{feff}{}"] {
        let answer = post(&app, body).await;
        assert_eq!(echo(&answer), "{", "{body:?}");
    }
    // A missing body needs no content type, however it is sent.
    for headers in [
        "",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let body: &[u8] = if headers.starts_with("Transfer") {
            b"0\r\n\r\n"
        } else {
            b""
        };
        let answer = raw::send(app.address(), &format!("POST {PATH}"), headers, body).await;
        assert_eq!(answer.status, 200, "{headers} {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_json_or_no_object_is_refused() {
    let app = TestApp::start().await;
    for body in [
        "[]", "[{}]", "1", "-0", "null", "true", "false", "\"{}\"", " [1]",
    ] {
        app.config_text(body)
            .await
            .problem(400, "body_not_an_object");
    }
    let broken: [&[u8]; 16] = [
        b"{",
        b"}",
        b"{]",
        b"{} {}",
        b"{},",
        b"{'a':1}",
        b"{a:1}",
        b"{\"a\":01}",
        b"{\"a\":1,}",
        b"{\"a\":NaN}",
        b"{\"a\":\"\n\"}",
        b"{\"a\xff\":1}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"{\"a\":1}\0",
        b"\0",
        b"url=https%3A%2F%2Fa.cn",
    ];
    for body in broken {
        post(&app, body).await.problem(400, "invalid_json");
    }
    // UTF-16 with a byte order mark.
    post(&app, b"\xff\xfe{\0}\0".as_slice())
        .await
        .problem(400, "invalid_json");
    post(&app, r#"{"a":"\x"}"#)
        .await
        .problem(400, "invalid_json");
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_but_valid_json_is_accepted() {
    let app = TestApp::start().await;
    for body in [
        r#"{"a":"\ud800","\udc00":"\u0000","":{}}"#,
        r#"{"__proto__":{"x":1},"constructor":null,"toString":[]}"#,
        r#"{"a":1,"a":2}"#,
        "{\"a\":\"\u{7f}\u{2028}\u{202e}\"}",
        r#"{"big":1e999,"small":-1E-999}"#,
    ] {
        assert_eq!(
            echo(&post(&app, body).await),
            format!("{},", &body[..body.len() - 1]).as_str(),
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_costs_no_stack() {
    let app = TestApp::with(json!({ "server": { "bodyLimit": "2mb" } })).await;
    for depth in [10_000, 300_000] {
        let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        let answer = post(&app, nested.as_str()).await;
        assert!(
            answer.status == 200 && answer.body.starts_with(&nested[..nested.len() - 1]),
            "{depth}"
        );
        for broken in [
            format!(r#"{{"a":{}"#, "[".repeat(depth)),
            "{\"a\":".repeat(depth),
            "[".repeat(depth),
            "[{\"a\":".repeat(depth / 4),
        ] {
            post(&app, broken).await.problem(400, "invalid_json");
        }
    }
    let wide = format!(
        "{{{}}}",
        (0..50_000)
            .map(|n| format!("\"k{n}\":{n}"))
            .collect::<Vec<_>>()
            .join(",")
    );
    assert_eq!(
        post(&app, wide.as_str())
            .await
            .json()
            .as_object()
            .map(serde_json::Map::len),
        Some(50_004)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_and_one_at_it_is_not() {
    let app = TestApp::with(json!({ "server": { "bodyLimit": 100 } })).await;
    let of_length = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    assert_eq!(of_length(100).len(), 100);
    app.config_text(&of_length(100)).await.json();
    app.config_text(&of_length(101))
        .await
        .problem(413, "body_too_large");
    let line = format!("POST {PATH}");
    // The same in chunks, whose total is not announced.
    for (length, status) in [(100, 200), (101, 413)] {
        let body = of_length(length);
        let chunks: String = body
            .as_bytes()
            .chunks(30)
            .map(|piece| {
                format!(
                    "{:x}\r\n{}\r\n",
                    piece.len(),
                    String::from_utf8_lossy(piece)
                )
            })
            .collect();
        let headers = format!("{JSON}Transfer-Encoding: chunked\r\n");
        let answer = raw::send(
            app.address(),
            &line,
            &headers,
            format!("{chunks}0\r\n\r\n").as_bytes(),
        )
        .await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    // An announced length is refused before a byte arrives, also one beyond any integer.
    for length in ["101", "18446744073709551615"] {
        let answer = raw::send(
            app.address(),
            &line,
            &format!("{JSON}Content-Length: {length}\r\n"),
            b"",
        )
        .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (413, "body_too_large"),
            "{length}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_limit_is_100_kb() {
    let app = TestApp::start().await;
    let of_length = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    app.config_text(&of_length(100 * 1024)).await.json();
    app.config_text(&of_length(100 * 1024 + 1))
        .await
        .problem(413, "body_too_large");
    // A client that goes on sending still gets the answer.
    app.config_text(&of_length(8 * 1024 * 1024))
        .await
        .problem(413, "body_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_type_charset_or_encoding_is_refused() {
    let app = TestApp::start().await;
    for good in [
        "application/json",
        "application/json;charset=utf-8",
        "Application/Json; Charset=\"UTF-8\"",
        "application/vnd.api+json",
    ] {
        post_as(&app, good, "{}").await.json();
    }
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=gbk",
        "application/json; charset=utf-16",
        "json",
        "",
    ] {
        post_as(&app, bad, "{}")
            .await
            .problem(415, "unsupported_media_type");
    }
    let encoded = |encoding: &'static str| {
        app.request(Method::POST, PATH)
            .header("content-type", "application/json")
            .header("content-encoding", encoding)
    };
    for encoding in ["gzip", "br", "deflate", "zstd"] {
        app.send(encoded(encoding).body("{}"))
            .await
            .problem(415, "unsupported_media_type");
    }
    app.send(encoded("identity").body("{}")).await.json();
    app.send(app.request(Method::POST, PATH).body("{}"))
        .await
        .problem(415, "unsupported_media_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_are_read_and_broken_ones_refused() {
    let app = TestApp::start().await;
    let send = async |body: &str| {
        raw::send(
            app.address(),
            &format!("POST {PATH}"),
            &format!("{JSON}Transfer-Encoding: chunked\r\n"),
            body.as_bytes(),
        )
        .await
    };
    let answer = send("5\r\n{\"a\":\r\n2;ext=1\r\n1}\r\n0\r\n\r\n").await;
    assert!(
        answer.status == 200 && answer.body.starts_with(r#"{"a":1,"#),
        "{answer:?}"
    );
    for broken in ["xyz\r\n{}\r\n0\r\n\r\n", "2\r\n{}xx0\r\n\r\n"] {
        let answer = send(broken).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let both = format!("{JSON}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n");
    let smuggled = raw::send(
        app.address(),
        &format!("POST {PATH}"),
        &both,
        b"0\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert_eq!(smuggled.status, 400, "{smuggled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_caller_sends_breaks_the_answer() {
    let app = TestApp::start().await;
    app.get(PATH).await.json();
    let (mut runner, runtime) = (
        proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200)),
        tokio::runtime::Handle::current(),
    );
    let pieces = r#"[{}\[\]":,a\\u0d8\n é#%&=+h]{0,24}"#;
    tokio::task::block_in_place(|| {
        runner.run(&(pieces, pieces), |(body, query)| {
            let answer = runtime.block_on(post(&app, format!("{{{body}}}")));
            prop_assert!(matches!(answer.status.as_u16(), 200 | 400), "{:?}", answer);
            let whole: Value = serde_json::from_str(&answer.body).expect("every answer is JSON");
            prop_assert!(whole["appId"] == APP || whole["code"].is_string());
            let query: String = url::form_urlencoded::byte_serialize(query.as_bytes())
                .collect::<String>()
                .replace("%26", "&")
                .replace("%3D", "=");
            let answer = runtime.block_on(app.get(&format!("{PATH}?{query}")));
            prop_assert!(
                serde_json::from_str::<Value>(&answer.body).expect("every answer is JSON")["appId"]
                    == APP
            );
            Ok(())
        })
    })
    .unwrap();
}
