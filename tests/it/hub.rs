//! The contract of waynecraig/wechat-token-hub: plain values for callers with a token, and the same
//! 401 for everyone else.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clock::{Clock, UnixMillis};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use sandbox::{Fault, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::app::{APP, APP_SECRET, Response, TestApp, config_of};
use crate::support::pip::Python;
use crate::support::process::{Process, folder, settings, write_settings};
use crate::support::programs;

const KID: &str = "key1";
pub(crate) const KEY: &str = "hub-key-marker-of-more-than-32-bytes-c0de";
const OTHER: &str = "wxfedcba9876543210";
const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

/// A token whose parts are `header` and `claims`, signed with `key`.
pub(crate) fn made(header: &Value, claims: &Value, key: &str) -> String {
    let signed = [header, claims]
        .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()))
        .join(".");
    let mac = <Hmac<Sha256>>::new_from_slice(key.as_bytes())
        .unwrap()
        .chain_update(&signed)
        .finalize()
        .into_bytes();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac))
}

/// A valid token with the minimum of claims.
pub(crate) fn good() -> String {
    made(
        &json!({ "alg": "HS256", "typ": "JWT", "kid": KID }),
        &json!({ "aud": "wechat-token-hub" }),
        KEY,
    )
}

/// `GET path` with a token.
pub(crate) async fn ask(app: &TestApp, path: &str, token: &str) -> Response {
    app.send(
        app.request(Method::GET, path)
            .header("authorization", format!("Bearer {token}")),
    )
    .await
}

/// The value of a good answer.
#[track_caller]
fn value(answer: &Response) -> String {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::OK, "text/plain; charset=utf-8"),
        "{}",
        answer.body
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let left: u64 = answer.header("credential-expires-in").parse().unwrap();
    assert!((6000..=7200).contains(&left), "{left}");
    answer.body.clone()
}

/// An error in the hub's form.
#[track_caller]
fn refused(answer: &Response, status: u16) {
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (status, "text/plain; charset=utf-8"),
        "{}",
        answer.body
    );
    assert_eq!(
        (
            answer.header("cache-control"),
            answer.header("credential-expires-in")
        ),
        ("no-store", "")
    );
    assert!(
        !answer.body.contains(KEY) && !answer.body.contains(APP_SECRET),
        "{}",
        answer.body
    );
}

/// A hub with two apps, the second as its own.
async fn hub() -> TestApp {
    let apps =
        json!([{ "key": OTHER, "secret": "other-secret" }, { "key": APP, "secret": APP_SECRET }]);
    let settings = json!({ "apps": apps, "hub": { "keys": { KID: KEY }, "app": APP } });
    let app = TestApp::build(settings);
    app.sandbox(|sandbox| {
        sandbox
            .accounts
            .push((OTHER.to_owned(), "other-secret".to_owned()))
    })
    .start()
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_the_bare_value() {
    let app = hub().await;
    for (path, key) in [
        ("/access_token", "token"),
        ("/access-token", "token"),
        ("/ticket?type=jsapi", "ticket"),
        ("/ticket?type=wx_card", "card_ticket"),
        ("/hub/wx0123456789abcdef/access_token", "token"),
        ("/hub/wx0123456789abcdef/access-token", "token"),
        ("/hub/wx0123456789abcdef/ticket?type=wx_card", "card_ticket"),
        // By the router, not the fast path.
        ("/Access_Token/", "token"),
        ("/hub/wx%30123456789abcdef/TICKET?type=jsapi", "ticket"),
    ] {
        assert_eq!(
            value(&ask(&app, path, &good()).await),
            app.value(key).await,
            "{path}"
        );
    }
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (1, 2)
    );
    for path in [
        "/hub/wxfedcba9876543210/access-token",
        "/hub/wxfedcba9876543210/ticket?type=jsapi",
    ] {
        value(&ask(&app, path, &good()).await);
    }
    assert_eq!(app.sandbox.calls_of(OTHER, TOKEN), 1);
    let head = app
        .request(Method::HEAD, "/access-token")
        .header("authorization", format!("Bearer {}", good()));
    let head = app.send(head).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(
        head.header("content-length"),
        app.value("token").await.len().to_string()
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotate_renews_only_the_current_value_within_limits() {
    let app = hub().await;
    let first = value(&ask(&app, "/access-token", &good()).await);
    let again = |value: String| format!("/access-token?rotate_token={value}");
    assert_eq!(
        value(&ask(&app, &again("another".to_owned()), &good()).await),
        first
    );
    assert_eq!(
        value(&ask(&app, "/access-token?rotate_token=", &good()).await),
        first
    );
    let second = value(&ask(&app, &again(first.clone()), &good()).await);
    assert!(second != first && app.sandbox.accepts(&second));
    for refused in [first, second.clone()] {
        assert_eq!(
            value(&ask(&app, &again(refused), &good()).await),
            second,
            "a second one only after 30 seconds"
        );
    }
    assert_eq!(app.sandbox.calls(TOKEN), 2);
    for kind in ["jsapi", "wx_card"] {
        let first = value(&ask(&app, &format!("/ticket?type={kind}"), &good()).await);
        let calls = app.sandbox.calls(TICKET);
        value(
            &ask(
                &app,
                &format!("/ticket?type={kind}&rotate_ticket={first}"),
                &good(),
            )
            .await,
        );
        value(
            &ask(
                &app,
                &format!("/ticket?type={kind}&rotate_ticket=another&rotate_token={second}"),
                &good(),
            )
            .await,
        );
        assert_eq!(app.sandbox.calls(TICKET), calls + 1);
    }
    assert_eq!(app.sandbox.calls(TOKEN), 2);
    app.stop().await;
}

/// Header values that do not authenticate.
fn bad_headers() -> Vec<String> {
    let (header, claims) = (
        json!({ "alg": "HS256", "kid": KID }),
        json!({ "aud": "wechat-token-hub" }),
    );
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        made(&header, &claims, KEY)
    };
    let headed = |header: Value| made(&header, &claims, KEY);
    let none = good();
    let tokens = [
        made(&header, &claims, "wrong"),
        format!("{}.", none.rsplit_once('.').unwrap().0),
        headed(json!({ "alg": "none", "kid": KID })),
        headed(json!({ "alg": "HS384", "kid": KID })),
        headed(json!({ "alg": "RS256", "kid": KID })),
        headed(json!({ "alg": "hs256", "kid": KID })),
        headed(json!({ "alg": "HS256" })),
        headed(json!({ "alg": "HS256", "kid": "" })),
        headed(json!({ "alg": "HS256", "kid": "a.b" })),
        headed(json!({ "alg": "HS256", "kid": "KEY1" })),
        headed(json!({ "alg": "HS256", "kid": KID, "crit": ["exp"] })),
        with("aud", json!("hub")),
        with("aud", json!(null)),
        made(&header, &json!({ "exp": 9_999_999_999_u64 }), KEY),
        with("exp", json!(1_589_203_758)),
        with("exp", json!(-1)),
        with("exp", json!("9999999999")),
        with("nbf", json!(9_999_999_999_u64)),
        with("nbf", json!("0")),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        String::new(),
    ];
    let others = [
        "Basic YTpi".to_owned(),
        "Bearer".to_owned(),
        good(),
        format!("bearer {}", good()),
        format!("Bearer{}", good()),
    ];
    tokens
        .into_iter()
        .map(|token| format!("Bearer {token}"))
        .chain(others)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_invalid_token_gets_the_same_answer() {
    let app = hub().await;
    let bare = app.get("/access-token").await;
    refused(&bare, 401);
    assert_eq!(bare.header("www-authenticate"), "Bearer");
    for bad in bad_headers() {
        // Neither the account nor the type is checked first.
        for path in [
            "/access_token",
            "/ticket?type=nonsense",
            "/hub/wx-unknown/access-token",
            "/TICKET/",
        ] {
            let answer = app
                .send(app.request(Method::GET, path).header("authorization", &bad))
                .await;
            refused(&answer, 401);
            assert_eq!(answer.body, bare.body, "{path} {bad}");
        }
    }
    let twice = app
        .request(Method::GET, "/access-token")
        .header("authorization", format!("Bearer {}", good()));
    let twice = app
        .send(twice.header("authorization", format!("Bearer {}", good())))
        .await;
    refused(&twice, 401);
    assert_eq!(twice.body, bare.body);
    assert_eq!(app.sandbox.calls(TOKEN), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_times_are_exact_to_the_millisecond() {
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let app = TestApp::build(json!({ "hub": { "keys": { KID: KEY } } })).clock(clock.clone());
    let app = app
        .sandbox(|sandbox| sandbox.clock = clock.clone())
        .start()
        .await;
    let claims =
        json!({ "aud": ["a", "wechat-token-hub"], "nbf": 1_700_000_001, "exp": 1_700_000_003 });
    let token = made(&json!({ "alg": "HS256", "kid": KID }), &claims, KEY);
    for (ms, holds) in [
        (0, false),
        (999, false),
        (1000, true),
        (2999, true),
        (3000, false),
    ] {
        clock.set_wall(UnixMillis(1_700_000_000_000 + ms));
        let answer = ask(&app, "/access-token", &token).await;
        assert_eq!(
            answer.status == StatusCode::OK,
            holds,
            "after {ms} ms: {}",
            answer.body
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_one_line_of_text() {
    let app = hub().await;
    for path in [
        "/ticket",
        "/ticket?type=",
        "/ticket?type=JSAPI",
        "/ticket?type=jsapi&type=jsapi",
        "/access-token?rotate_token=a&rotate_token=b",
    ] {
        refused(&ask(&app, path, &good()).await, 400);
    }
    refused(
        &ask(&app, "/hub/wx-unknown/access-token", &good()).await,
        404,
    );
    app.sandbox
        .fault(Fault::errcode(40164, "invalid ip 1.2.3.4, not in whitelist").on(TOKEN));
    for path in ["/access-token", "/ticket?type=jsapi", "/access-token"] {
        let answer = ask(&app, path, &good()).await;
        refused(&answer, 500);
        assert!(
            answer
                .body
                .contains("code: 40164, message: invalid ip 1.2.3.4, not in whitelist"),
            "{}",
            answer.body
        );
    }
    let remembered = ask(&app, "/access-token", &good()).await;
    assert!(remembered.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(
        app.sandbox.calls(TOKEN),
        1,
        "WeChat is not asked again at once"
    );
    app.sandbox.fault(Fault::reset().on(TOKEN));
    refused(
        &ask(&app, "/hub/wxfedcba9876543210/access-token", &good()).await,
        500,
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_refused_in_the_hubs_form() {
    let app = hub().await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = app.send(app.request(method, "/access-token")).await;
        refused(&answer, 405);
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
    let options = app.send(app.request(Method::OPTIONS, "/ticket")).await;
    assert_eq!(
        (options.status, options.header("allow")),
        (StatusCode::NO_CONTENT, "GET, HEAD, OPTIONS")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_exists_only_with_keys_and_a_reload_changes_them() {
    let app = TestApp::start().await;
    let paths = [
        "/access-token",
        "/access_token",
        "/ticket?type=jsapi",
        "/hub/wx0123456789abcdef/access-token",
        "/TICKET",
    ];
    for path in paths {
        ask(&app, path, &good()).await.problem(404, "not_found");
        app.send(app.request(Method::POST, path))
            .await
            .problem(404, "not_found");
    }
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "hub": { "keys": { KID: KEY, "key2": "another" } } }),
    ));
    let token = value(&ask(&app, "/access-token", &good()).await);
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "hub": { "keys": { "key2": "another" } } }),
    ));
    refused(&ask(&app, "/access-token", &good()).await, 401);
    let second = made(
        &json!({ "alg": "HS256", "kid": "key2" }),
        &json!({ "aud": "wechat-token-hub" }),
        "another",
    );
    assert_eq!(value(&ask(&app, "/access-token", &second).await), token);
    app.reloader.apply(config_of(&app.sandbox, json!({})));
    ask(&app, "/access-token", &second)
        .await
        .problem(404, "not_found");
    app.stop().await;
}

/// PyJWT, installed by the first test that asks.
fn pyjwt() -> Option<&'static Python> {
    static PYJWT: OnceLock<Option<Python>> = OnceLock::new();
    PYJWT
        .get_or_init(|| Python::with("pyjwt", &["PyJWT==2.15.1"], "import jwt"))
        .as_ref()
}

#[tokio::test(flavor = "multi_thread")]
async fn pyjwts_hs256_tokens_are_accepted_and_others_refused() {
    let Some(pyjwt) = pyjwt() else { return };
    let app = TestApp::with(json!({ "hub": { "keys": { KID: KEY, "short": "secret1" } } })).await;
    let seconds = Clock::system().wall().seconds().0;
    let question = |claims: Value, key: &str, alg: &str, kid: &str| json!({ "claims": claims, "key": key, "alg": alg, "headers": { "kid": kid } });
    let plain = json!({ "aud": "wechat-token-hub" });
    let all = json!({ "aud": ["x", "wechat-token-hub"], "exp": seconds + 300, "nbf": seconds - 1, "iat": seconds, "sub": "shop" });
    let past = json!({ "aud": "wechat-token-hub", "exp": seconds - 1 });
    let questions = [
        (question(plain.clone(), KEY, "HS256", KID), true),
        (question(plain.clone(), "secret1", "HS256", "short"), true),
        (question(all, KEY, "HS256", KID), true),
        (question(past, KEY, "HS256", KID), false),
        (question(json!({ "aud": "x" }), KEY, "HS256", KID), false),
        (question(plain.clone(), KEY, "HS256", "short"), false),
        (question(plain.clone(), KEY, "HS384", KID), false),
        (question(plain.clone(), KEY, "HS512", KID), false),
        (question(plain, "", "none", KID), false),
    ];
    let asked: Vec<Value> = questions
        .iter()
        .map(|(question, _)| question.clone())
        .collect();
    for (token, (question, opens)) in pyjwt
        .answers("hub/tokens.py", &asked)
        .iter()
        .zip(&questions)
    {
        let answer = ask(&app, "/access-token", token.as_str().unwrap()).await;
        if *opens {
            assert_eq!(value(&answer), app.value("token").await, "{question}");
        } else {
            refused(&answer, 401);
        }
    }
    app.stop().await;
}

/// A request as on the hub's page: a `GET` with the header and nothing else. Returns curl's output
/// on success.
fn curled(curl: &Path, url: &str, token: &str) -> String {
    let header = format!("Authorization: Bearer {token}");
    let ran = Command::new(curl)
        .args([
            "-sS",
            "--fail-with-body",
            "--noproxy",
            "*",
            "-H",
            &header,
            url,
        ])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{url}: {ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_environment_variables_alone_suffice() {
    let Some(curl) = programs::require("curl") else {
        return;
    };
    let folder = folder();
    let app = format!("{APP}:{APP_SECRET}");
    let sandbox = Process::start(
        folder.path(),
        &["sandbox", "--port", "0", "--app", &app],
        &[],
    );
    let said = sandbox.said("jsdkd sandbox: ").await;
    let wechat = said.split_whitespace().nth(2).unwrap();
    // Only the port differs from the page, because 8567 may be in use.
    let variables = [
        ("WECHAT_API_ROOT", wechat),
        ("APPID", APP),
        ("APPSECRET", APP_SECRET),
        ("JWT_KEY_key1", KEY),
        ("PORT", "0"),
    ];
    let server = Process::start(folder.path(), &[], &variables)
        .listening()
        .await;
    let ask = |path: &str| curled(&curl, &format!("{}{path}", server.url), &good());
    let token = ask("/access-token");
    assert_eq!(ask("/access_token"), token);
    let ticket = ask("/ticket?type=jsapi");
    let rotated = ask(&format!("/access-token?rotate_token={token}"));
    assert!(rotated != token && ask("/access-token") == rotated);
    ask(&format!("/ticket?type=jsapi&rotate_ticket={ticket}"));
    refused(&server.get("/access-token").await, 401);
    assert_eq!(server.logged("refused").await["code"], "unauthorized");
    let told = server.out();
    assert!(
        !told.contains(KEY) && !told.contains(&token) && !told.contains(&good()),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_changes_the_keys() {
    let (folder, token) = (folder(), good());
    let sandbox = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    let (sandbox, _running) = Sandbox::start(([127, 0, 0, 1], 0).into(), sandbox)
        .await
        .unwrap();
    let keys = |keys: Value| settings(&sandbox.url(), json!({ "hub": { "keys": keys } }));
    let server = Process::serve(folder.path(), &keys(json!({ "old": KEY }))).await;
    let ask = async || {
        let request = server
            .request(Method::GET, "/access-token")
            .header("authorization", format!("Bearer {token}"));
        Response::of(request.send().await.unwrap()).await
    };
    refused(&ask().await, 401);
    write_settings(folder.path(), &keys(json!({ KID: KEY })));
    server.signal("HUP");
    server.logged_about("settings reloaded").await;
    value(&ask().await);
}
