//! A database that starts late, dies, hangs and recovers: every wait is bounded, an outage is not
//! an empty store, and everything recovers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::sql_store::{bare, install};
use crate::store_contract::{record, value};
use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::databases::DatabaseServer;
use crate::support::keepers::eventually;

const HOUR: Duration = Duration::from_secs(3600);

/// Down at the start, up, killed under load, up again.
async fn lives_through_outages(server: &mut DatabaseServer) {
    let url = server.database().url();
    install(&url).await;
    server.kill();

    let app = TestApp::with(json!({ "cache": { "sql": url } })).await;
    assert_eq!(app.get("/ping").await.status, 200);
    let begun = Instant::now();
    app.query("token").await.problem(503, "store_unavailable");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "a server that is down is told at once"
    );
    assert_eq!(
        app.sandbox.calls("/cgi-bin/token"),
        0,
        "a dead store does not look empty"
    );

    server.restart();
    eventually("a token once the database is there", async || {
        app.query("token").await.status == 200
    })
    .await;
    let token = app.value("token").await;

    // Long, since the first call after a restart connects, on a machine that may be busy.
    let store = bare(&format!("{url}?timeout=10s")).await;
    store
        .put("oauth.trip.1", &record("kept", HOUR))
        .await
        .unwrap();
    server.kill();
    // A PostgreSQL that is being killed may answer once more.
    eventually("the end of the server", async || {
        store.get("oauth.trip.1").await.is_err()
    })
    .await;
    let gone = store.get("oauth.trip.1").await.unwrap_err();
    assert!(gone.cause.contains("cannot be reached"), "{gone}");
    assert_eq!(
        app.value("token").await,
        token,
        "what is held fresh is served on"
    );
    server.restart();
    let back = store.get("oauth.trip.1").await;
    assert_eq!(
        value(back.expect("the first call finds it back")).as_deref(),
        Some("kept")
    );
    assert_eq!(app.value("token").await, token);
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 1);
}

/// A hanging server costs each call its timeout, and leaks no connection.
async fn hangs(server: &DatabaseServer) {
    let url = server.database().url();
    install(&url).await;
    let store = bare(&format!("{url}?timeout=1s")).await;
    eventually("a write on a busy machine", async || {
        let record = record("kept", HOUR);
        store.put("oauth.trip.1", &record).await.is_ok()
    })
    .await;
    server.pause();
    // More calls than there are connections.
    let begun = Instant::now();
    let calls = (0..30).map(|_| store.get("oauth.trip.1"));
    for outcome in futures_util::future::join_all(calls).await {
        let fault = outcome.unwrap_err();
        assert!(fault.cause.contains("did not answer within 1s"), "{fault}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "they waited side by side"
    );
    server.resume();
    eventually("an answer", async || {
        store.get("oauth.trip.1").await.is_ok()
    })
    .await;
    // A connection that was lost would be missing each time.
    eventually("answers to as many calls", async || {
        let calls = (0..30).map(|_| store.get("oauth.trip.1"));
        let answers = futures_util::future::join_all(calls).await;
        answers.iter().all(Result::is_ok)
    })
    .await;
}

/// While the database hangs, cached values are served, and on stable also new ones, with the
/// default timeouts.
async fn is_done_without(server: &DatabaseServer) {
    let url = server.database().url();
    install(&url).await;
    let apps = json!([{ "key": APP, "secret": APP_SECRET, "tokenApi": "stable" }]);
    let app = TestApp::with(
        json!({ "apps": apps, "cache": { "sql": url }, "wechat": { "timeout": "5s" } }),
    )
    .await;
    let token = app.value("token").await;
    server.pause();
    let mut waits = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        let asked = Instant::now();
        assert_eq!(
            app.value("token").await,
            token,
            "{:?} after it hung",
            begun.elapsed()
        );
        waits.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    waits.sort();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "MEASURED a database that hangs, held: {} answers, median {median:?}, longest {longest:?}",
        waits.len()
    );
    assert!(
        median < Duration::from_millis(50) && longest < Duration::from_secs(2),
        "{median:?} {longest:?}"
    );
    let asked = Instant::now();
    let ticket = app.query("ticket").await;
    assert_eq!(ticket.status, 200, "{ticket:?}");
    println!(
        "MEASURED a database that hangs, new on stable: {:?}",
        asked.elapsed()
    );
    server.resume();
    eventually("what the database lacked", async || {
        app.value("token").await == token
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_mariadb_delays_nobody_with_a_fallback() {
    let Some(server) = DatabaseServer::mariadb() else {
        return;
    };
    is_done_without(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_found_again_after_every_outage() {
    let Some(mut server) = DatabaseServer::mariadb() else {
        return;
    };
    lives_through_outages(&mut server).await;
    hangs(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_found_again_after_every_outage() {
    let Some(mut server) = DatabaseServer::postgres() else {
        return;
    };
    lives_through_outages(&mut server).await;
}
