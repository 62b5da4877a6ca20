//! Scenes of chaos: the one of three processes that holds the right to renew dies, stands still beyond its lease, or writes late. What
//! they measure stands in README's "What happens when".

use std::time::{Duration, Instant};

use jsdkd::sandbox::Fault;
use serde_json::json;

use crate::support::app::APP;
use crate::support::fleet::{Fleet, LEASE, PROCESSES, TOKEN, figure};
use crate::support::keeping::eventually;
use crate::support::redis::RedisServer;
use crate::support::toxic::{Link, Mood};

/// While a leader holds the lease the callers of the others wait as long as WeChat may take, and hear of that.
const MEANWHILE: [(u16, &str); 1] = [(504, "upstream_timeout")];

/// Whoever asked WeChat in vain leaves it alone for a moment.
const AFTERWARDS: [(u16, &str); 3] = [(504, "upstream_timeout"), (503, "cooling_down"), (0, "")];

/// Three processes that have fetched nothing.
async fn newcomers(redis: &RedisServer) -> Fleet {
    let cache = json!({ "redis": redis.url() });
    Fleet::unasked([cache.clone(), cache.clone(), cache]).await
}

async fn wechat_is_asked(fleet: &Fleet, times: u64) {
    eventually("a call to WeChat", async || fleet.sandbox.calls(TOKEN) >= times).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_in_the_middle_is_replaced_when_its_lease_ends() {
    let redis = RedisServer::start();
    let mut fleet = newcomers(&redis).await;
    fleet.sandbox.fault(Fault::hang().on(TOKEN).times(1));
    let lost = fleet.ask_aside(0, APP);
    wechat_is_asked(&fleet, 1).await;
    fleet.kill(0);
    let killed = Instant::now();
    assert_eq!(lost.await.expect("our own task").status, 0);
    fleet.restart(0).await;
    fleet.healing(APP, &MEANWHILE).await.within(LEASE, "the leader killed with -9: each process");
    figure("the leader killed with -9: until all are served, from its death", &killed.elapsed());
    assert_eq!(fleet.tokens(APP), 2, "the call that died, and one more");
    fleet.agree_on_a_living(APP).await;
}

/// The leader stands still from its call to WeChat on until the others have replaced it; WeChat grants its token after `granted_after`.
async fn a_leader_stands_still(granted_after: Duration, what: &str) {
    let redis = RedisServer::start();
    let fleet = newcomers(&redis).await;
    fleet.sandbox.fault(Fault::delay(granted_after).on(TOKEN).times(1));
    let leader = fleet.ask_aside(0, APP);
    wechat_is_asked(&fleet, 1).await;
    fleet.process(0).signal("STOP");
    let stopped = Instant::now();
    for member in 1..PROCESSES {
        eventually("a token from another", async || fleet.ask(member, APP).await.is_good()).await;
    }
    figure(&format!("{what}: until the others are served"), &stopped.elapsed());
    // Theirs and the leader's, in whichever order.
    let theirs = fleet.token(1, APP).await;
    eventually("both grants", async || {
        stopped.elapsed() > granted_after
            && (granted_after < LEASE || fleet.sandbox.current_token(APP).is_none_or(|it| it != theirs))
    })
    .await;
    fleet.process(0).signal("CONT");
    let answer = leader.await.expect("our own task");
    assert!(answer.is_good() || AFTERWARDS.contains(&(answer.status, answer.code.as_str())), "{answer:?}");
    fleet.healing(APP, &AFTERWARDS).await.within(Duration::from_secs(2), &format!("{what}: once the leader goes on"));
    assert!(fleet.tokens(APP) <= 3, "the leader's, the other's, and perhaps one to tell which was the last");
    eventually("agreement", async || fleet.ask(0, APP).await.value == fleet.ask(1, APP).await.value).await;
    eventually("agreement", async || fleet.ask(0, APP).await.value == fleet.ask(2, APP).await.value).await;
    fleet.agree_on_a_living(APP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stands_still_beyond_its_lease_writes_over_nothing() {
    a_leader_stands_still(Duration::from_millis(500), "the leader stopped beyond its lease").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the keeper does not doubt a value that was fetched while another process's call to WeChat was still open"]
async fn a_leader_that_stands_still_while_wechat_grants_its_token_last_leaves_no_dead_token_behind() {
    a_leader_stands_still(Duration::from_millis(6500), "the leader stopped, and granted last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_arrives_after_the_lease_changes_nothing() {
    let redis = RedisServer::start();
    let links = Link::three_to(redis.port()).await;
    let caches = links.each_ref().map(|link| json!({ "redis": format!("redis://127.0.0.1:{}", link.port()) }));
    let fleet = Fleet::unasked(caches).await;
    fleet.sandbox.fault(Fault::delay(Duration::from_millis(500)).on(TOKEN).times(1));
    let leader = fleet.ask_aside(0, APP);
    wechat_is_asked(&fleet, 1).await;
    links[0].set(Mood::Delay(LEASE + Duration::from_secs(2)));
    let granted = leader.await.expect("our own task");
    assert!(granted.is_good(), "it has its token, and only the store does not know: {granted:?}");
    for member in 1..PROCESSES {
        eventually("a token from another", async || fleet.ask(member, APP).await.is_good()).await;
    }
    let theirs = fleet.token(1, APP).await;
    assert_ne!(Some(&theirs), granted.value.as_ref());
    links[0].set(Mood::Pass);
    // What is late stays late.
    links[0].arrived().await;
    assert_eq!(redis.cli(&["GET", &format!("{APP}.token")]), format!("\"{theirs}\""), "the late write was refused");
    fleet
        .convergence(APP, &theirs)
        .await
        .within(Duration::from_secs(5), "a leader whose write came late: until it has the other's value");
    assert_eq!(fleet.tokens(APP), 2);
    fleet.agree_on_a_living(APP).await;
}
