//! The cache file's lock: one process owns the file, also if somebody removes the lock.

use std::time::Duration;

use clock::Clock;
use credentials::store::{FileStore, OpenError, Records};

use crate::file_store::{get, open, place, text};
use crate::store_contract::record;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_second_owner_of_the_same_file_is_refused_with_a_reason() {
    let (directory, path) = place();
    let first = open(&path);
    first.put("wx1.token", &record("T", HOUR)).await.unwrap();
    let before = text(&path);
    match FileStore::open(&path, Clock::system()) {
        Err(OpenError::InUse(reason)) => assert!(
            reason.contains("another process") && reason.contains("cache.json"),
            "{reason}"
        ),
        other => panic!("{other:?}"),
    }
    let link = directory.path().join("by-another-name.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(
        matches!(
            FileStore::open(&link, Clock::system()),
            Err(OpenError::InUse(_))
        ),
        "also by another name"
    );
    assert_eq!(text(&path), before);
    drop(first);
    assert_eq!(
        get(&open(&path), "wx1.token").await.as_deref(),
        Some("T"),
        "free again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_lock_is_recreated_by_the_next_write() {
    let (directory, path) = place();
    let first = open(&path);
    std::fs::remove_file(directory.path().join("cache.json.lock")).unwrap();
    first.put("wx1.token", &record("T", HOUR)).await.unwrap();
    assert!(matches!(
        FileStore::open(&path, Clock::system()),
        Err(OpenError::InUse(_))
    ));
    drop(first);
    assert_eq!(
        get(&open(&path), "wx1.token").await.as_deref(),
        Some("T"),
        "free again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_the_file_stops_writing_and_says_why() {
    let (directory, path) = place();
    let first = open(&path);
    first.put("wx1.token", &record("T1", HOUR)).await.unwrap();
    std::fs::remove_file(directory.path().join("cache.json.lock")).unwrap();
    let second = open(&path);
    second.put("wx1.token", &record("T2", HOUR)).await.unwrap();
    let theirs = text(&path);
    let error = first
        .put("wx1.token", &record("T3", HOUR))
        .await
        .expect_err("the file is the other's")
        .to_string();
    assert!(
        error.contains("cache.json.lock was removed") && error.contains("stop one of the two"),
        "{error}"
    );
    drop(second);
    assert!(
        first.put("wx1.token", &record("T4", HOUR)).await.is_err(),
        "what the other one wrote is not known here"
    );
    drop(first);
    assert_eq!(text(&path), theirs);
    assert_eq!(get(&open(&path), "wx1.token").await.as_deref(), Some("T2"));
}
