//! Renewal before expiry: when it starts, what is returned meanwhile, and when it stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::{Clock, UnixMillis};
use credentials::keeper::{Keeper, Parts};
use credentials::store::{FileStore, MemoryStore, Record, Store};
use futures_util::future::join_all;
use sandbox::Fault;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use wechat::account::{Account, AppId, Keep, TokenApi};
use wechat::credential::CredentialKind;

use crate::support::app::{APP, TestApp, signed_v2};
use crate::support::keepers::{World, account, client, dead_address, eventually};

const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";
const SECOND: Duration = Duration::from_secs(1);

fn now() -> u64 {
    Clock::system().wall().seconds().0
}

/// `cache` with a token for each of `apps` that expires at `end`.
fn memo(apps: &[String], end: u64) -> Value {
    let entries = apps.iter().map(|app| {
        (
            format!("{app}.token"),
            json!({ "value": format!("old-{app}"), "__expires": end }),
        )
    });
    json!({ "memo": entries.collect::<Map<_, _>>() })
}

fn old() -> String {
    format!("old-{APP}")
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_starts_at_the_reserve_and_nobody_waits() {
    let end = now() + 22;
    let app =
        TestApp::with(json!({ "cache": memo(&[APP.to_owned()], end), "reserve": "20s" })).await;
    app.sandbox
        .fault(Fault::delay(Duration::from_millis(1500)).on(TOKEN));
    assert_eq!(app.value("token").await, old());
    eventually("the renewal begins", async || app.sandbox.calls(TOKEN) == 1).await;
    // The window is 20 s, and a tenth of it is jitter.
    let left = end.saturating_sub(now());
    assert!((14..=20).contains(&left), "{left} s before the end");
    let asked = Instant::now();
    assert_eq!(
        app.value("token").await,
        old(),
        "while WeChat is still thinking"
    );
    assert!(
        asked.elapsed() < Duration::from_millis(1200),
        "nobody waits for a renewal ahead: {:?}",
        asked.elapsed()
    );
    eventually("the new value is handed out", async || {
        app.sandbox.accepts(&app.value("token").await)
    })
    .await;
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_expire_together_are_renewed_apart() {
    let apps: Vec<String> = (0..40)
        .map(|number| format!("wx-jitter-{number}"))
        .collect();
    let list: Vec<Value> = apps
        .iter()
        .map(|app| json!({ "key": app, "secret": "s3cret" }))
        .collect();
    let app =
        TestApp::build(json!({ "apps": list, "cache": memo(&apps, now() + 42), "reserve": "40s" }));
    let app = app.sandbox(|sandbox| {
        sandbox.accounts = apps
            .iter()
            .map(|app| (app.clone(), "s3cret".to_owned()))
            .collect()
    });
    let app = app.start().await;
    for name in &apps {
        assert_eq!(
            app.get(&signed_v2("GET", name, &[])).await.json()["value"],
            format!("old-{name}")
        );
    }
    eventually("the first renewal", async || app.sandbox.calls(TOKEN) > 0).await;
    let first = Instant::now();
    eventually("the last renewal", async || app.sandbox.calls(TOKEN) == 40).await;
    // Spread over a tenth of the window, which is four seconds.
    let spread = first.elapsed();
    assert!(spread > SECOND, "all within {spread:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_lifetime_is_renewed_in_its_last_twelfth() {
    let app = TestApp::build(json!({}))
        .sandbox(|sandbox| sandbox.lifetime = 3 * SECOND)
        .start()
        .await;
    let begun = Instant::now();
    while begun.elapsed() < 6 * SECOND {
        assert!(
            app.sandbox.accepts(&app.value("token").await),
            "what is handed out is alive"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // At 0 s, and 2.75 s after each.
    let calls = app.sandbox.calls(TOKEN);
    assert!((2..=4).contains(&calls), "{calls}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_renewal_the_value_is_used_until_it_expires() {
    let end = now() + 4;
    let app =
        TestApp::with(json!({ "cache": memo(&[APP.to_owned()], end), "reserve": "60s" })).await;
    app.sandbox.fault(Fault::errcode(-1, "system error"));
    let mut served_after_failure = 0;
    let last = loop {
        let (failed, before) = (app.sandbox.calls(TOKEN) > 0, now());
        let answer = app.query("token").await;
        if answer.status != 200 {
            assert!(
                now() >= end,
                "refused {} s too early: {}",
                end - now(),
                answer.body
            );
            break answer;
        }
        assert!(before < end, "handed out though it has ended");
        assert_eq!(answer.json()["value"], old());
        served_after_failure += u32::from(failed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(served_after_failure > 5, "{served_after_failure}");
    let problem: Value = serde_json::from_str(&last.body).expect("a problem");
    assert!(
        ["cooling_down", "upstream_refused"]
            .contains(&problem["code"].as_str().unwrap_or_default()),
        "{problem}"
    );
    assert_eq!(problem["errcode"], -1);
    let calls = app.sandbox.calls(TOKEN);
    assert!(
        (2..=4).contains(&calls),
        "{calls} calls with pauses of 1 s, 2 s, 4 s"
    );
    app.sandbox.clear_faults();
    eventually("it recovers", async || {
        app.query("token").await.status == 200
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_active_renews_only_what_is_asked_for() {
    let app = TestApp::build(json!({ "keep": "active" }))
        .sandbox(|sandbox| sandbox.lifetime = SECOND)
        .start()
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        app.sandbox.calls(TOKEN),
        0,
        "nothing is fetched that nobody asked for"
    );
    app.value("token").await;
    tokio::time::sleep(3 * SECOND).await;
    let calls = app.sandbox.calls(TOKEN);
    assert!((1..=3).contains(&calls), "{calls}");
    tokio::time::sleep(3 * SECOND / 2).await;
    assert_eq!(app.sandbox.calls(TOKEN), calls, "it has stopped");
    app.value("token").await;
    eventually("it goes on", async || {
        app.value("token").await;
        app.sandbox.calls(TOKEN) >= calls + 3
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_always_fetches_at_start_and_keeps_renewing() {
    let app = TestApp::build(json!({ "keep": "always" }))
        .sandbox(|sandbox| sandbox.lifetime = SECOND)
        .start()
        .await;
    eventually("it renews both again and again", async || {
        app.sandbox.calls(TOKEN) >= 4 && app.sandbox.calls(TICKET) >= 4
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_always_covers_accounts_added_by_a_reload() {
    let app = TestApp::build(json!({ "keep": "always" }))
        .sandbox(|sandbox| sandbox.accounts.push(("wx-second".into(), "s3cret".into())));
    let app = app.start().await;
    eventually("the first is fetched", async || {
        app.sandbox.current_ticket(APP).is_some()
    })
    .await;
    let apps = json!([{ "key": APP, "secret": crate::support::app::APP_SECRET }, { "key": "wx-second", "secret": "s3cret" }]);
    app.reloader.apply(crate::support::app::config_of(
        &app.sandbox,
        json!({ "keep": "always", "apps": apps }),
    ));
    eventually("the second is fetched", async || {
        app.sandbox.current_ticket("wx-second").is_some()
    })
    .await;
    assert_eq!(
        app.sandbox.calls_of(APP, TOKEN),
        1,
        "and what was held is kept"
    );
    app.stop().await;
}

/// A token expires, perhaps a request fails, and then the wall clock is set back.
async fn clock_set_back(store: impl Fn(Clock) -> Arc<dyn Store>, asked_in_vain: bool) {
    let start = Clock::system().wall();
    let world = World::new(Clock::manual(start)).await;
    let instance = world.instance(store(world.clock.clone()), TokenApi::Basic);
    let first = instance.token().await.expect("a token");
    world.clock.advance(Duration::from_secs(7201));
    if asked_in_vain {
        world
            .sandbox
            .fault(Fault::errcode(-1, "system error").times(1));
        instance.token().await.expect_err("WeChat is down");
        world.clock.advance(Duration::from_secs(61));
    }
    world.clock.set_wall(UnixMillis(start.0 + 1000));
    let after = instance.token().await.expect("a token");
    assert_ne!(
        after, first,
        "the old token has ended, whatever the calendar says"
    );
    assert!(world.sandbox.accepts(&after));
    // And the new one is not valid longer than WeChat said.
    world.clock.advance(Duration::from_secs(7199));
    world.clock.set_wall(start);
    assert_eq!(instance.token().await.expect("a token"), after);
    world.clock.advance(Duration::from_secs(2));
    assert_ne!(instance.token().await.expect("a token"), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_revives_no_expired_token() {
    let directory = tempfile::tempdir().expect("a folder");
    for asked_in_vain in [false, true] {
        clock_set_back(
            |clock| Arc::new(MemoryStore::new(BTreeMap::new(), clock)),
            asked_in_vain,
        )
        .await;
        let path = directory.path().join(format!("cache-{asked_in_vain}.json"));
        clock_set_back(
            |clock| Arc::new(FileStore::open(&path, clock).expect("a file")),
            asked_in_vain,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_ahead_costs_one_fetch() {
    let start = Clock::system().wall();
    let world = World::new(Clock::manual(start)).await;
    let instance = world.instance(
        Arc::new(MemoryStore::new(BTreeMap::new(), world.clock.clone())),
        TokenApi::Basic,
    );
    let first = instance.token().await.expect("a token");
    world
        .clock
        .set_wall(start.plus(Duration::from_secs(100_000)));
    let second = instance.token().await.expect("a token");
    assert_ne!(second, first);
    world.clock.set_wall(start);
    assert_eq!(instance.token().await.expect("a token"), second);
    assert_eq!(world.token_calls(), 2);
}

const MANY: usize = 10_000;

fn many() -> Vec<Account> {
    let one = account(TokenApi::Basic);
    (0..MANY)
        .map(|number| Account {
            app_id: AppId::parse(&format!("wx-many-{number:05}")).expect("good"),
            ..one.clone()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_accounts_share_one_task() {
    let clock = Clock::system();
    let ends = clock.wall().plus(Duration::from_secs(7200));
    let record = |value: String| Record {
        value: SecretString::from(value),
        expires_at: ends,
    };
    let initial = many().into_iter().map(|account| {
        (
            format!("{}.token", account.app_id),
            record(format!("t-{}", account.app_id)),
        )
    });
    let store = Arc::new(MemoryStore::new(initial.collect(), clock.clone()));
    let parts = Parts::new(store, clock, Keep::Active);
    let keeper = Keeper::new(many(), client(&[&dead_address()]), parts);
    let (_stop, stopped) = watch::channel(false);
    let refresher = tokio::spawn(keeper.run(stopped));
    for account in many() {
        let credentials = keeper
            .credentials(account.app_id.as_str())
            .expect("it was configured");
        let token = credentials
            .credential(CredentialKind::AccessToken)
            .get()
            .await
            .expect("it is in the store");
        assert_eq!(
            token.value().expose_secret(),
            format!("t-{}", account.app_id)
        );
    }
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    eventually("only the refresher is left", async || alive() <= 3).await;
    assert!(!refresher.is_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ten_thousand_accounts_starts_fast() {
    let accounts: Vec<(String, String)> = many()
        .iter()
        .map(|account| (account.app_id.to_string(), "s3cret".to_owned()))
        .collect();
    let apps: Vec<Value> = accounts
        .iter()
        .map(|(app, secret)| json!({ "key": app, "secret": secret }))
        .collect();
    let begun = Instant::now();
    let app = TestApp::build(json!({ "apps": apps }))
        .sandbox(|sandbox| sandbox.accounts = accounts.clone())
        .start()
        .await;
    assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
    let asked: Vec<&str> = accounts
        .iter()
        .step_by(250)
        .map(|(app, _)| app.as_str())
        .collect();
    let answers = join_all(asked.iter().map(|name| async {
        let path = signed_v2("GET", name, &[("key", "ticket")]);
        app.get(&path).await.json()["value"]
            .as_str()
            .map(str::to_owned)
    }))
    .await;
    for (name, ticket) in asked.iter().zip(answers) {
        assert_eq!(app.sandbox.current_ticket(name), ticket, "{name}");
    }
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (asked.len() as u64, asked.len() as u64)
    );
    app.stop().await;
}
