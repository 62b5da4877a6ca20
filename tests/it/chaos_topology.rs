//! Chaos tests: three processes on a Redis with a spare server (sentinels, or a cluster with and
//! without a replica), and the server with the credential dies. The measurements are in
//! docs/failures.md.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::app::APP;
use crate::support::fleet::{Fleet, PROCESSES, cold, figure};
use crate::support::redis::{RedisCluster, RedisServer};

const STORE_DOWN: [(u16, &str); 1] = [(503, "store_unavailable")];

/// Sentinels and nodes declare a silent server dead within a second and elect its successor within
/// a few more.
const SUCCESSION: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_failover_costs_no_answer_and_no_call() {
    let mut master = RedisServer::start();
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    replica.await_answer(&["INFO", "replication"], "master_link_status:up");
    let sentinel = RedisServer::sentinel_of(master.port());
    sentinel.await_answer(
        &["SENTINEL", "REPLICAS", "mymaster"],
        &replica.port().to_string(),
    );
    let fleet = Fleet::on(
        json!({ "redis": format!("redis-sentinel://127.0.0.1:{}/mymaster", sentinel.port()) }),
    )
    .await;
    let held = fleet.token(0, APP).await;
    replica.await_answer(&["GET", &format!("{APP}.token")], &held);
    let load = fleet.load();
    load.more(9).await;
    master.kill();
    let killed = Instant::now();
    for member in 0..PROCESSES {
        fleet
            .ask(member, &cold(0))
            .await
            .is_refused_for_the_store(Duration::from_secs(1));
    }
    fleet
        .healing(&cold(0), &STORE_DOWN)
        .await
        .within(SUCCESSION, "a sentinel's failover: a cold account");
    figure(
        "a sentinel's failover, from the master's death",
        &killed.elapsed(),
    );
    load.more(15).await;
    figure(
        "a sentinel's failover: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!((fleet.tokens(APP), fleet.tokens(&cold(0))), (1, 1));
    assert_eq!(
        replica.cli(&["GET", &format!("{APP}.token")]),
        format!("\"{held}\"")
    );
    fleet.agree_on_a_living(APP).await;
}

/// The first unused account whose credential is on this node.
fn cold_at(cluster: &RedisCluster, node: usize) -> String {
    let found = (0..40)
        .map(cold)
        .find(|app| cluster.owner(&format!("{app}.token")) == node);
    found.expect("forty accounts are spread over three nodes")
}

/// The first unused account whose credential is on another node.
fn cold_elsewhere(cluster: &RedisCluster, node: usize) -> String {
    let found = (0..40)
        .map(cold)
        .find(|app| cluster.owner(&format!("{app}.token")) != node);
    found.expect("forty accounts are spread over three nodes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_node_serves_the_other_nodes_keys() {
    let mut cluster = RedisCluster::start();
    let fleet = Fleet::on(json!({ "redis": cluster.url() })).await;
    let owner = cluster.owner(&format!("{APP}.token"));
    let (here, there) = (cold_at(&cluster, owner), cold_elsewhere(&cluster, owner));
    let load = fleet.load();
    cluster.nodes[owner].kill();
    for member in 0..PROCESSES {
        fleet
            .ask(member, &here)
            .await
            .is_refused_for_the_store(Duration::from_secs(1));
    }
    fleet.healing(&there, &STORE_DOWN).await.within(
        Duration::from_secs(2),
        "a cluster's node dead: an account at another node",
    );
    load.more(30).await;
    cluster.nodes[owner].restart();
    fleet.healing(&here, &STORE_DOWN).await.within(
        SUCCESSION,
        "a cluster's node dead, and started again: a cold account at it",
    );
    figure(
        "a cluster's node dead: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!(
        (fleet.tokens(APP), fleet.tokens(&here), fleet.tokens(&there)),
        (1, 1, 1)
    );
    fleet.agree_on_a_living(APP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_replica_takes_over_loses_nothing() {
    let mut cluster = RedisCluster::start();
    let owner = cluster.owner(&format!("{APP}.token"));
    let here = cold_at(&cluster, owner);
    let _replica = cluster.add_replica_of(owner);
    let fleet = Fleet::on(json!({ "redis": cluster.url() })).await;
    let load = fleet.load();
    load.more(9).await;
    cluster.nodes[owner].kill();
    let killed = Instant::now();
    fleet
        .ask(0, &here)
        .await
        .is_refused_for_the_store(Duration::from_secs(1));
    fleet
        .healing(&here, &STORE_DOWN)
        .await
        .within(SUCCESSION, "a cluster's replica takes over: a cold account");
    figure(
        "a cluster's replica takes over, from the node's death",
        &killed.elapsed(),
    );
    load.more(15).await;
    figure(
        "a cluster's replica takes over: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!(fleet.tokens(APP), 1);
    // The first process to fetch may find no master when it writes; then the next one fetches
    // another token, and if the two crossed, a third one settles it.
    assert!(
        (1..=3).contains(&fleet.tokens(&here)),
        "{}",
        fleet.tokens(&here)
    );
    fleet.agree_on_a_living(APP).await;
    fleet.agree_on_a_living(&here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_cluster_node_stops_only_its_own_accounts() {
    let mut cluster = RedisCluster::start();
    let fleet = Fleet::on(json!({ "redis": cluster.url() })).await;
    let dead = cluster.owner(&format!("{APP}.token"));
    let elsewhere: Vec<_> = (0..40)
        .map(cold)
        .filter(|app| cluster.owner(&format!("{app}.token")) != dead)
        .collect();
    let first = cold_elsewhere(&cluster, dead);
    cluster.nodes[dead].kill();
    // After all processes have noticed.
    fleet.healing(&first, &STORE_DOWN).await;
    let mut refused = Vec::new();
    for app in &elsewhere {
        let answer = fleet.ask(0, app).await;
        if !answer.is_good() {
            refused.push((app, answer.status, answer.code));
        }
    }
    assert!(
        refused.is_empty(),
        "{} of {} accounts at living nodes: {refused:?}",
        refused.len(),
        elsewhere.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_cluster_node_stops_no_rotation_elsewhere() {
    let mut cluster = RedisCluster::start();
    let fleet = Fleet::on(json!({ "redis": cluster.url() })).await;
    let dead = cluster.owner(&format!("{APP}.token"));
    let mut held = Vec::new();
    for app in (0..24)
        .map(cold)
        .filter(|app| cluster.owner(&format!("{app}.token")) != dead)
    {
        held.push((fleet.token(0, &app).await, app));
    }
    let first = cold_elsewhere(&cluster, dead);
    cluster.nodes[dead].kill();
    // After all processes have noticed.
    fleet.healing(&first, &STORE_DOWN).await;
    let mut refused = Vec::new();
    for (token, app) in &held {
        let answer = fleet.rotate(0, app, token).await;
        if !answer.is_good() || answer.value.as_ref() == Some(token) {
            refused.push((app, answer.status, answer.code));
        }
    }
    assert!(
        refused.is_empty(),
        "{} of {} rotations at living nodes: {refused:?}",
        refused.len(),
        held.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_cluster_node_is_logged_once() {
    let mut cluster = RedisCluster::start();
    let fleet = Fleet::on(json!({ "redis": cluster.url() })).await;
    let dead = cluster.owner(&format!("{APP}.token"));
    let (here, there) = (cold_at(&cluster, dead), cold_elsewhere(&cluster, dead));
    fleet.token(0, &there).await;
    cluster.nodes[dead].kill();
    // The first query of a process comes while it notices; cached copies are read again after half
    // a second.
    let load = fleet.load();
    for _ in 0..4 {
        fleet
            .ask(0, &here)
            .await
            .is_refused_for_the_store(Duration::from_secs(1));
        load.more(30).await;
        fleet.token(0, &there).await;
    }
    load.stop().await.all_good();
    let log = fleet.process(0).log();
    let told = |message: &str| {
        log.iter()
            .filter(|line| {
                line["message"]
                    .as_str()
                    .is_some_and(|said| said.contains(message))
            })
            .count()
    };
    assert_eq!(
        (
            told("the store fails"),
            told("the store answers again"),
            told("redis is")
        ),
        (1, 0, 0),
        "{log:#?}"
    );
    let first = log.iter().find(|line| {
        line["message"]
            .as_str()
            .is_some_and(|said| said.contains("the store fails"))
    });
    let cause = first.expect("it was told")["error"].to_string();
    assert!(
        cause.contains("a node of the redis cluster") && cause.contains("a part of the keys"),
        "{cause}"
    );
}
