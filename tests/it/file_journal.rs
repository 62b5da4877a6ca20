//! Login records with a cache file: a journal beside it that is appended to, complete at any
//! moment, and compacted.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, UnixMillis};
use credentials::store::{FileStore, Record, Records, Store};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use reqwest::Method;
use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::file_store::{get, names, open, place, text};
use crate::oauth::{SITE, one_site};
use crate::store_contract::{record, value};
use crate::support::app::{APP, APP_SECRET, lay};
use crate::support::fleet::figure;
use crate::support::keepers::eventually;
use crate::support::process::{Process, folder, settings, write_settings};

const HOUR: Duration = Duration::from_secs(3600);
const FIRST: &str = "{\"jsdkd\":\"logins\"}\n";

fn journal(cache: &Path) -> PathBuf {
    cache.with_extension("json.logins")
}

/// WeChat, and settings with a cache file and one return site.
async fn wechat() -> (Sandbox, RunningSandbox, Value) {
    let accounts = vec![(APP.to_owned(), APP_SECRET.to_owned())];
    let (sandbox, running) = Sandbox::start(
        ([127, 0, 0, 1], 0).into(),
        SandboxOptions {
            accounts,
            ..SandboxOptions::default()
        },
    )
    .await
    .expect("a free port");
    let mut over = one_site();
    lay(
        &mut over,
        json!({ "cache": { "file": "cache.json" }, "wechat": { "open": sandbox.url() } }),
    );
    let settings = settings(&sandbox.url(), over);
    (sandbox, running, settings)
}

/// Starts a login; returns WeChat's URL and the cookie.
async fn depart(server: &Process) -> Option<(String, String)> {
    let begun = server
        .request(Method::GET, &format!("/oauth/{APP}?redirect={SITE}"))
        .send()
        .await
        .ok()?;
    let header = |name| Some(begun.headers().get(name)?.to_str().ok()?.to_owned());
    Some((
        header("location")?,
        header("set-cookie")?.split(';').next()?.to_owned(),
    ))
}

/// Returns from WeChat; returns the status of the answer.
async fn arrive(
    server: &Process,
    sandbox: &Sandbox,
    (at_wechat, cookie): &(String, String),
) -> u16 {
    let callback = sandbox
        .visit(at_wechat, "Alice", sandbox::Answer::Agree)
        .expect("WeChat takes the address");
    let path = callback
        .split_once("/oauth")
        .map(|(_, rest)| format!("/oauth{rest}"))
        .expect("our callback");
    server
        .request(Method::GET, &path)
        .header("cookie", cookie)
        .send()
        .await
        .expect("the server answers")
        .status()
        .as_u16()
}

/// The number of bytes that the process has passed to `write`.
#[cfg(target_os = "linux")]
fn written_by(server: &Process) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", server.id())).expect("our own child");
    io.lines()
        .find_map(|line| line.strip_prefix("wchar: ")?.parse().ok())
        .expect("a number")
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_login_writes_a_constant_amount() {
    const TURNS: u64 = 20;
    let (sandbox, _running, settings) = wechat().await;
    let folder = folder();
    let server = Process::serve(folder.path(), &settings).await;
    let mut figures = Vec::new();
    for under_way in [100, 6_000] {
        let begun: Vec<_> = stream::iter(0..under_way)
            .map(|_| depart(&server))
            .buffer_unordered(200)
            .collect()
            .await;
        assert!(begun.iter().all(Option::is_some));
        let before = written_by(&server);
        for _ in 0..TURNS {
            let trip = depart(&server).await.expect("a trip");
            assert_eq!(arrive(&server, &sandbox, &trip).await, 302);
        }
        figures.push((written_by(&server) - before) / TURNS);
    }
    figure(
        "bytes written for one login, with 100 and with 6,100 under way",
        &figures,
    );
    assert!(
        figures[1] < 2 * figures[0] + 4096 && figures[1] < 16 * 1024,
        "{figures:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_leave_the_credentials_file_as_it_is() {
    let (directory, path) = place();
    let store = open(&path);
    store.put("wx1.token", &record("T", HOUR)).await.unwrap();
    let (before, inode) = (text(&path), std::fs::metadata(&path).unwrap().ino());
    for key in [
        "oauth.trip.1",
        "oauth.ticket.wx1.1",
        "login.scan.1",
        "login.anything",
    ] {
        store.put(key, &record("marker", HOUR)).await.unwrap();
        assert_eq!(get(&store, key).await.as_deref(), Some("marker"));
    }
    assert!(store.take("login.scan.1").await.unwrap().is_some());
    assert_eq!(
        (text(&path), std::fs::metadata(&path).unwrap().ino()),
        (before, inode)
    );
    assert_eq!(
        names(directory.path()),
        ["cache.json", "cache.json.lock", "cache.json.logins"]
    );
    let lines = text(&journal(&path));
    assert_eq!(
        (
            lines.starts_with(FIRST),
            lines.matches('\n').count(),
            lines.ends_with("{\"key\":\"login.scan.1\"}\n")
        ),
        (true, 6, true)
    );
    assert_eq!(
        std::fs::metadata(journal(&path)).unwrap().mode() & 0o777,
        0o600
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_logins_that_were_not_taken() {
    let (_directory, path) = place();
    let store = open(&path);
    for number in 0..3 {
        store
            .put(
                &format!("oauth.trip.{number}"),
                &record("with \"quotes\"\n and 微信 \u{2028}", HOUR),
            )
            .await
            .unwrap();
    }
    store
        .put("oauth.trip.1", &record("over it", HOUR))
        .await
        .unwrap();
    assert!(
        store
            .replace(
                "oauth.trip.0",
                Some(&"with \"quotes\"\n and 微信 \u{2028}".into()),
                &record("after it", HOUR)
            )
            .await
            .unwrap()
    );
    assert!(store.take("oauth.trip.2").await.unwrap().is_some());
    drop(store);
    // A start that writes nothing changes nothing.
    drop(open(&path));
    let store = open(&path);
    let found = [
        get(&store, "oauth.trip.0").await,
        get(&store, "oauth.trip.1").await,
        get(&store, "oauth.trip.2").await,
    ];
    assert_eq!(
        found,
        [
            Some("after it".to_owned()),
            Some("over it".to_owned()),
            None
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_concurrent_changes_one_wins() {
    let (_directory, path) = place();
    let store = Arc::new(open(&path));
    store
        .put("login.scan.1", &record("seen", HOUR))
        .await
        .unwrap();
    let rivals = (0..50).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store
                .replace(
                    "login.scan.1",
                    Some(&"seen".into()),
                    &record(&format!("r{number}"), HOUR),
                )
                .await
        })
    });
    let written = join_all(rivals)
        .await
        .into_iter()
        .filter(|won| matches!(won, Ok(Ok(true))))
        .count();
    assert_eq!(written, 1);
    let takers = (0..50).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { value(store.take("login.scan.1").await.unwrap()) })
    });
    assert_eq!(
        join_all(takers)
            .await
            .into_iter()
            .filter_map(Result::unwrap)
            .count(),
        1
    );
    assert!(
        store
            .replace("login.scan.1", Some(&"gone".into()), &record("anew", HOUR))
            .await
            .unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_last_line_costs_nothing_else() {
    let (directory, path) = place();
    open(&path)
        .put("oauth.trip.1", &record("kept", HOUR))
        .await
        .unwrap();
    for half in [
        "{",
        "{\"key\":\"oauth.trip.1\"",
        "{\"key\":\"oauth.trip.2\",\"value\":\"\u{5fae}",
        "\0\0\0",
    ] {
        let whole = text(&journal(&path));
        std::fs::write(journal(&path), format!("{whole}{half}")).unwrap();
        let store = open(&path);
        assert_eq!(
            get(&store, "oauth.trip.1").await.as_deref(),
            Some("kept"),
            "{half:?}"
        );
        store
            .put("oauth.trip.3", &record("next", HOUR))
            .await
            .unwrap();
        assert!(
            !text(&journal(&path)).contains(&format!("{half}{{")),
            "nothing is appended to half a line"
        );
    }
    assert_eq!(
        names(directory.path()),
        ["cache.json.lock", "cache.json.logins"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_journal_is_moved_aside() {
    let line = "{\"key\":\"oauth.trip.1\",\"value\":\"v\",\"ends\":4000000000000}\n";
    for damage in [
        "not ours at all".to_owned(),
        line.to_owned(),
        format!("{FIRST}{{\"half\n{line}"),
        format!("{FIRST}{line}\n{line}"),
        format!("{FIRST}{line}\0\0\0\n"),
        format!("{FIRST}{}", line.replace("\"ends\"", "\"end\"")),
        "{\"wx1.token\":{\"value\":\"T\",\"__expires\":4000000000}}".to_owned(),
    ] {
        let (directory, path) = place();
        std::fs::write(journal(&path), &damage).unwrap();
        let store = open(&path);
        assert_eq!(get(&store, "oauth.trip.1").await, None, "{damage}");
        store
            .put("oauth.trip.2", &record("new", HOUR))
            .await
            .unwrap();
        let names = names(directory.path());
        let aside = names
            .iter()
            .find(|name| name.starts_with("cache.json.logins.corrupt-"))
            .expect("it was moved aside");
        assert_eq!(
            text(&directory.path().join(aside)),
            damage,
            "evidence is not changed"
        );
        assert!(text(&journal(&path)).starts_with(FIRST));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_compacted() {
    let (_directory, path) = place();
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let store = FileStore::open(&path, clock.clone()).unwrap();
    let (kilobyte, mut longest) = ("x".repeat(1000), 0);
    for round in 0..40 {
        let records: Vec<_> = (0..200)
            .map(|number| format!("oauth.trip.{round}-{number}"))
            .collect();
        let record = Record {
            value: SecretString::from(kilobyte.as_str()),
            expires_at: clock.wall().plus(Duration::from_secs(60)),
        };
        join_all(
            records
                .iter()
                .map(async |key| store.put(key, &record).await.unwrap()),
        )
        .await;
        clock.advance(Duration::from_secs(130));
        longest = longest.max(std::fs::metadata(journal(&path)).unwrap().len());
    }
    assert!(
        longest < 2_000_000,
        "8 MB were written, 200 kB live at a time: {longest}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_journal_is_rewritten() {
    let (directory, path) = place();
    let store = open(&path);
    store
        .put("oauth.trip.1", &record("one", HOUR))
        .await
        .unwrap();
    for change in [0, 1] {
        if change == 0 {
            std::fs::remove_file(journal(&path)).unwrap();
        } else {
            std::fs::write(directory.path().join("other"), "not ours").unwrap();
            std::fs::rename(directory.path().join("other"), journal(&path)).unwrap();
        }
        store
            .put(&format!("oauth.trip.2{change}"), &record("two", HOUR))
            .await
            .unwrap();
        let lines = text(&journal(&path));
        assert!(
            lines.contains("oauth.trip.1")
                && lines.contains("oauth.trip.20")
                && lines.starts_with(FIRST),
            "{lines}"
        );
    }
    drop(store);
    assert_eq!(
        get(&open(&path), "oauth.trip.1").await.as_deref(),
        Some("one")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_an_error_and_is_retried_later() {
    let (directory, _) = place();
    let folder = directory.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let store = open(&folder.join("cache.json"));
    store
        .put("oauth.trip.1", &record("one", HOUR))
        .await
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let error = store
        .put("oauth.trip.2", &record("s3cret-value", HOUR))
        .await
        .expect_err("there is no folder");
    assert_eq!(
        (
            error.backend,
            error.operation,
            error.to_string().contains("s3cret")
        ),
        ("file", "write", false)
    );
    std::fs::create_dir(&folder).unwrap();
    let is_whole = |lines: String| {
        lines.starts_with(FIRST) && lines.contains("oauth.trip.1") && lines.contains("oauth.trip.2")
    };
    eventually("it is written without being asked again", async || {
        std::fs::read_to_string(folder.join("cache.json.logins")).is_ok_and(is_whole)
    })
    .await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_of_an_earlier_version_leave_the_credentials_file() {
    let (_directory, path) = place();
    let old = json!({
        "wx1.token": { "value": "T", "__expires": 4_000_000_000_u64 },
        "oauth.trip.1": { "value": "under way", "__expires": 4_000_000_000_u64 },
        "login.scan.1": { "value": "ended", "__expires": 1_000_000_000_u64 },
        "login.foreign": { "value": 7 },
    });
    std::fs::write(&path, old.to_string()).unwrap();
    let store = open(&path);
    assert_eq!(
        (
            get(&store, "oauth.trip.1").await.as_deref(),
            get(&store, "login.scan.1").await
        ),
        (Some("under way"), None)
    );
    store.close().await.unwrap();
    let after: Value = serde_json::from_str(&text(&path)).unwrap();
    assert_eq!(
        after,
        json!({ "wx1.token": { "value": "T", "__expires": 4_000_000_000_u64 }, "login.foreign": { "value": 7 } })
    );
    drop(store);
    assert_eq!(
        get(&open(&path), "oauth.trip.1").await.as_deref(),
        Some("under way")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_answered_login() {
    let (sandbox, _running, settings) = wechat().await;
    let folder = folder();
    write_settings(folder.path(), &settings);
    let mut trips = Vec::new();
    for round in 0..8 {
        let mut server = Process::start(folder.path(), &[], &[]).listening().await;
        // The kill falls into many answers, a few of which have arrived.
        let mut begun = stream::iter(0..400)
            .map(|_| depart(&server))
            .buffer_unordered(50);
        let answered: Vec<_> = begun
            .by_ref()
            .take(20 + 40 * round)
            .filter_map(async |trip| trip)
            .collect()
            .await;
        drop(begun);
        trips.extend(answered);
        server.kill();
        let lines = text(&folder.path().join("cache.json.logins"));
        let whole = lines.rsplit_once('\n').expect("a first line").0;
        assert!(
            whole
                .lines()
                .all(|line| serde_json::from_str::<Value>(line).is_ok()),
            "round {round}: a torn line"
        );
    }
    let server = Process::start(folder.path(), &[], &[]).listening().await;
    for trip in &trips {
        assert_eq!(arrive(&server, &sandbox, trip).await, 302);
    }
    assert!(
        trips.len() > 100 && server.log().iter().all(|line| line["level"] != "ERROR"),
        "{}",
        server.out()
    );
}
