//! Notices by PostgreSQL's `NOTIFY`: instances see each other's writes sooner than by polling.
//! Other databases have none.

use std::time::{Duration, Instant};

use clock::Clock;
use credentials::store::Changed;
use tokio::time::timeout;
use wechat::account::TokenApi;

use crate::redis_news::{BY_ITSELF, hears};
use crate::sql_store::{bare, installed, sqlite};
use crate::store_contract::{has_lease, record, release, renews};
use crate::support::databases::{self, DatabaseServer};
use crate::support::keepers::{World, eventually};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn only_changes_of_others_are_notified() {
    let Some(database) = databases::postgres() else {
        return;
    };
    let (one, other) = (
        installed(&database.url()).await,
        bare(&database.url()).await,
    );
    let mut news = one.changes().expect("postgres tells");
    assert!(hears(&mut news, &*other, "wx1.token").await);
    while news.try_recv().is_ok() {}
    one.put("wx2.token", &record("own", HOUR)).await.unwrap();
    // Anybody who can connect receives notices, and the name of a login gives access to it.
    other
        .put("login.scan.1", &record("secret", HOUR))
        .await
        .unwrap();
    assert!(renews(&*other, "wx3.ticket", "new").await);
    assert!(renews(&*other, "wx3.ticket", "newer").await);
    assert!(renews(&*other, "wx4.card_ticket", "new").await);
    assert!(has_lease(&*other, "wx5.token", "other").await);
    release(&*other, "wx5.token", "other").await;
    other
        .put("wx6.card_ticket", &record("new", HOUR))
        .await
        .unwrap();
    let told = |key: &str| Changed::Key(key.into());
    for expected in [
        told("wx3.ticket"),
        told("wx3.ticket"),
        told("wx4.card_ticket"),
        told("wx5.token"),
        told("wx6.card_ticket"),
    ] {
        assert_eq!(
            timeout(Duration::from_secs(5), news.recv())
                .await
                .unwrap()
                .unwrap(),
            expected
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_resume_after_a_restart() {
    let Some(mut server) = DatabaseServer::postgres() else {
        return;
    };
    let url = server.database().url();
    let (one, other) = (installed(&url).await, bare(&url).await);
    let mut news = one.changes().expect("postgres tells");
    assert!(hears(&mut news, &*other, "wx1.token").await);
    server.kill();
    let missed = async { while !matches!(news.recv().await, Ok(Changed::Unknown)) {} };
    timeout(Duration::from_secs(15), missed)
        .await
        .expect("the gap is told");
    server.restart();
    assert!(hears(&mut news, &*other, "wx1.token").await);
    one.close().await.unwrap();
    let ended = async {
        while news.recv().await != Err(tokio::sync::broadcast::error::RecvError::Closed) {}
    };
    timeout(Duration::from_secs(5), ended)
        .await
        .expect("a closed store tells nothing more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_notified_before_the_next_read() {
    let Some(database) = databases::postgres() else {
        return;
    };
    let world = World::new(Clock::system()).await;
    let (one, other) = (
        installed(&database.url()).await,
        bare(&database.url()).await,
    );
    let (here, there) = (
        world.instance(one, TokenApi::Basic),
        world.instance(other, TokenApi::Basic),
    );
    let mut current = here.token().await.unwrap();
    // The first time the other one may not be subscribed yet.
    for _ in 0..10 {
        database.sql("DELETE FROM jsdkd_record WHERE kind = 'permit'");
        assert_eq!(there.token().await.unwrap(), current);
        current = here.rotate(&current).await.unwrap();
        let rotated = Instant::now();
        eventually("the refused value is gone", async || {
            there.token().await.unwrap() == current
        })
        .await;
        println!(
            "MEASURED a rotation over PostgreSQL is seen elsewhere after {:?}",
            rotated.elapsed()
        );
        if rotated.elapsed() < BY_ITSELF / 2 {
            return;
        }
    }
    panic!("the other one was never told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_notices_offers_none() {
    let (_folder, url) = sqlite();
    assert!(bare(&url).await.changes().is_none());
    if let Some(database) = databases::mariadb() {
        assert!(bare(&database.url()).await.changes().is_none());
    }
}
