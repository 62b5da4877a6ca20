//! `jsdkd doctor` against real servers: each fault is there, is named with its cure, and no token is
//! voided on the way.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sandbox::{Effect, Fault, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::databases;
use crate::support::faketime::WallClock;
use crate::support::process::{Ended, folder, run, settings, write_settings};
use crate::support::redis::RedisServer;

const TOKEN: &str = "/cgi-bin/token";

async fn sandbox() -> (Sandbox, sandbox::RunningSandbox) {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .unwrap()
}

/// Runs the doctor on the usual settings with `over` laid over them.
async fn doctor(place: &Path, wechat: &str, over: Value, args: &[&str]) -> Ended {
    write_settings(place, &settings(wechat, over));
    let file = place.join("jsdkd.json");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    run(place, &[&["doctor"], args].concat(), &[]).await
}

fn stable() -> Value {
    json!({ "apps": [{ "key": APP, "secret": APP_SECRET, "tokenApi": "stable" }] })
}

/// The checks that ended as `status`, each with its cure.
#[track_caller]
fn checks(ended: &Ended, status: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
    let sections = report["sections"].as_array().unwrap();
    let all = sections
        .iter()
        .flat_map(|section| section["checks"].as_array().unwrap());
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let found: Vec<_> = all
        .filter(|check| check["status"] == status)
        .map(|check| (text(check, "check"), text(check, "cure")))
        .collect();
    assert_eq!(report[status], found.len());
    found
}

/// The only failure contains `what`, and its cure `cure`.
#[track_caller]
fn fails(ended: &Ended, what: &str, cure: &str) {
    let found = checks(ended, "fail");
    assert!(
        found.len() == 1 && found[0].0.contains(what) && found[0].1.contains(cure),
        "{found:?}"
    );
    assert_eq!(ended.code, Some(1));
    for secret in [APP_SECRET, "wrong-secret-marker"] {
        assert!(
            !ended.out.contains(secret) && !ended.err.contains(secret),
            "{ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_server_has_no_failure_and_strict_counts_warnings() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let ended = doctor(place, &sandbox.url(), stable(), &["--json"]).await;
    assert_eq!(
        (ended.code, checks(&ended, "fail")),
        (Some(0), vec![]),
        "{ended:?}"
    );
    let warned = checks(&ended, "warn");
    assert!(
        warned
            .iter()
            .any(|(what, _)| what.contains("kept in memory")),
        "{warned:?}"
    );
    let strict = doctor(place, &sandbox.url(), stable(), &["--strict"]).await;
    assert_eq!(strict.code, Some(2), "{strict:?}");
    assert!(
        strict
            .out
            .contains("\n  warn  credentials are kept in memory")
            && strict.out.contains("→ write cache"),
        "{}",
        strict.out
    );
    assert_eq!(sandbox.calls(TOKEN), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_and_an_unlisted_address_are_named() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let wrong =
        json!({ "apps": [{ "key": APP, "secret": "wrong-secret-marker", "tokenApi": "stable" }] });
    let ended = doctor(place, &sandbox.url(), wrong, &["--json"]).await;
    fails(&ended, "refused", "AppSecret");
    sandbox.fault(Fault {
        path: Some("/cgi-bin/stable_token".to_owned()),
        appid: None,
        times: None,
        fault: Effect {
            errcode: Some(40164),
            errmsg: Some("invalid ip 203.0.113.7, not in whitelist".to_owned()),
            ..Effect::default()
        },
    });
    let ended = doctor(place, &sandbox.url(), stable(), &["--json"]).await;
    fails(&ended, "203.0.113.7", "IP白名单");
    assert_eq!(sandbox.calls(TOKEN), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basic_account_is_probed_and_never_fetched_for() {
    let redis = RedisServer::start();
    let cache = json!({ "cache": { "redis": redis.url() } });
    let app = TestApp::with(cache.clone()).await;
    let folder = folder();
    let place = folder.path();
    // Nothing is stored yet, so nothing can be known.
    let ended = doctor(place, &app.sandbox.url(), cache.clone(), &["--json"]).await;
    assert_eq!(checks(&ended, "fail"), vec![]);
    assert!(
        checks(&ended, "warn")
            .iter()
            .any(|(what, _)| what.contains("cannot be known"))
    );
    assert_eq!(app.sandbox.calls(TOKEN), 0);
    let token = app.value("token").await;
    let ended = doctor(place, &app.sandbox.url(), cache.clone(), &["--json"]).await;
    assert!(
        checks(&ended, "ok")
            .iter()
            .any(|(what, _)| what.contains("WeChat accepts")),
        "{ended:?}"
    );
    app.sandbox.void_token(APP);
    let ended = doctor(place, &app.sandbox.url(), cache, &["--json"]).await;
    fails(&ended, APP, "another program fetched one");
    assert_eq!(app.sandbox.calls(TOKEN), 1, "only the server has fetched");
    assert!(!ended.out.contains(&token));
    // In memory it cannot know.
    let ended = doctor(place, &app.sandbox.url(), json!({}), &["--json"]).await;
    assert!(
        checks(&ended, "warn")
            .iter()
            .any(|(what, _)| what.contains("cannot be known"))
    );
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_and_one_that_is_away_are_named() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let with = |url: &str| {
        let mut over = stable();
        over["cache"] = json!({ "redis": url });
        over
    };
    let redis = RedisServer::with(&["--maxmemory-policy", "allkeys-lru"]);
    let ended = doctor(place, &sandbox.url(), with(&redis.url()), &["--json"]).await;
    fails(&ended, "allkeys-lru", "noeviction");
    let dead = crate::support::keepers::dead_address().replace("http", "redis");
    let ended = doctor(place, &sandbox.url(), with(&dead), &["--json"]).await;
    fails(&ended, "redis", "cache.redis");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_tables_is_named_until_they_are_there() {
    let (sandbox, _running) = sandbox().await;
    let databases = [databases::mariadb(), databases::postgres()];
    let urls = databases.iter().flatten().map(|database| database.url());
    for url in urls {
        let folder = folder();
        let place = folder.path();
        let mut over = stable();
        over["cache"] = json!({ "sql": url });
        let ended = doctor(place, &sandbox.url(), over.clone(), &["--json"]).await;
        let found = checks(&ended, "fail");
        assert!(
            found.len() == 5 && found.iter().all(|(_, cure)| cure.contains("jsdkd install")),
            "{found:?}"
        );
        let installed = run(place, &["install"], &[]).await;
        assert_eq!(installed.code, Some(0), "{installed:?}");
        let ended = doctor(place, &sandbox.url(), over, &["--json"]).await;
        assert_eq!(
            (ended.code, checks(&ended, "fail")),
            (Some(0), vec![]),
            "{ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_named() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    write_settings(place, &settings(&sandbox.url(), stable()));
    let clock = WallClock::in_folder(place);
    clock.set(600);
    let ended = run(place, &["doctor", "--json"], &clock.variables()).await;
    fails(&ended, "ahead of WeChat's", "timedatectl");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_found_is_named() {
    let folder = folder();
    let place = folder.path();
    let ended = doctor(place, "http://wechat.invalid", json!({}), &["--json"]).await;
    fails(&ended, "DNS: wechat.invalid", "name server");
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_settings_and_open_files_are_named() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    std::fs::write(place.join("faulty.json"), "{ apps: [{ key: 'wx1' }] }").unwrap();
    let ended = run(place, &["doctor", "--json", "--config", "faulty.json"], &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(checks(&ended, "fail")[0].0.contains("secret"), "{ended:?}");
    write_settings(place, &settings(&sandbox.url(), stable()));
    std::fs::set_permissions(
        place.join("jsdkd.json"),
        std::fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let ended = run(place, &["doctor", "--json"], &[]).await;
    assert!(
        checks(&ended, "warn").iter().any(|(what, cure)| what
            .contains("jsdkd.json can be read by others")
            && cure.contains("chmod 600")),
        "{ended:?}"
    );
}
