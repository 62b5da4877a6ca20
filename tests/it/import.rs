//! `jsdkd import`: other servers' settings, variables and databases become a `jsdkd.json` that
//! loads. The samples in `import/` are written from the servers' own pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::databases;
use crate::support::process::{
    Ended, Process, folder, run, settings as process_settings, write_settings,
};
use crate::support::programs;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/import");
const APP: &str = "wx0123456789abcdef";

/// What was printed, which must be settings that load.
async fn settings_of(folder: &Path, ended: &Ended, name: &str) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let settings: Value = serde_json::from_str(&ended.out).expect("nothing but JSON on stdout");
    assert!(
        ended.err.contains("chmod 600 jsdkd.json") && ended.err.starts_with(name),
        "{}",
        ended.err
    );
    let file = folder.join("imported.json");
    fs::write(&file, &ended.out).unwrap();
    let checked = run(folder, &["check", "--strict", "imported.json"], &[]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    settings
}

/// A copy of a sample in a folder of its own.
fn sample(folder: &Path, name: &str, called: &str) {
    fs::copy(format!("{SAMPLES}/{name}"), folder.join(called)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_servers_file_is_taken_as_it_is() {
    let folder = folder();
    let place = folder.path();
    sample(place, "jsdkd.json", "jsdkd.json");
    let expected = json!({
        "cors": ["example\\.com"],
        "cache": { "redis": "redis://localhost:6379" },
        "realms": [{ "key": "R123", "secret": "realm-secret-marker" }],
        "apps": [{ "key": APP, "secret": "app-secret-marker" }],
    });
    for args in [
        &["import", "jsdkd.json"][..],
        &["import", "--from", "jsdkd", "jsdkd.json"],
        &["import", "--from", "node"],
        &["import"],
    ] {
        let ended = run(place, args, &[]).await;
        assert_eq!(settings_of(place, &ended, "jsdkd: ").await, expected);
        assert!(
            ended
                .err
                .contains("port: the Node server does not read this")
        );
    }
    let variables = [("APP_CONFIG", "jsdkd.json"), ("SERVER_PORT", "8081")];
    let ended = run(place, &["import"], &variables).await;
    let settings = settings_of(place, &ended, "jsdkd: ").await;
    assert_eq!(settings["server"], json!({ "port": 8081 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_variables_become_settings() {
    let folder = folder();
    let place = folder.path();
    sample(place, "hub.env", "hub.env");
    let expected = json!({
        "apps": [{ "key": APP, "secret": "app-secret-marker" }],
        "hub": { "app": APP, "keys": {
            "key1": "a-key-of-at-least-thirty-two-bytes-1",
            "key2": "a-key-of-at-least-thirty-two-bytes-2",
        } },
        "server": { "port": 8567 },
        "wechat": { "api": ["https://api.weixin.qq.com"] },
    });
    let variables = [
        ("WECHAT_API_ROOT", "https://api.weixin.qq.com"),
        ("APPID", APP),
        ("APPSECRET", "app-secret-marker"),
        ("JWT_KEY_key1", "a-key-of-at-least-thirty-two-bytes-1"),
        ("JWT_KEY_key2", "a-key-of-at-least-thirty-two-bytes-2"),
    ];
    for (args, variables) in [
        (&["import", "hub.env"][..], &[][..]),
        (&["import", "--from", "wechat-token-hub", "hub.env"], &[]),
        (&["import"], &variables),
        (&["import", "--from", "hub"], &variables),
    ] {
        let ended = run(place, args, variables).await;
        let settings = settings_of(place, &ended, "wechat-token-hub: ").await;
        assert_eq!(settings, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haowangs_variables_become_settings() {
    let folder = folder();
    let place = folder.path();
    sample(place, "haowang.env", "haowang.env");
    for args in [
        &["import", "haowang.env"][..],
        &["import", "--from", "wechat-server", "haowang.env"],
    ] {
        let ended = run(place, args, &[]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let settings: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(
            settings,
            json!({
                "apps": [{ "key": APP, "secret": "app-secret-marker", "token": "push-token-marker", "messages": "echo" }],
                "cache": { "redis": "redis://localhost:6379" },
                "server": { "port": 8080 },
            })
        );
        assert!(ended.err.contains("server.publicUrl"), "{}", ended.err);
    }
    let variables = [
        ("WECHAT_APP_ID", APP),
        ("WECHAT_APP_SECRET", "app-secret-marker"),
    ];
    let ended = run(place, &["import"], &variables).await;
    let settings = settings_of(place, &ended, "haowang1013/wechat-server: ").await;
    assert_eq!(settings["apps"][0]["token"], Value::Null);
    assert!(
        ended.err.contains("WECHAT_APP_TOKEN is not set"),
        "{}",
        ended.err
    );
}

/// What the sample of songquanpeng's database becomes.
#[track_caller]
fn is_songquanpengs(settings: &Value, ended: &Ended) {
    assert_eq!(
        *settings,
        json!({
            "apps": [{
                "key": APP, "secret": "app-secret-marker", "token": "push-token-marker",
                "aesKey": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "mode": "plain",
            }],
            "wechatServer": { "app": APP, "token": "admin-token-marker-0001" },
            "server": { "port": 3000, "publicUrl": "https://wechat.example.com" },
        })
    );
    let told = &ended.err;
    assert!(
        told.contains("2 administrators have a token") && told.contains("安全模式"),
        "{told}"
    );
    assert!(
        told.contains("not taken over: GitHubClientSecret\n"),
        "{told}"
    );
    for secret in [
        "github-marker",
        "password-hash-marker",
        "common-user",
        "0002",
    ] {
        assert!(
            !told.contains(secret) && !ended.out.contains(secret),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn songquanpengs_sqlite_becomes_settings_and_stays_as_it_is() {
    let Some(python) = programs::require("python3") else {
        return;
    };
    let folder = folder();
    let place = folder.path();
    let made = Command::new(python)
        .args(["-c", "import sqlite3, sys; d = sqlite3.connect('wechat-server.db'); d.executescript(open(sys.argv[1]).read()); d.commit()"])
        .arg(format!("{SAMPLES}/songquanpeng.sql"))
        .current_dir(place)
        .status()
        .unwrap();
    assert!(made.success());
    let before = fs::read(place.join("wechat-server.db")).unwrap();
    fs::copy(place.join("wechat-server.db"), place.join("other.db")).unwrap();
    for (args, variables) in [
        (&["import", "wechat-server.db"][..], &[][..]),
        (
            &["import", "--from", "songquanpeng", "sqlite:other.db"],
            &[],
        ),
        (&["import", "--from", "wechat-server", "other.db"], &[]),
        (&["import"], &[]),
        (&["import"], &[("SQLITE_PATH", "other.db")]),
    ] {
        let ended = run(place, args, variables).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let settings: Value = serde_json::from_str(&ended.out).unwrap();
        is_songquanpengs(&settings, &ended);
    }
    let ended = run(place, &["import", "wechat-server.db"], &[]).await;
    settings_of(place, &ended, "songquanpeng/wechat-server: ").await;
    assert_eq!(fs::read(place.join("wechat-server.db")).unwrap(), before);
    let beside: Vec<_> = fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with("-wal") || name.ends_with("-shm"))
        .collect();
    assert_eq!(beside, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn songquanpengs_mysql_becomes_settings() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    let sample = fs::read_to_string(format!("{SAMPLES}/songquanpeng.sql")).unwrap();
    database.sql(&sample);
    let folder = folder();
    let url = database.url();
    let ended = run(folder.path(), &["import", &url], &[]).await;
    let settings: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
    is_songquanpengs(&settings, &ended);
    // Go's own way to write the address.
    let go = go_dsn(&url);
    let ended = run(folder.path(), &["import"], &[("SQL_DSN", &go)]).await;
    let settings: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
    is_songquanpengs(&settings, &ended);
}

/// `mysql://user:password@host:port/database` as `user:password@tcp(host:port)/database`.
fn go_dsn(url: &str) -> String {
    let url: url::Url = url.parse().unwrap();
    format!(
        "{}:{}@tcp({}:{}){}?parseTime=true",
        url.username(),
        url.password().unwrap_or_default(),
        url.host_str().unwrap(),
        url.port().unwrap(),
        url.path()
    )
}

/// Makes wetoken's tables and ours in the database at `url`.
async fn install_tables(place: &Path, url: &str) {
    let sql = [("JSDKD__CACHE__SQL", url)];
    fs::write(place.join("empty.json"), "{}").unwrap();
    let installed = run(place, &["install", "--config", "empty.json"], &sql).await;
    assert_eq!(installed.code, Some(0), "{installed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wetokens_database_becomes_settings() {
    let databases = [databases::mariadb(), databases::postgres()];
    for database in databases.iter().flatten() {
        let folder = folder();
        let place = folder.path();
        let url = database.url();
        install_tables(place, &url).await;
        database.sql(
            "INSERT INTO wechat_app_info (appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid) VALUES \
             ('wx0123456789abcdef', 'app-secret-marker', 'push-token-marker', '', '', '', '', ''), \
             ('wxfedcba9876543210', 'other-secret-marker', 't2', 'jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C', '', '', '', ''), \
             ('wxprepared', '', '', '', '', '', '', '');",
        );
        let ended = run(place, &["import", "--from", "wetoken", &url], &[]).await;
        let settings = settings_of(place, &ended, "wetoken: ").await;
        assert_eq!(
            settings,
            json!({
                "apps": [
                    { "key": APP, "secret": "app-secret-marker", "token": "push-token-marker" },
                    { "key": "wxfedcba9876543210", "secret": "other-secret-marker", "token": "t2",
                      "aesKey": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C" },
                ],
                "cache": { "sql": url },
                "wetoken": {},
                "server": { "port": 9999 },
            })
        );
        assert!(ended.err.contains("jsdkd install"), "{}", ended.err);
        let left = "because they have no secret: wxprepared\n";
        assert!(ended.err.contains(left), "{}", ended.err);
        // Whose database it is can be seen, and a variable may name it.
        let ended = run(place, &["import", &url], &[]).await;
        assert_eq!(settings_of(place, &ended, "wetoken: ").await, settings);
        let sql = [("JSDKD__CACHE__SQL", url.as_str())];
        let ended = run(place, &["import"], &sql).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_that_wetokens_route_created_are_imported() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    let url = database.url();
    let folder = folder();
    let place = folder.path();
    let settings = json!({ "apps": [], "cache": { "sql": url }, "wetoken": {} });
    write_settings(place, &process_settings("http://127.0.0.1:9", settings));
    assert_eq!(run(place, &["install"], &[]).await.code, Some(0));
    let server = Process::start(place, &[], &[]).listening().await;
    let created = server
        .get(&format!(
            "/wechat/app/create?appid={APP}&secret=app-secret-marker&token=pushtoken"
        ))
        .await;
    assert_eq!(created.status, 200, "{}", created.body);
    let ended = run(place, &["import", "--from", "wetoken", &url], &[]).await;
    let settings = settings_of(place, &ended, "wetoken: ").await;
    assert_eq!(
        settings["apps"],
        json!([{ "key": APP, "secret": "app-secret-marker", "token": "pushtoken" }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_load_is_left_out_and_named() {
    let folder = folder();
    let place = folder.path();
    let variables = [
        ("APPID", APP),
        ("APPSECRET", "app-secret-marker"),
        ("PORT", "8567"),
        ("WECHAT_API_ROOT", "not an address"),
        ("JWT_KEY_key1", "a-key-of-at-least-thirty-two-bytes-1"),
    ];
    let ended = run(place, &["import"], &variables).await;
    let settings = settings_of(place, &ended, "wechat-token-hub: wechat").await;
    assert_eq!(settings["wechat"], Value::Null);
    assert_eq!(settings["apps"][0]["key"], APP);
    // Of several apps the good ones are taken; a key of the wrong form is left out of its app.
    if let Some(database) = databases::mariadb() {
        let url = database.url();
        install_tables(place, &url).await;
        database.sql(
            "INSERT INTO wechat_app_info (appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid) VALUES \
             ('wx 1', 'first-secret-marker', '', '', '', '', '', ''), \
             ('wx0123456789abcdef', 'app-secret-marker', '', 'short-aes-marker', '', '', '', '');",
        );
        let ended = run(place, &["import", &url], &[]).await;
        let settings = settings_of(place, &ended, "wetoken: ").await;
        assert_eq!(
            settings["apps"],
            json!([{ "key": APP, "secret": "app-secret-marker" }])
        );
        for told in ["of wx 1: ", &format!("aesKey of {APP}: ")] {
            assert!(ended.err.contains(told), "{told}: {}", ended.err);
        }
        assert!(!ended.err.contains("marker"), "{}", ended.err);
    }
    // A list of origins that cannot be read is not dropped: without it every page could ask.
    let node = "{ cors: ['['], apps: [{ key: 'wx0123456789abcdef', secret: 's' }] }";
    fs::write(place.join("guarded.json"), node).unwrap();
    let ended = run(place, &["import", "--from", "jsdkd", "guarded.json"], &[]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("cors[0]"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokenboys_config_becomes_sources() {
    let folder = folder();
    let place = folder.path();
    sample(place, "config.py", "config.py");
    for args in [
        &["import", "config.py"][..],
        &["import", "--from", "tokenboy", "config.py"],
        &["import", "--from", "TokenBoy"],
        &["import"],
    ] {
        let ended = run(place, args, &[]).await;
        let settings = settings_of(place, &ended, "tokenboy: ").await;
        assert_eq!(
            settings["server"],
            json!({ "bind": "0.0.0.0", "port": 8888 })
        );
        let sources = settings["sources"].as_object().unwrap();
        assert_eq!(
            sources.keys().collect::<Vec<_>>(),
            ["weixin", "weixin_jsticket"]
        );
        assert_eq!(
            sources["weixin"],
            json!({
                "url": "https://api.weixin.qq.com/cgi-bin/token",
                "method": "GET",
                "args": { "grant_type": "client_credential", "appid": APP, "secret": "app-secret-marker" },
            })
        );
        assert!(
            ended.err.contains("line 29: ") && ended.err.contains("line 34: "),
            "{}",
            ended.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_prints_nothing_and_fails() {
    let folder = folder();
    let place = folder.path();
    fs::write(place.join("text.txt"), "hello\n").unwrap();
    fs::write(place.join("broken.json"), "{ apps: [ }").unwrap();
    fs::write(place.join("faulty.json"), "{ apps: [{ key: 'wx1' }] }").unwrap();
    fs::write(place.join("empty.py"), "x = 1\n").unwrap();
    for args in [
        &["import"][..],
        &["import", "missing.json"],
        &["import", "."],
        &["import", "text.txt"],
        &["import", "--from", "jsdkd", "broken.json"],
        &["import", "faulty.json"],
        &["import", "--from", "tokenboy", "empty.py"],
        &["import", "--from", "hub"],
        &["import", "--from", "hub", "text.txt"],
        &["import", "--from", "songquanpeng", "text.txt"],
        &["import", "--from", "wetoken", "text.txt"],
        &[
            "import",
            "--from",
            "wetoken",
            "mysql://u:password-marker@127.0.0.1:1/x",
        ],
        &["import", "sqlite:missing.db"],
    ] {
        let ended = run(place, args, &[]).await;
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(1), ""),
            "{args:?}: {ended:?}"
        );
        assert!(ended.err.len() > 20, "{args:?}: {ended:?}");
        assert!(!ended.err.contains("password-marker"), "{ended:?}");
    }
    let unknown = run(place, &["import", "--from", "nginx"], &[]).await;
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.err.contains("songquanpeng/wechat-server"),
        "{unknown:?}"
    );
}

#[test]
fn variables_can_come_through_a_pipe() {
    let env = fs::File::open(format!("{SAMPLES}/hub.env")).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_jsdkd"))
        .args(["import", "-"])
        .stdin(env)
        .output()
        .unwrap();
    let settings: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(settings["apps"][0]["key"], APP);
}
