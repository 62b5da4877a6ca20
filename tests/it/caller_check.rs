//! Who may call the routes of wetoken and TokenBoy: by host name, by proxy, by signature; and what
//! the log says.

use std::net::SocketAddr;

use clock::Clock;
use reqwest::Method;
use sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};
use wechat::signature;

use crate::sql_store::{install, sqlite};
use crate::support::app::{APP, APP_SECRET, REALM, REALM_SECRET, TestApp, config_of};
use crate::support::nginx::Nginx;
use crate::support::process::{Ended, Process, folder, run, settings, write_settings};
use crate::support::raw;
use crate::support::service::Service;
use crate::wetoken::{granted, refused, succeeded};

/// One route of each kind: two that read by the fast path, one by the router, and those that change
/// something.
const PATHS: [&str; 6] = [
    "/token?name=a",
    "/wx/{app}/token/get",
    "/{app}/wechat/ticket/get",
    "/wx/{app}/token/query",
    "/wx/{app}/token/refresh",
    CREATE,
];
const CREATE: &str = "/wechat/app/create?appid=wx-new&secret=s&token=t";

/// A server with both neighbours' routes.
async fn with(over: Value) -> (TestApp, Service) {
    let service = Service::granting(7200);
    let mut laid = json!({ "wetoken": {}, "sources": { "a": { "url": service.url } } });
    crate::support::app::lay(&mut laid, over);
    let app = TestApp::with(laid).await;
    app.value("token").await;
    (app, service)
}

fn paths() -> impl Iterator<Item = String> {
    PATHS.iter().map(|path| path.replace("{app}", APP))
}

/// True if a raw answer lets its caller in; otherwise it must reveal nothing.
fn is_let_in(answer: &raw::Raw) -> bool {
    // The HTTP library refuses some malformed requests itself.
    let is_refused =
        matches!(answer.status, 400 | 403) || answer.body.starts_with(r#"{"errcode":403"#);
    assert!(
        !is_refused || !answer.body.contains("token-1"),
        "{answer:?}"
    );
    assert!(is_refused || answer.status == 200, "{answer:?}");
    !is_refused
}

async fn exchange(server: SocketAddr, head: &str) -> bool {
    is_let_in(&raw::exchange(server, head.as_bytes()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_this_servers_host_names_are_answered() {
    let over = json!({ "server": { "publicUrl": "https://wx.example.com/base/", "hosts": ["tokens.example.com", "Wx2.Example.COM."] } });
    let (app, _service) = with(over).await;
    for path in paths().filter(|path| path != CREATE) {
        let ask = async |host: &str| {
            exchange(
                app.address(),
                &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
            )
            .await
        };
        for own in [
            "127.0.0.1",
            "127.0.0.1:3030",
            "[::1]:3030",
            "10.1.2.3",
            "localhost",
            "LocalHost:1",
            "localhost.",
            "jsdkd",
            "wx.example.com",
            "WX.EXAMPLE.COM:443",
            "tokens.example.com.",
            "wx2.example.com",
        ] {
            assert!(ask(own).await, "{path} {own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:3030",
            "127.0.0.1.evil.example",
            "example.com",
            "x.tokens.example.com",
            "a@localhost",
            "",
        ] {
            assert!(!ask(foreign).await, "{path} {foreign}");
        }
        let raw = async |head: &str| exchange(app.address(), &head.replace("PATH", &path)).await;
        assert!(
            raw("GET PATH HTTP/1.0\r\n\r\n").await,
            "an old program names no host"
        );
        assert!(!raw("GET PATH HTTP/1.0\r\nHost: evil.example\r\n\r\n").await);
        assert!(raw("GET http://tokens.example.comPATH HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await);
        assert!(!raw("GET http://evil.examplePATH HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await);
        assert!(!raw("GET PATH HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await);
        for forwarded in [
            "X-Forwarded-Host: evil.example",
            "X-Forwarded-Host: localhost, evil.example",
            "Forwarded: for=127.0.0.1;host=evil.example",
        ] {
            let head = format!(
                "GET PATH HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n{forwarded}\r\nConnection: close\r\n\r\n"
            );
            assert!(!raw(&head).await, "{forwarded}");
            let swapped = format!(
                "GET PATH HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-For: 127.0.0.1\r\n{}\r\nConnection: close\r\n\r\n",
                forwarded.replace("evil.example", "localhost")
            );
            assert!(!raw(&swapped).await, "a page can set it");
        }
        assert!(raw("GET PATH HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: wx.example.com\r\nConnection: close\r\n\r\n").await);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_from_an_untrusted_peer_is_refused() {
    let traces = [
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: localhost",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 80",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
        "True-Client-IP: 127.0.0.1",
        "CF-Connecting-IP: 127.0.0.1",
        "X-Client-IP: 127.0.0.1",
        "X-Cluster-Client-IP: 127.0.0.1",
        "X-Original-Forwarded-For: 127.0.0.1",
        "Client-IP: 127.0.0.1",
        "X-Forwarded: for=127.0.0.1",
        "x-forwarded-server: proxy",
    ];
    for trusted in [json!([]), json!(["203.0.113.7"])] {
        let (app, _service) = with(json!({ "server": { "trustedProxies": trusted } })).await;
        for path in paths() {
            let ask = async |trace: &str| {
                exchange(
                    app.address(),
                    &format!(
                        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{trace}\r\n"
                    ),
                )
                .await
            };
            for trace in traces {
                assert!(!ask(&format!("{trace}\r\n")).await, "{path} {trace}");
            }
            assert!(ask("").await, "{path}");
        }
        let answer = app
            .send(
                app.request(Method::GET, &format!("/wx/{APP}/token/get"))
                    .header("via", "1.1 x"),
            )
            .await;
        assert!(refused(&answer, 403).contains("server.trustedProxies"));
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_names_the_client() {
    let (app, _service) = with(json!({})).await;
    for path in paths().filter(|path| path != CREATE) {
        let ask = async |headers: &str| {
            exchange(app.address(), &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n\r\n"))
                .await
        };
        for near in [
            "X-Forwarded-For: 192.168.1.9",
            "Forwarded: for=\"[fd00::1]:80\"",
            "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1",
        ] {
            assert!(ask(near).await, "{path} {near}");
        }
        for far in [
            "X-Forwarded-For: 8.8.8.8",
            "Forwarded: for=8.8.8.8",
            "X-Real-IP: 127.0.0.1",
            "CF-Connecting-IP: 10.0.0.1",
            "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=8.8.8.8",
            "X-Forwarded-For: \u{e4}\u{b8}, 8.8.8.8",
            "X-Forwarded-Proto: https",
        ] {
            assert!(!ask(far).await, "{path} {far}");
        }
    }
    app.stop().await;
    let (app, _service) = with(json!({ "wetoken": { "allow": ["loopback"] } })).await;
    let told = app
        .send(
            app.request(Method::GET, &format!("/wx/{APP}/token/get"))
                .header("x-forwarded-for", "127.0.0.1, 10.0.0.5"),
        )
        .await;
    refused(&told, 403);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx_only_allowed_clients_are_answered() {
    let (app, _service) = with(json!({ "server": { "trustedProxies": ["loopback"] } })).await;
    let (strict, _other) = with(json!({ "server": { "trustedProxies": [] } })).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (directives, trusted, untrusted) in [
        ("", true, true),
        ("proxy_set_header X-Real-IP $remote_addr;", false, false),
        (
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
            true,
            false,
        ),
        ("proxy_set_header X-Forwarded-For 8.8.8.8;", false, false),
        (
            "proxy_set_header Forwarded \"for=$remote_addr\";",
            true,
            false,
        ),
        (
            "proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Host $host;",
            false,
            false,
        ),
        ("proxy_set_header Via \"1.1 nginx\";", false, false),
    ] {
        for (server, expected) in [(&app, trusted), (&strict, untrusted)] {
            let Some(nginx) = Nginx::bare(server.address(), directives).await else {
                return;
            };
            let path = format!("/wx/{APP}/token/get");
            let answer = client
                .get(format!("http://{}{path}", nginx.http))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            assert_eq!(
                answer.starts_with(r#"{"errcode":0"#),
                expected,
                "{directives:?}: {answer}"
            );
            let token = client
                .get(format!("http://{}/token?name=a", nginx.http))
                .send()
                .await
                .unwrap();
            assert_eq!(token.status() == 200, expected, "{directives:?}");
        }
    }
    app.stop().await;
    strict.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_alone_opens_no_route() {
    let (_files, url) = sqlite();
    install(&url).await;
    let app = TestApp::with(json!({ "cache": { "sql": url } })).await;
    let Some(nginx) = Nginx::bare(app.address(), "").await else {
        return;
    };
    for path in paths() {
        app.get(&path).await.problem(404, "not_found");
        let through = reqwest::get(format!("http://{}{path}", nginx.http))
            .await
            .unwrap();
        assert_eq!(through.status(), 404, "{path}");
    }
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "cache": { "sql": url }, "wetoken": {} }),
    ));
    granted(
        &app.get(&format!("/wx/{APP}/token/get")).await,
        "access_token",
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_notes_that_a_database_alone_opens_no_route() {
    let check = async |text: &str| -> Ended {
        let folder = folder();
        std::fs::write(folder.path().join("jsdkd.json"), text).unwrap();
        run(folder.path(), &["check", "--strict"], &[]).await
    };
    let alone = check("{ cache: { sql: 'mysql://u:p@db/wetoken' } }").await;
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert!(
        alone.out.contains("note: ")
            && alone.out.contains("wetoken: {}")
            && !alone.out.contains("warning"),
        "{alone:?}"
    );
    for text in [
        "{ cache: { sql: 'mysql://u:p@db/wetoken' }, wetoken: {} }",
        "{ cache: { file: 'f' }, wetoken: {} }",
    ] {
        let opened = check(text).await;
        assert!(
            opened.code == Some(0) && !opened.out.contains("note"),
            "{opened:?}"
        );
    }
}

/// `path` with a signature of version 2 by `realm`.
fn signed(
    method: &str,
    path: &str,
    pairs: &[(&str, &str)],
    body: &str,
    realm: (&str, &str),
) -> String {
    let ts = Clock::system().wall().to_string();
    let mut pairs = pairs.to_vec();
    pairs.extend([("realm", realm.0), ("nonce", "n-1"), ("ts", &ts)]);
    let query = signature::canonical_query(pairs);
    let sign = signature::realm_v2(realm.1, method, path, &query, body.as_bytes()).text();
    format!("{path}?{query}&sign={sign}")
}

const OURS: (&str, &str) = (REALM, REALM_SECRET);

/// Two realms; the first one is required.
fn of_realm(apps: Value) -> Value {
    let realms = json!([{ "key": REALM, "secret": REALM_SECRET, "apps": apps }, { "key": "R2", "secret": "s2" }]);
    json!({ "realms": realms, "wetoken": { "realm": REALM }, "tokenboy": { "realm": REALM } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_in_the_section_requires_its_signature() {
    let (app, _service) = with(of_realm(json!([APP, "wx-new"]))).await;
    let get = format!("/wx/{APP}/token/get");
    for (path, pairs) in [
        (get.as_str(), &[][..]),
        (&format!("/{APP}/wechat/ticket/get"), &[]),
        ("/token/query", &[("appid", APP)]),
    ] {
        let plain = format!("{path}?{}", signature::canonical_query(pairs.to_vec()));
        assert!(
            refused(&app.get(&plain).await, 403).contains("wetoken.realm"),
            "{path}"
        );
        let right = app.get(&signed("GET", path, pairs, "", OURS)).await;
        assert!(
            right.body.starts_with(r#"{"errcode":0"#)
                || right.body.contains("no unexpired credential"),
            "{path}: {right:?}"
        );
        refused(
            &app.get(&signed("GET", path, pairs, "", (REALM, "wrong")))
                .await,
            403,
        );
        refused(&app.get(&signed("POST", path, pairs, "", OURS)).await, 403);
        refused(
            &app.get(
                &signed("GET", "/wx/wx-other/token/get", pairs, "", OURS)
                    .replace("/wx/wx-other/token/get", path),
            )
            .await,
            403,
        );
        let other = refused(
            &app.get(&signed("GET", path, pairs, "", ("R2", "s2"))).await,
            403,
        );
        assert!(other.contains("another realm"), "{other}");
        let v1 = crate::support::app::signed_v1(APP, "");
        refused(
            &app.get(&format!("{path}?{}", v1.split_once('?').unwrap().1))
                .await,
            403,
        );
    }
    let foreign = refused(
        &app.get(&signed("GET", "/wx/wx-other/token/get", &[], "", OURS))
            .await,
        403,
    );
    assert!(
        foreign.contains("realm") && foreign.contains("app"),
        "{foreign}"
    );
    refused(
        &app.get(&signed(
            "GET",
            "/token/query",
            &[("appid", "wx-other")],
            "",
            OURS,
        ))
        .await,
        403,
    );
    // The networks are checked as well.
    let far = app
        .request(Method::GET, &signed("GET", &get, &[], "", OURS))
        .header("x-forwarded-for", "8.8.8.8");
    assert!(refused(&app.send(far).await, 403).contains("wetoken.allow"));
    let page = app
        .request(Method::GET, &signed("GET", &get, &[], "", OURS))
        .header("origin", "https://evil.example");
    refused(&app.send(page).await, 403);

    let token = app.get("/token?name=a").await;
    assert_eq!(token.status, 401, "{token:?}");
    assert_eq!(
        app.get(&signed("GET", "/token", &[("name", "a")], "", OURS))
            .await
            .json()["access_token"],
        "token-1"
    );
    assert_eq!(
        app.get(&signed("GET", "/token", &[("name", "a")], "", ("R2", "s2")))
            .await
            .status,
        403
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_covers_the_body_of_a_new_app() {
    let (app, _service) = with(of_realm(json!([APP, "wx-new"]))).await;
    let post = async |path: &str, body: &str, kind: &str| {
        app.send(
            app.request(Method::POST, path)
                .header("content-type", kind)
                .body(body.to_owned()),
        )
        .await
    };
    let (form, json) = (
        "appid=wx-new&secret=s&token=t",
        r#"{"appid":"wx-new","secret":"s","token":"t"}"#,
    );
    let (form_type, json_type) = ("application/x-www-form-urlencoded", "application/json");
    let path = "/wechat/app/create";
    refused(&post(path, form, form_type).await, 403);
    refused(
        &post(&signed("POST", path, &[], "", OURS), form, form_type).await,
        403,
    );
    refused(
        &post(
            &signed("POST", path, &[], form, OURS),
            &form.replace("secret=s", "secret=x"),
            form_type,
        )
        .await,
        403,
    );
    let foreign = form.replace("wx-new", "wx-foreign");
    refused(
        &post(
            &signed("POST", path, &[], &foreign, OURS),
            &foreign,
            form_type,
        )
        .await,
        403,
    );
    let foreign = json.replace("wx-new", "wx-foreign");
    refused(
        &post(
            &signed("POST", path, &[], &foreign, OURS),
            &foreign,
            json_type,
        )
        .await,
        403,
    );
    succeeded(&post(&signed("POST", path, &[], json, OURS), json, json_type).await);
    let again = post(&signed("POST", path, &[], form, OURS), form, form_type).await;
    assert_eq!(refused(&again, 400), "wx-new already exists");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_open_to_other_machines_are_logged_at_start() {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    let (sandbox, _running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port");
    let opened = async |over: Value| -> Vec<(String, String, String)> {
        let folder = folder();
        write_settings(folder.path(), &settings(&sandbox.url(), over));
        let server = Process::start(folder.path(), &[], &[]).listening().await;
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let lines = server
            .log()
            .into_iter()
            .filter(|line| line["section"].is_string());
        lines
            .map(|line| {
                (
                    text(&line, "level"),
                    text(&line, "section"),
                    text(&line, "allow"),
                )
            })
            .collect()
    };
    let line = |level: &str, section: &str, allow: &str| {
        (level.to_owned(), section.to_owned(), allow.to_owned())
    };
    let source = json!({ "a": { "url": sandbox.url() } });
    assert_eq!(opened(json!({})).await, []);
    assert_eq!(
        opened(json!({ "wetoken": { "allow": ["loopback"] } })).await,
        []
    );
    assert_eq!(
        opened(json!({ "wetoken": {} })).await,
        [line("INFO", "wetoken", "loopback, private")]
    );
    let both =
        opened(json!({ "wetoken": { "allow": ["0.0.0.0/0"] }, "sources": source, "tokenboy": { "allow": ["10.1.0.0/16"] } })).await;
    assert_eq!(
        both,
        [
            line("INFO", "tokenboy", "10.1.0.0/16"),
            line("WARN", "wetoken", "0.0.0.0/0")
        ]
    );
    let six = opened(json!({ "wetoken": { "allow": ["loopback", "::/0"] } })).await;
    assert_eq!(six, [line("WARN", "wetoken", "loopback, ::/0")]);
    let signed = opened(json!({ "wetoken": { "allow": ["0.0.0.0/0"], "realm": REALM } })).await;
    assert_eq!(signed, [line("INFO", "wetoken", "0.0.0.0/0")]);
}
