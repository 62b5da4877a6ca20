//! The cache file after a crash: `kill -9` at any moment, a second process on the same file, a torn
//! file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::app::signed_v2;
use crate::support::process::{Process, folder, run, settings, write_settings};

const ROUNDS: usize = 20;
const ACCOUNTS_A_ROUND: usize = 12;
const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

fn app(number: usize) -> String {
    format!("wx_{number:04}")
}

/// WeChat with `count` accounts, and settings for them all with a cache file.
async fn wechat(count: usize) -> (Sandbox, RunningSandbox, Value) {
    let accounts = (0..count)
        .map(|number| (app(number), "secret".to_owned()))
        .collect();
    let options = SandboxOptions {
        accounts,
        ..SandboxOptions::default()
    };
    let (sandbox, running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port");
    let apps: Vec<Value> = (0..count)
        .map(|number| json!({ "key": app(number), "secret": "secret" }))
        .collect();
    let settings = settings(
        &sandbox.url(),
        json!({ "apps": apps, "cache": { "file": "cache.json" } }),
    );
    (sandbox, running, settings)
}

fn cached(folder: &Path) -> BTreeMap<String, Value> {
    match std::fs::read(folder.join("cache.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .unwrap_or_else(|error| panic!("a torn file: {error} in {bytes:?}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_a_whole_file_with_every_answered_value() {
    let (sandbox, _running, settings) = wechat(ROUNDS * ACCOUNTS_A_ROUND).await;
    let folder = folder();
    write_settings(folder.path(), &settings);
    let mut answered_in_all = 0;
    for round in 0..ROUNDS {
        let mut server = Process::start(folder.path(), &[], &[]).listening().await;
        let (client, url) = (
            reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
            Arc::new(server.url.clone()),
        );
        let asks: Vec<_> = (0..ACCOUNTS_A_ROUND)
            .map(|number| {
                let (client, url, app) = (
                    client.clone(),
                    Arc::clone(&url),
                    app(round * ACCOUNTS_A_ROUND + number),
                );
                tokio::spawn(async move {
                    let answer = client
                        .get(format!(
                            "{url}{}",
                            signed_v2("GET", &app, &[("key", "ticket")])
                        ))
                        .send()
                        .await
                        .ok()?;
                    let body: Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
                    Some((app, body["value"].as_str()?.to_owned()))
                })
            })
            .collect();
        // From before the first write to after the last; the last round writes something on the
        // slowest machine.
        let pause = if round + 1 == ROUNDS {
            1_500
        } else {
            rand::random_range(0..160)
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.kill();
        let file = cached(folder.path());
        for ask in asks {
            let Some((app, ticket)) = ask.await.expect("our own task") else {
                continue;
            };
            answered_in_all += 1;
            assert_eq!(
                file[&format!("{app}.ticket")]["value"],
                ticket,
                "round {round}: answered, hence saved"
            );
        }
        for (key, entry) in &file {
            assert!(
                entry["value"].is_string() && entry["__expires"].is_u64(),
                "round {round}: {key} is {entry}"
            );
        }
    }
    let saved = cached(folder.path());
    assert!(
        answered_in_all > 0 && !saved.is_empty(),
        "no round lived long enough to save anything"
    );

    let server = Process::start(folder.path(), &[], &[]).listening().await;
    let before = (sandbox.calls(TOKEN), sandbox.calls(TICKET));
    for (key, entry) in saved
        .iter()
        .filter(|(key, _)| !key.ends_with(".version") && !key.ends_with(".ledger"))
    {
        let (app, kind) = key.rsplit_once('.').expect("APPID.kind");
        let answer = server
            .get(&signed_v2("GET", app, &[("key", kind)]))
            .await
            .json();
        assert_eq!(answer["value"], entry["value"], "{key}");
    }
    assert_eq!(
        (sandbox.calls(TOKEN), sandbox.calls(TICKET)),
        before,
        "what was saved is served without asking WeChat"
    );
    let leftovers = std::fs::read_dir(folder.path())
        .expect("our folder")
        .flatten()
        .map(|entry| entry.file_name());
    let leftovers: Vec<_> = leftovers
        .filter(|name| name.to_string_lossy().ends_with(".tmp"))
        .collect();
    assert!(
        leftovers.is_empty(),
        "half-written files are swept up at the next start: {leftovers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_file_is_refused() {
    let (_sandbox, _running, settings) = wechat(1).await;
    let folder = folder();
    let first = Process::serve(folder.path(), &settings).await;
    let ticket = first
        .get(&signed_v2("GET", &app(0), &[("key", "ticket")]))
        .await
        .json();
    let second = run(folder.path(), &[], &[]).await;
    assert_eq!(second.code, Some(75), "{second:?}");
    for part in ["another process", "cache.json", "stop"] {
        assert!(second.err.contains(part), "{part}: {second:?}");
    }
    assert!(!second.out.contains("listening"), "{second:?}");
    assert_eq!(
        first
            .get(&signed_v2("GET", &app(0), &[("key", "ticket")]))
            .await
            .json(),
        ticket
    );
    // After the first one has gone, however it ended, another can start.
    drop(first);
    let third = Process::start(folder.path(), &[], &[]).listening().await;
    assert_eq!(
        third
            .get(&signed_v2("GET", &app(0), &[("key", "ticket")]))
            .await
            .json(),
        ticket
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_file_is_moved_aside_and_reported() {
    let (_sandbox, _running, settings) = wechat(1).await;
    for torn in [
        "{\"wx_0000.token\":{\"value\":\"secret-marker-77",
        "[1,2]",
        "not ours at all",
        "\0\0\0\0",
    ] {
        let folder = folder();
        std::fs::write(folder.path().join("cache.json"), torn).expect("our own folder");
        let server = Process::serve(folder.path(), &settings).await;
        let report = server.logged_about("moved aside").await;
        assert_eq!(report["level"], "ERROR");
        let moved = report["moved_to"].as_str().expect("a path");
        assert!(moved.contains("cache.json.corrupt-"), "{moved}");
        assert_eq!(
            std::fs::read_to_string(folder.path().join(moved)).expect("the moved file"),
            torn
        );
        let ticket = server
            .get(&signed_v2("GET", &app(0), &[("key", "ticket")]))
            .await
            .json();
        assert_eq!(
            cached(folder.path())["wx_0000.ticket"]["value"],
            ticket["value"]
        );
        assert!(!server.out().contains("secret-marker"), "{}", server.out());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_an_empty_cache() {
    let (_sandbox, _running, settings) = wechat(1).await;
    let folder = folder();
    std::fs::write(folder.path().join("cache.json"), "").expect("our own folder");
    let server = Process::serve(folder.path(), &settings).await;
    assert!(
        server
            .get(&signed_v2("GET", &app(0), &[("key", "ticket")]))
            .await
            .json()["value"]
            .is_string()
    );
    assert!(
        server.log().iter().all(|line| line["level"] != "ERROR"),
        "{}",
        server.out()
    );
}
