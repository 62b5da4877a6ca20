//! The gateway on several instances, on a store that is down, and while settings are reloaded.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::app::{APP, APP_SECRET, Response, TestApp};
use crate::support::gateway::{VIRTUAL, settings};
use crate::support::keepers::eventually;
use crate::support::process::{self, Process, folder, until, write_settings};
use crate::support::redis::RedisServer;
use crate::support::tcp_wechat::{REAL_TOKEN, json as good};

const CALL: &str = "/cgi-bin/get_api_domain_ip";
const STORED: &str = "wx-stored-1";

fn errcode(answer: &Response) -> i64 {
    answer.json()["errcode"].as_i64().unwrap_or_default()
}

fn ask(app_id: &str) -> String {
    format!("/cgi-bin/token?grant_type=client_credential&appid={app_id}&secret={VIRTUAL}")
}

async fn token_of(server: &Process) -> String {
    let answer = server.get(&ask(APP)).await.json();
    answer["access_token"].as_str().expect("a token").to_owned()
}

/// Has `server` read `settings` again.
async fn reload(server: &Process, folder: &std::path::Path, settings: &Value) {
    let reloads = || {
        let log = server.log();
        let is_reload = |line: &&Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.starts_with("settings reloaded")
        };
        log.iter().filter(is_reload).count()
    };
    let before = reloads();
    write_settings(folder, settings);
    server.signal("HUP");
    until(|| (reloads() > before).then_some(()))
        .await
        .expect("the reload is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_instance_is_good_at_the_other_until_both_withdraw_it() {
    let (redis, wechat) = (RedisServer::start(), TestApp::start().await);
    let of = |realm: Value| {
        let over = json!({ "cache": { "redis": redis.url() } });
        process::settings(&wechat.sandbox.url(), settings(realm, over))
    };
    let folders = [folder(), folder()];
    let first = Process::serve(folders[0].path(), &of(json!({}))).await;
    let second = Process::serve(folders[1].path(), &of(json!({}))).await;
    let token = token_of(&first).await;
    let path = format!("{CALL}?access_token={token}");
    for server in [&second, &first, &second] {
        assert!(server.get(&path).await.json()["ip_list"].is_array());
    }
    let fetched = wechat.sandbox.calls("/cgi-bin/token");
    let fetched = fetched + wechat.sandbox.calls("/cgi-bin/stable_token");
    assert_eq!(fetched, 1, "both use one real token");
    // While a secret is being changed, tokens of the old one are good at an instance that knows
    // both, and an instance that knows the old one alone takes no token of the new one.
    let new = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let both = of(json!({ "secret": [new, VIRTUAL] }));
    reload(&first, folders[0].path(), &both).await;
    assert!(first.get(&path).await.json()["ip_list"].is_array());
    let newer = token_of(&first).await;
    let newer = format!("{CALL}?access_token={newer}");
    assert_eq!(errcode(&second.get(&newer).await), 40001);
    reload(&second, folders[1].path(), &both).await;
    assert!(second.get(&newer).await.json()["ip_list"].is_array());
    let after = of(json!({ "secret": new }));
    reload(&first, folders[0].path(), &after).await;
    assert_eq!(errcode(&first.get(&path).await), 40001);
    assert!(second.get(&path).await.json()["ip_list"].is_array());
    reload(&second, folders[1].path(), &after).await;
    assert_eq!(errcode(&second.get(&path).await), 40001);
    assert!(second.get(&newer).await.json()["ip_list"].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_secret_ends_its_tokens_but_not_calls_under_way() {
    // WeChat answers when the test says so.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut calls) = tokio::sync::mpsc::channel(8);
    let accepting = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            if String::from_utf8(head).unwrap().contains("/cgi-bin/token?") {
                let body = format!(r#"{{"access_token":"{REAL_TOKEN}","expires_in":7200}}"#);
                socket.write_all(&good(&body)).await.unwrap();
            } else if sender.send(socket).await.is_err() {
                return;
            }
        }
    });
    let folder = folder();
    let of = |realm: Value| {
        let over = json!({ "wechat": {} });
        process::settings(&url, settings(realm, over))
    };
    let server = Process::serve(folder.path(), &of(json!({}))).await;
    let path = format!("{CALL}?access_token={}", token_of(&server).await);
    let call = async || {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket
    };
    let mut waiting = call().await;
    let mut whole = calls.recv().await.expect("it arrives");
    let mut reading = call().await;
    let mut long = calls.recv().await.expect("it arrives");
    long.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
        .await
        .unwrap();
    long.write_all(&[b'd'; 100_000]).await.unwrap();
    reading.read_exact(&mut [0; 50_000]).await.unwrap();
    reload(
        &server,
        folder.path(),
        &of(json!({ "secret": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" })),
    )
    .await;
    assert_eq!(errcode(&server.get(&path).await), 40001, "a new call");
    assert_eq!(errcode(&server.get(&ask(APP)).await), 40125);
    whole.write_all(&good(r#"{"ip_list":[]}"#)).await.unwrap();
    long.write_all(&[b'd'; 100_000]).await.unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(r#"{"ip_list":[]}"#), "{answer}");
    let mut rest = Vec::new();
    reading.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"d") && rest.len() > 150_000);
    accepting.abort();
}

/// A server whose store holds [`STORED`], which its realm may call for; the store is at `redis`.
async fn on(redis: &RedisServer, wechat: &TestApp) -> TestApp {
    let over = json!({
        "apps": [{ "key": APP, "secret": APP_SECRET }],
        "cache": { "redis": redis.url() },
        "wetoken": {},
        "wechat": { "api": [wechat.sandbox.url()] },
    });
    TestApp::with(settings(json!({ "apps": [APP, STORED] }), over)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_only_a_dead_store_knows_is_a_system_error() {
    let mut redis = RedisServer::start();
    let wechat = TestApp::start().await;
    let app = on(&redis, &wechat).await;
    wechat.sandbox.add_account(STORED, APP_SECRET);
    let created = format!("/wechat/app/create?appid={STORED}&secret={APP_SECRET}&token=t");
    assert_eq!(errcode(&app.get(&created).await), 0);
    let token = app.get(&ask(STORED)).await.json()["access_token"].clone();
    let path = format!("{CALL}?access_token={}", token.as_str().expect("a token"));
    assert!(app.get(&path).await.json()["ip_list"].is_array());
    app.stop().await;

    redis.kill();
    let app = on(&redis, &wechat).await;
    let swap = format!("/sns/jscode2session?appid={STORED}&secret={VIRTUAL}&js_code=1");
    for path in [&path, &ask(STORED), &swap] {
        let answer = app.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), errcode(&answer)),
            (200, -1),
            "{path}"
        );
        assert!(answer.body.contains("store"), "{}", answer.body);
    }
    assert_eq!(wechat.sandbox.calls("/sns/jscode2session"), 0);
    // Who is in the settings needs no store to be found, and a wrong secret is wrong without one.
    assert!(app.get(&ask(APP)).await.json()["access_token"].is_string());
    let wrong = ask(STORED).replace(VIRTUAL, "wrong");
    assert_eq!(errcode(&app.get(&wrong).await), 40125);

    redis.restart();
    eventually("the account is found again", async || {
        app.get(&path).await.json()["ip_list"].is_array()
    })
    .await;
    // The store answers, and does not hold this one.
    let unknown = json!({ "apps": [APP, "wx-none-1"] });
    let over = json!({ "cache": { "redis": redis.url() }, "wetoken": {} });
    let other = TestApp::with(settings(unknown, over)).await;
    assert_eq!(errcode(&other.get(&ask("wx-none-1")).await), 40013);
    let upload = other.request(Method::POST, &ask("wx-none-1")).body("x");
    assert_eq!(errcode(&other.send(upload).await), 40013);
}
