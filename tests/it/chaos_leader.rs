//! Chaos tests: the process with the lease dies, freezes beyond its lease, or writes late. The
//! measurements are in docs/failures.md.

use std::time::{Duration, Instant};

use sandbox::Fault;
use serde_json::json;

use crate::support::faulty_link::{Link, LinkState};
use crate::support::fleet::{Fleet, LEASE, PROCESSES, TOKEN, cold, figure};
use crate::support::keepers::eventually;
use crate::support::redis::RedisServer;

/// While a leader holds the lease, the others' callers wait for WeChat's timeout and then get this
/// error.
const MEANWHILE: [(u16, &str); 1] = [(504, "upstream_timeout")];

/// After a failed call to WeChat a process backs off for a moment.
const AFTERWARDS: [(u16, &str); 3] = [(504, "upstream_timeout"), (503, "cooling_down"), (0, "")];

async fn three_on(redis: &RedisServer) -> Fleet {
    Fleet::on(json!({ "redis": redis.url() })).await
}

async fn wechat_is_asked(fleet: &Fleet) {
    eventually("a call to WeChat", async || fleet.tokens(&cold(0)) > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_while_renewing_is_replaced() {
    let redis = RedisServer::start();
    let mut fleet = three_on(&redis).await;
    let load = fleet.load();
    fleet
        .sandbox
        .fault(Fault::hang().of(&cold(0)).on(TOKEN).times(1));
    let lost = fleet.ask_aside(0, &cold(0));
    wechat_is_asked(&fleet).await;
    fleet.kill(0);
    let killed = Instant::now();
    assert_eq!(lost.await.expect("our own task").status, 0);
    fleet.restart(0).await;
    fleet
        .healing(&cold(0), &MEANWHILE)
        .await
        .within(LEASE, "the leader killed with -9: each process");
    figure(
        "the leader killed with -9: until all are served, from its death",
        &killed.elapsed(),
    );
    figure(
        "the leader killed with -9: answers under load of the others, the slowest",
        &load.stop().await.without(0).all_good(),
    );
    assert_eq!(
        fleet.tokens(&cold(0)),
        2,
        "the call that died, and one more"
    );
    fleet.agree_on_a_living(&cold(0)).await;
}

/// Freezes the leader from its call to WeChat until the others have replaced it. WeChat grants its
/// token after `granted_after`.
async fn a_leader_stands_still(granted_after: Duration, what: &str) {
    let redis = RedisServer::start();
    let (fleet, app) = (three_on(&redis).await, cold(0));
    let load = fleet.load();
    fleet
        .sandbox
        .fault(Fault::delay(granted_after).of(&app).on(TOKEN).times(1));
    let leader = fleet.ask_aside(0, &app);
    wechat_is_asked(&fleet).await;
    fleet.process(0).signal("STOP");
    let stopped = Instant::now();
    for member in 1..PROCESSES {
        eventually("a token from another", async || {
            fleet.ask(member, &app).await.is_good()
        })
        .await;
    }
    figure(
        &format!("{what}: until the others are served"),
        &stopped.elapsed(),
    );
    let theirs = fleet.token(1, &app).await;
    if granted_after > LEASE {
        eventually("a grant after theirs", async || {
            fleet
                .sandbox
                .current_token(&app)
                .is_some_and(|last| last != theirs)
        })
        .await;
    }
    fleet.process(0).signal("CONT");
    let answer = leader.await.expect("our own task");
    assert!(
        answer.is_good() || AFTERWARDS.contains(&(answer.status, answer.code.as_str())),
        "{answer:?}"
    );
    fleet.healing(&app, &AFTERWARDS).await.within(
        Duration::from_secs(2),
        &format!("{what}: once the leader goes on"),
    );
    figure(
        &format!("{what}: answers under load of the others, the slowest"),
        &load.stop().await.without(0).all_good(),
    );
    assert!(
        fleet.tokens(&app) <= 3,
        "the leader's, the other's, and perhaps one to tell which was the last"
    );
    if granted_after > LEASE {
        // The leader renews a possibly void value as soon as its lost call must have reached
        // WeChat.
        let deadline = Instant::now() + Duration::from_secs(40);
        while fleet.ask(1, &app).await.value != fleet.sandbox.current_token(&app) {
            assert!(
                Instant::now() < deadline,
                "nobody doubts a token that WeChat has replaced"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        figure(
            &format!("{what}: until nobody is handed the replaced token"),
            &stopped.elapsed(),
        );
    }
    for member in 1..PROCESSES {
        eventually("agreement", async || {
            fleet.ask(0, &app).await.value == fleet.ask(member, &app).await.value
        })
        .await;
    }
    fleet.agree_on_a_living(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_frozen_beyond_its_lease_overwrites_nothing() {
    a_leader_stands_still(
        Duration::from_millis(500),
        "the leader stopped beyond its lease",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_leader_leaves_no_dead_token() {
    a_leader_stands_still(
        Duration::from_millis(6500),
        "the leader stopped, and granted last",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_arrives_after_the_lease_changes_nothing() {
    let redis = RedisServer::start();
    let links = Link::three_to(redis.port()).await;
    let caches = links
        .each_ref()
        .map(|link| json!({ "redis": format!("redis://127.0.0.1:{}", link.port()) }));
    let (fleet, app) = (Fleet::over(caches).await, cold(0));
    fleet.sandbox.fault(
        Fault::delay(Duration::from_millis(500))
            .of(&app)
            .on(TOKEN)
            .times(1),
    );
    let leader = fleet.ask_aside(0, &app);
    wechat_is_asked(&fleet).await;
    links[0].set(LinkState::Delay(LEASE + Duration::from_secs(2)));
    let granted = leader.await.expect("our own task");
    assert!(
        granted.is_good(),
        "it has its token, and only the store does not know: {granted:?}"
    );
    for member in 1..PROCESSES {
        eventually("a token from another", async || {
            fleet.ask(member, &app).await.is_good()
        })
        .await;
    }
    let theirs = fleet.token(1, &app).await;
    assert_ne!(Some(&theirs), granted.value.as_ref());
    links[0].set(LinkState::Pass);
    // Late requests arrive late.
    links[0].arrived().await;
    assert_eq!(
        redis.cli(&["GET", &format!("{app}.token")]),
        format!("\"{theirs}\""),
        "the late write was refused"
    );
    fleet.convergence(&app, &theirs).await.within(
        Duration::from_secs(5),
        "a leader whose write came late: until it has the other's value",
    );
    assert_eq!(fleet.tokens(&app), 2);
    fleet.agree_on_a_living(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_costs_one_call() {
    let redis = RedisServer::start();
    let (fleet, app) = (three_on(&redis).await, cold(0));
    fleet.sandbox.fault(
        Fault::delay(Duration::from_millis(1500))
            .of(&app)
            .on(TOKEN)
            .times(1),
    );
    let leader = fleet.ask_aside(0, &app);
    wechat_is_asked(&fleet).await;
    redis.cli(&["FLUSHALL"]);
    let theirs = fleet.token(1, &app).await;
    let answer = leader.await.expect("our own task");
    assert!(answer.is_good(), "{answer:?}");
    let crossed = Instant::now();
    // WeChat granted the leader's token last, but neither process can know that, so a third token
    // is fetched.
    eventually("a third token", async || fleet.tokens(&app) == 3).await;
    let last = fleet.sandbox.current_token(&app).expect("a token");
    assert_ne!(last, theirs);
    fleet.convergence(&app, &last).await;
    figure(
        "a lease that redis lost: until all have a value that stays, from the crossing",
        &crossed.elapsed(),
    );
    fleet.agree_on_a_living(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritten_value_does_not_replace_a_later_one() {
    let redis = RedisServer::start();
    let links = Link::three_to(redis.port()).await;
    let caches = links
        .each_ref()
        .map(|link| json!({ "redis": format!("redis://127.0.0.1:{}", link.port()) }));
    let (fleet, app) = (Fleet::over(caches).await, cold(0));
    fleet.sandbox.fault(
        Fault::delay(Duration::from_millis(300))
            .of(&app)
            .on(TOKEN)
            .times(1),
    );
    let leader = fleet.ask_aside(0, &app);
    wechat_is_asked(&fleet).await;
    links[0].set(LinkState::Cut);
    let unsaved = leader.await.expect("our own task");
    assert!(unsaved.is_good(), "{unsaved:?}");
    // Lost, as by a failover of Redis: the next process need not wait for its expiry.
    redis.cli(&["DEL", &format!("jsdkd:lease:{app}.token")]);
    // The lifetime is measured from the request, so that the rest is not a whole number of seconds.
    fleet.sandbox.fault(
        Fault::delay(Duration::from_millis(50))
            .of(&app)
            .on(TOKEN)
            .times(1),
    );
    let later = fleet.token(1, &app).await;
    assert_ne!(unsaved.value.as_ref(), Some(&later));
    links[0].set(LinkState::Pass);
    fleet.convergence(&app, &later).await.within(
        Duration::from_secs(2),
        "a value that could not be written, beside a later one",
    );
    assert_eq!(
        redis.cli(&["GET", &format!("{app}.token")]),
        format!("\"{later}\"")
    );
    fleet.agree_on_a_living(&app).await;
}
