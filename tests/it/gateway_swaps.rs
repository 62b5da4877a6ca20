//! The AppSecret in the body of `/cgi-bin/clear_quota/v2`: the virtual one is exchanged for the real
//! one, and nothing else is touched.

use reqwest::Method;
use serde_json::json;

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::gateway::{VIRTUAL, settings};
use crate::support::tcp_wechat::{ReceivedRequest, TcpWechat, json as good};

const PATH: &str = "/cgi-bin/clear_quota/v2";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

async fn start(gateway: &[&str]) -> (TestApp, TcpWechat) {
    let wire = TcpWechat::answering(|_| good(r#"{"errcode":0,"errmsg":"ok"}"#)).await;
    let over = json!({ "wechat": { "api": [wire.url()] } });
    let app = TestApp::with(settings(json!({ "gateway": gateway }), over)).await;
    (app, wire)
}

/// The errcode of the answer, and what has arrived by then.
async fn post(
    (app, wire): &(TestApp, TcpWechat),
    query: &str,
    content_type: &str,
    body: &str,
) -> (i64, Vec<ReceivedRequest>) {
    let request = app
        .request(Method::POST, &format!("{PATH}{query}"))
        .header("content-type", content_type)
        .body(body.to_owned());
    let answer = app.send(request).await.json();
    let errcode = answer["errcode"].as_i64().expect("an errcode");
    (errcode, wire.seen())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_body_is_exchanged() {
    let place = start(&[PATH]).await;
    let form_secret = APP_SECRET.replace('-', "%2D");
    for (query, content_type, body, arrived) in [
        (
            "",
            JSON,
            format!("{{ \"appid\":\"{APP}\",\n \"appsecret\" : \"{VIRTUAL}\", \"x\":\"中 & '\"}}"),
            format!(
                "{{ \"appid\":\"{APP}\",\n \"appsecret\" : \"{APP_SECRET}\", \"x\":\"中 & '\"}}"
            ),
        ),
        (
            "",
            FORM,
            format!("appsecret={VIRTUAL}&x=1+2&appid={APP}"),
            format!("appsecret={form_secret}&x=1+2&appid={APP}"),
        ),
        // Type and content need not agree, as with wechatpy, which sends none.
        (
            "",
            "text/plain",
            json!({ "appid": APP, "appsecret": VIRTUAL }).to_string(),
            json!({ "appid": APP, "appsecret": APP_SECRET }).to_string(),
        ),
        (
            &format!("?appid={APP}"),
            JSON,
            json!({ "appsecret": VIRTUAL }).to_string(),
            json!({ "appsecret": APP_SECRET }).to_string(),
        ),
    ] {
        let (errcode, seen) = post(&place, query, content_type, &body).await;
        let seen = seen.last().unwrap_or_else(|| panic!("{body}: {errcode}"));
        assert_eq!((errcode, seen.target()), (0, &*format!("{PATH}{query}")));
        assert_eq!(String::from_utf8_lossy(&seen.body), arrived);
        assert_eq!(seen.header("content-type"), Some(content_type));
    }
    let query = format!("?appid={APP}&appsecret={VIRTUAL}");
    let (_, seen) = post(&place, &query, JSON, "{}").await;
    assert!(seen.iter().all(|seen| !seen.head.contains(VIRTUAL)
        && memchr::memmem::find(&seen.body, VIRTUAL.as_bytes()).is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_in_a_body_has_its_code() {
    let place = start(&[PATH]).await;
    let body = |appid: &str, secret: &str| json!({ "appid": appid, "appsecret": secret });
    for (query, body, code) in [
        ("", String::new(), 41002),
        ("", "{".to_owned(), 41002),
        ("", json!({ "appid": APP }).to_string(), 41004),
        ("", json!({ "appsecret": VIRTUAL }).to_string(), 41002),
        ("", body(APP, "wrong").to_string(), 40125),
        ("", body(APP, APP_SECRET).to_string(), 40125),
        ("", body("wxffffffffffffffff", VIRTUAL).to_string(), 40013),
        ("", format!("appid={APP}&appsecret=wrong"), 40125),
        // A secret where it cannot be exchanged does not go to WeChat.
        (
            &*format!("?appid={APP}&appsecret={VIRTUAL}"),
            json!({ "nested": { "appsecret": VIRTUAL } }).to_string(),
            48001,
        ),
        ("", "x".repeat(20_000), -1),
    ] {
        let (errcode, seen) = post(&place, query, JSON, &body).await;
        assert_eq!((errcode, seen.len()), (code, 0), "{query} {body}");
    }
    let closed = start(&["all"]).await;
    let (errcode, seen) = post(&closed, "", JSON, &body(APP, VIRTUAL).to_string()).await;
    assert_eq!((errcode, seen.len()), (48001, 0), "only by its own path");
}
