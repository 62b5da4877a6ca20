//! The SQL store on real databases: the contract, concurrency, and error messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use credentials::store::{Store, StoreConfig, open, sql};
use futures_util::future::join_all;
use tempfile::TempDir;

use crate::store_contract::{app, keeps_the_contract, record, value};
use crate::support::databases::{self, Database, DatabaseServer, PASSWORD};

const HOUR: Duration = Duration::from_secs(3600);

/// The store at `url`, whose tables may be missing.
pub(crate) async fn bare(url: &str) -> Arc<dyn Store> {
    open(
        &StoreConfig::Sql(sql::from_url(url).expect("a good address")),
        &Clock::system(),
    )
    .await
    .expect("opening is no I/O")
}

/// Installs the tables and returns the messages.
pub(crate) async fn install(url: &str) -> Vec<String> {
    let mut told = Vec::new();
    sql::install(&sql::from_url(url).unwrap(), &Clock::system(), |line| {
        told.push(line)
    })
    .await
    .expect("a database to install in");
    told
}

/// The store at `url` with its tables.
pub(crate) async fn installed(url: &str) -> Arc<dyn Store> {
    install(url).await;
    bare(url).await
}

/// A folder and the address of a file in it.
pub(crate) fn sqlite() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}/jsdkd.db", folder.path().display());
    (folder, url)
}

/// Runs `test` on each installed kind of database.
async fn on_each(test: impl AsyncFn(&str)) {
    for database in [databases::mariadb(), databases::postgres()]
        .into_iter()
        .flatten()
    {
        test(&database.url()).await;
    }
    let (_folder, url) = sqlite();
    test(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_keeps_the_contract() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    keeps_the_contract(installed(&database.url()).await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    let Some(database) = databases::postgres() else {
        return;
    };
    keeps_the_contract(installed(&database.url()).await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    let (_folder, url) = sqlite();
    keeps_the_contract(installed(&url).await, true).await;
}

/// Runs `question` in fifty tasks on two stores of one database; returns how many were granted.
async fn granted<F>(
    stores: &[Arc<dyn Store>; 2],
    question: impl Fn(Arc<dyn Store>, usize) -> F,
) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let tasks: Vec<_> = (0..50)
        .map(|task| tokio::spawn(question(Arc::clone(&stores[task % 2]), task)))
        .collect();
    join_all(tasks)
        .await
        .into_iter()
        .filter(|answer| *answer.as_ref().expect("no panic"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_at_two_stores_get_one_lease_and_permit_each() {
    on_each(async |url| {
        let stores = [installed(url).await, bare(url).await];
        for round in 0..8 {
            let key = format!("wx{round}.card_ticket");
            let claimed = granted(&stores, |store, task| {
                let (key, owner) = (key.clone(), format!("owner-{task}"));
                async move {
                    store
                        .acquire(&key, &owner, HOUR, 0)
                        .await
                        .unwrap()
                        .lease
                        .is_some()
                }
            });
            assert_eq!(claimed.await, 1, "{url}: one has the claim");

            // A lease that changes hands all the time: each holder releases it at once.
            let passed = granted(&stores, |store, task| {
                let (key, owner) = (format!("{key}.passed"), format!("owner-{task}"));
                async move {
                    let lease = store.acquire(&key, &owner, HOUR, 0).await.unwrap().lease;
                    if let Some(lease) = &lease {
                        store.release(lease, None).await.unwrap();
                    }
                    lease.is_some()
                }
            });
            assert!(passed.await >= 1, "{url}: somebody has it");

            let spent = granted(&stores, |store, _| {
                let key = key.clone();
                async move { store.take_permit(&key, 7, HOUR).await.unwrap() }
            });
            assert_eq!(spent.await, 7, "{url}: no more than the limit, and no less");

            for once in [format!("oauth.trip.{round}"), format!("wx{round}.token")] {
                stores[0].put(&once, &record("once", HOUR)).await.unwrap();
                let taken = granted(&stores, |store, _| {
                    let once = once.clone();
                    async move { store.take(&once).await.unwrap().is_some() }
                });
                assert_eq!(taken.await, 1, "{url}: one takes {once}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_do_not_disturb_each_other() {
    on_each(async |url| {
        let stores = [installed(url).await, bare(url).await];
        let wrote = granted(&stores, |store, task| async move {
            for round in 0..6 {
                for key in [
                    format!("login.scan.{task}"),
                    "login.scan.shared".to_owned(),
                    "wx1.token".to_owned(),
                ] {
                    // A short lifetime, so that sweeps happen in between.
                    store
                        .put(
                            &key,
                            &record(&format!("{task}-{round}"), Duration::from_millis(5)),
                        )
                        .await
                        .unwrap();
                }
            }
            true
        });
        assert_eq!(wrote.await, 50, "{url}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_are_an_error_that_names_the_installer() {
    on_each(async |url| {
        // The installer creates a file as well.
        let store = bare(url).await;
        for key in ["wx1.token", "oauth.trip.1"] {
            let read = store.get(key).await.unwrap_err();
            let write = store.put(key, &record("MARKER", HOUR)).await.unwrap_err();
            for (fault, operation) in [(read, "read"), (write, "write")] {
                assert!(
                    fault.cause.contains("run `jsdkd install`") && fault.operation == operation,
                    "{fault}"
                );
                assert!(!fault.to_string().contains("MARKER"), "{fault}");
            }
        }
        assert!(
            store
                .apps()
                .await
                .unwrap_err()
                .cause
                .contains("run `jsdkd install`")
        );
        install(url).await;
        assert_eq!(
            value(store.get("wx1.token").await.unwrap()),
            None,
            "the same store works once they are there"
        );
        store.put_app(&app("wx1", "s", None)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn address_errors_do_not_show_the_password() {
    let refused = bare(&format!("mysql://jsdkd:{PASSWORD}@127.0.0.1:1/wx")).await;
    let begun = Instant::now();
    let fault = refused.get("wx1.token").await.unwrap_err();
    assert!(
        fault.cause.contains("mysql at 127.0.0.1:1") && begun.elapsed() < Duration::from_secs(2),
        "{fault}"
    );
    for database in [databases::mariadb(), databases::postgres()]
        .into_iter()
        .flatten()
    {
        let url = database.url();
        let (server, name) = url.rsplit_once('/').unwrap();
        let cases = [
            (url.replace(PASSWORD, "wrong-marker"), "the password"),
            (format!("{server}/absent"), "no database of that name"),
            (
                format!(
                    "{server}/{name}?{}",
                    if url.starts_with("mysql") {
                        "ssl-mode=VERIFY_CA"
                    } else {
                        "sslmode=verify-ca"
                    }
                ),
                "TLS",
            ),
        ];
        for (url, words) in cases {
            let fault = bare(&url).await.get("wx1.token").await.unwrap_err();
            assert!(
                fault.cause.contains(words) && !fault.to_string().contains("marker"),
                "{words}: {fault}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_if_requested() {
    let Some(server) = DatabaseServer::mariadb_with_tls() else {
        return;
    };
    let database = server.database();
    // A user whose connections must be encrypted.
    database.sql("ALTER USER jsdkd@'%' REQUIRE SSL");
    let url = database.url();
    let with = |options: &str| format!("{url}?{options}");
    let authority = format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={}", server.ca().display());
    let store = installed(&with(&authority)).await;
    store.put("wx1.token", &record("T", HOUR)).await.unwrap();
    assert_eq!(
        value(
            bare(&with("ssl-mode=REQUIRED"))
                .await
                .get("wx1.token")
                .await
                .unwrap()
        )
        .as_deref(),
        Some("T")
    );
    let unknown = bare(&with("ssl-mode=VERIFY_IDENTITY"))
        .await
        .get("wx1.token")
        .await
        .unwrap_err();
    assert!(
        unknown.cause.contains("invalid peer certificate"),
        "{unknown}"
    );
    let plain = bare(&with("ssl-mode=DISABLED"))
        .await
        .get("wx1.token")
        .await
        .unwrap_err();
    assert!(plain.cause.contains("the password"), "{plain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_rows_are_deleted_in_small_batches() {
    let rows = |database: &Database<'_>| {
        database
            .sql("SELECT count(*) FROM jsdkd_record")
            .parse::<u32>()
            .unwrap()
    };
    for database in [databases::mariadb(), databases::postgres()]
        .into_iter()
        .flatten()
    {
        install(&database.url()).await;
        let old: Vec<String> = (0..600)
            .map(|number| format!("('old{number}', 'record', 'x', 1000)"))
            .collect();
        database.sql(&format!(
            "INSERT INTO jsdkd_record (name, kind, value, ends) VALUES {}",
            old.join(", ")
        ));
        let store = bare(&database.url()).await;
        store
            .put("oauth.trip.1", &record("new", HOUR))
            .await
            .unwrap();
        assert_eq!(
            rows(&database),
            345,
            "the first write sweeps, within bounds"
        );
        for _ in 0..128 {
            store
                .put("oauth.trip.1", &record("new", HOUR))
                .await
                .unwrap();
        }
        assert_eq!(rows(&database), 1, "later writes sweep the rest");
        assert_eq!(
            value(store.get("oauth.trip.1").await.unwrap()).as_deref(),
            Some("new")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_key_works() {
    on_each(async |url| {
        let store = installed(url).await;
        let keys: Vec<String> = ["a", "b"]
            .map(|end| format!("message.wx1.{}{end}", "x".repeat(500)))
            .to_vec();
        for key in &keys {
            store.put(key, &record(&key[500..], HOUR)).await.unwrap();
            assert!(
                store.take_permit(key, 1, HOUR).await.unwrap()
                    && !store.take_permit(key, 1, HOUR).await.unwrap()
            );
        }
        assert_ne!(
            value(store.get(&keys[0]).await.unwrap()),
            value(store.get(&keys[1]).await.unwrap())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_is_private_and_survives_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, url) = sqlite();
    let store = installed(&url).await;
    store.put("wx1.token", &record("T", HOUR)).await.unwrap();
    store.put_app(&app("wx1", "s", Some("m"))).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{entry:?}"
        );
    }
    store.close().await.unwrap();
    assert!(
        store
            .get("wx1.token")
            .await
            .unwrap_err()
            .cause
            .contains("closed")
    );
    let again = bare(&url).await;
    assert_eq!(
        value(again.get("wx1.token").await.unwrap()).as_deref(),
        Some("T")
    );
    assert_eq!(again.apps().await.unwrap().len(), 1);
}
