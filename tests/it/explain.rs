//! The signing doctor: `POST /jsapi/{appid}/explain`, the helper's line in the console, and
//! `jsdkd sign --explain`. A browser's mistakes are made in a browser.

use std::fs;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use wechat::explain::{Code, Lingo};
use wechat::signature;

use crate::support::app::{APP, APP_SECRET, Response, TestApp, config_of, lay};
use crate::support::devtools::{Devtools, Tab};
use crate::support::page::site;
use crate::support::redis::RedisServer;

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0 Mobile Safari/537.36 MicroMessenger/8.0.49";
const OTHER: &str = "wxfedcba9876543210";
const NONCE: &str = "Wm3WZYTPz0wzccnW";
const TIME: u64 = 1_589_203_758;
const PAGE: &str = "https://shop.example.com/list/item?id=7&name=%E5%BE%AE&sort=up";

fn sign(ticket: &str, url: &str) -> String {
    signature::jsapi(ticket, NONCE, TIME, url).text()
}

fn question(url: &str, signature: &str) -> Value {
    json!({ "url": url, "nonceStr": NONCE, "timestamp": TIME, "signature": signature })
}

async fn post(app: &TestApp, body: &Value) -> Response {
    let request = app
        .request(Method::POST, &format!("/jsapi/{APP}/explain"))
        .header("content-type", "application/json");
    app.send(request.body(body.to_string())).await
}

/// The answer to `signature` for a page that says `url`.
async fn explained(app: &TestApp, url: &str, signature: &str) -> Value {
    let answer = post(app, &question(url, signature)).await;
    assert_eq!(
        (
            answer.header("content-type"),
            answer.header("cache-control")
        ),
        ("application/json; charset=utf-8", "no-store")
    );
    answer.json()
}

async fn two_accounts() -> TestApp {
    let apps =
        json!([{ "key": APP, "secret": APP_SECRET }, { "key": OTHER, "secret": "other-secret" }]);
    TestApp::build(json!({ "apps": apps }))
        .sandbox(|sandbox| {
            sandbox
                .accounts
                .push((OTHER.to_owned(), "other-secret".to_owned()));
        })
        .start()
        .await
}

/// A ticket that the server has signed with, by a config of its own.
async fn ticket(app: &TestApp) -> String {
    app.config(json!({ "url": PAGE })).await.json();
    app.sandbox.current_ticket(APP).expect("a ticket")
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_signature_is_correct_and_nothing_is_given_away() {
    let app = two_accounts().await;
    let config = app
        .config(json!({ "url": format!("{PAGE}#/top") }))
        .await
        .json();
    let mut body = config.clone();
    lay(
        &mut body,
        json!({ "url": format!("{PAGE}#/top"), "jsApiList": ["x"] }),
    );
    let answer = post(&app, &body).await.json();
    assert_eq!(
        (&answer["match"], &answer["finding"]),
        (&json!(true), &json!("correct"))
    );
    assert_eq!(
        answer["string1"],
        format!(
            "jsapi_ticket=***&noncestr={}&timestamp={}&url={PAGE}",
            config["nonceStr"].as_str().unwrap(),
            config["timestamp"]
        )
    );
    // A text for a timestamp is what many pages have.
    lay(
        &mut body,
        json!({ "timestamp": config["timestamp"].to_string() }),
    );
    assert_eq!(post(&app, &body).await.json()["finding"], "correct");
    // A page elsewhere is told how the two addresses differ.
    lay(
        &mut body,
        json!({ "pageUrl": format!("{PAGE}&from=singlemessage&isappinstalled=0#x") }),
    );
    let answer = post(&app, &body).await.json();
    assert_eq!(
        (&answer["finding"], &answer["difference"]),
        (&json!("correct"), &json!("wechat_parameters"))
    );
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.contains("another address") && detail.contains("isappinstalled"),
        "{detail}"
    );
    let ticket = app.sandbox.current_ticket(APP).unwrap();
    assert!(!answer.to_string().contains(&ticket), "{answer}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_ends_mistakes_are_named() {
    let app = two_accounts().await;
    let ticket = ticket(&app).await;
    for (signed, finding) in [
        (format!("{PAGE}#/top"), "fragment_signed"),
        (PAGE.replace("item?", "item/?"), "trailing_slash"),
        (PAGE.replace('%', "%25"), "encoded_twice"),
        (PAGE.replace("%E5%BE%AE", "微"), "decoded"),
        (PAGE.replace("https", "http"), "other_scheme"),
        (PAGE.replace(".com/", ".com:3000/"), "other_port"),
        (
            "https://shop.example.com/list/item?id=7".to_owned(),
            "query_cut",
        ),
        (
            "https://shop.example.com/list/item?id=7&sort=up&name=%E5%BE%AE".to_owned(),
            "query_reordered",
        ),
        (
            format!("{PAGE}&from=timeline&isappinstalled=0"),
            "wechat_parameters",
        ),
        ("https://shop.example.com/".to_owned(), "entry_url"),
        (
            "https://elsewhere.example.com/".to_owned(),
            "unknown_ticket",
        ),
    ] {
        let url = format!("{PAGE}#/top");
        let answer = explained(&app, &url, &sign(&ticket, &signed)).await;
        assert_eq!(
            (&answer["match"], &answer["finding"]),
            (&json!(false), &json!(finding)),
            "{signed}"
        );
        assert!(!answer.to_string().contains(&ticket));
    }
    let capitals = sign(&ticket, PAGE).to_uppercase();
    assert_eq!(
        explained(&app, PAGE, &capitals).await["finding"],
        "uppercase"
    );
    for (string1, finding) in [
        (
            format!("jsapi_ticket={ticket}&noncestr={NONCE}&timestamp={TIME}042&url={PAGE}"),
            "timestamp_in_ms",
        ),
        (
            format!("jsapi_ticket={ticket}&nonceStr={NONCE}&timestamp={TIME}&url={PAGE}"),
            "field_name",
        ),
    ] {
        let signature = signature::Hex::from(<[u8; 20]>::from(Sha1::digest(&string1))).text();
        assert_eq!(explained(&app, PAGE, &signature).await["finding"], finding);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_values_in_the_tickets_place_are_named() {
    let app = two_accounts().await;
    app.sandbox.tune(sandbox::Tuning {
        ticket_reuse: Some(false),
        ..Default::default()
    });
    let ticket = ticket(&app).await;
    let other = app.request(
        Method::GET,
        &format!("/jsapi/{OTHER}/config?url=https%3A%2F%2Fa.cn"),
    );
    app.send(other).await.json();
    let card = app.value("card_ticket").await;
    let token = app.value("token").await;
    let others = app.sandbox.current_ticket(OTHER).unwrap();
    for (value, finding) in [
        (&card, "card_ticket"),
        (&token, "token_as_ticket"),
        (&others, "other_account_ticket"),
    ] {
        let answer = explained(&app, PAGE, &sign(value, PAGE)).await;
        assert_eq!(answer["finding"], finding);
        let answer = answer.to_string();
        assert!(
            !answer.contains(OTHER) && !answer.contains(value.as_str()),
            "{answer}"
        );
    }
    // WeChat has refused the ticket, so the server has another one now.
    let fresh = app.rotate("ticket", &ticket).await.json()["value"].clone();
    assert_ne!(fresh, ticket);
    let answer = explained(&app, PAGE, &sign(&ticket, PAGE)).await;
    assert_eq!(answer["finding"], "previous_ticket");
    let fresh = fresh.as_str().unwrap();
    assert_eq!(
        explained(&app, PAGE, &sign(fresh, PAGE)).await["finding"],
        "correct"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ticket_before_is_known_to_another_instance() {
    let redis = RedisServer::start();
    let cache = json!({ "cache": { "redis": redis.url() } });
    let first = TestApp::with(cache.clone()).await;
    first.sandbox.tune(sandbox::Tuning {
        ticket_reuse: Some(false),
        ..Default::default()
    });
    let before = ticket(&first).await;
    let fresh = first.rotate("ticket", &before).await.json()["value"].clone();
    assert_ne!(fresh, before);
    // It has never held the ticket before.
    let mut settings = cache;
    lay(
        &mut settings,
        json!({ "wechat": { "api": [first.sandbox.url()], "open": first.sandbox.url() } }),
    );
    let second = TestApp::with(settings).await;
    let calls = first.sandbox.calls("/cgi-bin/ticket/getticket");
    let answer = explained(&second, PAGE, &sign(&before, PAGE)).await;
    assert_eq!(answer["finding"], "previous_ticket", "{answer}");
    assert!(!answer.to_string().contains(&before), "{answer}");
    let stranger = explained(&second, PAGE, &sign("a-strangers-ticket", PAGE)).await;
    assert_eq!(stranger["finding"], "unknown_ticket");
    assert_eq!(first.sandbox.calls("/cgi-bin/ticket/getticket"), calls);
    second.stop().await;
    first.stop().await;
}

const CORP: &str = "ww0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn wecoms_signatures_are_explained() {
    let secret = "corp-secret-marker-1c1c";
    let app = TestApp::build(json!({ "cors": ["shop\\.example\\.com"] }))
        .sandbox(|sandbox| sandbox.accounts.push((CORP.to_owned(), secret.to_owned())))
        .start()
        .await;
    let application = |agentid: u32| json!({ "corpid": CORP, "agentid": agentid, "secret": secret, "api": app.sandbox.url() });
    let settings = json!({
        "cors": ["shop\\.example\\.com"],
        "wecom": [application(1000002), application(1000003)],
    });
    app.reloader.apply(config_of(&app.sandbox, settings));
    let send = async |path: &str, body: &Value| {
        let request = app
            .request(Method::POST, &format!("/jsapi/{path}"))
            .header("content-type", "application/json")
            .header("origin", "https://shop.example.com");
        app.send(request.body(body.to_string())).await
    };
    let account = ticket(&app).await;
    for query in ["", "?type=agent&agentid=1000002"] {
        // Our own signature is right.
        let config = send(&format!("{CORP}/config{query}"), &json!({ "url": PAGE })).await;
        let mut body = config.json();
        lay(&mut body, json!({ "url": PAGE }));
        let path = format!("{CORP}/explain{query}");
        let answer = send(&path, &body).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "https://shop.example.com"
        );
        assert_eq!(
            answer.json()["finding"],
            "correct",
            "{query}: {}",
            answer.body
        );
        // A mistake in the address, and the ticket of an official account.
        lay(&mut body, json!({ "url": format!("{PAGE}&x=1") }));
        let answer = send(&path, &body).await.json();
        assert_eq!(answer["finding"], "query_cut", "{answer}");
        let answer = send(&path, &question(PAGE, &sign(&account, PAGE)))
            .await
            .json();
        assert_eq!(answer["finding"], "other_account_ticket", "{answer}");
        let answer = send(&path, &question(PAGE, &sign("unknown", PAGE)))
            .await
            .json();
        assert_eq!(answer["finding"], "unknown_ticket", "{answer}");
    }
    // wx.config was signed for wx.agentConfig.
    let path = format!("{CORP}/config?type=agent&agentid=1000002");
    let mut body = send(&path, &json!({ "url": PAGE })).await.json();
    lay(&mut body, json!({ "url": PAGE }));
    let answer = send(&format!("{CORP}/explain"), &body).await;
    assert_eq!(
        answer.json()["finding"],
        "other_account_ticket",
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("1000002"), "{}", answer.body);
    // The application's token in the ticket's place.
    let token: Value = {
        let url = format!(
            "{}/cgi-bin/gettoken?corpid={CORP}&corpsecret={secret}",
            app.sandbox.url()
        );
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let signature = sign(token["access_token"].as_str().unwrap(), PAGE);
    let path = format!("{CORP}/explain");
    let answer = send(&path, &question(PAGE, &signature)).await.json();
    assert_eq!(answer["finding"], "token_as_ticket", "{answer}");
    // The rules are those of the config.
    send(
        &format!("{APP}/explain?type=agent"),
        &question(PAGE, &signature),
    )
    .await
    .problem(400, "malformed_query");
    send(
        &format!("{CORP}/explain?type=agent"),
        &question(PAGE, &signature),
    )
    .await
    .problem(400, "malformed_query");
    send(
        &format!("{CORP}/explain?type=agent&agentid=7"),
        &question(PAGE, &signature),
    )
    .await
    .problem(404, "unknown_app");
    let foreign = app
        .request(Method::POST, &format!("/jsapi/{path}"))
        .header("content-type", "application/json")
        .header("origin", "https://evil.test")
        .body(question(PAGE, &signature).to_string());
    app.send(foreign).await.problem(403, "origin_not_allowed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_signature_is_refused() {
    let app = TestApp::start().await;
    let right = question(PAGE, &"0".repeat(40));
    for (over, code) in [
        (json!({ "signature": "0".repeat(39) }), "invalid_signature"),
        (json!({ "signature": "g".repeat(40) }), "invalid_signature"),
        (json!({ "signature": 7 }), "invalid_signature"),
        (json!({ "signature": null }), "invalid_signature"),
        (json!({ "nonceStr": null }), "invalid_signature"),
        (json!({ "nonceStr": "n".repeat(129) }), "invalid_signature"),
        (json!({ "timestamp": "soon" }), "invalid_signature"),
        (json!({ "timestamp": -1 }), "invalid_signature"),
        (json!({ "url": null }), "invalid_url"),
        (json!({ "url": ["x"] }), "invalid_url"),
        (json!({ "pageUrl": "x".repeat(4097) }), "invalid_url"),
    ] {
        let mut body = right.clone();
        lay(&mut body, over.clone());
        post(&app, &body).await.problem(400, code);
    }
    post(&app, &json!([]))
        .await
        .problem(400, "body_not_an_object");
    let unknown = app
        .request(Method::POST, "/jsapi/wxunknown/explain")
        .header("content-type", "application/json")
        .body(right.to_string());
    app.send(unknown).await.problem(404, "unknown_app");
    app.get(&format!("/jsapi/{APP}/explain"))
        .await
        .problem(405, "method_not_allowed");
    // The same pages may ask as may get a signature.
    let closed = TestApp::with(json!({ "cors": ["shop\\.example\\.com"] })).await;
    let from = |origin: &str| {
        closed
            .request(Method::POST, &format!("/jsapi/{APP}/explain"))
            .header("content-type", "application/json")
            .header("origin", origin)
            .body(right.to_string())
    };
    closed
        .send(from("https://evil.test"))
        .await
        .problem(403, "origin_not_allowed");
    let allowed = closed.send(from("https://shop.example.com")).await;
    assert_eq!(allowed.json()["finding"], "unknown_ticket");
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "https://shop.example.com"
    );
    closed.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_thirty_times_a_minute() {
    let app = TestApp::start().await;
    let body = question(PAGE, &"0".repeat(40));
    let ask = || {
        app.request(Method::POST, &format!("/jsapi/{APP}/explain"))
            .header("content-type", "application/json")
            .header("x-forwarded-for", "203.0.113.7")
            .body(body.to_string())
    };
    let mut refused = 0;
    for _ in 0..34 {
        let answer = app.send(ask()).await;
        if answer.status == 429 {
            refused += 1;
            answer.problem(429, "too_many_requests");
            let pause: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&pause), "{pause}");
        }
    }
    assert!(refused >= 3, "{refused}");
    post(&app, &body).await.json();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sentence_is_in_the_readers_language() {
    let app = TestApp::start().await;
    let detail = async |language: &str| {
        let request = app
            .request(Method::POST, &format!("/jsapi/{APP}/explain"))
            .header("content-type", "application/json")
            .header("accept-language", language)
            .body(question(PAGE, &"0".repeat(40)).to_string());
        app.send(request).await.json()["detail"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (chinese, english) = (detail("zh-CN,zh;q=0.9,en;q=0.8").await, detail("*").await);
    assert!(chinese.contains("这里已知的"), "{chinese}");
    assert!(english.starts_with("No ticket"), "{english}");
    assert_eq!(detail("en,zh;q=0.5").await, english);
    app.stop().await;
}

/// What a naive back end signs for the page of `tab`, and what the server says about it. `signed` is
/// an expression of the page's.
async fn signed_in(app: &TestApp, tab: &Tab<'_>, ticket: &str, signed: &str) -> Value {
    let signed = tab.until(signed).await;
    let signature = sign(ticket, signed.as_str().unwrap());
    tab.value(&format!(
        "window.answer = null; fetch('{}/jsapi/{APP}/explain', {{
           method: 'POST', headers: {{ 'content-type': 'application/json' }},
           body: JSON.stringify({{ url: location.href, pageUrl: location.href, nonceStr: '{NONCE}', timestamp: {TIME}, signature: '{signature}' }})
         }}).then(function (r) {{ return r.json(); }}).then(function (a) {{ window.answer = a; }})",
        app.url
    ))
    .await;
    tab.until("window.answer").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_mistakes_are_named() {
    let app = TestApp::start().await;
    let ticket = ticket(&app).await;
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let (port, _site) = site("data:text/javascript,0", "");
    let origin = format!("http://shop.example.com:{port}");
    let tab = browser.tab().await;
    tab.go(&format!("{origin}/cart?a=1#/checkout")).await;
    let found = signed_in(&app, &tab, &ticket, "location.hash && location.href").await;
    assert_eq!(found["finding"], "fragment_signed", "{found}");
    let found = signed_in(&app, &tab, &ticket, "location.href.split('#')[0]").await;
    assert_eq!(
        (&found["finding"], &found["match"]),
        (&json!("correct"), &json!(true)),
        "{found}"
    );
    let found = signed_in(&app, &tab, &ticket, "location.origin").await;
    assert_eq!(found["finding"], "entry_url", "{found}");
    // A router moves inside the page; the back end has signed where it was entered.
    tab.value(
        "window.entry = location.href.split('#')[0]; history.pushState(null, '', '/cart/item/7')",
    )
    .await;
    let found = signed_in(&app, &tab, &ticket, "location.origin + '/cart'").await;
    assert_eq!(found["finding"], "entry_url", "{found}");
    // What a link looks like after somebody has shared it in a chat.
    tab.go(&format!(
        "{origin}/shared?a=1&from=singlemessage&isappinstalled=0"
    ))
    .await;
    let found = signed_in(
        &app,
        &tab,
        &ticket,
        "location.pathname === '/shared' && location.origin + '/shared?a=1'",
    )
    .await;
    assert_eq!(found["finding"], "wechat_parameters", "{found}");
    // URLSearchParams writes what it has read in its own way.
    tab.go(&format!("{origin}/found?q=%E5%BE%AE&p=2")).await;
    for (signed, finding) in [
        (
            "location.search.length > 9 && encodeURI(location.href)",
            "encoded_twice",
        ),
        ("encodeURIComponent(location.href)", "encoded_twice"),
        ("decodeURIComponent(location.href)", "decoded"),
        ("location.origin + location.pathname", "query_cut"),
        (
            "location.href.replace(':' + location.port, '')",
            "other_port",
        ),
        ("location.href.replace('http:', 'https:')", "other_scheme"),
        (
            "(function () { var s = new URLSearchParams(location.search); s.sort(); return location.origin + '/found?' + s; })()",
            "query_reordered",
        ),
        ("location.href.replace('?', '/?')", "trailing_slash"),
    ] {
        let found = signed_in(&app, &tab, &ticket, signed).await;
        assert_eq!(found["finding"], finding, "{signed}: {found}");
    }
    app.stop().await;
}

/// What the helper prints when WeChat refuses the signature of a page whose script is `script`.
async fn printed(app: &TestApp, agent: &str, path: &str, script: &str) -> Option<String> {
    let browser = Devtools::start().await?;
    let script = format!(
        "refusal = 'config:invalid signature'; var printed = []; console.error = function (line) {{ printed.push(line); }}; {script}"
    );
    let (port, _site) = site(&format!("{}/jsdkd.js", app.url), &script);
    let tab = browser.tab().await;
    tab.pretend(agent).await;
    tab.go(&format!("http://shop.example.com:{port}{path}"))
        .await;
    let line = tab
        .until("typeof printed === 'object' && printed.join('|')")
        .await;
    Some(line.as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_helper_names_the_entry_address_on_an_iphone() {
    let app = TestApp::start().await;
    // The mistake: the page signs the router's address, and iOS wants the one first entered.
    let routed = format!(
        "history.pushState(null, '', '/item/7?c=2#x'); jsdkd.config({{ appid: '{APP}', url: location.href }}).catch(function () {{}});"
    );
    let Some(line) = printed(&app, IPHONE, "/cart?a=1#/top", &routed).await else {
        return;
    };
    assert!(
        line.starts_with("jsdkd: entry_url: ") && line.contains("iOS"),
        "{line}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_helper_names_wechats_parameters() {
    let app = TestApp::start().await;
    let canonical = format!(
        "jsdkd.config({{ appid: '{APP}', url: location.origin + '/cart?a=1' }}).catch(function () {{}});"
    );
    let path = "/cart?a=1&from=groupmessage&isappinstalled=0";
    let Some(line) = printed(&app, ANDROID, path, &canonical).await else {
        return;
    };
    assert!(line.starts_with("jsdkd: wechat_parameters: "), "{line}");
    app.stop().await;
}

#[test]
fn sign_explains_without_a_server() {
    let run = |signature: &str| {
        let ran = Command::new(env!("CARGO_BIN_EXE_jsdkd"))
            .args(["sign", "--ticket", "t-1", "--url", PAGE, "--nonce", NONCE])
            .args(["--timestamp", &TIME.to_string(), "--explain", signature])
            .output()
            .unwrap();
        let told = String::from_utf8(ran.stdout).unwrap();
        assert!(!told.contains("t-1"), "{told}");
        (ran.status.code(), told)
    };
    let (code, told) = run(&sign("t-1", PAGE));
    assert!(
        code == Some(0) && told.starts_with("finding    correct\n"),
        "{told}"
    );
    let (code, told) = run(&sign("t-1", &format!("{PAGE}#/")));
    assert!(
        code == Some(1)
            && told.contains("fragment_signed")
            && told.contains("location.href.split('#')[0]")
            && told.contains("请签名"),
        "{told}"
    );
    assert_eq!(run("xyz").0, Some(1));
    let string1 = |nonce: &str, time: u64| {
        let string1 = format!("jsapi_ticket=t-1&{nonce}={NONCE}&timestamp={time}&url={PAGE}");
        signature::Hex::from(<[u8; 20]>::from(Sha1::digest(&string1))).text()
    };
    for (signature, finding) in [
        (
            sign("t-1", &PAGE.replace("item?", "item/?")),
            "trailing_slash",
        ),
        (sign("t-1", &PAGE.replace('%', "%25")), "encoded_twice"),
        (sign("t-1", &PAGE.replace("%E5%BE%AE", "微")), "decoded"),
        (sign("t-1", &PAGE.replace("https", "http")), "other_scheme"),
        (
            sign("t-1", &PAGE.replace(".com/", ".com:3000/")),
            "other_port",
        ),
        (
            sign("t-1", "https://shop.example.com/list/item?id=7"),
            "query_cut",
        ),
        (
            sign(
                "t-1",
                "https://shop.example.com/list/item?id=7&sort=up&name=%E5%BE%AE",
            ),
            "query_reordered",
        ),
        (
            sign("t-1", &format!("{PAGE}&from=timeline&isappinstalled=0")),
            "wechat_parameters",
        ),
        (sign("t-1", "https://shop.example.com/"), "entry_url"),
        (sign("t-1", PAGE).to_uppercase(), "uppercase"),
        (string1("noncestr", TIME * 1000 + 42), "timestamp_in_ms"),
        (string1("nonceStr", TIME), "field_name"),
        (sign("t-2", PAGE), "unknown_ticket"),
    ] {
        let (code, told) = run(&signature);
        assert!(
            code == Some(1) && told.starts_with(&format!("finding    {finding}\n")),
            "{finding}: {told}"
        );
    }
}

#[test]
fn the_pages_about_signing_list_every_finding() {
    for (page, lingo) in [
        ("signing.md", Lingo::English),
        ("signing.zh-CN.md", Lingo::Chinese),
    ] {
        let page =
            fs::read_to_string(format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let rows: Vec<&str> = page
            .lines()
            .skip_while(|line| !line.starts_with("| `correct` |"))
            .collect();
        let expected: Vec<String> = Code::all()
            .map(|code| format!("| `{}` | {} |", code.name(), code.sentence(lingo)))
            .collect();
        assert_eq!(rows, expected);
    }
}
