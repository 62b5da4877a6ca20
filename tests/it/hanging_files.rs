//! Files that never end: as settings, secrets, cache or check files they are faults, and no signal
//! waits for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET};
use crate::support::process::{self, Ended, Process, folder, settings, until, write_settings};

/// Files that cannot be read to their end, and what a fault calls them.
fn endless(folder: &Path) -> [(PathBuf, &'static str); 5] {
    let at = |name: &str| folder.join(name);
    let fifo = at("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo")
            .success()
    );
    std::os::unix::fs::symlink("/dev/zero", at("zero")).expect("a link");
    std::fs::write(at("large"), vec![b' '; 1024 * 1024 + 1]).expect("a file");
    std::fs::create_dir(at("directory")).expect("a folder");
    std::mem::forget(std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket"));
    [
        (fifo, "is a FIFO, expected a regular file"),
        (at("zero"), "is a device, expected a regular file"),
        (at("large"), "is larger than 1024 KiB"),
        (at("directory"), "directory, expected a"),
        (at("socket"), "is a socket, expected a regular file"),
    ]
}

fn usual(over: Value) -> Value {
    settings("http://127.0.0.1:9", over)
}

#[track_caller]
fn refused(ended: &Ended, what: &str) {
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.err.contains(what), "{what}: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_never_end_are_a_fault() {
    let folder = folder();
    for (path, what) in endless(folder.path()) {
        let path = path.to_str().expect("a plain path");
        for arguments in [
            &["serve", "--config", path][..],
            &["check", path],
            &["install", "--config", path],
        ] {
            refused(&process::run(folder.path(), arguments, &[]).await, what);
        }
        refused(
            &process::run(folder.path(), &[], &[("APP_CONFIG", path)]).await,
            what,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_never_end_are_a_fault() {
    let folder = folder();
    for (path, what) in endless(folder.path()) {
        let secret = json!({ "file": path });
        for over in [
            json!({ "apps": [{ "key": APP, "secret": secret }] }),
            json!({ "apps": [{ "key": APP, "secret": "s", "token": secret }] }),
            json!({ "realms": [{ "key": "R", "secret": secret }] }),
            json!({ "cache": { "redis": { "host": "127.0.0.1", "tls": { "ca": path } } } }),
            json!({ "cache": { "sql": format!("mysql://u@127.0.0.1/d?ssl-ca={}", path.display()) } }),
            json!({ "cache": { "sql": format!("postgres://u@127.0.0.1/d?sslrootcert={}", path.display()) } }),
        ] {
            write_settings(folder.path(), &usual(over));
            refused(&process::run(folder.path(), &["check"], &[]).await, what);
            refused(&process::run(folder.path(), &[], &[]).await, what);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_file_that_is_no_regular_file_is_a_fault() {
    let folder = folder();
    let files = endless(folder.path());
    for (path, _) in files.iter().filter(|(path, _)| !path.ends_with("large")) {
        write_settings(folder.path(), &usual(json!({ "cache": { "file": path } })));
        refused(&process::run(folder.path(), &[], &[]).await, "cache.file");
    }
    std::fs::rename(&files[0].0, folder.path().join("cache.json.lock")).expect("our own folder");
    write_settings(
        folder.path(),
        &usual(json!({ "cache": { "file": "cache.json" } })),
    );
    refused(
        &process::run(folder.path(), &[], &[]).await,
        "cache.json.lock",
    );
}

async fn wechat() -> (Sandbox, RunningSandbox) {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_reload_changes_nothing() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    for (path, what) in endless(folder.path()) {
        for is_secret in [false, true] {
            let usual = settings(&sandbox.url(), json!({}));
            std::fs::remove_file(folder.path().join("jsdkd.json")).ok();
            let server = Process::serve(folder.path(), &usual).await;
            if is_secret {
                let apps = json!([{ "key": APP, "secret": { "file": path } }]);
                write_settings(
                    folder.path(),
                    &settings(&sandbox.url(), json!({ "apps": apps })),
                );
            } else {
                std::fs::remove_file(folder.path().join("jsdkd.json")).expect("it is there");
                std::os::unix::fs::symlink(&path, folder.path().join("jsdkd.json"))
                    .expect("a link");
            }
            server.signal("HUP");
            let told = until(|| {
                let faults = server
                    .log()
                    .into_iter()
                    .filter_map(|line| Some(line["fault"].as_str()?.to_owned()));
                faults.into_iter().find(|fault| fault.contains(what))
            });
            told.await
                .unwrap_or_else(|| panic!("{what}: {}", server.out()));
            assert_eq!(server.get("/ping").await.status, 200);
            let begun = Instant::now();
            server.signal("HUP");
            server.signal("TERM");
            assert_eq!(server.ended().await.code, Some(0));
            assert!(
                begun.elapsed() < Duration::from_secs(6),
                "{:?}",
                begun.elapsed()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_files_that_never_end_are_not_found() {
    let folder = folder();
    let files = endless(folder.path());
    for (path, _) in &files {
        std::fs::rename(path, path.with_extension("txt")).expect("our own folder");
    }
    let server = Process::serve(
        folder.path(),
        &usual(json!({ "server": { "static": folder.path() } })),
    )
    .await;
    for (path, _) in &files {
        let name = path.file_name().expect("a name").to_str().expect("a text");
        server
            .get(&format!("/{name}.txt"))
            .await
            .problem(404, "not_found");
    }
}
