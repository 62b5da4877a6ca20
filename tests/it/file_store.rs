//! The cache file: the original's format, complete at any moment, never silently overwritten, owned
//! by one process.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, UnixSeconds};
use credentials::store::{Apps, FileStore, OpenError, Record, Records};
use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::store_contract::{app, keeps_the_contract, record, value};
use crate::support::app::{APP, TestApp};
use crate::support::keepers::eventually;

const HOUR: Duration = Duration::from_secs(3600);

/// A new folder, and the path of a cache file in it.
pub(crate) fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("cache.json");
    (directory, path)
}

pub(crate) fn open(path: &Path) -> FileStore {
    FileStore::open(path, Clock::system()).expect("the file can be used")
}

pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a folder").flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn now() -> u64 {
    Clock::system().wall().seconds().0
}

pub(crate) async fn get(store: &FileStore, key: &str) -> Option<String> {
    value(
        store
            .get(key)
            .await
            .expect("reading a file store does not fail"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_contract() {
    let (_directory, path) = place();
    keeps_the_contract(Arc::new(open(&path)), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_has_the_originals_format() {
    let (_directory, path) = place();
    let store = open(&path);
    let ends = UnixSeconds(4_000_000_000);
    let put = |value: &str| Record {
        value: SecretString::from(value),
        expires_at: ends.millis(),
    };
    store
        .put("wx1.ticket", &put("kgt-/_\u{5fae}\u{4fe1}\"\\\n"))
        .await
        .unwrap();
    store.put("wx1.token", &put("90_abc")).await.unwrap();
    // What `JSON.stringify` writes.
    assert_eq!(
        text(&path),
        "{\"wx1.ticket\":{\"value\":\"kgt-/_微信\\\"\\\\\\n\",\"__expires\":4000000000},\
         \"wx1.token\":{\"value\":\"90_abc\",\"__expires\":4000000000}}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_original_is_read() {
    let (_directory, path) = place();
    let (alive, ended) = (now() + 100, now() - 1);
    let written = json!({
        format!("{APP}.token"): { "value": "from-node", "__expires": alive },
        format!("{APP}.ticket"): { "value": "ended-in-node", "__expires": ended },
    });
    std::fs::write(&path, written.to_string()).unwrap();
    let app = TestApp::with(json!({ "cache": { "file": path }, "reserve": "10s" })).await;
    let answer = app.query("token").await;
    assert_eq!(answer.json()["value"], "from-node");
    assert!(
        (90..=100).contains(
            &answer
                .header("credential-expires-in")
                .parse::<u64>()
                .unwrap()
        )
    );
    let ticket_needs_the_token = app.query("ticket").await;
    assert_ne!(
        ticket_needs_the_token.body, "",
        "whatever it is, it is not the one that has ended"
    );
    assert!(!ticket_needs_the_token.body.contains("ended-in-node"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_entries_stay_as_they_are() {
    let (_directory, path) = place();
    let foreign = r#""a.number":12345678901234567890.000,"an.object":{ "b" : [1,2.50], "value":7 },"null":null,"text":"x""#;
    std::fs::write(&path, format!("{{{foreign}}}")).unwrap();
    let store = open(&path);
    store.put("wx1.token", &record("T", HOUR)).await.unwrap();
    let after = text(&path);
    for entry in foreign
        .split_inclusive(",\"")
        .map(|entry| entry.trim_end_matches(",\""))
    {
        assert!(after.contains(entry), "{entry} in {after}");
    }
    assert_eq!(get(&store, "an.object").await, None, "and it is no record");
    assert_eq!(get(&store, "null").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_unexpired_records() {
    let (_directory, path) = place();
    let store = open(&path);
    store.put("wx1.token", &record("T", HOUR)).await.unwrap();
    store
        .put("wx1.short", &record("S", Duration::from_millis(1200)))
        .await
        .unwrap();
    drop(store);
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let store = open(&path);
    assert_eq!(
        (
            get(&store, "wx1.token").await.as_deref(),
            get(&store, "wx1.short").await
        ),
        (Some("T"), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_are_one_entry_that_a_restart_finds() {
    let (_directory, path) = place();
    let store = open(&path);
    store.put_app(&app("wx1", "s3cret", None)).await.unwrap();
    store
        .put_app(&app("wx2", "s3cret", Some("more")))
        .await
        .unwrap();
    drop(store);
    let written: Value = serde_json::from_str(&text(&path)).unwrap();
    let both = json!({ "wx1": { "secret": "s3cret" }, "wx2": { "secret": "s3cret", "token": "more", "aesKey": "more", "templateId": "more" } });
    assert_eq!(written, json!({ "jsdkd.apps": both }));
    assert_eq!(open(&path).apps().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_entry_of_that_name_is_an_error_and_stays() {
    let (_directory, path) = place();
    std::fs::write(&path, r#"{"jsdkd.apps":"MARKER"}"#).unwrap();
    let store = open(&path);
    let faults = [
        store.apps().await.unwrap_err(),
        store
            .put_app(&app("wx1", "s3cret", None))
            .await
            .unwrap_err(),
    ];
    for fault in faults {
        assert!(
            fault.cause.contains("jsdkd.apps") && !fault.cause.contains("MARKER"),
            "{fault}"
        );
    }
    assert!(text(&path).contains("MARKER"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_an_empty_cache() {
    for empty in ["", " \n\t "] {
        let (directory, path) = place();
        std::fs::write(&path, empty).unwrap();
        let store = open(&path);
        assert_eq!(get(&store, "wx1.token").await, None);
        store.put("wx1.token", &record("T", HOUR)).await.unwrap();
        assert_eq!(names(directory.path()), ["cache.json", "cache.json.lock"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_moved_aside() {
    for damage in [
        "{\"wx1.token\":{\"value\":\"T\",\"__exp",
        "[]",
        "null",
        "\"text\"",
        "{} {}",
        "{\"a\":1,}",
        "\0\0\0\0",
    ] {
        let (directory, path) = place();
        std::fs::write(&path, damage).unwrap();
        let store = open(&path);
        store.put("wx1.token", &record("T", HOUR)).await.unwrap();
        let names = names(directory.path());
        let aside = names
            .iter()
            .find(|name| name.starts_with("cache.json.corrupt-"))
            .expect("it was moved aside");
        assert_eq!(
            text(&directory.path().join(aside)),
            damage,
            "evidence is not changed"
        );
        assert_eq!(names.len(), 3, "{names:?}");
        let whole: Value = serde_json::from_str(&text(&path)).expect("a whole file");
        assert_eq!(whole["wx1.token"]["value"], "T");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_damaged_files_in_one_second_are_both_kept() {
    let (directory, path) = place();
    for damage in ["{1", "{2", "{3"] {
        std::fs::write(&path, damage).unwrap();
        drop(open(&path));
    }
    let mut evidence: Vec<String> = names(directory.path())
        .iter()
        .filter(|name| name.contains("corrupt"))
        .map(|name| text(&directory.path().join(name)))
        .collect();
    evidence.sort();
    assert_eq!(evidence, ["{1", "{2", "{3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_may_read_it() {
    let (_directory, path) = place();
    std::fs::write(&path, "{}").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    open(&path)
        .put("wx1.token", &record("T", HOUR))
        .await
        .unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_replaced_not_written_in_place() {
    let (directory, path) = place();
    let store = open(&path);
    store.put("wx1.token", &record("T1", HOUR)).await.unwrap();
    // A hard link keeps the bytes that the file had: a write in place would change them.
    let link = directory.path().join("link");
    std::fs::hard_link(&path, &link).unwrap();
    let before = text(&link);
    store.put("wx1.token", &record("T2", HOUR)).await.unwrap();
    assert_eq!(text(&link), before);
    assert!(text(&path).contains("T2"));
    assert_eq!(
        names(directory.path()),
        ["cache.json", "cache.json.lock", "link"],
        "nothing is left aside"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_killed_process_are_removed() {
    let (directory, path) = place();
    std::fs::write(directory.path().join(".cache.json.Ab12.tmp"), "{\"half").unwrap();
    std::fs::write(directory.path().join(".other.json.Ab12.tmp"), "not ours").unwrap();
    drop(open(&path));
    assert_eq!(
        names(directory.path()),
        [".other.json.Ab12.tmp", "cache.json.lock"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbolic_link_keeps_pointing_at_the_file() {
    let (directory, path) = place();
    let (real, folder) = (directory.path().join("real.json"), directory.path());
    std::fs::write(&real, "{}").unwrap();
    std::os::unix::fs::symlink(&real, &path).unwrap();
    open(&path)
        .put("wx1.token", &record("T", HOUR))
        .await
        .unwrap();
    assert!(std::fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(text(&real).contains("wx1.token"));
    assert_eq!(names(folder), ["cache.json", "real.json", "real.json.lock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_path_is_reported_at_start() {
    let (directory, _) = place();
    for (path, hint) in [
        (
            directory.path().join("no/such/folder/cache.json"),
            "directory",
        ),
        (directory.path().to_owned(), "is a directory"),
    ] {
        match FileStore::open(&path, Clock::system()) {
            Err(OpenError::Misconfigured(reason)) => assert!(reason.contains(hint), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_writes_are_batched_and_none_is_lost() {
    let (directory, path) = place();
    let store = open(&path);
    store.put("wx0.token", &record("T", HOUR)).await.unwrap();
    let (inodes, done) = (
        std::cell::RefCell::new(std::collections::BTreeSet::new()),
        std::cell::Cell::new(false),
    );
    let keys: Vec<String> = (0..500).map(|number| format!("wx{number}.token")).collect();
    let begun = std::time::Instant::now();
    let writing = async {
        for put in join_all(
            keys.iter()
                .map(|key| async { store.put(key, &record(key, HOUR)).await }),
        )
        .await
        {
            put.expect("written");
        }
        done.set(true);
    };
    let watching = async {
        // Each rewrite creates another file; polled far more often than that happens.
        while !done.get() {
            inodes.borrow_mut().insert(
                std::fs::metadata(&path)
                    .map(|file| (file.ino(), file.mtime_nsec()))
                    .expect("it is always there"),
            );
            let whole: Value =
                serde_json::from_str(&text(&path)).expect("it is whole at any moment");
            assert!(whole.is_object());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::join!(writing, watching);
    let most = 3 + begun.elapsed().as_millis() / 50;
    assert!(
        inodes.borrow().len() as u128 <= most,
        "{} rewrites, {most} allowed",
        inodes.borrow().len()
    );
    drop(store);
    let store = open(&path);
    for key in &keys {
        assert_eq!(get(&store, key).await.as_ref(), Some(key));
    }
    assert_eq!(names(directory.path()), ["cache.json", "cache.json.lock"]);
}

/// A store whose folder was removed, so that even root cannot write.
async fn without_its_folder() -> (tempfile::TempDir, PathBuf, FileStore) {
    let (directory, _) = place();
    let folder = directory.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let store = open(&folder.join("cache.json"));
    std::fs::remove_dir_all(&folder).unwrap();
    (directory, folder, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_an_error_and_is_retried() {
    let (_directory, folder, store) = without_its_folder().await;
    let error = store
        .put("wx1.token", &record("s3cret-value", HOUR))
        .await
        .expect_err("there is no folder");
    assert_eq!((error.backend, error.operation), ("file", "write"));
    assert!(!error.to_string().contains("s3cret-value"), "{error}");
    std::fs::create_dir(&folder).unwrap();
    eventually("it is written without being asked again", async || {
        std::fs::read_to_string(folder.join("cache.json"))
            .is_ok_and(|text| text.contains("s3cret-value"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_cannot_be_written_is_still_served() {
    let (directory, _) = place();
    let folder = directory.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let app = TestApp::with(json!({ "cache": { "file": folder.join("cache.json") } })).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let token = app.value("token").await;
    assert!(app.sandbox.accepts(&token));
    assert_eq!(
        app.rotate("token", "an older one").await.json()["value"],
        *token
    );
    std::fs::create_dir(&folder).unwrap();
    eventually("it is written", async || {
        std::fs::read_to_string(folder.join("cache.json")).is_ok_and(|text| text.contains(&token))
    })
    .await;
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_costs_no_call_to_wechat() {
    let (_directory, path) = place();
    let settings = json!({ "cache": { "file": path } });
    let app = TestApp::with(settings.clone()).await;
    let (token, ticket) = (app.value("token").await, app.value("ticket").await);
    app.stop().await;
    let file: Value = serde_json::from_str(&text(&path)).expect("a whole file");
    assert_eq!(
        (
            &file[format!("{APP}.token")]["value"],
            &file[format!("{APP}.ticket")]["value"]
        ),
        (&json!(token), &json!(ticket))
    );
    let app = TestApp::with(settings).await;
    assert_eq!(
        (app.value("token").await, app.value("ticket").await),
        (token, ticket)
    );
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 0);
    app.stop().await;
}
