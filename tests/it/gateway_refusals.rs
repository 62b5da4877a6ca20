//! The gateway's refusals, case by case: WeChat's own shape, and an id that stands in our log.

use std::time::Duration;

use clock::{Clock, UnixMillis};
use reqwest::Method;
use sandbox::Fault;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{APP, APP_SECRET, Response, TestApp, config_of};
use crate::support::gateway::{VIRTUAL, settings, token};
use crate::support::process::{self, Process, folder};
use crate::support::raw;

const IP: &str = "/cgi-bin/getcallbackip";

/// The answer is WeChat's refusal with this code; returns its text.
#[track_caller]
fn refused(answer: &Response, errcode: i64) -> String {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    assert_eq!(
        (answer.status.as_u16(), body["errcode"].as_i64()),
        (200, Some(errcode)),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("content-type"),
        "application/json; encoding=utf-8"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(
        answer
            .headers()
            .keys()
            .all(|name| !name.as_str().starts_with("access-control-")),
        "{answer:?}"
    );
    let message = body["errmsg"].as_str().expect("a text");
    let id = message
        .rsplit_once(" rid: ")
        .unwrap_or_else(|| panic!("no rid: {message}"))
        .1;
    assert!(
        !id.is_empty()
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "{message}"
    );
    message.to_owned()
}

async fn start(realm: Value) -> TestApp {
    TestApp::with(settings(realm, json!({}))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_needs_exactly_one_token() {
    let app = start(json!({})).await;
    let token = token(&app).await;
    for query in [
        String::new(),
        "?access_token=".to_owned(),
        "?Access_Token=x".to_owned(),
        format!("?access_token={token}&access_token={token}"),
        format!("?access_token={token}&access%5Ftoken={token}"),
        format!("?%61ccess_token=&a=1&access_token={token}"),
    ] {
        refused(&app.get(&format!("{IP}{query}")).await, 41001);
    }
    assert_eq!(
        app.get(&format!("{IP}?access%5ftoken={token}"))
            .await
            .json()["errcode"],
        Value::Null
    );
    assert_eq!(app.sandbox.calls(IP), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_says_so_in_wechats_words() {
    let clock = Clock::manual(UnixMillis(1_800_000_000_000));
    let app = TestApp::build(settings(json!({}), json!({})))
        .clock(clock.clone())
        .start()
        .await;
    let token = token(&app).await;
    clock.advance(Duration::from_secs(7499));
    assert!(
        !app.get(&format!("{IP}?access_token={token}"))
            .await
            .body
            .contains("42001")
    );
    clock.advance(Duration::from_secs(1));
    let message = refused(&app.get(&format!("{IP}?access_token={token}")).await, 42001);
    assert!(message.contains("access_token expired"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_or_withdrawn_token_is_invalid() {
    let app = start(json!({})).await;
    let good = token(&app).await;
    let path = format!("{IP}?access_token={good}");
    for forged in [
        "x".to_owned(),
        format!("{good}x"),
        good[..good.len() - 1].to_owned(),
        format!("JV1_{}", &good[4..]),
    ] {
        refused(
            &app.get(&format!("{IP}?access_token={forged}")).await,
            40001,
        );
    }
    app.reloader.apply(config_of(
        &app.sandbox,
        settings(
            json!({ "secret": ["another-virtual-secret-1", VIRTUAL] }),
            json!({}),
        ),
    ));
    assert!(
        app.get(&path).await.json()["ip_list"].is_array(),
        "the older of two secrets"
    );
    let second = json!([{ "key": "wxfedcba9876543210", "secret": "s2" }, { "key": APP, "secret": APP_SECRET }]);
    for taken in [
        settings(json!({ "secret": "another-virtual-secret-1" }), json!({})),
        settings(json!({ "key": "other" }), json!({})),
        settings(
            json!({ "apps": ["wxfedcba9876543210"] }),
            json!({ "apps": second }),
        ),
    ] {
        app.reloader.apply(config_of(&app.sandbox, taken));
        refused(&app.get(&path).await, 40001);
    }
    app.reloader
        .apply(config_of(&app.sandbox, settings(json!({}), json!({}))));
    assert!(
        app.get(&path).await.json()["ip_list"].is_array(),
        "the same settings accept it again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_token_request_has_its_code() {
    let app = start(json!({})).await;
    let token = "/cgi-bin/token?grant_type=client_credential";
    for (path, code) in [
        (
            format!("{token}&appid=wxffffffffffffffff&secret={VIRTUAL}"),
            40013,
        ),
        (format!("{token}&appid=nonsense&secret={VIRTUAL}"), 40013),
        (format!("{token}&appid={APP}&secret=wrong"), 40125),
        (format!("{token}&appid={APP}&secret={APP_SECRET}"), 40125),
        (format!("{token}&appid={APP}"), 41004),
        (format!("{token}&appid={APP}&secret="), 41004),
        (format!("{token}&secret={VIRTUAL}"), 41002),
        (
            format!("/cgi-bin/token?appid={APP}&secret={VIRTUAL}"),
            40002,
        ),
        (
            format!("/cgi-bin/token?grant_type=authorization_code&appid={APP}&secret={VIRTUAL}"),
            40002,
        ),
        (
            format!("/sns/jscode2session?appid={APP}&secret=wrong&js_code=1"),
            40125,
        ),
        (format!("/sns/jscode2session?appid={APP}&js_code=1"), 41004),
        (
            format!("/sns/jscode2session?secret={VIRTUAL}&js_code=1"),
            41002,
        ),
        (
            format!("/cgi-bin/gettoken?corpid=ww0123456789abcdef&corpsecret={VIRTUAL}"),
            40013,
        ),
    ] {
        refused(&app.get(&path).await, code);
    }
    let stable = |body: String| {
        app.request(Method::POST, "/cgi-bin/stable_token")
            .body(body)
    };
    for (body, code) in [
        (
            json!({ "grant_type": "client_credential", "appid": APP, "secret": "wrong" })
                .to_string(),
            40125,
        ),
        (
            json!({ "grant_type": "client_credential", "appid": APP }).to_string(),
            41004,
        ),
        ("no JSON".to_owned(), 40002),
        ("x".repeat(200_000), 40002),
    ] {
        refused(&app.send(stable(body)).await, code);
    }
    assert_eq!(app.sandbox.arrivals("").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_scope_lacks_and_browsers_are_unauthorized() {
    let app =
        start(json!({ "gateway": ["read", "messages"], "deny": ["/cgi-bin/message/custom/*"] }))
            .await;
    let token = token(&app).await;
    for path in [
        "/cgi-bin/media/get",
        "/cgi-bin/message/custom/send",
        "/cgi-bin/menu/delete",
        "/wxa/release",
        "/cgi-bin/a%2fb",
    ] {
        refused(
            &app.get(&format!("{path}?access_token={token}")).await,
            48001,
        );
    }
    for (name, value) in [
        ("origin", "https://shop.example.com"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-origin"),
    ] {
        for path in [
            format!("{IP}?access_token={token}"),
            "/cgi-bin/token".to_owned(),
            "/sns/userinfo".to_owned(),
        ] {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                refused(
                    &app.send(app.request(method, &path).header(name, value))
                        .await,
                    48001,
                );
            }
        }
    }
    assert_eq!(app.sandbox.calls(IP), 0);
    let opened = app
        .request(Method::GET, &format!("{IP}?access_token={token}"))
        .header("sec-fetch-site", "none");
    assert!(app.send(opened).await.json()["ip_list"].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_has_its_calls_a_minute() {
    let app = start(json!({ "perMinute": 2 })).await;
    let path = format!("{IP}?access_token={}", token(&app).await);
    for _ in 0..2 {
        assert!(app.get(&path).await.json()["ip_list"].is_array());
    }
    refused(&app.get(&path).await, 45011);
    assert_eq!(app.sandbox.calls(IP), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_calls_from_its_networks_until_its_last_day() {
    let app = start(json!({})).await;
    let (path, ask) = (
        format!("{IP}?access_token={}", token(&app).await),
        "/cgi-bin/token?grant_type=client_credential",
    );
    let ask = format!("{ask}&appid={APP}&secret={VIRTUAL}");
    app.reloader.apply(config_of(
        &app.sandbox,
        settings(json!({ "networks": ["10.0.0.0/8"] }), json!({})),
    ));
    for path in [&path, &ask] {
        assert!(refused(&app.get(path).await, 40164).contains("127.0.0.1"));
    }
    app.reloader.apply(config_of(
        &app.sandbox,
        settings(json!({ "until": "2020-01-01" }), json!({})),
    ));
    for path in [&path, &ask] {
        refused(&app.get(path).await, 40001);
    }
    assert_eq!(app.sandbox.calls(IP), 0);
}

/// Sends a body of `length` bytes in pieces before it reads anything, as SDKs do.
async fn upload(
    app: &TestApp,
    path: &str,
    content_type: &str,
    length: usize,
    chunked: bool,
) -> (u16, Value) {
    let mut socket = TcpStream::connect(app.address()).await.unwrap();
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {length}")
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'a'; 50_000];
    for _ in 0..length / piece.len() {
        let bytes = if chunked {
            [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat()
        } else {
            piece.clone()
        };
        socket.write_all(&bytes).await.expect("the server reads on");
        tokio::task::yield_now().await;
    }
    if chunked {
        socket
            .write_all(b"0\r\n\r\n")
            .await
            .expect("the server reads on");
    }
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("no reset");
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer}"));
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_reads_its_errcode_and_no_reset() {
    let app = start(json!({ "gateway": ["read"] })).await;
    let path = format!(
        "/cgi-bin/media/upload?type=image&access_token={}",
        token(&app).await
    );
    for chunked in [false, true] {
        let (status, body) = upload(
            &app,
            &path,
            "multipart/form-data; boundary=B",
            5_000_000,
            chunked,
        )
        .await;
        assert_eq!((status, &body["errcode"]), (200, &json!(48001)), "{body}");
    }
    let (status, body) = upload(
        &app,
        "/cgi-bin/media/upload?type=image",
        "multipart/form-data; boundary=B",
        5_000_000,
        false,
    )
    .await;
    assert_eq!((status, &body["errcode"]), (200, &json!(41001)), "{body}");
    assert_eq!(app.sandbox.calls("/cgi-bin/media/upload"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_has_the_code_of_its_kind() {
    let app = TestApp::with(settings(
        json!({}),
        json!({ "gateway": { "bodyLimit": "2mb", "keepWhole": "64kb" } }),
    ))
    .await;
    let token = token(&app).await;
    let path = format!("/cgi-bin/media/upload?type=image&access_token={token}");
    for (length, chunked) in [(2_100_000, false), (2_100_000, true)] {
        let (status, body) = upload(
            &app,
            &path,
            "multipart/form-data; boundary=B",
            length,
            chunked,
        )
        .await;
        assert_eq!(
            (status, &body["errcode"]),
            (200, &json!(45001)),
            "{chunked} {body}"
        );
        let (status, body) = upload(&app, &path, "application/json", length, chunked).await;
        assert_eq!(
            (status, &body["errcode"]),
            (413, &json!(45001)),
            "{chunked} {body}"
        );
    }
    assert!(
        app.sandbox
            .arrivals("/cgi-bin/media/upload")
            .iter()
            .all(|arrival| !arrival.whole),
        "nothing arrived whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_sent_is_called_system_error_with_200() {
    let dead = json!({ "wechat": { "api": ["http://127.0.0.1:9"] } });
    let app = TestApp::with(settings(json!({}), dead)).await;
    let path = format!("{IP}?access_token={}", token(&app).await);
    refused(&app.get(&path).await, -1);

    let app = start(json!({})).await;
    let path = format!("{IP}?access_token={}", token(&app).await);
    app.sandbox
        .fault(Fault::errcode(40125, "invalid appsecret").on("/cgi-bin/token"));
    app.sandbox
        .fault(Fault::errcode(40125, "invalid appsecret").on("/cgi-bin/stable_token"));
    for _ in 0..3 {
        refused(&app.get(&path).await, -1);
    }
    assert_eq!(app.sandbox.calls(IP), 0);
    let (status, body) = upload(
        &app,
        &path,
        "multipart/form-data; boundary=B",
        5_000_000,
        false,
    )
    .await;
    assert_eq!(
        (status, &body["errcode"]),
        (200, &json!(-1)),
        "the rest of its body is read: {body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_and_not_answered_is_504() {
    let app = TestApp::with(settings(
        json!({}),
        json!({ "gateway": { "timeout": "1s" } }),
    ))
    .await;
    let path = format!(
        "/cgi-bin/message/custom/send?access_token={}",
        token(&app).await
    );
    for fault in [Fault::hang(), Fault::reset(), Fault::half_body()] {
        app.sandbox.clear_faults();
        let before = app.sandbox.calls("/cgi-bin/message/custom/send");
        app.sandbox
            .fault(fault.clone().on("/cgi-bin/message/custom/send"));
        let answer = app
            .send(
                app.request(Method::POST, &path)
                    .body(r#"{"touser":"o","msgtype":"text"}"#),
            )
            .await;
        let body: Value =
            serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{fault:?} {answer:?}"));
        assert_eq!(
            (answer.status.as_u16(), &body["errcode"]),
            (504, &json!(-1)),
            "{fault:?} {body}"
        );
        assert_eq!(
            app.sandbox.calls("/cgi-bin/message/custom/send"),
            before + 1,
            "{fault:?}: sent once"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_refusal_stands_in_the_audit_line() {
    let app = start(json!({})).await;
    let folder = folder();
    let over = settings(json!({}), json!({}));
    let server = Process::serve(folder.path(), &process::settings(&app.sandbox.url(), over)).await;
    let message = refused(
        &server
            .get("/cgi-bin/user/info?openid=oSECRETMARKER&access_token=nonsense")
            .await,
        40001,
    );
    let id = message.rsplit_once(" rid: ").unwrap().1;
    let line = process::until(|| {
        server
            .log()
            .into_iter()
            .find(|line| line["request_id"] == id)
    })
    .await
    .expect("an audit line");
    assert_eq!(
        (&line["target"], &line["errcode"]),
        (&json!("jsdkd::audit"), &json!(40001)),
        "{line}"
    );
    assert_eq!(
        (&line["path"], &line["method"]),
        (&json!("/cgi-bin/user/info"), &json!("GET")),
        "{line}"
    );
    assert_eq!(
        (&line["status"], &line["client"], &line["healed"]),
        (&json!(200), &json!("127.0.0.1"), &json!(false)),
        "{line}"
    );

    let ask = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={VIRTUAL}");
    let token = server.get(&ask).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let send = format!("/cgi-bin/message/custom/send?access_token={token}");
    let sent = server
        .request(Method::POST, &send)
        .header("x-request-id", "r-77")
        .body(r#"{"touser":"oSECRETMARKER"}"#);
    let answer: Value =
        serde_json::from_str(&sent.send().await.unwrap().text().await.unwrap()).unwrap();
    let line = process::until(|| {
        server
            .log()
            .into_iter()
            .find(|line| line["request_id"] == "r-77")
    })
    .await
    .expect("an audit line");
    assert_eq!(
        (&line["realm"], &line["appid"]),
        (&json!("shop"), &json!(APP)),
        "{line}"
    );
    assert_eq!(
        (&line["bytes_in"], &line["errcode"]),
        (&json!(26), &answer["errcode"]),
        "{line}"
    );
    assert!(
        line["bytes_out"].as_u64() > Some(10) && line["duration_ms"].is_u64(),
        "{line}"
    );
    let all = server.out();
    for secret in [
        "oSECRETMARKER",
        VIRTUAL,
        APP_SECRET,
        &token,
        &app.sandbox.current_token(APP).unwrap(),
    ] {
        assert!(!all.contains(secret), "the log shows {secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_gateway_realm_finds_nothing() {
    let app = TestApp::start().await;
    for path in [IP, "/cgi-bin/token", "/sns/userinfo", "/wxa/x"] {
        app.get(path).await.problem(404, "not_found");
    }
    let raw = raw::send(app.address(), "GET /ping?a=中", "", b"").await;
    assert_eq!(raw.status, 400, "{raw:?}");
}
