//! Signals to the running program: a clean stop, or a reload of its settings.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use sandbox::{Fault, RunningSandbox, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, REALM, REALM_SECRET, Response, signed_v2};
use crate::support::process::{Process, folder, settings, until, write_settings};

const TOKEN: &str = "/cgi-bin/token";

/// WeChat for a test.
async fn wechat() -> (Sandbox, RunningSandbox) {
    let accounts = [(APP, APP_SECRET), ("wx_second", "second-secret")];
    let accounts = accounts
        .map(|(app, secret)| (app.to_owned(), secret.to_owned()))
        .to_vec();
    let options = SandboxOptions {
        accounts,
        ..SandboxOptions::default()
    };
    Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port")
}

fn cached(folder: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("cache.json")).expect("a cache file"))
        .expect("whole JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_and_sigint_flush_the_cache_and_exit_0() {
    for signal in ["TERM", "INT"] {
        let ((sandbox, _running), folder) = (wechat().await, folder());
        let server = Process::serve(
            folder.path(),
            &settings(&sandbox.url(), json!({ "cache": { "file": "cache.json" } })),
        )
        .await;
        let token = server
            .get(&signed_v2("GET", APP, &[("key", "token")]))
            .await
            .json()["value"]
            .clone();
        server.signal(signal);
        let ended = server.ended().await;
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
        assert!(ended.out.contains("\"message\":\"stopped\""), "{ended:?}");
        assert_eq!(
            cached(folder.path())[format!("{APP}.token")]["value"],
            token
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_request_finishes_during_shutdown() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let server = Process::serve(
        folder.path(),
        &settings(&sandbox.url(), json!({ "cache": { "file": "cache.json" } })),
    )
    .await;
    sandbox.fault(Fault::delay(Duration::from_millis(2_000)).on(TOKEN));
    let under_way = tokio::spawn(
        server
            .request(Method::GET, &signed_v2("GET", APP, &[("key", "token")]))
            .send(),
    );
    until(|| (sandbox.calls(TOKEN) == 1).then_some(()))
        .await
        .expect("the request reaches WeChat");
    server.signal("TERM");
    let address = server.url.trim_start_matches("http://").to_owned();
    until(|| {
        std::net::TcpStream::connect(&address)
            .is_err()
            .then_some(())
    })
    .await
    .expect("new connections are refused");
    assert!(
        !under_way.is_finished(),
        "the door was closed only when the request had ended"
    );
    let answer = under_way
        .await
        .expect("our own task")
        .expect("the request is answered");
    let value = Response::of(answer).await.json();
    assert_eq!(server.ended().await.code, Some(0));
    assert_eq!(
        cached(folder.path())[format!("{APP}.token")]["value"],
        value["value"],
        "what was fetched last is saved too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_grace_period_are_dropped() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let over = json!({ "server": { "shutdownGrace": "2s" }, "wechat": { "timeout": "60s" } });
    let server = Process::serve(folder.path(), &settings(&sandbox.url(), over)).await;
    sandbox.fault(Fault::hang());
    let under_way = tokio::spawn(
        server
            .request(Method::GET, &signed_v2("GET", APP, &[("key", "token")]))
            .send(),
    );
    until(|| (sandbox.calls(TOKEN) == 1).then_some(()))
        .await
        .expect("the request reaches WeChat");
    let begun = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().await.code, Some(0));
    let took = begun.elapsed();
    // One grace period for requests and renewals together.
    assert!(
        took >= Duration::from_millis(1_800) && took < Duration::from_millis(3_800),
        "{took:?}"
    );
    assert!(under_way.await.expect("our own task").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_delay_shutdown() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let over = json!({ "server": { "shutdownGrace": "60s" } });
    let server = Process::serve(folder.path(), &settings(&sandbox.url(), over)).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(None)
            .build()
            .expect("a client");
        let answer = client
            .get(format!("{}/ping", server.url))
            .send()
            .await
            .expect("an answer");
        assert!(
            answer
                .text()
                .await
                .expect("a body")
                .starts_with("{\"pong\"")
        );
        idle.push(client);
    }
    // A connection that has never sent anything.
    let _silent = std::net::TcpStream::connect(server.url.trim_start_matches("http://"))
        .expect("a connection");
    let begun = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().await.code, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_during_startup_stops_it() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    write_settings(
        folder.path(),
        &settings(&sandbox.url(), json!({ "cache": { "file": "cache.json" } })),
    );
    for pause in [0, 2, 4, 8, 12, 16, 24, 32, 48, 64] {
        let server = Process::start(folder.path(), &[], &[]);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.signal("TERM");
        let ended = server.ended().await;
        // Before the program has installed handlers the system ends it; after that it stops itself.
        assert!(
            ended.code == Some(0) || (ended.code.is_none() && ended.out.is_empty()),
            "after {pause} ms: {ended:?}"
        );
        assert_eq!(ended.err, "", "after {pause} ms");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn no_early_signal_is_lost_or_deadly() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    // Many accounts make the start long enough to send a signal during it.
    let apps: Vec<Value> = (0..3_000)
        .map(|n| json!({ "key": format!("wx_{n:06}"), "secret": "s" }))
        .collect();
    write_settings(
        folder.path(),
        &settings(&sandbox.url(), json!({ "apps": apps })),
    );
    for signals in [["HUP", "TERM"], ["TERM", "HUP"], ["HUP", "INT"]] {
        let server = Process::start(folder.path(), &[], &[]);
        until(|| server.catches_signals().then_some(()))
            .await
            .expect("it listens to signals");
        for signal in signals {
            server.signal(signal);
        }
        let ended = server.ended().await;
        assert_eq!(ended.code, Some(0), "{signals:?}: {ended:?}");
        assert!(ended.out.contains("\"message\":\"stopped\""), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_changes_settings_without_loss() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let server = Arc::new(
        Process::serve(
            folder.path(),
            &settings(&sandbox.url(), json!({ "cors": ["example\\.com"] })),
        )
        .await,
    );
    let token = server
        .get(&signed_v2("GET", APP, &[("key", "token")]))
        .await
        .json()["value"]
        .clone();
    server
        .get("/jsapi/wx_second/config")
        .await
        .problem(404, "unknown_app");
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let hammers: Vec<_> = (0..4)
        .map(|_| {
            let (server, stop, asked, token) = (
                Arc::clone(&server),
                Arc::clone(&stop),
                Arc::clone(&asked),
                token.clone(),
            );
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let answer = server
                        .get(&signed_v2("GET", APP, &[("key", "token")]))
                        .await
                        .json();
                    assert_eq!(answer["value"], token);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let apps = json!([{ "key": APP, "secret": APP_SECRET }, { "key": "wx_second", "secret": "second-secret" }]);
    let realms = json!([{ "key": REALM, "secret": REALM_SECRET }, { "key": "R2", "secret": "another-secret" }]);
    let origin = |origin: &'static str| {
        let request = server
            .request(Method::GET, "/ping")
            .header("origin", origin);
        async { request.send().await.expect("an answer").status() }
    };
    assert_eq!(origin("https://example.org").await, StatusCode::FORBIDDEN);
    for round in 0..6 {
        let before = asked.load(Ordering::SeqCst);
        let over = if round % 2 == 0 {
            json!({ "apps": apps, "realms": realms, "cors": ["example\\.org"] })
        } else {
            json!({ "cors": ["example\\.com"] })
        };
        write_settings(folder.path(), &settings(&sandbox.url(), over));
        server.signal("HUP");
        let accounts = if round % 2 == 0 { 2 } else { 1 };
        let said = |line: &&Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("settings reloaded"))
        };
        let reloads = until(|| {
            let log = server.log();
            let reloads: Vec<_> = log.iter().filter(said).cloned().collect();
            (reloads.len() > round).then_some(reloads)
        });
        let reloads = reloads.await.expect("the reload is logged");
        assert_eq!(reloads[round]["accounts"], accounts);
        until(|| (asked.load(Ordering::SeqCst) > before + 8).then_some(()))
            .await
            .expect("requests go on");
        if round == 0 {
            let status = server
                .get("/jsapi/wx_second/config?url=https://example.org/")
                .await
                .status;
            let shut_out = origin("https://example.com").await;
            let let_in = origin("https://example.org").await;
            assert_eq!(
                (status, shut_out, let_in),
                (StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::OK)
            );
        }
    }
    stop.store(true, Ordering::SeqCst);
    for hammer in hammers {
        hammer
            .await
            .expect("no request was dropped or answered otherwise");
    }
    server
        .get("/jsapi/wx_second/config")
        .await
        .problem(404, "unknown_app");
    assert_eq!(
        sandbox.calls_of(APP, TOKEN),
        1,
        "the cached credential outlived every reload"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_file_changes_nothing_and_is_reported() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let server = Process::serve(folder.path(), &settings(&sandbox.url(), json!({}))).await;
    let before = server
        .get(&signed_v2("GET", APP, &[("key", "token")]))
        .await
        .json();
    let faulty =
        "{\n  apps: [],\n  realms: [{ key: \"R9\", secret: \"\" }],\n  keep: \"somtimes\",\n}";
    for text in [faulty, "{ apps: [", ""] {
        std::fs::write(folder.path().join("jsdkd.json"), text).expect("our own folder");
        let reports = server
            .log()
            .iter()
            .filter(|line| line["level"] == "ERROR")
            .count();
        server.signal("HUP");
        until(|| {
            (server
                .log()
                .iter()
                .filter(|line| line["level"] == "ERROR")
                .count()
                > reports)
                .then_some(())
        })
        .await
        .unwrap_or_else(|| panic!("{text:?} is not reported: {}", server.out()));
        assert_eq!(
            server
                .get(&signed_v2("GET", APP, &[("key", "token")]))
                .await
                .json(),
            before
        );
    }
    let faults: Vec<String> = server
        .log()
        .iter()
        .filter_map(|line| Some(line["fault"].as_str()?.to_owned()))
        .collect();
    for place in [
        "jsdkd.json:3:25 realms[0].secret",
        "jsdkd.json:4:3 keep",
        "jsdkd.json:1:",
    ] {
        assert!(
            faults.iter().any(|fault| fault.contains(place)),
            "{place}: {faults:#?}"
        );
    }
    assert_eq!(sandbox.calls(TOKEN), 1);
    server.signal("TERM");
    assert_eq!(server.ended().await.code, Some(0));
}
