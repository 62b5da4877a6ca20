//! Notices over Redis's publish/subscribe: instances see each other's writes sooner than by
//! polling. Everything works without notices too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use credentials::store::{Changed, Store, StoreConfig, open, redis};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;
use wechat::account::TokenApi;

use crate::store_contract::{has_lease, record, release, renews};
use crate::support::keepers::{World, eventually};
use crate::support::redis::{RedisCluster, RedisServer};

const HOUR: Duration = Duration::from_secs(3600);

async fn store(url: &str) -> Arc<dyn Store> {
    open(
        &StoreConfig::Redis(redis::from_url(url).unwrap()),
        &Clock::system(),
    )
    .await
    .unwrap()
}

/// Lets `writer` write `key` until `news` receives a notice; notices before the subscription are
/// lost.
pub(crate) async fn hears(news: &mut Receiver<Changed>, writer: &dyn Store, key: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        writer.put(key, &record("x", HOUR)).await.ok();
        while let Ok(Ok(told)) = timeout(Duration::from_millis(200), news.recv()).await {
            if told == Changed::Key(key.into()) {
                return true;
            }
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn only_writes_of_others_are_notified() {
    let server = RedisServer::start();
    let (one, other) = (store(&server.url()).await, store(&server.url()).await);
    let mut news = one.changes().expect("redis tells");
    assert!(hears(&mut news, &*other, "wx1.token").await);
    while news.try_recv().is_ok() {}
    one.put("wx2.token", &record("own", HOUR)).await.unwrap();
    assert!(has_lease(&*other, "wx3.token", "other").await);
    release(&*other, "wx3.token", "other").await;
    assert_eq!(
        timeout(Duration::from_secs(5), news.recv())
            .await
            .unwrap()
            .unwrap(),
        Changed::Key("wx3.token".into())
    );
    assert!(renews(&*other, "wx4.token", "new").await);
    assert_eq!(
        timeout(Duration::from_secs(5), news.recv())
            .await
            .unwrap()
            .unwrap(),
        Changed::Key("wx4.token".into())
    );
    assert!(renews(&*other, "wx4.token", "newer").await);
    assert_eq!(
        timeout(Duration::from_secs(5), news.recv())
            .await
            .unwrap()
            .unwrap(),
        Changed::Key("wx4.token".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_resume_after_a_restart() {
    let mut server = RedisServer::start();
    let (one, other) = (store(&server.url()).await, store(&server.url()).await);
    let mut news = one.changes().expect("redis tells");
    assert!(hears(&mut news, &*other, "wx1.token").await);
    server.kill();
    let missed = async { while !matches!(news.recv().await, Ok(Changed::Unknown)) {} };
    timeout(Duration::from_secs(15), missed)
        .await
        .expect("the gap is told");
    server.restart();
    assert!(hears(&mut news, &*other, "wx1.token").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_of_a_cluster_sends_notices() {
    let cluster = RedisCluster::start();
    let (one, other) = (store(&cluster.url()).await, store(&cluster.url()).await);
    let mut news = one.changes().expect("redis tells");
    for key in ["wx1.token", "wx2.token", "wx3.token"] {
        assert!(hears(&mut news, &*other, key).await, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_publish_can_still_write() {
    let server = RedisServer::start();
    server.cli(&[
        "ACL",
        "SETUSER",
        "mute",
        "on",
        ">secret",
        "~*",
        "+@all",
        "resetchannels",
    ]);
    server.cli(&[
        "ACL", "SETUSER", "talker", "on", ">secret", "~*", "+@all", "&*",
    ]);
    let url = |user: &str| format!("redis://{user}:secret@127.0.0.1:{}", server.port());
    let (mute, talker) = (store(&url("mute")).await, store(&url("talker")).await);
    let mut news = talker.changes().expect("redis tells");
    let second = store(&url("talker")).await;
    assert!(hears(&mut news, &*second, "wx1.token").await);
    mute.put("wx2.token", &record("kept", HOUR)).await.unwrap();
    assert!(renews(&*mute, "wx3.token", "kept").await);
    assert!(has_lease(&*mute, "wx2.token", "mute").await);
    release(&*mute, "wx2.token", "mute").await;
    assert!(
        talker.get("wx2.token").await.unwrap().is_some()
            && has_lease(&*talker, "wx2.token", "talker").await
    );
    let mut deaf = mute.changes().expect("it tries");
    assert!(!matches!(
        timeout(Duration::from_millis(500), deaf.recv()).await,
        Ok(Ok(Changed::Key(_)))
    ));
}

/// A cached copy is not read again within half a second, so a faster change came by a notice.
pub(crate) const BY_ITSELF: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_replaces_a_refused_value_before_the_next_read() {
    let server = RedisServer::start();
    let world = World::new(Clock::system()).await;
    let (one, other) = (store(&server.url()).await, store(&server.url()).await);
    let (here, there) = (
        world.instance(one, TokenApi::Basic),
        world.instance(other, TokenApi::Basic),
    );
    let mut current = here.token().await.unwrap();
    // The first time the other one may not be subscribed yet.
    for _ in 0..10 {
        for permit in server
            .cli(&["--scan", "--pattern", "jsdkd:spent:*"])
            .lines()
        {
            server.cli(&["DEL", permit]);
        }
        assert_eq!(there.token().await.unwrap(), current);
        current = here.rotate(&current).await.unwrap();
        let rotated = Instant::now();
        eventually("the refused value is gone", async || {
            there.token().await.unwrap() == current
        })
        .await;
        if rotated.elapsed() < BY_ITSELF / 2 {
            return;
        }
    }
    panic!("the other one was never told");
}
