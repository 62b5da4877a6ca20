//! songquanpeng/wechat-server's contract: codes from the account's chat for openids, the token, and
//! the message server at its own path.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use wechat::message::Message;

use crate::settings::{faults, good};
use crate::support::app::{APP, APP_SECRET, Response, TestApp, lay};
use crate::support::deliveries::{
    AES_KEY, TOKEN, content, deliver, event, message, opened, plain_query, push, said, sealed, text,
};
use crate::support::programs;
use crate::support::raw;
use crate::support::redis::RedisServer;

const KEY: &str = "wechat-server-token-marker-7c1d";
const USER: &str = "/api/wechat/user?code=";
const WORD: &str = "验证码";

fn with(more: Value) -> Value {
    let mut settings = json!({
        "apps": [{ "key": APP, "secret": APP_SECRET, "token": TOKEN, "messages": "echo" }],
        "wechatServer": { "token": KEY },
    });
    lay(&mut settings, more);
    settings
}

async fn server() -> TestApp {
    TestApp::with(with(json!({}))).await
}

/// `GET path` with the token.
async fn ask(app: &TestApp, path: &str) -> Response {
    let request = app.request(Method::GET, path).header("authorization", KEY);
    app.send(request).await
}

/// What the account answers to `xml` at the neighbour's path.
async fn told(app: &TestApp, xml: &str) -> String {
    said(&deliver(app, "/api/wechat", &plain_query(0, "n-1"), xml).await)
}

/// A code for a message with a number of its own.
#[track_caller]
fn code(answer: &str) -> String {
    assert!(
        answer.len() == 6 && answer.bytes().all(|byte| byte.is_ascii_digit()),
        "{answer}"
    );
    answer.to_owned()
}

fn openid(answer: &Response) -> Option<String> {
    let body = answer.json();
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    if body["success"] == json!(true) {
        assert_eq!(
            body,
            json!({ "success": true, "message": "", "data": body["data"] })
        );
        return Some(body["data"].as_str().unwrap().to_owned());
    }
    assert_eq!(body["success"], json!(false));
    assert!(body["message"].as_str().unwrap().len() > 10 && body.get("data").is_none());
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_from_the_chat_is_an_openid_once() {
    let app = server().await;
    let code = code(&told(&app, &text(WORD, 1)).await);
    // HEAD, a wrong token and a malformed code use nothing up.
    let head = app.request(Method::HEAD, &format!("{USER}{code}"));
    assert_eq!(
        app.send(head.header("authorization", KEY)).await.status,
        200
    );
    let stranger = app.request(Method::GET, &format!("{USER}{code}"));
    assert_eq!(openid(&app.send(stranger).await), None);
    for wrong in [
        "",
        "12345",
        &format!("{code}0"),
        &format!("{code}&code={code}"),
    ] {
        assert_eq!(openid(&ask(&app, &format!("{USER}{wrong}")).await), None);
    }
    let padded = format!("{USER}%20{code}%20");
    assert_eq!(openid(&ask(&app, &padded).await).as_deref(), Some("oUser"));
    assert_eq!(openid(&ask(&app, &padded).await), None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_for_three_minutes() {
    let clock = Clock::manual(Clock::system().wall());
    let app = TestApp::build(with(json!({}))).clock(clock.clone());
    let app = app
        .sandbox(|sandbox| sandbox.clock = clock.clone())
        .start()
        .await;
    let first = code(&told(&app, &text(WORD, 1)).await);
    let second = code(&told(&app, &text(WORD, 2)).await);
    clock.advance(Duration::from_secs(179));
    assert!(openid(&ask(&app, &format!("{USER}{first}")).await).is_some());
    clock.advance(Duration::from_secs(2));
    assert_eq!(openid(&ask(&app, &format!("{USER}{second}")).await), None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gos_own_client_logs_in_from_another_host() {
    let Some(go) = programs::find("go") else {
        return;
    };
    let app = server().await;
    let code = code(&told(&app, &text(WORD, 1)).await);
    let cache = tempfile::tempdir().unwrap();
    // A name that this server does not know as its own, as in a network of containers.
    let ran = Command::new(go)
        .args([
            "run",
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/it/wechat_server/login.go"
            ),
        ])
        .env("SERVER", &app.url)
        .env("HOST", "wechat.shop.example.com")
        .env("TOKEN", KEY)
        .env("CODE", &code)
        .env("GOCACHE", cache.path())
        .env("GO111MODULE", "off")
        .output()
        .unwrap();
    let token = app.sandbox.current_token(APP).unwrap_or_default();
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout).trim(),
        format!("true oUser false true true {token} true"),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gos_request_gets_the_token() {
    let app = server().await;
    let request = format!(
        "GET /api/wechat/access_token HTTP/1.1\r\nHost: wechat.shop.example.com\r\nUser-Agent: Go-http-client/1.1\r\n\
         Authorization: {KEY}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    );
    let answer = raw::exchange(app.address(), request.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let left = body["expiration"].as_u64().unwrap();
    assert!((7000..=7200).contains(&left), "{left}");
    let token = app.sandbox.current_token(APP).unwrap();
    assert_eq!(
        body,
        json!({ "success": true, "message": "", "access_token": token, "expiration": left })
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_opens_it() {
    let app = server().await;
    let path = "/api/wechat/access_token";
    for good in [KEY.to_owned(), format!("Bearer {KEY}"), format!(" {KEY} ")] {
        let request = app.request(Method::GET, path).header("authorization", good);
        assert_eq!(app.send(request).await.json()["success"], json!(true));
    }
    let refused = async |request: reqwest::RequestBuilder| {
        let answer = app.send(request).await;
        assert_eq!(openid(&answer), None);
        assert!(!answer.body.contains(KEY), "{}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), "");
        answer.body
    };
    let plain = || app.request(Method::GET, path);
    let first = refused(plain()).await;
    for wrong in [
        "",
        "x",
        &KEY[1..],
        &format!("{KEY}x"),
        &format!("bearer{KEY}"),
        "Basic x",
    ] {
        assert_eq!(refused(plain().header("authorization", wrong)).await, first);
    }
    let twice = plain()
        .header("authorization", KEY)
        .header("authorization", KEY);
    assert_eq!(refused(twice).await, first);
    // A page is refused although it has the token.
    for (name, value) in [
        ("origin", "https://shop.example.com"),
        ("origin", "null"),
        ("sec-fetch-site", "same-origin"),
    ] {
        refused(plain().header("authorization", KEY).header(name, value)).await;
    }
    let posted = app.request(Method::POST, path).header("authorization", KEY);
    let posted = app.send(posted).await;
    assert_eq!(
        (posted.status.as_u16(), posted.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_messages_go_to_the_accounts_rules() {
    let app = server().await;
    assert_eq!(told(&app, &text("hi", 1)).await, "You said 'hi'");
    assert_eq!(
        told(&app, &text("验证码是多少", 2)).await,
        "You said '验证码是多少'"
    );
    assert_eq!(told(&app, &event("subscribe", "")).await, "Welcome!");
    let location = message("<MsgType>location</MsgType><Label>验证码</Label><MsgId>3</MsgId>");
    let silent = deliver(&app, "/api/wechat", &plain_query(0, "n"), &location).await;
    assert_eq!((silent.status.as_u16(), silent.body.as_str()), (200, ""));
    // The account's own address knows no codes.
    assert_eq!(
        said(&push(&app, &text(WORD, 4)).await),
        format!("You said '{WORD}'")
    );
    let forged = plain_query(0, "n").replace("signature=", "signature=0");
    deliver(&app, "/api/wechat", &forged, &text(WORD, 5))
        .await
        .problem(401, "bad_push_signature");
    let check = app
        .get(&format!("/api/wechat?{}&echostr=37", plain_query(0, "n")))
        .await;
    assert_eq!((check.status.as_u16(), check.body.as_str()), (200, "37"));
    app.get("/api/wechat")
        .await
        .problem(401, "bad_push_signature");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_app_are_settings_and_encryption_works() {
    let settings = with(json!({
        "apps": [
            { "key": "wxsecond", "secret": "s" },
            { "key": APP, "secret": APP_SECRET, "token": TOKEN, "aesKey": AES_KEY, "messages": "echo" },
        ],
        "wechatServer": { "app": APP, "words": ["登录", " login "] },
    }));
    let app = TestApp::with(settings).await;
    for (word, id) in [("登录", 1), (" login\n", 2)] {
        let (query, body) = sealed(&text(word, id), APP, "n-1");
        let answer = deliver(&app, "/api/wechat", &query, &body).await;
        let code = code(&content(&opened(&answer, APP)));
        assert_eq!(
            openid(&ask(&app, &format!("{USER}{code}")).await).as_deref(),
            Some("oUser")
        );
    }
    let (query, body) = sealed(&text(WORD, 3), APP, "n-1");
    let answer = deliver(&app, "/api/wechat", &query, &body).await;
    assert_eq!(content(&opened(&answer, APP)), format!("You said '{WORD}'"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_section_the_paths_do_not_exist() {
    let app = TestApp::start().await;
    for path in [
        "/api/wechat",
        "/api/wechat/user",
        "/api/wechat/access_token",
    ] {
        ask(&app, path).await.problem(404, "not_found");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_delivery_gets_the_same_code() {
    let app = server().await;
    let xml = text(WORD, 1);
    let answers = futures_util::future::join_all((0..6).map(|_| told(&app, &xml))).await;
    let codes: HashSet<String> = answers.iter().map(|answer| code(answer)).collect();
    assert_eq!(codes.len(), 1, "{codes:?}");
    let code = codes.iter().next().unwrap();
    assert!(openid(&ask(&app, &format!("{USER}{code}")).await).is_some());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_a_few_codes_and_others_still_theirs() {
    let app = server().await;
    let mut codes = HashSet::new();
    for id in 1..=5 {
        codes.insert(code(&told(&app, &text(WORD, id)).await));
    }
    assert_eq!(codes.len(), 5);
    assert!(told(&app, &text(WORD, 6)).await.contains("三分钟"));
    let other = text(WORD, 7).replace("[oUser]", "[oOther]");
    let answer = deliver(&app, "/api/wechat", &plain_query(0, "n-1"), &other).await;
    assert_eq!(answer.status, 200);
    let reply = Message::parse(answer.body.as_bytes()).unwrap();
    let code = code(reply.fields.text("Content").unwrap());
    assert_eq!(
        openid(&ask(&app, &format!("{USER}{code}")).await).as_deref(),
        Some("oOther")
    );
    app.stop().await;
}

/// A number of six digits that is not `code`.
fn wrong(code: &str, number: u32) -> String {
    let number = 100_000 + number;
    let number = number + u32::from(number.to_string() == code) * 500_000;
    number.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guesser_is_stopped_by_network_and_in_total() {
    let app = server().await;
    let from = async |client: &str, code: &str| {
        let request = app
            .request(Method::GET, &format!("{USER}{code}"))
            .header("authorization", KEY)
            .header("x-forwarded-for", client);
        app.send(request).await
    };
    let code = code(&told(&app, &text(WORD, 1)).await);
    // Thirty at once, so that a bound on what was answered would let more through.
    let guesses = (0..60).map(|number| {
        let guess = wrong(&code, number);
        async move { from("203.0.113.7", &guess).await.body }
    });
    let answers = futures_util::future::join_all(guesses).await;
    let looked_up = answers
        .iter()
        .filter(|answer| answer.contains("wrong, used or expired"))
        .count();
    assert_eq!(looked_up, 30, "{answers:?}");
    let stopped = from("203.0.113.7", &code).await;
    assert!(
        stopped.body.contains("too many wrong codes") && openid(&stopped).is_none(),
        "{}",
        stopped.body
    );
    // Others still log in, and right codes do not count.
    for id in 2..=4 {
        let theirs = told(&app, &text(WORD, id)).await;
        assert!(openid(&from("198.51.100.1", &theirs).await).is_some());
    }
    // The site's own address has no bound of its own, but the account has one.
    for number in 0..70 {
        assert!(openid(&ask(&app, &format!("{USER}{}", wrong(&code, number))).await).is_none());
    }
    let stopped = ask(&app, &format!("{USER}{code}")).await;
    assert!(
        stopped.body.contains("too many wrong codes"),
        "{}",
        stopped.body
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_give_a_code_out_once() {
    let redis = RedisServer::start();
    let cache = json!({ "cache": { "redis": redis.url() } });
    let first = TestApp::with(with(cache.clone())).await;
    let mut settings = with(cache);
    lay(
        &mut settings,
        json!({ "wechat": { "api": [first.sandbox.url()], "open": first.sandbox.url() } }),
    );
    let second = TestApp::with(settings).await;
    for id in 1..=3 {
        let xml = text(WORD, id);
        let (one, other) = tokio::join!(told(&first, &xml), told(&second, &xml));
        assert_eq!(code(&one), other, "one message has one code");
        let path = format!("{USER}{one}");
        let asked = (0..4).flat_map(|_| [ask(&first, &path), ask(&second, &path)]);
        let answers = futures_util::future::join_all(asked).await;
        let given = answers.iter().filter_map(openid).count();
        assert_eq!(given, 1);
    }
    second.stop().await;
    first.stop().await;
}

#[test]
fn the_section_is_checked() {
    let with = |section: &str| {
        format!("{{ apps: [{{ key: 'wx1', secret: 's', token: 't' }}], wechatServer: {section} }}")
    };
    let loaded = good(&with("{ token: 'a-token-for-the-site', words: 'login' }"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let served = loaded.config.wechat_server.expect("it is served");
    assert_eq!(
        (served.app.as_str(), served.words),
        ("wx1", vec!["login".to_owned()])
    );
    let short = good(&with("{ token: 'short-marker' }")).warnings.join("\n");
    assert!(
        short.contains("wechatServer.token: ")
            && short.contains("16 bytes")
            && !short.contains("short-marker"),
        "{short}"
    );
    for (section, fault) in [
        ("{}", "wechatServer.token: missing, expected the secret"),
        ("{ token: 7 }", "wechatServer.token: found a number"),
        ("'x'", "wechatServer: found a text, expected an object"),
        (
            "{ token: 'a-token-for-the-site', app: 'wx2' }",
            "no app of that key is configured",
        ),
        (
            "{ token: 'a-token-for-the-site', words: ['a', ' ', 7] }",
            "wechatServer.words[2]: found 7, expected a text",
        ),
    ] {
        let found = faults(&with(section));
        assert!(found.contains(fault), "{section}: {found}");
    }
    let deaf = good(
        "{ apps: [{ key: 'wx1', secret: 's' }], wechatServer: { token: 'a-token-for-the-site' } }",
    );
    assert!(deaf.warnings.join("\n").contains("its app has no token"));
}
