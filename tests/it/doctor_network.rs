//! `jsdkd doctor` and the network: the way to each host, the public address, the message server,
//! through a real nginx and without.

use std::net::SocketAddr;
use std::path::Path;

use actix_web::{HttpResponse, web};
use sandbox::Fault;
use serde_json::{Value, json};

use crate::doctor::{checks, doctor, fails, names, sandbox, stable};
use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::deliveries::{AES_KEY, TOKEN};
use crate::support::fake_server::serve;
use crate::support::keepers::dead_address;
use crate::support::nginx::Nginx;
use crate::support::process::{Ended, folder, run, settings, write_settings};
use crate::support::socks::Socks;

#[tokio::test(flavor = "multi_thread")]
async fn each_host_has_a_line_of_its_own() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let over = json!({
        "apps": [{ "key": APP, "secret": APP_SECRET, "tokenApi": "stable", "token": TOKEN, "messages": [
            { "on": "text", "forward": "http://backend.invalid/wechat" },
            { "on": "*", "reply": { "text": "hello" } },
        ] }],
        "wechat": { "mp": "http://mp.invalid", "open": "http://open.invalid" },
        "sources": { "crm": { "url": "http://source.invalid/token?secret=source-secret-marker" } },
        "wecom": [{ "corpid": "ww0123456789abcdef", "agentid": 1, "secret": "s", "api": "http://wecom.invalid" }],
    });
    let ended = doctor(place, &sandbox.url(), over.clone(), &["--json"]).await;
    for (host, setting) in [
        ("backend", format!("messages of {APP}")),
        ("source", "sources.crm".to_owned()),
        ("wecom", "wecom of ww0123456789abcdef".to_owned()),
    ] {
        let found = checks(&ended, "fail");
        let line = format!("DNS: {host}.invalid is not found");
        assert!(
            found.iter().any(|(what, cure)| what.starts_with(&line)
                && what.ends_with(&format!("({setting})"))
                && cure.contains("name server")),
            "{found:#?}"
        );
    }
    // Credentials do not depend on these two.
    for host in ["mp", "open"] {
        let line = format!("DNS: {host}.invalid is not found");
        names(&ended, "warn", &line, "name server");
    }
    names(&ended, "ok", &format!("{} answers", sandbox.url()), "");
    assert!(!ended.out.contains("source-secret-marker"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_that_fails_is_named() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let dead = dead_address();
    let ended = doctor(place, &dead, stable(), &["--json"]).await;
    names(&ended, "fail", "TCP: 127.0.0.1 port", "firewall");
    names(&ended, "warn", "WeChat's time is unknown", "reachable");
    // Plain HTTP where TLS is expected.
    let tls = sandbox.url().replace("http:", "https:");
    let ended = doctor(place, &tls, stable(), &["--json"]).await;
    names(
        &ended,
        "fail",
        "TLS: no secure connection to https://127.0.0.1",
        "ca-certificates",
    );
    // The first of two hosts is away; both have a line.
    let mut over = stable();
    over["wechat"] = json!({ "api": [dead, sandbox.url()] });
    let ended = doctor(place, &sandbox.url(), over, &["--json"]).await;
    fails(&ended, "(wechat.api[0])", "firewall");
    names(&ended, "ok", "(wechat.api[1])", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outgoing_proxy_has_a_line_of_its_own() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    write_settings(place, &settings("http://wechat.test", stable()));
    let look = async |proxy: &str| run(place, &["doctor", "--json"], &[("ALL_PROXY", proxy)]).await;
    let proxy = Socks::leading_to(sandbox.address(), Some("user:password-marker")).await;
    let address = format!("socks5h://user:password-marker@{}", proxy.address);
    let ended = look(&address).await;
    assert_eq!(checks(&ended, "fail"), vec![], "{ended:?}");
    names(
        &ended,
        "ok",
        &format!("the proxy socks5h://{} can be reached", proxy.address),
        "",
    );
    names(
        &ended,
        "ok",
        "http://wechat.test answers, through the proxy",
        "",
    );
    assert!(!ended.out.contains("password-marker"), "{ended:?}");
    let dead = dead_address();
    let ended = look(&dead).await;
    names(&ended, "fail", "TCP: 127.0.0.1 port", "start the proxy");
    names(&ended, "fail", "through the proxy", "NO_PROXY");
    names(
        &look("http://proxy.invalid:3128").await,
        "fail",
        "DNS: proxy.invalid",
        "ALL_PROXY",
    );
}

/// Settings for a server with a message server that listens at `own` and is known as `public`.
fn with_messages(own: SocketAddr, public: Option<&str>) -> Value {
    let mut server = json!({ "port": own.port() });
    if let Some(public) = public {
        server["publicUrl"] = json!(public);
    }
    json!({
        "apps": [{ "key": APP, "secret": APP_SECRET, "tokenApi": "stable", "token": TOKEN, "aesKey": AES_KEY }],
        "server": server,
    })
}

async fn running() -> TestApp {
    let app = json!([{ "key": APP, "secret": APP_SECRET, "tokenApi": "stable", "token": TOKEN }]);
    TestApp::with(json!({ "apps": app })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_check_is_made_here_and_at_the_public_address() {
    let app = running().await;
    let folder = folder();
    let place = folder.path();
    let Some(nginx) = Nginx::bare(app.address(), "").await else {
        return;
    };
    let public = format!("http://{}/", nginx.http);
    let over = with_messages(app.address(), Some(&public));
    let ended = doctor(place, &app.sandbox.url(), over.clone(), &["--json"]).await;
    assert_eq!(checks(&ended, "fail"), vec![], "{ended:?}");
    for at in ["this machine", "server.publicUrl"] {
        let line = format!("{APP} at {at} (/wechat/{APP}) answers WeChat's server check");
        names(&ended, "ok", &line, "");
    }
    names(&ended, "ok", &format!("{public} leads to a jsdkd"), "");
    // The running server has another token than the file.
    let mut other = over.clone();
    other["apps"][0]["token"] = json!("anothertoken");
    let ended = doctor(place, &app.sandbox.url(), other, &["--json"]).await;
    names(&ended, "fail", "at this machine (/wechat/", "kill -HUP");
    names(&ended, "fail", "at server.publicUrl (/wechat/", "kill -HUP");
    // The running server does not know the app.
    let mut other = over.clone();
    other["apps"][0]["key"] = json!("wxfedcba9876543210");
    let ended = doctor(place, &app.sandbox.url(), other, &["--json"]).await;
    names(
        &ended,
        "fail",
        "(/wechat/wxfedcba9876543210) is not found",
        "does not know this app",
    );
    // A token that WeChat's console does not take, and a key of the wrong length.
    let mut odd = over.clone();
    odd["apps"][0]["token"] = json!("with-dash and space");
    let ended = doctor(place, &app.sandbox.url(), odd, &["--json"]).await;
    names(&ended, "warn", "its token is not one", "令牌");
    let mut short = over.clone();
    short["apps"][0]["aesKey"] = json!("tooshort");
    let ended = doctor(place, &app.sandbox.url(), short, &["--json"]).await;
    names(
        &ended,
        "fail",
        "the 43 letters and digits",
        "correct the settings",
    );
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wechat_says_where_it_finds_the_message_server() {
    let app = running().await;
    let folder = folder();
    let over = with_messages(app.address(), None);
    let look = async || doctor(folder.path(), &app.sandbox.url(), over.clone(), &["--json"]).await;
    names(
        &look().await,
        "ok",
        "WeChat finds the message server at 192.0.2.30",
        "",
    );
    let check = "/cgi-bin/callback/check";
    app.sandbox
        .fault(Fault::errcode(40201, "invalid url").on(check));
    names(&look().await, "warn", "(40201)", "服务器配置");
    app.sandbox.clear_faults();
    app.sandbox
        .fault(Fault::errcode(48001, "api unauthorized").on(check));
    names(
        &look().await,
        "ok",
        "does not say how it finds the message server",
        "",
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wechat_servers_own_path_is_tried_as_well() {
    let section = json!({ "token": "wechat-server-token-0001" });
    let app = TestApp::with(json!({
        "apps": [{ "key": APP, "secret": APP_SECRET, "token": TOKEN }], "wechatServer": section,
    }))
    .await;
    let folder = folder();
    let mut over = with_messages(app.address(), None);
    over["wechatServer"] = section;
    let ended = doctor(folder.path(), &app.sandbox.url(), over, &["--json"]).await;
    names(
        &ended,
        "ok",
        "(/api/wechat) answers WeChat's server check",
        "",
    );
    names(
        &ended,
        "warn",
        "server.publicUrl is not set",
        "set server.publicUrl",
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_breaks_the_server_check_is_named() {
    let app = running().await;
    let folder = folder();
    let place = folder.path();
    for (directives, status, what, cure) in [
        (
            "rewrite ^/wechat/(.*)$ /$1 break;",
            "fail",
            "is not found (HTTP 404)",
            "cuts the path",
        ),
        (
            "rewrite ^/wechat/(.*)$ /wechat/$1? break;",
            "fail",
            "something else than the echostr",
            "proxy_pass",
        ),
        (
            "if ($uri ~ wechat) { return 302 /login; }",
            "fail",
            "redirects (HTTP 302)",
            "without the redirect",
        ),
        (
            "if ($uri ~ wechat) { return 503; }",
            "fail",
            "answers with HTTP 503",
            "log",
        ),
    ] {
        let Some(nginx) = Nginx::bare(app.address(), directives).await else {
            return;
        };
        let public = format!("http://{}", nginx.http);
        let over = with_messages(app.address(), Some(&public));
        let ended = doctor(place, &app.sandbox.url(), over, &["--json"]).await;
        names(&ended, status, what, cure);
        names(&ended, "ok", "at this machine", "");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_run_is_only_a_warning() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let own: SocketAddr = dead_address()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let over = with_messages(own, None);
    let ended = doctor(folder.path(), &sandbox.url(), over, &["--json"]).await;
    assert_eq!(
        (ended.code, checks(&ended, "fail")),
        (Some(0), vec![]),
        "{ended:?}"
    );
    names(
        &ended,
        "warn",
        "no server runs at http://127.0.0.1",
        "start the server",
    );
}

/// The doctor of a server whose public address is `public`.
async fn with_public(
    place: &Path,
    wechat: &str,
    public: &str,
    variables: &[(&str, &str)],
) -> Ended {
    let mut over = stable();
    over["server"] = json!({ "publicUrl": public });
    write_settings(place, &settings(wechat, over));
    run(place, &["doctor", "--json"], variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_that_leads_elsewhere_is_named() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let look = async |public: &str| with_public(place, &sandbox.url(), public, &[]).await;
    fails(
        &look("http://jsdkd.invalid").await,
        "DNS: jsdkd.invalid",
        "DNS record",
    );
    let ended = look(&dead_address()).await;
    assert_eq!(checks(&ended, "fail"), vec![], "{ended:?}");
    names(&ended, "warn", "(server.publicUrl)", "security group");
    let (page, _guard) =
        serve(|| web::to(|| async { HttpResponse::Ok().body("welcome to nginx") }));
    fails(
        &look(&format!("http://{page}")).await,
        "something that is no jsdkd answers",
        "proxy_pass",
    );
    let (moved, _guard) = serve(|| {
        web::to(|| async {
            HttpResponse::MovedPermanently()
                .insert_header(("location", "https://shop.example.com/ping"))
                .finish()
        })
    });
    fails(
        &look(&format!("http://{moved}/wx/")).await,
        "redirects to https://shop.example.com/ping",
        "server.publicUrl",
    );
    // nginx without a server behind it.
    let dead = dead_address()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let Some(nginx) = Nginx::bare(dead, "").await else {
        return;
    };
    let ended = look(&format!("http://{}", nginx.http)).await;
    fails(&ended, "answers with HTTP 502", "start jsdkd");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_the_public_address_is_checked() {
    let app = running().await;
    let folder = folder();
    let place = folder.path();
    let names_of_us = "DNS:localhost,IP:127.0.0.1";
    let Some((good, ca)) = Nginx::with_tls(app.address(), names_of_us).await else {
        return;
    };
    let trusted = [("SSL_CERT_FILE", ca.to_str().unwrap())];
    let sandbox = app.sandbox.url();
    let public = format!("https://localhost:{}", good.https.port());
    let ended = with_public(place, &sandbox, &public, &trusted).await;
    assert_eq!(checks(&ended, "fail"), vec![], "{ended:?}");
    names(&ended, "ok", &format!("{public}/ leads to a jsdkd"), "");
    let untrusted = with_public(place, &sandbox, &public, &[]).await;
    fails(&untrusted, "TLS: no secure connection", "ca-certificates");
    let Some((other, ca)) = Nginx::with_tls(app.address(), "DNS:shop.example.com").await else {
        return;
    };
    let trusted = [("SSL_CERT_FILE", ca.to_str().unwrap())];
    let public = format!("https://localhost:{}", other.https.port());
    let ended = with_public(place, &sandbox, &public, &trusted).await;
    fails(&ended, "TLS: no secure connection", "for another name");
    let ten_days = 10 * 24 * 3600;
    let old = Nginx::with_tls_made_at(app.address(), names_of_us, -ten_days).await;
    let Some((old, ca)) = old else { return };
    let trusted = [("SSL_CERT_FILE", ca.to_str().unwrap())];
    let public = format!("https://localhost:{}", old.https.port());
    let ended = with_public(place, &sandbox, &public, &trusted).await;
    fails(&ended, "TLS: no secure connection", "has expired");
    app.stop().await;
}
