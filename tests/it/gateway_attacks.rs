//! What somebody tries who wants another path, host, account or secret than the settings give.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, Response, TestApp, config_of};
use crate::support::gateway::{VIRTUAL, settings, token};
use crate::support::process::{self, Process, folder};
use crate::support::raw;

const CALL: &str = "/cgi-bin/get_api_domain_ip";
const OTHER: &str = "wxfedcba9876543210";
const OTHER_SECRET: &str = "0therV1rtual0therV1rtual0therV1r";

#[track_caller]
fn errcode(answer: &Response) -> i64 {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    body["errcode"].as_i64().unwrap_or_default()
}

async fn start(realm: Value) -> (TestApp, String) {
    let app = TestApp::with(settings(realm, json!({}))).await;
    let token = token(&app).await;
    (app, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_reaches_another_one() {
    let (app, token) = start(json!({ "gateway": ["read"] })).await;
    for path in [
        "/cgi-bin/../cgi-bin/menu/delete",
        "/cgi-bin/./menu/delete",
        "/cgi-bin/get_api_domain_ip/../menu/delete",
        "/cgi-bin/%2e%2e/menu/delete",
        "/cgi-bin/menu%2fdelete",
        "/cgi-bin/menu%5cdelete",
        "/cgi-bin/menu\\delete",
        "/cgi-bin/menu/delete;x",
        "/cgi-bin/menu/delete%00",
        "/cgi-bin/menu/delete/",
        "//cgi-bin//menu///delete",
        "/CGI-BIN/menu/delete",
        "/cgi-bin/Menu/Delete",
        "/cgi-bin/menu/delete:80",
        "/cgi-bin/@evil.example/x",
        "/cgi-bin/中",
        "/cgi-bin/message/mass/send",
    ] {
        let answer = raw::send(
            app.address(),
            &format!("GET {path}?access_token={token}"),
            "",
            b"",
        )
        .await;
        assert!(
            [200, 400, 404].contains(&answer.status),
            "{path} {answer:?}"
        );
        assert!(
            answer.status != 200 || answer.body.contains("48001"),
            "{path} {answer:?}"
        );
    }
    for line in [
        "GET http://evil.example/cgi-bin/menu/delete",
        "GET http://evil.example:1/cgi-bin/menu/delete",
    ] {
        let answer = raw::send(
            app.address(),
            &format!("{line}?access_token={token}"),
            "",
            b"",
        )
        .await;
        assert!(answer.body.contains("48001"), "{line} {answer:?}");
    }
    assert_eq!(app.sandbox.arrivals("").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readings_of_a_request_are_refused() {
    let (app, token) = start(json!({})).await;
    let line = format!("POST {CALL}?access_token={token}");
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5\r\n x: obs-fold\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Host: other\r\n",
    ] {
        let answer = raw::send(app.address(), &line, headers, b"0\r\n\r\n").await;
        assert_eq!(answer.status, 400, "{headers} {answer:?}");
    }
    assert_eq!(app.sandbox.calls(CALL), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_its_realm_and_account_alone() {
    let apps = json!([{ "key": APP, "secret": APP_SECRET }, { "key": OTHER, "secret": "other-real-secret" }]);
    let realms = json!([
        { "key": "shop", "secret": VIRTUAL, "apps": [APP], "gateway": ["read"] },
        { "key": "other", "secret": OTHER_SECRET, "apps": [OTHER], "gateway": ["all"] },
        { "key": "closed", "secret": "closed-realm-secret-1", "apps": [APP] },
    ]);
    let all = json!({ "apps": apps, "realms": realms });
    let app = TestApp::build(all.clone());
    let app = app
        .sandbox(|sandbox| {
            sandbox
                .accounts
                .push((OTHER.to_owned(), "other-real-secret".to_owned()))
        })
        .start()
        .await;
    let ask = |appid: &str, secret: &str| {
        format!("/cgi-bin/token?grant_type=client_credential&appid={appid}&secret={secret}")
    };
    assert_eq!(errcode(&app.get(&ask(OTHER, VIRTUAL)).await), 40013);
    assert_eq!(errcode(&app.get(&ask(APP, OTHER_SECRET)).await), 40013);
    assert_ne!(
        errcode(&app.get(&ask(APP, "closed-realm-secret-1")).await),
        0,
        "a realm without gateway"
    );
    assert_eq!(
        errcode(&app.get(&ask(APP, crate::support::app::REALM_SECRET)).await),
        40125
    );
    let mine = token(&app).await;
    assert_eq!(
        errcode(
            &app.get(&format!("/cgi-bin/menu/get?access_token={mine}"))
                .await
        ),
        48001
    );
    // The other realm's scope is no help, since the token names its realm; nor is a parameter that
    // names the other account.
    assert!(
        app.get(&format!("{CALL}?appid={OTHER}&access_token={mine}"))
            .await
            .json()["ip_list"]
            .is_array()
    );
    assert_eq!(
        (
            app.sandbox.calls_of(APP, CALL),
            app.sandbox.calls_of(OTHER, CALL)
        ),
        (1, 0)
    );
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "apps": apps, "realms": [{ "key": "shop", "secret": VIRTUAL, "apps": [APP] }] }),
    ));
    app.get(&format!("{CALL}?access_token={mine}"))
        .await
        .problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_token_is_worth_nothing_elsewhere() {
    let (app, token) = start(json!({})).await;
    for path in ["/sns/userinfo", "/sns/auth"] {
        for name in ["access_token", "access%5ftoken", "other"] {
            assert_eq!(
                errcode(&app.get(&format!("{path}?{name}={token}&openid=o")).await),
                40001,
                "{path}"
            );
        }
        let encoded = token.replace("jv1_", "%6av1%5F");
        assert_eq!(
            errcode(
                &app.get(&format!("{path}?access_token={encoded}&openid=o"))
                    .await
            ),
            40001,
            "{path}"
        );
        assert_eq!(app.sandbox.calls(path), 0);
    }
    for path in [
        format!("/jsapi/{APP}/query?access_token={token}"),
        format!("/jsapi/{APP}/query?realm={token}&sign={token}"),
    ] {
        let answer = app.get(&path).await;
        assert!((400..500).contains(&answer.status.as_u16()), "{answer:?}");
        assert!(!answer.body.contains(&token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_token_is_refused_and_told_as_a_leak() {
    let app = TestApp::start().await;
    let folder = folder();
    let server = Process::serve(
        folder.path(),
        &process::settings(&app.sandbox.url(), settings(json!({}), json!({}))),
    )
    .await;
    let ask = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={VIRTUAL}");
    let token = server.get(&ask).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        server
            .get(&format!("{CALL}?access_token={token}"))
            .await
            .json()["ip_list"]
            .is_array()
    );
    let real = app.sandbox.current_token(APP).unwrap();
    let answer = server.get(&format!("{CALL}?access_token={real}")).await;
    assert_eq!(errcode(&answer), 40001);
    assert!(!answer.body.contains(&real));
    let is_it = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|message| message.contains("leaked"))
    };
    let line = process::until(|| server.log().into_iter().find(is_it))
        .await
        .expect("a warning");
    assert_eq!(
        (&line["client"], &line["level"]),
        (&json!("127.0.0.1"), &json!("WARN")),
        "{line}"
    );
    assert!(!server.out().contains(&real));
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_paths_are_no_open_relay() {
    let over = json!({ "server": { "trustProxy": ["loopback"] }, "gateway": { "anonymous": ["10.0.0.0/8"] } });
    let app = TestApp::with(settings(json!({}), over)).await;
    let ask = async |path: &str, from: &str| {
        let request = app
            .request(Method::GET, path)
            .header("x-forwarded-for", from);
        app.send(request).await
    };
    for path in [
        "/sns/userinfo?access_token=x&openid=o",
        "/sns/auth?a=1",
        "/sns/oauth2/refresh_token?a=1",
        "/cgi-bin/showqrcode?ticket=1",
    ] {
        assert_eq!(errcode(&ask(path, "203.0.113.9").await), 40164, "{path}");
    }
    assert_eq!(app.sandbox.arrivals("").len(), 0);
    for _ in 0..60 {
        assert_ne!(
            errcode(&ask("/sns/auth?access_token=x&openid=o", "10.0.0.1").await),
            45011
        );
    }
    assert_eq!(
        errcode(&ask("/sns/auth?access_token=x&openid=o", "10.0.0.1").await),
        45011
    );
    assert_ne!(
        errcode(&ask("/sns/auth?access_token=x&openid=o", "10.0.0.2").await),
        45011,
        "another address"
    );
    assert_eq!(app.sandbox.calls("/sns/auth"), 61);
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_heads_are_refused_and_the_server_goes_on() {
    let (app, token) = start(json!({})).await;
    for line in [
        format!("GET {CALL}?access_token={token}&a={}", "x".repeat(40_000)),
        format!("GET {CALL}?access_token={}", "j".repeat(15_000)),
        format!("GET {CALL}?access_token={token}{}", "&a".repeat(7000)),
    ] {
        let answer = raw::send(app.address(), &line, "", b"").await;
        assert!([200, 431].contains(&answer.status), "{}", answer.status);
    }
    let many = "Wechatmp-X: 1\r\n".repeat(200);
    assert!(
        raw::send(
            app.address(),
            &format!("GET {CALL}?access_token={token}"),
            &many,
            b""
        )
        .await
        .status
            >= 400
    );
    assert!(
        app.get(&format!("{CALL}?access_token={token}"))
            .await
            .json()["ip_list"]
            .is_array()
    );
}
