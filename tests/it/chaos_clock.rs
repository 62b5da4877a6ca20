//! Chaos tests: three real processes whose wall clocks differ by minutes, or jump while they serve.
//! Tokens are valid for seconds, so that a lifetime measured with a wrong clock would serve dead
//! tokens for minutes or call WeChat all the time.

use std::time::{Duration, Instant};

use clock::Clock;
use sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::sql_store::install;
use crate::support::app::{APP, APP_SECRET};
use crate::support::databases;
use crate::support::faketime::WallClock;
use crate::support::fleet::{Fleet, PROCESSES, TOKEN, cold, figure};
use crate::support::load::{LoadClient, query};
use crate::support::process::{Process, folder, settings, write_settings};
use crate::support::redis::RedisServer;

/// The lifetime of a token.
const LIFE: Duration = Duration::from_secs(8);

/// The duration of each test: a little more than three lifetimes.
const SPAN: Duration = Duration::from_secs(26);

/// The maximum number of renewals in that time: each at the earliest a twelfth of the lifetime
/// before the expiry, and one in reserve.
const RENEWALS: u64 = 5;

/// How far a clock may be off so that the time in a realm's signature is still accepted.
const MINUTES: i64 = 240;

/// Queries one process after the other for `span` and asserts that every answer is good; returns
/// their number.
async fn all_are_served(fleet: &Fleet, span: Duration) -> usize {
    let begun = Instant::now();
    let mut answers = 0;
    while begun.elapsed() < span {
        let answer = fleet.ask(answers % PROCESSES, APP).await;
        assert!(
            answer.is_good(),
            "{:?} after the begin: {answer:?}",
            begun.elapsed()
        );
        answers += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    answers
}

/// The difference between a process's time and the true time, in seconds.
async fn is_off_by(process: &Process) -> i64 {
    let answer = process.get("/ping").await;
    let told: Value = serde_json::from_str(&answer.body).expect("a pong");
    let now = i64::try_from(Clock::system().wall().0).expect("this century");
    (told["pong"].as_i64().expect("milliseconds") - now) / 1000
}

/// One clock is minutes ahead, one behind, one right.
async fn clocks_disagree(cache: Value, store: &str) {
    let fleet = Fleet::with_clocks(cache, LIFE).await;
    fleet.set_clock(0, MINUTES);
    fleet.set_clock(1, -MINUTES);
    for (member, seconds) in [(0, MINUTES), (1, -MINUTES), (2, 0)] {
        assert!(
            is_off_by(fleet.process(member)).await.abs_diff(seconds) <= 2,
            "the clock of process {member} is not set"
        );
    }
    let before = fleet.tokens(APP);
    let answers = all_are_served(&fleet, SPAN).await;
    let renewals = fleet.tokens(APP) - before;
    figure(
        &format!(
            "clocks minutes apart, {store}: answers, renewals of tokens that live 8 s in 26 s"
        ),
        &(answers, renewals),
    );
    assert!((3..=RENEWALS).contains(&renewals), "{renewals} renewals");
    // Each of them renews and writes, and the two others accept it.
    for member in 0..PROCESSES {
        let app = cold(member);
        let token = fleet.token(member, &app).await;
        for other in 0..PROCESSES {
            assert_eq!(
                fleet.token(other, &app).await,
                token,
                "process {other} does not believe process {member}"
            );
        }
        assert_eq!(fleet.tokens(&app), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_minutes_apart_do_no_harm_on_redis() {
    let redis = RedisServer::start();
    clocks_disagree(json!({ "redis": redis.url() }), "Redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_minutes_apart_do_no_harm_on_mariadb() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    install(&database.url()).await;
    clocks_disagree(json!({ "sql": database.url() }), "MariaDB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jumping_clocks_cause_no_dead_values_and_no_storm() {
    let redis = RedisServer::start();
    let fleet = Fleet::with_clocks(json!({ "redis": redis.url() }), LIFE).await;
    let before = fleet.tokens(APP);
    let mut answers = 0;
    for round in 0..6 {
        for member in 0..PROCESSES {
            let forth = if (round + member) % 2 == 0 {
                MINUTES
            } else {
                -MINUTES
            };
            fleet.set_clock(member, forth);
            answers += all_are_served(&fleet, SPAN / (6 * PROCESSES as u32)).await;
        }
    }
    let renewals = fleet.tokens(APP) - before;
    figure(
        "clocks that jump by 8 minutes 18 times: answers, renewals of tokens that live 8 s in 26 s",
        &(answers, renewals),
    );
    assert!((3..=RENEWALS).contains(&renewals), "{renewals} renewals");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_and_forth_expires_nothing() {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        lifetime: LIFE,
        ..SandboxOptions::default()
    };
    let (sandbox, _running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port");
    let folder = folder();
    let clock = WallClock::in_folder(folder.path());
    write_settings(
        folder.path(),
        &settings(&sandbox.url(), json!({ "cache": { "file": "cache.json" } })),
    );
    let process = Process::start(folder.path(), &[], &clock.variables())
        .listening()
        .await;
    let asker = LoadClient::new(&sandbox, vec![process.url.clone()]);
    let begun = Instant::now();
    // Setting the clock forward expires cached values, so that each time one more call is made;
    // setting it back extends nothing.
    for seconds in [-MINUTES, 0, -MINUTES, MINUTES, -MINUTES, 0] {
        clock.set(seconds);
        let set = Instant::now();
        while set.elapsed() < SPAN / 6 {
            let answer = asker.ask(0, query(APP)).await;
            assert!(
                answer.is_good(),
                "{:?} after the begin: {answer:?}",
                begun.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let calls = sandbox.calls_of(APP, TOKEN);
    figure(
        "one process with a file, its clock set back and forth 6 times: tokens that live 8 s in 26 s",
        &calls,
    );
    assert!((4..=RENEWALS + 4).contains(&calls), "{calls} calls");
}
