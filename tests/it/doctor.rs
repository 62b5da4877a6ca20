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
use crate::support::redis::{RedisCluster, RedisServer};

const TOKEN: &str = "/cgi-bin/token";

pub(crate) async fn sandbox() -> (Sandbox, sandbox::RunningSandbox) {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .unwrap()
}

/// Runs the doctor on the usual settings with `over` laid over them.
pub(crate) async fn doctor(place: &Path, wechat: &str, over: Value, args: &[&str]) -> Ended {
    write_settings(place, &settings(wechat, over));
    let file = place.join("jsdkd.json");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    run(place, &[&["doctor"], args].concat(), &[]).await
}

pub(crate) fn stable() -> Value {
    json!({ "apps": [{ "key": APP, "secret": APP_SECRET, "tokenApi": "stable" }] })
}

/// The checks that ended as `status`, each with its cure.
#[track_caller]
pub(crate) fn checks(ended: &Ended, status: &str) -> Vec<(String, String)> {
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
pub(crate) fn fails(ended: &Ended, what: &str, cure: &str) {
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

/// A line of `status` contains `what`, and its cure `cure`.
#[track_caller]
pub(crate) fn names(ended: &Ended, status: &str, what: &str, cure: &str) {
    let found = checks(ended, status);
    assert!(
        found
            .iter()
            .any(|(line, to_do)| line.contains(what) && to_do.contains(cure)),
        "{what}: {found:#?}"
    );
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
        names(
            &ended,
            "fail",
            "the table jsdkd_record is missing",
            "jsdkd install",
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
async fn what_a_database_lacks_is_named_by_column() {
    let (sandbox, _running) = sandbox().await;
    let databases = [databases::mariadb(), databases::postgres()];
    for database in databases.iter().flatten() {
        let folder = folder();
        let place = folder.path();
        let mut over = stable();
        over["cache"] = json!({ "sql": database.url() });
        write_settings(place, &settings(&sandbox.url(), over.clone()));
        let installed = run(place, &["install"], &[]).await;
        assert_eq!(installed.code, Some(0), "{installed:?}");
        database.sql("ALTER TABLE jsdkd_record DROP COLUMN owner");
        let shorter = if database.url().starts_with("mysql") {
            "MODIFY COLUMN access_token VARCHAR(256) NOT NULL"
        } else {
            "ALTER COLUMN access_token TYPE VARCHAR(256)"
        };
        database.sql(&format!("ALTER TABLE wechat_access_token {shorter}"));
        let ended = doctor(place, &sandbox.url(), over, &["--json"]).await;
        names(
            &ended,
            "fail",
            "column jsdkd_record.owner is missing",
            "add the column",
        );
        names(
            &ended,
            "fail",
            "wechat_access_token.access_token takes 256 characters and must take 512",
            "jsdkd install",
        );
        assert_eq!(checks(&ended, "fail").len(), 2, "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_is_looked_at_and_stays_as_it_is() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let mut over = stable();
    over["cache"] = json!({ "sql": "sqlite:cache.db" });
    let ended = doctor(place, &sandbox.url(), over.clone(), &["--json"]).await;
    names(&ended, "fail", "sqlite", "jsdkd install");
    assert!(!place.join("cache.db").exists());
    let installed = run(place, &["install"], &[]).await;
    assert_eq!(installed.code, Some(0), "{installed:?}");
    let before = std::fs::read(place.join("cache.db")).unwrap();
    let ended = doctor(place, &sandbox.url(), over, &["--json"]).await;
    assert_eq!(checks(&ended, "fail"), vec![], "{ended:?}");
    names(&ended, "ok", "the database's clock is 0 s", "");
    assert_eq!(std::fs::read(place.join("cache.db")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_databases_and_a_redis_clock_are_compared() {
    let (sandbox, _running) = sandbox().await;
    let (redis, mariadb, postgres) = (
        RedisServer::start(),
        databases::mariadb(),
        databases::postgres(),
    );
    let mut caches = vec![(json!({ "redis": redis.url() }), "Redis's clock is")];
    for database in [&mariadb, &postgres].into_iter().flatten() {
        caches.push((json!({ "sql": database.url() }), "the database's clock is"));
    }
    for (cache, clock) in caches {
        let folder = folder();
        let place = folder.path();
        let mut over = stable();
        over["cache"] = cache;
        write_settings(place, &settings(&sandbox.url(), over));
        let installed = run(place, &["install"], &[]).await;
        drop(installed);
        let ended = run(place, &["doctor", "--json"], &[]).await;
        names(&ended, "ok", clock, "");
        let ours = WallClock::in_folder(place);
        // Our clock is set, because those of the servers cannot be.
        ours.set(-600);
        let ended = run(place, &["doctor", "--json"], &ours.variables()).await;
        names(&ended, "fail", "s ahead of this one", "both clocks");
        ours.set(60);
        let ended = run(place, &["doctor", "--json"], &ours.variables()).await;
        names(&ended, "warn", "s behind this one", "both clocks");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_or_is_full_is_named() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let redis = RedisServer::start();
    let mut over = stable();
    over["cache"] = json!({ "redis": redis.url() });
    let look = async || doctor(place, &sandbox.url(), over.clone(), &["--json"]).await;
    let ended = look().await;
    assert_eq!(checks(&ended, "fail"), vec![], "{ended:?}");
    names(&ended, "ok", "Redis writes an append-only file", "");
    redis.cli(&["CONFIG", "SET", "appendonly", "no"]);
    names(
        &look().await,
        "warn",
        "keeps nothing on disk",
        "appendonly yes",
    );
    redis.cli(&["CONFIG", "SET", "save", "3600 1"]);
    names(
        &look().await,
        "warn",
        "snapshots only (save 3600 1)",
        "appendonly yes",
    );
    let memory = redis.cli(&["INFO", "memory"]);
    let used = memory
        .lines()
        .find_map(|line| line.trim_end().strip_prefix("used_memory:"))
        .unwrap();
    redis.cli(&["CONFIG", "SET", "maxmemory", used]);
    names(
        &look().await,
        "fail",
        "of its maxmemory is used",
        "raise maxmemory",
    );
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    // A folder is where its next snapshot must be.
    let place_of = redis.cli(&["CONFIG", "GET", "dir"]);
    let snapshot = Path::new(place_of.lines().nth(1).unwrap()).join("dump.rdb");
    std::fs::create_dir(snapshot).unwrap();
    redis.cli(&["BGSAVE"]);
    redis.await_answer(&["INFO", "persistence"], "rdb_last_bgsave_status:err");
    // It now refuses even PING.
    names(
        &look().await,
        "fail",
        "it cannot save to its disk",
        "its log",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_kinds_of_redis_are_looked_at() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let look = async |cache: Value| {
        let mut over = stable();
        over["cache"] = json!({ "redis": cache });
        doctor(place, &sandbox.url(), over, &["--json"]).await
    };
    let cluster = RedisCluster::start();
    let ended = look(json!(cluster.url())).await;
    assert_eq!(checks(&ended, "fail"), vec![], "{ended:?}");
    let nodes = checks(&ended, "ok");
    let nodes = nodes
        .iter()
        .filter(|(what, _)| what.contains("answers, version"));
    assert_eq!(nodes.count(), 3, "{ended:?}");
    let redis = RedisServer::with_password("redis-password-marker");
    let ended = look(json!(redis.url())).await;
    names(&ended, "fail", "redis", "password");
    let user = [
        "ACL",
        "SETUSER",
        "small",
        "on",
        ">small-password",
        "~*",
        "+@all",
        "-info",
    ];
    redis.cli(&user);
    let url = format!("redis://small:small-password@127.0.0.1:{}", redis.port());
    let ended = look(json!(url)).await;
    assert_eq!(checks(&ended, "fail"), vec![], "{ended:?}");
    names(&ended, "warn", "does not say what it is", "+info");
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", "1"]);
    let ended = look(json!(replica.url())).await;
    names(&ended, "fail", "is a replica", "master");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_that_write_or_fetch_are_named() {
    let redis = RedisServer::start();
    let cache = json!({ "cache": { "redis": redis.url() } });
    let mut listed = cache.clone();
    listed["server"] = json!({ "admin": "127.0.0.1:0" });
    let app = TestApp::with(listed).await;
    redis.await_answer(&["EXISTS", "jsdkd.instances"], "1");
    let folder = folder();
    let place = folder.path();
    let look = async || doctor(place, &app.sandbox.url(), cache.clone(), &["--json"]).await;
    let token = app.value("token").await;
    let ended = look().await;
    names(&ended, "ok", "only jsdkd has written its keys", "");
    names(&ended, "ok", "jsdkd runs on this cache as", "");
    app.sandbox.void_token(APP);
    assert_eq!(app.rotate("token", &token).await.status, 200);
    let ended = look().await;
    names(
        &ended,
        "warn",
        "another program has fetched its token 1 time(s)",
        "gateway",
    );
    // The Node original writes no companion.
    let key = format!("{APP}.ticket");
    redis.cli(&["SET", &key, "\"a-foreign-ticket\"", "PX", "600000"]);
    let ended = look().await;
    names(
        &ended,
        "warn",
        &format!("has written {APP}.ticket"),
        "gateway",
    );
    assert_eq!(app.sandbox.calls(TOKEN), 2, "only the server has fetched");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_only_the_store_knows_is_looked_at() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let over = json!({ "apps": null, "cache": { "sql": database.url() }, "wetoken": {} });
    write_settings(place, &settings(&sandbox.url(), over.clone()));
    assert_eq!(run(place, &["install"], &[]).await.code, Some(0));
    database.sql(&format!(
        "INSERT INTO wechat_app_info (appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid) VALUES ('{APP}', '{APP_SECRET}', 'x!', '', '', '', '', '')"
    ));
    let ended = doctor(place, &sandbox.url(), over, &["--json"]).await;
    names(&ended, "warn", APP, "stable");
    names(
        &ended,
        "warn",
        &format!("{APP}: its token is not one"),
        "令牌",
    );
    assert_eq!(sandbox.calls(TOKEN), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wecoms_secret_and_address_are_tried() {
    const CORP: &str = "ww0123456789abcdef";
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let look = async |secret: &str| {
        let mut over = stable();
        over["wecom"] = json!([
            { "corpid": CORP, "agentid": 1000002, "secret": secret, "api": sandbox.url() }
        ]);
        doctor(place, &sandbox.url(), over, &["--json"]).await
    };
    let ended = look("wrong-secret-marker").await;
    fails(
        &ended,
        "ww0123456789abcdef application 1000002",
        "WeCom's console",
    );
    sandbox.fault(Fault::errcode(
        60020,
        "not allow to access from your ip, from ip: 203.0.113.9",
    ));
    let ended = look("wrong-secret-marker").await;
    names(&ended, "fail", "203.0.113.9", "企业可信IP");
}

#[tokio::test(flavor = "multi_thread")]
async fn cures_are_in_the_terminals_language() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    write_settings(place, &settings(&sandbox.url(), stable()));
    let chinese = [("LANG", "zh_CN.UTF-8")];
    let ended = run(place, &["doctor"], &chinese).await;
    assert!(ended.out.contains("→ 一个实例时写 cache"), "{}", ended.out);
    let english = [("LC_ALL", "C.UTF-8"), ("LANG", "zh_CN.UTF-8")];
    let ended = run(place, &["doctor"], &english).await;
    assert!(ended.out.contains("→ write cache"), "{}", ended.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_others_may_read_or_change_are_named() {
    let (sandbox, _running) = sandbox().await;
    let folder = folder();
    let place = folder.path();
    let (secret, cache) = (place.join("app.secret"), place.join("cache.json"));
    std::fs::write(&secret, APP_SECRET).unwrap();
    std::fs::write(&cache, "{}").unwrap();
    let mode = |file: &Path, mode| {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let over = json!({
        "apps": [{ "key": APP, "secret": { "file": secret }, "tokenApi": "stable" }],
        "cache": { "file": cache },
    });
    for (bits, status, what) in [
        (0o600, "ok", "is its owner's alone"),
        (0o640, "warn", "can be read by others"),
        (0o644, "warn", "can be read by others"),
        (0o666, "fail", "can be changed by everybody"),
    ] {
        mode(&secret, bits);
        mode(&cache, bits);
        let ended = doctor(place, &sandbox.url(), over.clone(), &["--json"]).await;
        for file in ["app.secret", "cache.json"] {
            let cure = if status == "ok" { "" } else { "chmod 600" };
            names(&ended, status, &format!("{file} {what}"), cure);
        }
    }
    let mut missing = over;
    missing["cache"] = json!({ "file": place.join("nowhere/cache.json") });
    let ended = doctor(place, &sandbox.url(), missing, &["--json"]).await;
    names(&ended, "fail", "nowhere", "make its folder");
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
