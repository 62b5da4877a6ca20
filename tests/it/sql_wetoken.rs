//! micro-plat/wetoken's tables, as its installer creates them: we serve what it wrote, it reads
//! what we write, and `jsdkd install` widens columns without touching anything else.

use std::time::Duration;

use clock::Clock;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::sql_store::{bare, install};
use crate::store_contract::{app, record, value};
use crate::support::app::{APP, TestApp};
use crate::support::databases::{self, Database};

const HOUR: Duration = Duration::from_secs(3600);
const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

/// The common part of wetoken's two schemas, with shortened comments.
pub(crate) fn create_wetokens_tables(database: &Database<'_>) {
    let credential = |table: &str, column: &str| {
        format!(
            "CREATE TABLE {table} (appid VARCHAR(64) NOT NULL COMMENT 'appid', {column} VARCHAR(64) NOT NULL COMMENT '凭证',
             expire BIGINT(20) NOT NULL, expire_date DATETIME NOT NULL, update_time DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
             message VARCHAR(64) NOT NULL, PRIMARY KEY (appid)) ENGINE=InnoDB DEFAULT CHARSET=utf8 COMMENT='通信'"
        )
    };
    database.sql(&credential("wechat_access_token", "access_token"));
    database.sql(&credential("wechat_jsapi_ticket", "ticket"));
    database.sql(
        "CREATE TABLE wechat_app_info (appid VARCHAR(64) NOT NULL, secret VARCHAR(32) NOT NULL, token VARCHAR(32) NOT NULL,
         aes_key VARCHAR(32) NOT NULL, update_time DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, mchid VARCHAR(64) NOT NULL,
         pay_key VARCHAR(64) NOT NULL, sub_appid VARCHAR(64) NOT NULL, sub_mchid VARCHAR(64) NOT NULL, wechat_host VARCHAR(64),
         wcode_template_id VARCHAR(64), PRIMARY KEY (appid)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
         CREATE TABLE wechat_user_info (user_id BIGINT(10) NOT NULL AUTO_INCREMENT, appid VARCHAR(32) NOT NULL,
         openid VARCHAR(32) NOT NULL, unionid VARCHAR(32), user_name VARCHAR(32) NOT NULL, nick_name VARCHAR(32),
         head_url VARCHAR(128), phone VARCHAR(16), email VARCHAR(64), status TINYINT(1) NOT NULL,
         create_time DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, update_time DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
         PRIMARY KEY (user_id), UNIQUE KEY one_for_each (appid, user_name)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
    );
}

/// A credential as wetoken inserts it.
pub(crate) fn insert(database: &Database<'_>, table: &str, column: &str, text: &str, seconds: i64) {
    database.sql(&format!(
        "INSERT INTO {table} (appid, {column}, expire, expire_date, update_time, message)
         VALUES ('{APP}', '{text}', {seconds}, DATE_ADD(now(), INTERVAL {seconds} SECOND), now(), 'success')"
    ));
}

/// Value, lifetime and the seconds to the expiry, by wetoken's own query and clock.
fn seen_by_wetoken(database: &Database<'_>, table: &str, column: &str) -> (String, i64, i64) {
    let row = database.sql(&format!(
        "SELECT t.{column}, t.expire, TIMESTAMPDIFF(SECOND, now(), t.expire_date), t.message FROM {table} t WHERE t.appid = '{APP}'"
    ));
    let cells: Vec<&str> = row.split('\t').collect();
    assert_eq!(cells[3], "success");
    (
        cells[0].to_owned(),
        cells[1].parse().unwrap(),
        cells[2].parse().unwrap(),
    )
}

async fn serving(database: &Database<'_>) -> TestApp {
    TestApp::with(json!({ "cache": { "sql": database.url() } })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_wetoken_is_served_without_a_call() {
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
        7080,
    );
    insert(
        &database,
        "wechat_jsapi_ticket",
        "ticket",
        "ticket-of-wetoken",
        7200,
    );
    let app = serving(&database).await;
    let token = app.query("token").await;
    assert_eq!(token.json()["value"], "left-by-wetoken");
    let left: i64 = token.header("credential-expires-in").parse().unwrap();
    assert!(
        (7070..=7080).contains(&left),
        "the time left is the server's, in whichever zone: {left}"
    );
    assert_eq!(app.value("ticket").await, "ticket-of-wetoken");
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wetoken_reads_what_we_write() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install(&database.url()).await;
    // It has expired, so that wetoken would call WeChat, and so do we.
    insert(
        &database,
        "wechat_access_token",
        "access_token",
        "ended",
        -5,
    );
    let app = serving(&database).await;
    for (key, table, column) in [
        ("token", "wechat_access_token", "access_token"),
        ("ticket", "wechat_jsapi_ticket", "ticket"),
    ] {
        let ours = app.value(key).await;
        let (text, expire, left) = seen_by_wetoken(&database, table, column);
        assert_eq!(text, ours);
        assert!(
            (7150..=7200).contains(&expire) && (expire - 5..=expire + 1).contains(&left),
            "{expire} {left}"
        );
    }
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_ask_wechat_once() {
    for database in [databases::mariadb(), databases::postgres()]
        .into_iter()
        .flatten()
    {
        install(&database.url()).await;
        let first = serving(&database).await;
        let wechat = json!({ "api": [first.sandbox.url()], "open": first.sandbox.url() });
        let second =
            TestApp::with(json!({ "cache": { "sql": database.url() }, "wechat": wechat })).await;
        let (one, other) = tokio::join!(first.value("token"), second.value("token"));
        assert_eq!(one, other);
        assert_eq!(first.sandbox.calls(TOKEN), 1);
        let (one, other) = tokio::join!(first.rotate("token", &one), second.rotate("token", &one));
        assert_eq!(one.json()["value"], other.json()["value"]);
        assert_eq!(
            first.sandbox.calls(TOKEN),
            2,
            "one renewal, however many ask"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_too_long_for_the_column_is_refused() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install_only_ours(&database);
    // The server's own mode would truncate it silently.
    database.sql("SET GLOBAL sql_mode = ''");
    let store = bare(&database.url()).await;
    let (fits, long) = ("x".repeat(64), "y".repeat(512));
    for key in [format!("{APP}.token"), format!("{APP}.ticket")] {
        store.put(&key, &record(&fits, HOUR)).await.unwrap();
        let refused = store.put(&key, &record(&long, HOUR)).await.unwrap_err();
        assert!(
            refused.cause.contains("run `jsdkd install`") && !refused.to_string().contains("yyy"),
            "{refused}"
        );
        assert_eq!(
            value(store.get(&key).await.unwrap()).as_ref(),
            Some(&fits),
            "what was there is untouched"
        );
    }
    let told = install(&database.url()).await;
    let widened = |column: &str, from: u32, to: u32| {
        format!("widened {column} from {from} to {to} characters")
    };
    assert_eq!(
        told,
        [
            widened("wechat_app_info.secret", 32, 128),
            widened("wechat_app_info.aes_key", 32, 64),
            widened("wechat_access_token.access_token", 64, 512),
            widened("wechat_jsapi_ticket.ticket", 64, 512),
            "found the table wechat_user_info, and it is good".to_owned(),
            "found the table jsdkd_record, and it is good".to_owned(),
        ]
    );
    let column = database.sql(
        "SELECT character_set_name, is_nullable, column_comment FROM information_schema.columns
         WHERE table_schema = DATABASE() AND table_name = 'wechat_access_token' AND column_name = 'access_token'",
    );
    assert!(
        column.starts_with("utf8") && column.ends_with("\tNO\t凭证"),
        "all else stays as it was: {column}"
    );
    for key in [format!("{APP}.token"), format!("{APP}.ticket")] {
        assert_eq!(
            value(store.get(&key).await.unwrap()).as_ref(),
            Some(&fits),
            "the rows are there"
        );
        store.put(&key, &record(&long, HOUR)).await.unwrap();
        assert_eq!(value(store.get(&key).await.unwrap()).as_ref(), Some(&long));
    }
    assert!(
        install(&database.url())
            .await
            .iter()
            .all(|line| line.starts_with("found ")),
        "it can be repeated"
    );
}

/// Like `jsdkd install`, without the widening.
fn install_only_ours(database: &Database<'_>) {
    database.sql(
        "CREATE TABLE jsdkd_record (name VARCHAR(180) NOT NULL, kind VARCHAR(8) NOT NULL, value MEDIUMTEXT, owner VARCHAR(64),
         count BIGINT NOT NULL DEFAULT 0, ends BIGINT NOT NULL, PRIMARY KEY (name, kind)) DEFAULT CHARSET=utf8mb4",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn its_apps_are_served_and_foreign_columns_stay() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install(&database.url()).await;
    database.sql(
        "INSERT INTO wechat_app_info (appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid, update_time)
         VALUES ('wx1', 's1', 't1', '', 'm1', 'p1', '', '', now()), ('wx0', '', '', '', '', '', '', '', now())",
    );
    let store = bare(&database.url()).await;
    let apps = store.apps().await.unwrap();
    let [only] = apps.as_slice() else {
        panic!("an app without a secret is none: {apps:?}")
    };
    let token = only.token.as_ref().map(|token| token.expose_secret());
    assert_eq!(
        (only.app_id.as_str(), only.secret.expose_secret(), token),
        ("wx1", "s1", Some("t1"))
    );
    assert!(only.aes_key.is_none() && only.template_id.is_none());

    let key = "k".repeat(43);
    store
        .put_app(&app("wx1", "s2", Some(&key)))
        .await
        .unwrap_err();
    store.put_app(&app("wx1", "s2", None)).await.unwrap();
    store.put_app(&app("wx2", "s3", Some("x"))).await.unwrap();
    let rows = database.sql("SELECT appid, secret, token, aes_key, mchid, pay_key, wcode_template_id FROM wechat_app_info WHERE secret <> '' ORDER BY appid");
    assert_eq!(rows, "wx1\ts2\t\t\tm1\tp1\tNULL\nwx2\ts3\tx\tx\t\t\tx");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_found_by_name_and_app() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install(&database.url()).await;
    database.sql(
        "INSERT INTO wechat_user_info (appid, openid, user_name, status) VALUES
         ('wx1', 'o-1', 'alice', 0), ('wx2', 'o-2', 'alice', 0), ('wx1', 'o-3', '小明', 0)",
    );
    let store = bare(&database.url()).await;
    let found = async |app: &str, name: &str| {
        store
            .users()
            .expect("it knows users")
            .find_user(app, name)
            .await
            .unwrap()
    };
    assert_eq!(found("wx1", "alice").await.as_deref(), Some("o-1"));
    assert_eq!(found("wx2", "alice").await.as_deref(), Some("o-2"));
    assert_eq!(found("wx1", "小明").await.as_deref(), Some("o-3"));
    assert_eq!(
        (found("wx3", "alice").await, found("wx1", "bob").await),
        (None, None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_differ_only_in_case_are_two() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install(&database.url()).await;
    let store = bare(&database.url()).await;
    store
        .put("wxa.token", &record("lower", HOUR))
        .await
        .unwrap();
    assert_eq!(
        value(store.get("wxA.token").await.unwrap()),
        None,
        "its column takes them for one"
    );
    assert_eq!(value(store.take("wxA.token").await.unwrap()), None);
    store
        .put("wxA.token", &record("upper", HOUR))
        .await
        .unwrap();
    assert_eq!(
        value(store.get("wxA.token").await.unwrap()).as_deref(),
        Some("upper")
    );
    assert_eq!(value(store.get("wxa.token").await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_expiry_is_later_than_the_credentials() {
    let databases = [databases::mariadb(), databases::postgres()];
    for database in databases.into_iter().flatten() {
        install(&database.url()).await;
        let store = bare(&database.url()).await;
        for millis in [900, 1_500, 1_999, 7_199_999] {
            let put = record("T", Duration::from_millis(millis));
            store.put("wx1.token", &put).await.unwrap();
            if let Some(got) = store.get("wx1.token").await.unwrap() {
                assert!(
                    got.expires_at.0 <= put.expires_at.0 + 20,
                    "{millis}: {} {}",
                    got.expires_at.0,
                    put.expires_at.0
                );
            }
        }
        // After a clock or a time zone was set back, an expiry looks far; a lifetime is never
        // longer than it was.
        store.put("wx1.token", &record("T", HOUR)).await.unwrap();
        database.sql(if database.url().starts_with("mysql") {
            "UPDATE wechat_access_token SET expire_date = DATE_ADD(expire_date, INTERVAL 8 HOUR)"
        } else {
            "UPDATE wechat_access_token SET expire_date = expire_date + INTERVAL '8 hours'"
        });
        let got = store.get("wx1.token").await.unwrap().expect("it lives");
        assert!(got.expires_at <= Clock::system().wall().plus(HOUR));
    }
}
