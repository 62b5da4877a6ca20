//! Chaos tests: three processes share a real MariaDB that dies, that one of them cannot reach, or
//! whose rows another session has locked. The measurements are in docs/failures.md.

use std::time::Duration;

use serde_json::{Value, json};

use crate::sql_store::install;
use crate::support::app::APP;
use crate::support::databases::{self, DatabaseServer};
use crate::support::faulty_link::{Link, LinkState};
use crate::support::fleet::{Fleet, PROCESSES, cold, figure};

const STORE_DOWN: [(u16, &str); 1] = [(503, "store_unavailable")];

/// The timeout of these processes for one database call.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// The maximum age of a cached copy.
const NEAR: Duration = Duration::from_secs(1);

fn cache(url: &str) -> Value {
    json!({ "sql": format!("{url}?timeout=1s") })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_mariadb_serves_cached_values_and_refuses_others() {
    let Some(mut server) = DatabaseServer::mariadb() else {
        return;
    };
    let url = server.database().url();
    install(&url).await;
    let fleet = Fleet::on(cache(&url)).await;
    let load = fleet.load();
    load.more(9).await;
    server.kill();
    for member in 0..PROCESSES {
        fleet
            .ask(member, &cold(0))
            .await
            .is_refused_for_the_store(Duration::ZERO);
    }
    load.more(30).await;
    server.restart();
    fleet.healing(&cold(0), &STORE_DOWN).await.within(
        NEAR,
        "mariadb killed with -9 and started again: a cold account",
    );
    load.more(15).await;
    figure(
        "mariadb killed with -9: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!((fleet.tokens(APP), fleet.tokens(&cold(0))), (1, 1));
    fleet.agree_on_a_living(APP).await;
}

/// One process loses the database in this way.
async fn one_loses_mariadb(mood: LinkState, in_the_middle: Duration, what: &str) {
    let Some(database) = databases::mariadb() else {
        return;
    };
    let url = database.url();
    install(&url).await;
    let port = url::Url::parse(&url)
        .expect("an address")
        .port()
        .expect("a port");
    let links = Link::three_to(port).await;
    let fleet = Fleet::over(
        links
            .each_ref()
            .map(|link| cache(&url.replace(&format!(":{port}/"), &format!(":{}/", link.port())))),
    )
    .await;
    let before = fleet.token(0, APP).await;
    let load = fleet.load();
    load.more(9).await;
    links[2].set(mood);
    fleet
        .ask(2, &cold(0))
        .await
        .is_refused_for_the_store(in_the_middle);
    assert_eq!(
        fleet.tokens(&cold(0)),
        0,
        "without the lease WeChat is not asked"
    );
    fleet.token(0, &cold(0)).await;
    let after = fleet.rotate(1, APP, &before).await.value.expect("a value");
    load.more(30).await;
    assert_eq!(
        (fleet.token(2, APP).await, &fleet.token(0, APP).await),
        (before, &after),
        "who is cut off cannot know better"
    );
    links[2].set(LinkState::Pass);
    fleet.convergence(APP, &after).await.within(
        NEAR + 3 * in_the_middle,
        &format!("{what}: until it has what the others renewed"),
    );
    fleet
        .healing(&cold(1), &STORE_DOWN)
        .await
        .within(NEAR, &format!("{what}: a cold account"));
    figure(
        &format!("{what}: answers under load, the slowest"),
        &load.stop().await.all_good(),
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
async fn a_process_cut_off_from_mariadb_recovers() {
    one_loses_mariadb(
        LinkState::Cut,
        Duration::ZERO,
        "one process cut off from mariadb",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_mariadb_vanished_silently_recovers() {
    one_loses_mariadb(
        LinkState::HalfOpen,
        STORE_TIMEOUT,
        "one process with a half-open mariadb",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_delays_a_write_and_no_answer() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    let url = database.url();
    install(&url).await;
    let fleet = Fleet::on(cache(&url)).await;
    let before = fleet.token(0, APP).await;
    let load = fleet.load();
    load.more(9).await;
    let lock = database.session(&format!(
        "BEGIN; SELECT 1 FROM wechat_access_token WHERE appid = '{APP}' FOR UPDATE;"
    ));
    let rotated = fleet.rotate(0, APP, &before).await;
    figure(
        "mariadb's row locked: the rotation that cannot be written",
        &rotated.took,
    );
    let after = rotated
        .value
        .clone()
        .filter(|after| rotated.is_good() && *after != before)
        .unwrap_or_else(|| panic!("{rotated:?}"));
    load.more(30).await;
    assert_eq!(
        (fleet.token(0, APP).await, fleet.token(1, APP).await),
        (after.clone(), before),
        "the row can be read as it was"
    );
    fleet.token(1, &cold(0)).await;
    drop(lock);
    fleet.convergence(APP, &after).await.within(
        3 * NEAR,
        "mariadb's row unlocked: until all have what was renewed",
    );
    figure(
        "mariadb's row locked: answers under load, the slowest",
        &load.stop().await.all_good(),
    );
    assert_eq!((fleet.tokens(APP), fleet.tokens(&cold(0))), (2, 1));
    fleet.agree_on_a_living(APP).await;
}
