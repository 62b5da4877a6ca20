//! `POST` and `GET /jsapi/{appid}/config`: the caller's fields, signed.

use clock::{Clock, UnixMillis};
use reqwest::Method;
use serde_json::{Value, json};
use wechat::signature;

use crate::support::app::{APP, APP_SECRET, Response, TestApp};
use crate::support::raw;

const PATH: &str = "/jsapi/wx0123456789abcdef/config";

/// Asserts that `config` is signed for `url` with the ticket that WeChat issued.
#[track_caller]
fn assert_signed(app: &TestApp, config: &Value, url: &str) {
    let ticket = app
        .sandbox
        .current_ticket(APP)
        .expect("a ticket was fetched");
    let (nonce, timestamp) = (
        config["nonceStr"].as_str().unwrap(),
        config["timestamp"].as_u64().unwrap(),
    );
    let right = signature::jsapi(&ticket, nonce, timestamp, url).text();
    assert_eq!(config["signature"], right, "signed for {url:?}? {config}");
}

/// Posts `bytes` as JSON, whatever they are.
async fn post(app: &TestApp, bytes: impl Into<Vec<u8>>) -> Response {
    app.send(
        app.request(Method::POST, PATH)
            .header("content-type", "application/json")
            .body(bytes.into()),
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
async fn the_answer_is_signed_for_the_url() {
    let clock = Clock::manual(UnixMillis(1_589_203_758_999));
    let app = TestApp::build(json!({}))
        .clock(clock.clone())
        .sandbox(|sandbox| sandbox.clock = clock)
        .start()
        .await;
    let answer = app
        .config(json!({ "url": "https://example.com/a?b=c#d" }))
        .await;
    let config = answer.json();
    assert_signed(&app, &config, "https://example.com/a?b=c");
    assert_eq!(
        (&config["appId"], &config["timestamp"]),
        (&json!(APP), &json!(1_589_203_758))
    );
    let nonce = config["nonceStr"].as_str().unwrap();
    assert!(
        nonce.len() == 32
            && nonce
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
        "{nonce}"
    );
    assert_eq!(config["signature"].as_str().map(str::len), Some(40));
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(
        (answer.header("cache-control"), answer.header("warning")),
        ("no-store", "")
    );
    let again = app
        .config(json!({ "url": "https://example.com/a?b=c#d" }))
        .await
        .json();
    assert_ne!(again["nonceStr"], config["nonceStr"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_object_is_echoed_unchanged() {
    let app = TestApp::start().await;
    let body = r#" { "z" : 1.0 , "debug":true,"a":[1e3, {"b":-0.00, "x":123456789012345678901234567890}],"é\u00e9":"\/\ud83d\ude00","jsApiList":["x"] } "#;
    let expected = r#"{"z":1.0,"debug":true,"a":[1e3, {"b":-0.00, "x":123456789012345678901234567890}],"é\u00e9":"\/\ud83d\ude00","jsApiList":["x"],"#;
    assert_eq!(echo(&post(&app, body).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_four_fields_are_never_the_callers() {
    let app = TestApp::start().await;
    let body = r#"{"appId":"wxevil","signature":"s","timestamp":1,"nonceStr":"n","signatur\u0065":"t","appid":"kept","SIGNATURE":1}"#;
    let answer = post(&app, body).await;
    assert_eq!(echo(&answer), r#"{"appid":"kept","SIGNATURE":1,"#);
    for field in [
        "\"appId\":",
        "\"signature\":",
        "\"timestamp\":",
        "\"nonceStr\":",
    ] {
        assert_eq!(
            answer.body.matches(field).count(),
            1,
            "{field} in {}",
            answer.body
        );
    }
    assert_eq!(answer.json()["appId"], APP);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_signed_exactly_as_sent_up_to_the_fragment() {
    let app = TestApp::start().await;
    for (url, signed) in [
        ("http://a.cn", "http://a.cn"),
        ("https://x#y", "https://x"),
        (
            "https://a.cn/?b=c&d=%E5%BE%AE#/route?x#y",
            "https://a.cn/?b=c&d=%E5%BE%AE",
        ),
        ("HTTPS://A.cn/PATH", "HTTPS://A.cn/PATH"),
        ("https://微信.cn/路?名=值", "https://微信.cn/路?名=值"),
        (
            "https://a.cn:8443//x/../y/./?q=%2F+%20&&=",
            "https://a.cn:8443//x/../y/./?q=%2F+%20&&=",
        ),
        (
            "https://a.cn/?next=https%3A%2F%2Fb.cn%23",
            "https://a.cn/?next=https%3A%2F%2Fb.cn%23",
        ),
        (
            "https://a.cn/&jsapi_ticket=x&url=y",
            "https://a.cn/&jsapi_ticket=x&url=y",
        ),
        ("https://user:pass@a.cn/", "https://user:pass@a.cn/"),
        ("https://a.cn/ \n\u{0}", "https://a.cn/ \n\u{0}"),
        ("https://[::1]/", "https://[::1]/"),
    ] {
        let answer = app.config(json!({ "url": url })).await;
        let config = answer.json();
        assert_signed(&app, &config, signed);
        assert_eq!(
            (&config["url"], answer.header("warning")),
            (&json!(url), "")
        );
    }
    // JSON escapes are not part of the URL.
    assert_signed(
        &app,
        &post(&app, r#"{"\u0075rl":"https:\/\/a.cn\/\u0023x"}"#)
            .await
            .json(),
        "https://a.cn/",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wholly_encoded_url_is_decoded_once() {
    let app = TestApp::start().await;
    for (url, signed) in [
        ("https%3A%2F%2Fa.cn%2F%3Fb%3Dc%23d", "https://a.cn/?b=c"),
        ("http%3a%2f%2fa.cn", "http://a.cn"),
        ("HTTPS%3A%2F%2Fa.cn%2F%2520", "HTTPS://a.cn/%20"),
        ("https%3A%2F%2Fa.cn%2F%E5%BE%AE+x#late", "https://a.cn/微+x"),
    ] {
        assert_signed(
            &app,
            &app.config(json!({ "url": url })).await.json(),
            signed,
        );
    }
    for url in [
        "https%253A%252F%252Fa.cn",
        "https%3A%2F%2Fa.cn%2F%FF",
        "https%3A%2F%2F",
        "https%3A%2F%2F%23x",
    ] {
        app.config(json!({ "url": url }))
            .await
            .problem(400, "invalid_url");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_http_is_refused() {
    let app = TestApp::start().await;
    let urls = [
        "",
        "#",
        "#https://a.cn",
        "/page",
        "a.cn",
        "//a.cn",
        "ftp://a.cn",
        "https:/a.cn",
        "https://",
        "https:///x",
        "https://#x",
        "https://?x",
        " https://a.cn",
        "https:// a.cn",
        "httpsx://a.cn",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "undefined",
    ];
    for url in urls {
        app.config(json!({ "url": url }))
            .await
            .problem(400, "invalid_url");
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("url", url)
            .finish();
        app.get(&format!("{PATH}?{query}"))
            .await
            .problem(400, "invalid_url");
    }
    for url in [
        json!(1),
        json!(null),
        json!(true),
        json!(["https://a.cn"]),
        json!({ "href": "https://a.cn" }),
    ] {
        app.config(json!({ "url": url }))
            .await
            .problem(400, "invalid_url");
    }
    app.config_text(r#"{"url":"https://a.cn/\ud800"}"#)
        .await
        .problem(400, "invalid_url");
    // Of two the last one wins, as for whoever parses the answer.
    app.config_text(r#"{"url":"https://a.cn","url":1}"#)
        .await
        .problem(400, "invalid_url");
    assert_signed(
        &app,
        &app.config_text(r#"{"url":1,"url":"https://a.cn"}"#)
            .await
            .json(),
        "https://a.cn",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_url_the_referer_is_signed() {
    let app = TestApp::start().await;
    let ask = async |method: Method, referer: Option<&str>| {
        let mut request = app.request(method, PATH);
        if let Some(referer) = referer {
            request = request.header("referer", referer);
        }
        app.send(request).await
    };
    for method in [Method::POST, Method::GET] {
        let answer = ask(method.clone(), Some("https://a.cn/page?x=1#top")).await;
        assert_signed(&app, &answer.json(), "https://a.cn/page?x=1");
        assert_eq!(
            (answer.header("warning"), answer.json().get("url")),
            ("", None)
        );
        for referer in [
            None,
            Some("/page"),
            Some("about:blank"),
            Some("android-app://x"),
            Some("https://"),
        ] {
            let answer = ask(method.clone(), referer).await;
            assert_signed(&app, &answer.json(), "");
            assert!(
                answer.header("warning").starts_with("199 jsdkd \"no url"),
                "{referer:?}: {:?}",
                answer.header("warning")
            );
        }
    }
    // The caller's own url wins.
    let request = app
        .request(Method::GET, &format!("{PATH}?url=https://b.cn/"))
        .header("referer", "https://a.cn/");
    assert_signed(&app, &app.send(request).await.json(), "https://b.cn/");
    let referer = "Referer: https://a.cn/\u{e9}\r\n";
    let answer = raw::send(app.address(), &format!("POST {PATH}"), referer, b"").await;
    assert_eq!(answer.status, 200);
    assert_ne!(
        answer.header("warning"),
        "",
        "a Referer that is not plain ASCII is no address"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referer_with_only_an_origin_is_signed_with_a_warning() {
    let app = TestApp::start().await;
    for (referer, signed) in [
        ("https://a.cn/", "https://a.cn/"),
        ("http://a.cn:8080/", "http://a.cn:8080/"),
        ("https://a.cn", "https://a.cn"),
    ] {
        for method in [Method::POST, Method::GET] {
            let answer = app
                .send(app.request(method.clone(), PATH).header("referer", referer))
                .await;
            assert_signed(&app, &answer.json(), signed);
            assert!(
                answer.header("warning").starts_with("199 jsdkd \"")
                    && answer.header("warning").contains("Referer"),
                "{answer:?}"
            );
            // The url of the page itself causes no warning.
            let url = json!({ "url": referer }).to_string();
            let own = app
                .request(Method::POST, PATH)
                .header("referer", referer)
                .header("content-type", "application/json")
                .body(url);
            assert_eq!(app.send(own).await.header("warning"), "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_a_get_does_not_encode_is_signed_with_a_warning() {
    let app = TestApp::start().await;
    for (query, signed) in [
        ("url=https://a.cn/p?b=1&c=2", "https://a.cn/p?b=1"),
        (
            "jsApiList=x&url=https://a.cn/p?b=1&c=2&debug=true",
            "https://a.cn/p?b=1",
        ),
        ("url=https://a.cn/p?b=1&c", "https://a.cn/p?b=1"),
        ("url=https://a.cn/p?q=a+b", "https://a.cn/p?q=a b"),
        ("url=https://a.cn/p?q=%E5%BE%AE", "https://a.cn/p?q=微"),
    ] {
        let answer = app.get(&format!("{PATH}?{query}")).await;
        assert_signed(&app, &answer.json(), signed);
        assert!(
            answer.header("warning").contains("encodeURIComponent"),
            "{query}: {answer:?}"
        );
    }
    for query in [
        "url=https%3A%2F%2Fa.cn%2Fp%3Fb%3D1%26c%3D2",
        "url=https%3A%2F%2Fa.cn%2Fp%3Fb%3D1%26c%3D2&any=1",
        "url=https://a.cn/p?b=1&jsApiList=a,b&openTagList=c&debug=true",
        "any=1&url=https://a.cn/p",
    ] {
        assert_eq!(
            app.get(&format!("{PATH}?{query}")).await.header("warning"),
            "",
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_appid_is_not_found() {
    let app = TestApp::start().await;
    let long = "w".repeat(15_000);
    for unknown in [
        "wxunknown",
        "WX0123456789ABCDEF",
        "wx%00",
        "wx0123456789abcdef%00",
        "%ff",
        "..",
        "%2e%2e",
        "%2F",
        " ".trim(),
        "wx%20",
        &long,
    ] {
        for method in ["GET", "POST", "HEAD"] {
            let answer = raw::send(
                app.address(),
                &format!("{method} /jsapi/{unknown}/config"),
                "",
                b"",
            )
            .await;
            assert_eq!(answer.status, 404, "{unknown}");
        }
    }
    app.get("/jsapi/wxunknown/config")
        .await
        .problem(404, "unknown_app");
    // A percent-encoded letter equals the letter.
    app.get("/jsapi/wx0123456789%61bcdef/config").await.json();
    app.get(&format!("{PATH}/")).await.json();
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_is_signed_with_its_own_ticket() {
    let second = "wx-second";
    let accounts =
        json!([{ "key": APP, "secret": APP_SECRET }, { "key": second, "secret": "s-2" }]);
    let app = TestApp::build(json!({ "apps": accounts }));
    let app = app
        .sandbox(|sandbox| sandbox.accounts.push((second.to_owned(), "s-2".to_owned())))
        .start()
        .await;
    let config = app
        .get("/jsapi/wx-second/config?url=https://a.cn/")
        .await
        .json();
    let ticket = app.sandbox.current_ticket(second).unwrap();
    let (nonce, timestamp) = (
        config["nonceStr"].as_str().unwrap(),
        config["timestamp"].as_u64().unwrap(),
    );
    assert_eq!(
        (&config["appId"], &config["signature"]),
        (
            &json!(second),
            &json!(signature::jsapi(&ticket, nonce, timestamp, "https://a.cn/").text())
        )
    );
    assert_eq!(app.sandbox.current_ticket(APP), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_has_the_same_parameters() {
    let app = TestApp::start().await;
    let answer = app
        .get(&format!("{PATH}?url=https%3A%2F%2Fa.cn%2F%3Fx%3D1%23t&jsApiList=a,b&openTagList=c&debug=true&any=+1%26&appId=x"))
        .await;
    let config = answer.json();
    assert_signed(&app, &config, "https://a.cn/?x=1");
    let sent = json!({ "url": "https://a.cn/?x=1#t", "jsApiList": ["a", "b"], "openTagList": ["c"], "debug": true, "any": " 1&" });
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&config[name], value, "{name}");
    }
    assert_eq!(
        (config["appId"].as_str(), answer.header("cache-control")),
        (Some(APP), "no-store")
    );
    // Encoded twice, as an encoded url in a form would be.
    assert_signed(
        &app,
        &app.get(&format!("{PATH}?url=https%253A%252F%252Fa.cn%252F"))
            .await
            .json(),
        "https://a.cn/",
    );
    let bare = app.get(PATH).await;
    assert_eq!(echo(&bare), "{");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gets_lists_may_be_split_into_several_parameters() {
    let app = TestApp::start().await;
    let config = app
        .get(&format!("{PATH}?jsApiList=a,+b,,&jsApiList=c&x=1&x=2&url=ftp://no&url=https://a.cn/&debug=1&=nameless&flag"))
        .await;
    // A url that cannot be signed is an error in every position.
    config.problem(400, "invalid_url");
    let config = app
        .get(&format!("{PATH}?jsApiList=a,+b,,&jsApiList=c&x=1&x=2&url=https://b.cn/&url=https://a.cn/&debug=1&=nameless&flag"))
        .await
        .json();
    assert_signed(&app, &config, "https://a.cn/");
    assert_eq!(config["jsApiList"], json!(["a", "b", "c"]));
    assert_eq!(
        (
            &config["x"],
            &config["debug"],
            &config["flag"],
            config.get("")
        ),
        (&json!("2"), &json!("1"), &json!(""), None)
    );
    assert_eq!(
        app.get(&format!("{PATH}?jsApiList=")).await.json()["jsApiList"],
        json!([])
    );
}
