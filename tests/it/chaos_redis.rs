//! Chaos tests: three processes share a real Redis that restarts, dies, hangs or is slow, or that
//! one of them cannot reach. The measurements are in docs/failures.md.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::APP;
use crate::support::faulty_link::{Link, LinkState};
use crate::support::fleet::{AIR, Fleet, PROCESSES, TOKEN, cold, figure};
use crate::support::keepers::eventually;
use crate::support::redis::RedisServer;

/// Our timeout for one request to Redis.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// The maximum age of a cached copy.
const NEAR: Duration = Duration::from_secs(1);

const STORE_DOWN: [(u16, &str); 1] = [(503, "store_unavailable")];

/// A separate link for each process, and the cache settings that use them.
async fn links(redis: &RedisServer) -> ([Link; PROCESSES], [Value; PROCESSES]) {
    let links = Link::three_to(redis.port()).await;
    let caches = links
        .each_ref()
        .map(|link| json!({ "redis": format!("redis://127.0.0.1:{}", link.port()) }));
    (links, caches)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_redis_costs_no_answer() {
    let mut redis = RedisServer::start();
    let fleet = Fleet::on(json!({ "redis": redis.url() })).await;
    let load = fleet.load();
    load.more(9).await;
    redis.cli(&["SHUTDOWN"]);
    redis.restart();
    fleet
        .healing(&cold(0), &STORE_DOWN)
        .await
        .within(NEAR, "redis restarts: a cold account");
    load.more(15).await;
    figure(
        "redis restarts: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!((fleet.tokens(APP), fleet.tokens(&cold(0))), (1, 1));
    fleet.agree_on_a_living(APP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_redis_serves_cached_values_and_refuses_others() {
    let mut redis = RedisServer::start();
    let fleet = Fleet::on(json!({ "redis": redis.url() })).await;
    let load = fleet.load();
    redis.kill();
    load.more(45).await;
    for member in 0..PROCESSES {
        fleet
            .ask(member, &cold(0))
            .await
            .is_refused_for_the_store(Duration::ZERO);
    }
    // A forced renewal without the lease could void what another process has just fetched.
    let refused = fleet.token(0, APP).await;
    fleet
        .rotate(0, APP, &refused)
        .await
        .is_refused_for_the_store(Duration::ZERO);
    assert_eq!(
        fleet.token(0, APP).await,
        refused,
        "it goes on being served, there being nothing better"
    );
    redis.restart();
    let back = Instant::now();
    fleet.healing(&cold(0), &STORE_DOWN).await.within(
        NEAR,
        "redis killed with -9 and started again: a cold account",
    );
    // The value that WeChat refused meanwhile is renewed without another request.
    eventually("a renewal of what was refused", async || {
        fleet.tokens(APP) == 2
    })
    .await;
    let renewed = fleet.sandbox.current_token(APP).expect("a token");
    fleet.convergence(APP, &renewed).await;
    figure(
        "redis killed with -9: until all processes have another value for one refused meanwhile",
        &back.elapsed(),
    );
    load.more(15).await;
    figure(
        "redis killed with -9: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!((fleet.tokens(APP), fleet.tokens(&cold(0))), (2, 1));
    fleet.agree_on_a_living(APP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_redis_does_not_delay_cached_answers() {
    let redis = RedisServer::start();
    let fleet = Fleet::on(json!({ "redis": redis.url() })).await;
    let load = fleet.load();
    load.more(9).await;
    redis.pause();
    for member in 0..PROCESSES {
        fleet
            .ask(member, &cold(0))
            .await
            .is_refused_for_the_store(STORE_TIMEOUT);
    }
    load.more(45).await;
    redis.resume();
    fleet
        .healing(&cold(0), &STORE_DOWN)
        .await
        .within(NEAR, "redis stopped with -STOP, then -CONT: a cold account");
    load.more(15).await;
    figure(
        "redis stopped with -STOP: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!((fleet.tokens(APP), fleet.tokens(&cold(0))), (1, 1));
    fleet.agree_on_a_living(APP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_redis_delays_only_new_credentials() {
    let redis = RedisServer::start();
    let (links, caches) = links(&redis).await;
    let fleet = Fleet::over(caches).await;
    let load = fleet.load();
    links
        .iter()
        .for_each(|link| link.set(LinkState::Delay(Duration::from_millis(250))));
    load.more(60).await;
    let begun = Instant::now();
    let asked: Vec<_> = (0..PROCESSES)
        .map(|member| fleet.ask_aside(member, &cold(0)))
        .collect();
    for answer in asked {
        let answer = answer.await.expect("our own task");
        assert!(answer.is_good(), "{answer:?}");
    }
    figure(
        "redis 250 ms away: a cold account on all three",
        &begun.elapsed(),
    );
    figure(
        "redis 250 ms away: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!((fleet.tokens(APP), fleet.tokens(&cold(0))), (1, 1));
    fleet.agree_on_a_living(APP).await;
}

/// One process loses Redis in this way, while WeChat refuses the value that all have. After the
/// link is repaired it recovers within a back-off, or later if it is busy.
async fn one_loses_redis(mood: LinkState, in_the_middle: Duration, what: &str) {
    let redis = RedisServer::start();
    let (links, caches) = links(&redis).await;
    let fleet = Fleet::over(caches).await;
    let before = fleet.token(0, APP).await;
    let load = fleet.load();
    load.more(9).await;
    links[2].set(mood);
    // The first caller to notice waits for the store's timeout; it may be one of the load.
    fleet
        .ask(2, &cold(0))
        .await
        .is_refused_for_the_store(in_the_middle);
    assert_eq!(
        fleet.tokens(&cold(0)),
        0,
        "without the lease WeChat is not asked"
    );
    for member in 0..2 {
        fleet.token(member, &cold(0)).await;
    }
    let rotated = fleet.rotate(0, APP, &before).await;
    let after = rotated
        .value
        .clone()
        .filter(|after| *after != before)
        .unwrap_or_else(|| panic!("{rotated:?}"));
    load.more(45).await;
    assert_eq!(
        fleet.token(2, APP).await,
        before,
        "it cannot know better, and WeChat still takes it for five minutes"
    );
    assert_ne!(
        fleet.rotate(2, APP, &before).await.value.as_ref(),
        Some(&after)
    );
    links[2].set(LinkState::Pass);
    let healing = Instant::now();
    while fleet.token(2, APP).await != after {
        // An attempt to connect is three requests, and a read that waited for it is another one.
        assert!(
            healing.elapsed() < NEAR + 4 * in_the_middle + AIR,
            "{what}: it never learns of the new value"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    figure(
        &format!("{what}: until it hands out what the others renewed"),
        &healing.elapsed(),
    );
    fleet
        .healing(&cold(1), &STORE_DOWN)
        .await
        .within(NEAR, &format!("{what}: a cold account"));
    fleet.token(2, &cold(0)).await;
    let seen = load.stop().await;
    figure(
        &format!("{what}: answers under load, the slowest"),
        &seen.all_good(),
    );
    assert_eq!(
        (
            fleet.tokens(APP),
            fleet.tokens(&cold(0)),
            fleet.tokens(&cold(1))
        ),
        (2, 1, 1)
    );
    fleet.agree_on_a_living(APP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_cut_off_from_redis_recovers() {
    one_loses_redis(
        LinkState::Cut,
        Duration::ZERO,
        "one process cut off from redis",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_redis_vanished_silently_recovers() {
    one_loses_redis(
        LinkState::HalfOpen,
        STORE_TIMEOUT,
        "one process with a half-open redis",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_vanishes_during_a_request_recovers() {
    one_loses_redis(
        LinkState::SwallowAfter(40),
        STORE_TIMEOUT,
        "one process whose requests are cut in two",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_value_is_gone_everywhere_within_a_second() {
    let redis = RedisServer::start();
    let fleet = Fleet::on(json!({ "redis": redis.url() })).await;
    let before = fleet.token(0, APP).await;
    let load = fleet.load();
    load.more(9).await;
    let rotated = fleet.rotate(0, APP, &before).await;
    let after = rotated
        .value
        .clone()
        .filter(|after| rotated.is_good() && *after != before)
        .unwrap_or_else(|| panic!("{rotated:?}"));
    fleet
        .convergence(APP, &after)
        .await
        .within(NEAR, "a value refused at one process gone from all");
    // Everywhere at once: one renewal, however many report, and none for a value that is gone.
    let all = join_all((0..30).map(|number| fleet.rotate(number % PROCESSES, APP, &before))).await;
    assert!(
        all.iter()
            .all(|answer| answer.is_good() && answer.value.as_ref() == Some(&after)),
        "{all:#?}"
    );
    load.more(15).await;
    figure(
        "a rotation: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!(fleet.sandbox.calls(TOKEN), 2);
    fleet.agree_on_a_living(APP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_restored_from_a_backup_revives_nothing() {
    let mut redis = RedisServer::start();
    let mut fleet = Fleet::on(json!({ "redis": redis.url() })).await;
    let before = fleet.token(0, APP).await;
    let old = redis.snapshot();
    let after = fleet
        .rotate(0, APP, &before)
        .await
        .value
        .expect("a new one");
    fleet
        .convergence(APP, &after)
        .await
        .within(NEAR, "a rotation before the snapshot is loaded");
    // The process that renewed is killed: nobody is left who saw the order of WeChat's grants.
    fleet.kill(0);
    redis.restart_from(&old);
    // So that they read it again.
    tokio::time::sleep(NEAR).await;
    let begun = Instant::now();
    for member in [1, 2] {
        assert_eq!(fleet.token(member, APP).await, after, "process {member}");
    }
    eventually("the later value is written back", async || {
        redis
            .cli(&["GET", &format!("{APP}.token")])
            .contains(&after)
    })
    .await;
    figure(
        "Redis came back with older values: until the later one is written back",
        &begun.elapsed(),
    );
    for member in [1, 2] {
        assert_eq!(fleet.token(member, APP).await, after, "process {member}");
    }
    assert_eq!(fleet.tokens(APP), 2);
}
