//! Apps that are created while the server runs: by whom, how often, and where they are served.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};
use wechat::signature;

use crate::sql_store::{bare, install};
use crate::sql_wetoken::{create_wetokens_tables, insert};
use crate::support::app::{APP, Response, TestApp, config_of};
use crate::support::databases::{self, DatabaseServer};
use crate::support::deliveries;
use crate::support::keepers::eventually;
use crate::support::process::{Process, folder, run, settings};
use crate::support::redis::RedisServer;
use crate::wetoken::{granted, refused, succeeded, with};

const TOKEN: &str = "/cgi-bin/token";

/// The app on wetoken's page.
const NEW: &str = "wx9e02ddcc34513fd4";
const SECRET: &str = "6acb2b999177524beba3d97d54df2de5";
const CREATE: &str = "/wechat/app/create?appid=wx9e02ddcc34513fd4&secret=6acb2b999177524beba3d97d54df2de5&token=oTSvVuXdjx1FPi6bz";

/// A server without apps, whose WeChat knows the new one.
async fn without_apps(over: Value) -> TestApp {
    let mut over = over;
    over["apps"] = Value::Null;
    let app = with(over).await;
    app.sandbox.add_account(NEW, SECRET);
    app
}

/// Another instance with the same WeChat and the same store.
async fn beside(first: &TestApp, cache: &Value) -> TestApp {
    with(json!({ "apps": null, "cache": cache, "wechat": { "api": [first.sandbox.url()] } })).await
}

async fn token(app: &TestApp) -> Response {
    app.get(&format!("/{NEW}/wechat/token/get")).await
}

async fn is_served(app: &TestApp) -> bool {
    token(app).await.body.starts_with(r#"{"errcode":0"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn wetokens_documented_requests_work_on_its_tables() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    let accounts = vec![
        (NEW.to_owned(), SECRET.to_owned()),
        ("wx-old".to_owned(), "old-secret".to_owned()),
    ];
    let options = SandboxOptions {
        accounts,
        ..SandboxOptions::default()
    };
    let (sandbox, _running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port");
    database.sql(
        "INSERT INTO wechat_app_info (appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid, update_time)
         VALUES ('wx-old', 'old-secret', 't1', '', 'm1', 'p1', '', '', now())",
    );
    let folder = folder();
    let url = database.url();
    let installed = run(folder.path(), &["install"], &[("JSDKD__CACHE__SQL", &url)]).await;
    assert_eq!(
        installed.code,
        Some(0),
        "a database in a variable suffices: {installed:?}"
    );

    let over = json!({ "apps": null, "realms": null, "wetoken": {}, "cache": { "sql": url } });
    let server = Process::serve(folder.path(), &settings(&sandbox.url(), over)).await;
    granted(
        &server.get("/wx-old/wechat/token/get").await,
        "access_token",
    );
    succeeded(&server.get(CREATE).await);
    let (token, left) = granted(
        &server.get(&format!("/{NEW}/wechat/token/get")).await,
        "access_token",
    );
    assert!(sandbox.accepts(&token) && left > 7100);
    let (ticket, _) = granted(
        &server.get(&format!("/{NEW}/wechat/ticket/get")).await,
        "ticket",
    );
    assert_eq!(Some(ticket), sandbox.current_ticket(NEW));
    assert_eq!(
        refused(&server.get(CREATE).await, 400),
        format!("{NEW} already exists")
    );
    let row = database.sql(&format!(
        "SELECT aes_key, secret, token FROM wechat_app_info WHERE appid = '{NEW}'"
    ));
    assert_eq!(row, format!("\t{SECRET}\toTSvVuXdjx1FPi6bz"));
    server.signal("TERM");
    let ended = server.ended().await;
    assert_eq!(ended.code, Some(0));
    for secret in [SECRET, "oTSvVuXdjx1FPi6bz", token.as_str()] {
        assert!(
            !ended.out.contains(secret) && !ended.err.contains(secret),
            "{secret} is in the log"
        );
    }

    let again = Process::start(folder.path(), &[], &[]).listening().await;
    assert_eq!(
        granted(
            &again.get(&format!("/{NEW}/wechat/token/get")).await,
            "access_token"
        )
        .0,
        token
    );
    assert_eq!(sandbox.calls_of(NEW, TOKEN), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wetokens_stored_credential_costs_no_call() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install(&database.url()).await;
    insert(
        &database,
        "wechat_access_token",
        "access_token",
        "left-by-wetoken",
        6599,
    );
    insert(
        &database,
        "wechat_jsapi_ticket",
        "ticket",
        "ticket-of-wetoken",
        6599,
    );
    let app = with(json!({ "cache": { "sql": database.url() } })).await;
    for (path, member, value) in [
        ("token/query", "access_token", "left-by-wetoken"),
        ("token/get", "access_token", "left-by-wetoken"),
        ("ticket/get", "ticket", "ticket-of-wetoken"),
    ] {
        let (told, left) = granted(&app.get(&format!("/wx/{APP}/{path}")).await, member);
        assert!(
            told == value && (6580..=6599).contains(&left),
            "{told} {left}"
        );
    }
    assert_eq!(app.sandbox.calls(TOKEN), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_app_is_served_everywhere_within_a_second() {
    let redis = RedisServer::start();
    let database = databases::mariadb();
    let mut caches = vec![json!({ "redis": redis.url() })];
    if let Some(database) = &database {
        install(&database.url()).await;
        caches.push(json!({ "sql": database.url() }));
    }
    for cache in caches {
        let first = without_apps(json!({ "cache": cache })).await;
        let second = beside(&first, &cache).await;
        refused(&token(&second).await, 400);
        succeeded(&first.get(CREATE).await);
        assert!(is_served(&first).await, "at once where it was made");
        eventually("the other instance serves it", async || {
            is_served(&second).await
        })
        .await;
        // The machine may be busy; the quickest of three shows what jsdkd itself needs.
        let mut quickest = Duration::MAX;
        for other in ["wx-a", "wx-b", "wx-c"] {
            succeeded(&first.get(&CREATE.replace(NEW, other)).await);
            let begun = Instant::now();
            let path = format!("/wx/{other}/token/query");
            eventually("another one is known", async || {
                second
                    .get(&path)
                    .await
                    .body
                    .contains("no unexpired credential")
            })
            .await;
            quickest = quickest.min(begun.elapsed());
        }
        assert!(quickest < Duration::from_secs(1), "{cache}: {quickest:?}");
        assert_eq!(
            granted(&token(&first).await, "access_token").0,
            granted(&token(&second).await, "access_token").0
        );
        assert_eq!(first.sandbox.calls_of(NEW, TOKEN), 1);
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_creations_succeeds() {
    let redis = RedisServer::start();
    let cache = json!({ "redis": redis.url() });
    let first = without_apps(json!({ "cache": cache })).await;
    let second = beside(&first, &cache).await;
    let memory = without_apps(json!({})).await;
    for instances in [[&first, &second], [&memory, &memory]] {
        let made = join_all((0..20).map(|number| instances[number % 2].get(CREATE))).await;
        let (made, others): (Vec<_>, Vec<_>) = made
            .iter()
            .partition(|answer| answer.body.contains("success"));
        assert_eq!(made.len(), 1);
        assert!(
            others
                .iter()
                .all(|answer| refused(answer, 400) == format!("{NEW} already exists"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn created_apps_are_stored_in_the_file_and_survive_a_restart() {
    let folder = folder();
    let file = folder.path().join("cache.json");
    let app = without_apps(json!({ "cache": { "file": file } })).await;
    let form = format!(
        "appid={NEW}&secret={SECRET}&token=t1&aesKey={}",
        deliveries::AES_KEY
    );
    let posted = app
        .request(Method::POST, "/wechat/app/create")
        .header("content-type", "application/x-www-form-urlencoded");
    succeeded(&app.send(posted.body(form)).await);
    let (value, _) = granted(&token(&app).await, "access_token");
    app.stop().await;
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let again = without_apps(json!({ "cache": { "file": file } })).await;
    assert_eq!(granted(&token(&again).await, "access_token").0, value);
    again.stop().await;
    // Without the section they are neither served nor created.
    let off = TestApp::with(json!({ "cache": { "file": file } })).await;
    off.get(&format!("/wechat/{NEW}"))
        .await
        .problem(404, "unknown_app");
    off.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_or_existing_app_is_refused() {
    let app = with(json!({})).await;
    let create =
        async |query: &str| refused(&app.get(&format!("/wechat/app/create?{query}")).await, 400);
    assert_eq!(create("secret=s&token=t").await, "appid is missing");
    assert_eq!(create("appid=wx1&token=t").await, "secret is missing");
    assert_eq!(
        create("appid=wx1&secret=s&token=").await,
        "token is missing",
        "as there, it is needed"
    );
    let twice = create("appid=wx1&secret=s&secret=x&token=t").await;
    assert!(
        twice.starts_with("secret ") && twice.contains("more than once"),
        "{twice}"
    );
    assert!(
        create("appid=weblogin&secret=s&token=t")
            .await
            .starts_with("appid: this word")
    );
    assert!(
        create("appid=wx%2F1&secret=s&token=t")
            .await
            .starts_with("appid: expected 2 to 64")
    );
    assert!(
        create("appid=wx1&secret=s&token=t&aesKey=short")
            .await
            .starts_with("aesKey: expected the 43")
    );
    assert_eq!(
        create(&format!("appid={APP}&secret=s&token=t")).await,
        format!("{APP} already exists"),
        "in the settings"
    );
    let capitals = APP.to_ascii_uppercase();
    assert_eq!(
        create(&format!("appid={capitals}&secret=s&token=t")).await,
        format!("{capitals} already exists")
    );

    for method in [Method::HEAD, Method::OPTIONS] {
        assert!(
            app.send(app.request(method, CREATE))
                .await
                .status
                .is_success()
        );
    }
    assert!(
        refused(&token(&app).await, 400).starts_with("no app of this appid"),
        "to look makes nothing"
    );
    succeeded(&app.send(app.request(Method::POST, CREATE)).await);
    let other_case = CREATE.replace("wx9e", "WX9E");
    assert!(
        refused(&app.get(&other_case).await, 400).ends_with("already exists"),
        "a database could not tell them apart"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_is_stored_and_the_settings_win() {
    let app = with(json!({})).await;
    app.sandbox.add_account(NEW, SECRET);
    succeeded(&app.get(CREATE).await);
    let (value, _) = granted(&token(&app).await, "access_token");
    app.reloader
        .apply(config_of(&app.sandbox, json!({ "wetoken": {} })));
    assert_eq!(granted(&token(&app).await, "access_token").0, value);
    assert_eq!(
        (app.reloader.accounts(), app.sandbox.calls_of(NEW, TOKEN)),
        (2, 1)
    );
    let apps = json!([{ "key": NEW, "secret": "wrong-secret" }]);
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "wetoken": {}, "apps": apps }),
    ));
    let rotated = app
        .get(&crate::support::app::signed_v2(
            "GET",
            NEW,
            &[("key", "token"), ("rotate", &value)],
        ))
        .await;
    assert_eq!(
        rotated.problem(502, "upstream_refused")["errcode"],
        40125,
        "the settings' secret is the one that counts"
    );
    app.reloader.apply(config_of(&app.sandbox, json!({})));
    assert_eq!(
        app.reloader.accounts(),
        1,
        "without the section nothing of the store is served"
    );
    app.reloader
        .apply(config_of(&app.sandbox, json!({ "wetoken": {} })));
    eventually("it is read again", async || is_served(&app).await).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_are_read_when_a_store_that_was_down_recovers() {
    let mut redis = RedisServer::start();
    let cache = json!({ "redis": redis.url() });
    let first = without_apps(json!({ "cache": cache })).await;
    succeeded(&first.get(CREATE).await);
    redis.kill();
    let down = CREATE.replace(NEW, "wx-other");
    let told = refused(&first.get(&down).await, 400);
    assert!(told.contains("redis store"), "{told}");
    let begun = Instant::now();
    let second = beside(&first, &cache).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(second.get("/ping").await.status, 200);
    assert!(refused(&token(&second).await, 400).starts_with("no app of this appid"));
    redis.restart();
    eventually("the apps are read", async || is_served(&second).await).await;
    assert!(is_served(&first).await, "what was known stayed");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_of_apps_keeps_remembered_failures() {
    let redis = RedisServer::start();
    let app = without_apps(json!({ "cache": { "redis": redis.url() } })).await;
    succeeded(
        &app.get(&CREATE.replace(SECRET, "a-typo-in-the-secret"))
            .await,
    );
    assert!(refused(&token(&app).await, 400).contains("40125"));
    let looks = || {
        let told = redis.cli(&["INFO", "commandstats"]);
        let line = told
            .lines()
            .find(|line| line.starts_with("cmdstat_hgetall:"))
            .unwrap_or_default()
            .to_owned();
        line.split(['=', ','])
            .nth(1)
            .and_then(|calls| calls.parse::<u64>().ok())
            .unwrap_or_default()
    };
    let before = looks();
    eventually("three looks", async || looks() >= before + 3).await;
    assert!(refused(&token(&app).await, 400).contains("40125"));
    assert_eq!(app.sandbox.calls(TOKEN), 1, "it still cools down");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_removed_from_the_database_is_not_served() {
    let Some(server) = DatabaseServer::mariadb() else {
        return;
    };
    let database = server.database();
    install(&database.url()).await;
    let app = without_apps(json!({ "cache": { "sql": database.url() } })).await;
    succeeded(&app.get(CREATE).await);
    assert!(is_served(&app).await);
    database.sql("DELETE FROM wechat_app_info");
    eventually("it is gone", async || !is_served(&app).await).await;
    // A row prepared by an operator without a secret is not an app; its template is used.
    database.sql(&format!(
        "INSERT INTO wechat_app_info (appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid, wcode_template_id)
         VALUES ('{NEW}', '', '', '', 'm1', '', '', '', 'T1')"
    ));
    succeeded(&app.get(CREATE).await);
    assert_eq!(
        database.sql("SELECT secret, mchid, wcode_template_id FROM wechat_app_info"),
        format!("{SECRET}\tm1\tT1")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_rows_in_the_database_are_ignored() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install(&database.url()).await;
    let store = bare(&database.url()).await;
    for (app_id, key) in [("weblogin", None), ("wx 1", None), (NEW, Some("short"))] {
        let mut app = crate::store_contract::app(app_id, SECRET, None);
        app.aes_key = key.map(Into::into);
        store.put_app(&app).await.unwrap();
    }
    let app = without_apps(json!({ "cache": { "sql": database.url() } })).await;
    assert_eq!(app.reloader.accounts(), 1);
    assert!(is_served(&app).await);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_app_has_a_message_server_too() {
    let app = without_apps(json!({})).await;
    let create = format!(
        "/wechat/app/create?appid={NEW}&secret=s&token={}&aesKey={}",
        deliveries::TOKEN,
        deliveries::AES_KEY
    );
    succeeded(&app.get(&create).await);
    let signature = signature::push(deliveries::TOKEN, "1589203758", "n-9").text();
    let check = |signature: &str| {
        format!("/wechat/{NEW}?signature={signature}&timestamp=1589203758&nonce=n-9&echostr=hello")
    };
    assert_eq!(app.get(&check(&signature)).await.body, "hello");
    app.get(&check("0"))
        .await
        .problem(401, "bad_push_signature");
    let address = format!("/wechat/{NEW}");
    let (query, body) = deliveries::sealed(&deliveries::text("hi", 1), NEW, "n-1");
    assert_eq!(
        deliveries::deliver(&app, &address, &query, &body)
            .await
            .body,
        "success"
    );
    let plain = deliveries::deliver(
        &app,
        &address,
        &deliveries::plain_query(0, "n-2"),
        &deliveries::text("hi", 2),
    )
    .await;
    plain.problem(401, "bad_push_signature");
    app.stop().await;
}

/// All fields of wetoken's form.
const ALL: [(&str, &str); 8] = [
    ("appid", NEW),
    ("secret", SECRET),
    ("token", "t1"),
    ("aesKey", deliveries::AES_KEY),
    ("mchid", "1900000109"),
    ("payKey", "8934e7d15453e97507ef794cf7b0519d"),
    ("subAppid", "wx8888888888888888"),
    ("subMchid", "1900000110"),
];

#[tokio::test(flavor = "multi_thread")]
async fn payment_fields_have_wetokens_format() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install(&database.url()).await;
    let app = without_apps(json!({ "cache": { "sql": database.url() } })).await;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(ALL)
        .finish();
    let post = async |kind: &str, body: String| {
        app.send(
            app.request(Method::POST, "/wechat/app/create")
                .header("content-type", kind)
                .body(body),
        )
        .await
    };
    let json = Value::Object(
        ALL.iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect(),
    )
    .to_string();
    let columns =
        "appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid, wcode_template_id";
    let row = |app_id: &str| {
        database.sql(&format!(
            "SELECT {columns} FROM wechat_app_info WHERE appid = '{app_id}'"
        ))
    };
    let expected = |app_id: &str| {
        ALL.iter()
            .map(|(_, value)| value.replace(NEW, app_id) + "\t")
            .collect::<String>()
            + "NULL"
    };
    succeeded(&app.get(&format!("/wechat/app/create?{query}")).await);
    succeeded(
        &post(
            "application/x-www-form-urlencoded",
            query.replace(NEW, "wx-form"),
        )
        .await,
    );
    succeeded(&post("application/json", json.replace(NEW, "wx-json")).await);
    for app_id in [NEW, "wx-form", "wx-json"] {
        assert_eq!(row(app_id), expected(app_id));
    }
    // The fields of a prepared row stay, and the request's fields win.
    database.sql(
        "INSERT INTO wechat_app_info (appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid)
         VALUES ('wx-prepared', '', '', '', 'm1', 'p1', 's1', '')",
    );
    succeeded(
        &post(
            "application/json",
            r#"{"appid":"wx-prepared","secret":"s","token":"t","mchid":1900000109}"#.to_owned(),
        )
        .await,
    );
    assert_eq!(
        row("wx-prepared"),
        "wx-prepared\ts\tt\t\t1900000109\tp1\ts1\t\tNULL"
    );
    for name in [
        "mchid",
        "payKey",
        "subAppid",
        "subMchid",
        "wcode_template_id",
    ] {
        let long = format!("appid=wx-long&secret=s&token=t&{name}={}", "x".repeat(65));
        let told = refused(&post("application/x-www-form-urlencoded", long).await, 400);
        assert!(
            told.starts_with(&format!("{name}: ")) && told.contains("64"),
            "{told}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payment_fields_are_stored_in_the_file_and_in_redis() {
    let (folder, redis) = (folder(), RedisServer::start());
    let file = folder.path().join("cache.json");
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(ALL)
        .finish();
    for cache in [json!({ "file": file }), json!({ "redis": redis.url() })] {
        let app = without_apps(json!({ "cache": cache })).await;
        succeeded(&app.get(&format!("/wechat/app/create?{query}")).await);
        app.stop().await;
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let redis: Value = serde_json::from_str(&redis.cli(&["HGET", "jsdkd:apps", NEW])).unwrap();
    for (name, value) in &ALL[1..] {
        assert_eq!(
            (&kept["jsdkd.apps"][NEW][name], &redis[name]),
            (&json!(value), &json!(value)),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_accepted_wherever_a_form_is() {
    let app = without_apps(json!({})).await;
    let post = async |path: &str, body: &str| {
        let request = app
            .request(Method::POST, path)
            .header("content-type", "application/json; charset=utf-8");
        app.send(request.body(body.to_owned())).await
    };
    let create = json!({ "appid": NEW, "secret": SECRET, "token": "t1", "wcode_template_id": "T1", "more": null }).to_string();
    succeeded(&post("/wechat/app/create", &create).await);
    let (value, _) = granted(&token(&app).await, "access_token");
    assert_eq!(
        granted(
            &post("/token/query", &json!({ "appid": NEW }).to_string()).await,
            "access_token"
        )
        .0,
        value
    );
    let openid = app.sandbox.follow(NEW, "Alice", true).unwrap();
    let code = json!({ "user_name": openid, "system_name": "商城", "code": 4711 }).to_string();
    succeeded(&post(&format!("/wx/{NEW}/wxcode/send"), &code).await);
    assert_eq!(
        app.sandbox.sent(NEW)[0]["data"]["keyword1"]["value"],
        "4711"
    );
    for (body, told) in [
        ("[1]", ["body", "JSON object"]),
        ("{\"appid\":", ["body", "JSON object"]),
        ("{}", ["appid", "missing"]),
        (
            r#"{"appid":"wx1","appid":"wx2"}"#,
            ["appid", "more than once"],
        ),
        (r#"{"appid":{"a":1}}"#, ["appid", "text"]),
    ] {
        let answer = refused(&post("/wechat/app/create", body).await, 400);
        assert!(
            told.iter().all(|word| answer.contains(word)),
            "{body}: {answer}"
        );
    }
    let large = app
        .request(Method::POST, "/wechat/app/create")
        .header("content-type", "application/json");
    assert!(
        refused(
            &app.send(large.body(format!("{{\"appid\":\"{}\"}}", "x".repeat(200_000))))
                .await,
            400
        )
        .contains("larger than")
    );
    app.stop().await;
}
