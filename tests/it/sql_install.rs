//! `jsdkd install` as an operator runs it.

use std::path::Path;

use serde_json::{Value, json};

use crate::sql_store::sqlite;
use crate::support::databases::{self, PASSWORD};
use crate::support::process::{Ended, folder, run, settings, write_settings};

const TABLES: [&str; 5] = [
    "wechat_app_info",
    "wechat_access_token",
    "wechat_jsapi_ticket",
    "wechat_user_info",
    "jsdkd_record",
];

async fn install(folder: &Path, cache: Value) -> Ended {
    write_settings(
        folder,
        &settings("http://127.0.0.1:1", json!({ "cache": cache })),
    );
    run(folder, &["install", "--config", "jsdkd.json"], &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn install_creates_missing_tables_once() {
    let (_place, file) = sqlite();
    let databases = [databases::mariadb(), databases::postgres()];
    let urls = databases
        .iter()
        .flatten()
        .map(|database| database.url())
        .chain([file]);
    for url in urls {
        let folder = folder();
        let first = install(folder.path(), json!({ "sql": url })).await;
        assert_eq!((first.code, first.err.as_str()), (Some(0), ""), "{first:?}");
        for table in TABLES {
            assert!(
                first.out.contains(&format!("created the table {table}")),
                "{first:?}"
            );
        }
        assert_eq!(
            first.out.contains("made the file"),
            url.starts_with("sqlite"),
            "{first:?}"
        );
        let second = install(folder.path(), json!({ "sql": url })).await;
        assert_eq!(
            second
                .out
                .lines()
                .filter(|line| line.ends_with(", and it is good"))
                .count(),
            5,
            "{second:?}"
        );
        assert!(
            second.code == Some(0) && second.out.ends_with("all tables are in place"),
            "{second:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_caches_have_nothing_to_install() {
    let folder = folder();
    for (cache, kind) in [
        (json!({ "memo": {} }), "memory"),
        (json!({ "file": "f" }), "file"),
        (json!({ "redis": "redis://h" }), "redis"),
    ] {
        let ended = install(folder.path(), cache).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.out.contains(&format!("{kind} cache")), "{ended:?}");
    }
    let faulty = install(folder.path(), json!({ "sql": "oracle://u:MARKER@h/d" })).await;
    assert!(
        faulty.code == Some(78)
            && faulty.err.contains("cache.sql")
            && !faulty.err.contains("MARKER"),
        "{faulty:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_table_is_reported_and_kept() {
    for database in [databases::mariadb(), databases::postgres()]
        .into_iter()
        .flatten()
    {
        database.sql("CREATE TABLE jsdkd_record (name VARCHAR(20) NOT NULL, kind INT)");
        let folder = folder();
        let ended = install(folder.path(), json!({ "sql": database.url() })).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for column in ["value", "owner", "count", "ends"] {
            assert!(
                ended
                    .err
                    .contains(&format!("jsdkd_record.{column} is missing")),
                "{ended:?}"
            );
        }
        assert!(
            ended.out.contains("created") && ended.out.contains("wechat_user_info"),
            "the others are made: {ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn install_errors_do_not_show_the_password() {
    let folder = folder();
    let nobody = install(
        folder.path(),
        json!({ "sql": format!("mysql://jsdkd:{PASSWORD}@127.0.0.1:1/wx") }),
    )
    .await;
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(
        nobody.err.contains("cannot be reached") && !nobody.err.contains(PASSWORD),
        "{nobody:?}"
    );
    let nowhere = install(
        folder.path(),
        json!({ "sql": "sqlite:///no/such/folder/jsdkd.db" }),
    )
    .await;
    assert!(
        nowhere.code == Some(1) && nowhere.err.contains("/no/such/folder/jsdkd.db"),
        "{nowhere:?}"
    );
    let Some(database) = databases::mariadb() else {
        return;
    };
    database.sql(
        "CREATE USER reader@'%' IDENTIFIED BY 'reader-marker'; GRANT SELECT ON *.* TO reader@'%'",
    );
    let url = database
        .url()
        .replace(&format!("jsdkd:{PASSWORD}"), "reader:reader-marker");
    let denied = install(folder.path(), json!({ "sql": url })).await;
    assert!(
        denied.code == Some(1)
            && denied.err.contains("grant SELECT")
            && !denied.err.contains("reader-marker"),
        "{denied:?}"
    );
}
