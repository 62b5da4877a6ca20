//! The contract of all stores, as one test suite for all backends.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use credentials::store::{
    Acquired, Backoff, Committed, Lease, NewCredential, Payment, Record, Store, StoreConfig,
    StoredApp, open, redis,
};
use secrecy::{ExposeSecret, SecretString};

use crate::support::redis::{RedisCluster, RedisServer};

/// A record with this value that expires `left` from now.
pub(crate) fn record(value: &str, left: Duration) -> Record {
    Record {
        value: SecretString::from(value),
        expires_at: Clock::system().wall().plus(left),
    }
}

/// The value found, without its expiry.
pub(crate) fn value(found: Option<Record>) -> Option<String> {
    found.map(|record| record.value.expose_secret().to_owned())
}

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(300);

/// `shared`: other processes may use the same records, so leases exclude each other.
pub(crate) async fn keeps_the_contract(store: Arc<dyn Store>, shared: bool) {
    assert_eq!(store.is_shared(), shared);
    keeps_records(&*store).await;
    forgets_what_has_ended(&*store).await;
    replaces_only_what_was_seen(&store).await;
    commits_only_over_a_lower_generation(&store).await;
    keeps_a_backoff(&*store).await;
    hands_out_once(&store).await;
    grants_leases(&*store, shared).await;
    counts_permits(&store).await;
    keeps_apps(&*store).await;
    store.close().await.expect("closing is no fault");
}

async fn keeps_records(store: &dyn Store) {
    assert_eq!(
        value(store.get("wx1.token").await.unwrap()),
        None,
        "a miss is no error"
    );
    for text in [
        "abc",
        "",
        "with \"quotes\", \\ and \n \u{1}\u{7f}",
        "微信 \u{2028} 🙂",
    ] {
        store.put("wx1.token", &record(text, HOUR)).await.unwrap();
        assert_eq!(
            value(store.get("wx1.token").await.unwrap()).as_deref(),
            Some(text),
            "the last value written is there"
        );
    }
    let long = "x".repeat(100_000);
    store.put("wx1.long", &record(&long, HOUR)).await.unwrap();
    assert_eq!(value(store.get("wx1.long").await.unwrap()), Some(long));

    let put = record("timed", Duration::from_millis(7_199_500));
    store.put("wx1.ticket", &put).await.unwrap();
    let got = store
        .get("wx1.ticket")
        .await
        .unwrap()
        .expect("it was written");
    // Redis stores the time left, not the expiry, so a few milliseconds are allowed.
    assert!(
        got.expires_at.0 <= put.expires_at.0 + 100,
        "no store lengthens a life"
    );
    assert!(
        got.expires_at.0 + 1_100 >= put.expires_at.0,
        "a store keeps whole seconds of it"
    );
}

async fn forgets_what_has_ended(store: &dyn Store) {
    store
        .put("wx1.short", &record("short", SHORT))
        .await
        .unwrap();
    assert_eq!(
        value(store.get("wx1.short").await.unwrap()).as_deref(),
        Some("short")
    );
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(value(store.get("wx1.short").await.unwrap()), None);
    assert_eq!(value(store.take("wx1.short").await.unwrap()), None);

    store
        .put("wx1.ended", &record("fresh", HOUR))
        .await
        .unwrap();
    store
        .put("wx1.ended", &record("ended", Duration::ZERO))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        value(store.get("wx1.ended").await.unwrap()),
        None,
        "a write replaces, also with what has ended"
    );
}

/// Whether `owner` has the lease on `key` now.
pub(crate) async fn has_lease(store: &dyn Store, key: &str, owner: &str) -> bool {
    store
        .acquire(key, owner, HOUR, 0)
        .await
        .unwrap()
        .lease
        .is_some()
}

/// Releases the lease of `owner`, if it has it.
pub(crate) async fn release(store: &dyn Store, key: &str, owner: &str) {
    if let Some(lease) = store.acquire(key, owner, HOUR, 0).await.unwrap().lease {
        store.release(&lease, None).await.unwrap();
    }
}

/// Writes a credential as a renewal does. The lease is kept.
pub(crate) async fn renews(store: &dyn Store, key: &str, value: &str) -> bool {
    match store.acquire(key, "writer", HOUR, 0).await.unwrap().lease {
        Some(lease) => commit(store, &lease, value, HOUR).await,
        None => false,
    }
}

/// Acquires the lease on `key`; the current credential comes with it.
async fn acquire(store: &dyn Store, key: &str, owner: &str, ttl: Duration) -> Acquired {
    store.acquire(key, owner, ttl, 0).await.unwrap()
}

async fn commit(store: &dyn Store, lease: &Lease, value: &str, left: Duration) -> bool {
    let value = SecretString::from(value);
    let ends = Clock::system().steady().plus(left);
    let new = NewCredential {
        value: &value,
        ends,
        generation: lease.generation,
        lifetime: left,
    };
    matches!(store.commit(lease, new).await.unwrap(), Committed::Stored)
}

async fn restore(store: &dyn Store, key: &str, value: &str, generation: u64) -> bool {
    let value = SecretString::from(value);
    let new = NewCredential {
        value: &value,
        ends: Clock::system().steady().plus(HOUR),
        generation,
        lifetime: HOUR,
    };
    matches!(store.restore(key, new).await.unwrap(), Committed::Stored)
}

async fn loaded(store: &dyn Store, key: &str) -> Option<(String, u64, bool)> {
    let found = store.load(key).await.unwrap()?;
    Some((
        found.value.expose_secret().to_owned(),
        found.version.generation,
        found.version.is_foreign,
    ))
}

async fn commits_only_over_a_lower_generation(store: &Arc<dyn Store>) {
    // A record of ours and, in a database, a row of wetoken's.
    for key in ["wx1.card_ticket", "wx6.token"] {
        assert!(loaded(&**store, key).await.is_none());
        let first = acquire(&**store, key, "a", HOUR)
            .await
            .lease
            .expect("it is free");
        assert!(commit(&**store, &first, "v1", HOUR).await);
        assert!(
            commit(&**store, &first, "v1", HOUR).await,
            "a write whose answer was lost is repeated"
        );
        store.release(&first, None).await.unwrap();
        assert_eq!(
            loaded(&**store, key).await,
            Some(("v1".to_owned(), first.generation, false))
        );
        let found = store.load(key).await.unwrap().expect("it is there");
        assert_eq!(found.lifetime, Some(HOUR));

        let second = store
            .acquire(key, "b", HOUR, first.generation + 50)
            .await
            .unwrap()
            .lease
            .expect("it is free");
        assert!(
            second.generation > first.generation + 50,
            "at least what the caller has seen"
        );
        assert!(commit(&**store, &second, "v2", HOUR).await);
        store.release(&second, None).await.unwrap();
        assert!(
            !commit(&**store, &first, "late", HOUR).await,
            "a holder that was held up writes over nothing"
        );
        assert!(
            !restore(&**store, key, "v1", first.generation).await,
            "nor does a write-back"
        );
        assert_eq!(
            value(store.get(key).await.unwrap()).as_deref(),
            Some("v2"),
            "the original reads the plain value"
        );

        // A program without generations.
        let third = acquire(&**store, key, "a", HOUR)
            .await
            .lease
            .expect("it is free");
        store.put(key, &record("foreign", HOUR)).await.unwrap();
        assert_eq!(
            loaded(&**store, key).await,
            Some(("foreign".to_owned(), second.generation, true))
        );
        assert!(
            !commit(&**store, &third, "v3", HOUR).await,
            "it came there after the lease was granted"
        );
        assert!(
            !restore(&**store, key, "v3", third.generation).await,
            "no write-back over a foreign value"
        );
        store.release(&third, None).await.unwrap();
        let fourth = acquire(&**store, key, "a", HOUR)
            .await
            .lease
            .expect("it is free");
        assert!(
            commit(&**store, &fourth, "v4", HOUR).await,
            "a renewal replaces what it has seen"
        );
        store.release(&fourth, None).await.unwrap();

        // A value that the store lost is written back.
        assert!(store.take(key).await.unwrap().is_some());
        assert!(loaded(&**store, key).await.is_none());
        assert!(restore(&**store, key, "v4", fourth.generation).await);
        assert_eq!(
            loaded(&**store, key).await,
            Some(("v4".to_owned(), fourth.generation, false))
        );
        assert!(store.take(key).await.unwrap().is_some());
        let brief = acquire(&**store, key, "a", HOUR)
            .await
            .lease
            .expect("it is free");
        assert!(commit(&**store, &brief, "v5", SHORT * 4).await);
        store.release(&brief, None).await.unwrap();
        tokio::time::sleep(SHORT * 5).await;
        assert!(
            loaded(&**store, key).await.is_none(),
            "what has expired is gone"
        );
    }
}

async fn keeps_a_backoff(store: &dyn Store) {
    let lease = acquire(store, "wx5.token", "a", HOUR)
        .await
        .lease
        .expect("it is free");
    let backoff = Backoff {
        left: HOUR,
        attempts: 3,
        cause: "busy".to_owned(),
    };
    store.release(&lease, Some(&backoff)).await.unwrap();
    let acquired = acquire(store, "wx5.token", "b", HOUR).await;
    let kept = acquired.backoff.expect("all instances keep it");
    assert!(
        (kept.attempts, kept.cause.as_str()) == (3, "busy")
            && kept.left <= HOUR + SHORT
            && kept.left > HOUR / 2
    );
    let lease = acquired.lease.expect("it was released");
    assert!(commit(store, &lease, "v", HOUR).await);
    store.release(&lease, None).await.unwrap();
    let after = acquire(store, "wx5.token", "c", HOUR).await;
    assert_eq!(after.backoff, None, "a success ends it");
    store
        .release(&after.lease.expect("it is free"), None)
        .await
        .unwrap();
}

async fn replaces_only_what_was_seen(store: &Arc<dyn Store>) {
    // A record of ours and, in a database, a row of wetoken's.
    for key in ["wx1.seen", "wx3.token"] {
        let replace = async |before: Option<&str>, new, left| {
            store
                .replace(
                    key,
                    before.map(SecretString::from).as_ref(),
                    &record(new, left),
                )
                .await
                .unwrap()
        };
        let now = async || value(store.get(key).await.unwrap());
        assert!(replace(None, "a", HOUR).await, "nothing is there");
        assert!(
            !replace(None, "b", HOUR).await,
            "who saw nothing writes over nothing"
        );
        assert!(
            !replace(Some("z"), "b", HOUR).await,
            "nor who saw something else"
        );
        assert_eq!(now().await.as_deref(), Some("a"));
        assert!(replace(Some("a"), "b", HOUR).await);
        assert!(
            replace(Some("a"), "b", HOUR).await,
            "a write whose answer was lost is repeated"
        );
        assert_eq!(now().await.as_deref(), Some("b"));
        assert!(store.take(key).await.unwrap().is_some());
        assert!(
            replace(Some("b"), "c", SHORT * 4).await,
            "what is gone is in nobody's way"
        );
        tokio::time::sleep(SHORT * 5).await;
        assert!(replace(Some("x"), "d", HOUR).await, "nor what has ended");
        let rivals = (0..20).map(|number| {
            let store = Arc::clone(store);
            let new = record(&format!("r{number}"), HOUR);
            tokio::spawn(async move {
                store
                    .replace(key, Some(&SecretString::from("d")), &new)
                    .await
                    .unwrap()
            })
        });
        let mut written = 0;
        for rival in rivals.collect::<Vec<_>>() {
            written += u32::from(rival.await.unwrap());
        }
        assert_eq!(written, 1, "of many who saw the same, one writes");
    }
}

async fn hands_out_once(store: &Arc<dyn Store>) {
    assert_eq!(value(store.take("wx1.absent").await.unwrap()), None);
    store.put("wx1.once", &record("once", HOUR)).await.unwrap();
    let takers = (0..50).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { value(store.take("wx1.once").await.unwrap()) })
    });
    let mut taken = Vec::new();
    for taker in takers.collect::<Vec<_>>() {
        taken.extend(taker.await.unwrap());
    }
    assert_eq!(taken, ["once"], "of many takers one gets the record");
    assert_eq!(value(store.get("wx1.once").await.unwrap()), None);
}

async fn grants_leases(store: &dyn Store, shared: bool) {
    let lease = async |owner: &str, ttl| acquire(store, "wx1.token", owner, ttl).await.lease;
    let first = lease("a", HOUR).await.expect("it is free");
    let again = lease("a", HOUR)
        .await
        .expect("an owner that asks again still has it");
    assert!(again.generation >= first.generation);
    assert_eq!(
        lease("b", HOUR).await.is_some(),
        !shared,
        "a lease is exclusive where others could write"
    );
    let mut stranger = first.clone();
    stranger.owner = "b".to_owned();
    store.release(&stranger, None).await.unwrap();
    assert_eq!(
        lease("b", HOUR).await.is_some(),
        !shared,
        "only the owner releases"
    );
    store.release(&first, None).await.unwrap();
    assert!(
        lease("b", SHORT).await.is_some(),
        "what was released is free"
    );
    assert!(
        acquire(store, "wx2.token", "a", HOUR).await.lease.is_some(),
        "another key is another lease"
    );
    tokio::time::sleep(SHORT * 2).await;
    let third = lease("c", HOUR).await.expect("a lease ends with its time");
    assert!(
        third.generation > first.generation,
        "a later lease has a higher number"
    );
    store.release(&stranger, None).await.unwrap();
    assert_eq!(
        lease("d", HOUR).await.is_some(),
        !shared,
        "a former owner releases nothing"
    );
    // As after a server's clock was set back: a short lease does not last for an hour.
    assert_eq!(lease("e", SHORT).await.is_some(), !shared);
    tokio::time::sleep(SHORT * 2).await;
    assert!(
        lease("e", SHORT).await.is_some(),
        "a lease that ends much later than others ends with theirs"
    );
}

async fn counts_permits(store: &Arc<dyn Store>) {
    let spenders = (0..20).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.take_permit("wx1.rotate", 3, HOUR).await.unwrap() })
    });
    let mut granted = 0;
    for spender in spenders.collect::<Vec<_>>() {
        granted += u32::from(spender.await.unwrap());
    }
    assert_eq!(granted, 3, "no more than the limit, however many ask");
    assert!(!store.take_permit("wx1.none", 0, HOUR).await.unwrap());

    store.return_permit("wx1.rotate").await.unwrap();
    assert!(
        store.take_permit("wx1.rotate", 3, HOUR).await.unwrap(),
        "what was given back is taken again"
    );
    assert!(!store.take_permit("wx1.rotate", 3, HOUR).await.unwrap());
    for _ in 0..2 {
        store.return_permit("wx3.rotate").await.unwrap();
    }
    assert!(store.take_permit("wx3.rotate", 1, HOUR).await.unwrap());
    assert!(
        !store.take_permit("wx3.rotate", 1, HOUR).await.unwrap(),
        "what was never taken cannot be given back"
    );

    // The window starts with the permit that was used, not with the one that was returned.
    assert!(store.take_permit("wx4.rotate", 1, SHORT).await.unwrap());
    tokio::time::sleep(SHORT / 2).await;
    store.return_permit("wx4.rotate").await.unwrap();
    assert!(store.take_permit("wx4.rotate", 1, HOUR).await.unwrap());
    tokio::time::sleep(SHORT).await;
    assert!(!store.take_permit("wx4.rotate", 1, HOUR).await.unwrap());

    assert!(store.take_permit("wx2.rotate", 1, SHORT).await.unwrap());
    assert!(!store.take_permit("wx2.rotate", 1, SHORT).await.unwrap());
    tokio::time::sleep(SHORT * 2).await;
    assert!(
        store.take_permit("wx2.rotate", 1, SHORT).await.unwrap(),
        "permits come back when the window ends"
    );
}

async fn keeps_apps(store: &dyn Store) {
    assert!(store.apps().await.unwrap().is_empty());
    store.put_app(&app("wx2", "second", None)).await.unwrap();
    store
        .put_app(&app("wx1", "first", Some("微信 \"t\"")))
        .await
        .unwrap();
    assert_eq!(
        shown(store).await,
        ["wx1 first 微信 \"t\"", "wx2 second -"],
        "by appid, whole"
    );
    store.put_app(&app("wx1", "again", None)).await.unwrap();
    assert_eq!(
        shown(store).await,
        ["wx1 again -", "wx2 second -"],
        "a write replaces all of an app"
    );
    store
        .put("wx1.token", &record("beside", HOUR))
        .await
        .unwrap();
    assert_eq!(
        store.apps().await.unwrap().len(),
        2,
        "records and apps do not mix"
    );
    if let Some(users) = store.users() {
        assert_eq!(users.find_user("wx1", "nobody").await.unwrap(), None);
    }

    let found = async |app_id: &str| {
        store
            .find_app(app_id)
            .await
            .unwrap()
            .map(|app| app.secret.expose_secret().to_owned())
    };
    assert_eq!(
        (
            found("wx2").await.as_deref(),
            found("wx3").await,
            found("WX2").await
        ),
        (Some("second"), None, None)
    );
    let mut paid = app("wx3", "third", None);
    paid.payment = Payment {
        mchid: Some("1900000109".to_owned()),
        pay_key: Some("pay-key".into()),
        sub_appid: Some("wx-sub".to_owned()),
        sub_mchid: None,
    };
    store.put_app(&paid).await.unwrap();
    let Payment {
        mchid,
        pay_key,
        sub_appid,
        sub_mchid,
    } = store
        .find_app("wx3")
        .await
        .unwrap()
        .expect("it was written")
        .payment;
    assert_eq!(
        (mchid.as_deref(), sub_appid.as_deref(), sub_mchid),
        (Some("1900000109"), Some("wx-sub"), None)
    );
    assert_eq!(
        pay_key.as_ref().map(|key| key.expose_secret()),
        Some("pay-key")
    );
}

/// An app with all optional fields or none.
pub(crate) fn app(app_id: &str, secret: &str, more: Option<&str>) -> StoredApp {
    let (token, aes_key) = (more.map(Into::into), more.map(Into::into));
    StoredApp {
        app_id: app_id.to_owned(),
        secret: secret.into(),
        token,
        aes_key,
        template_id: more.map(Into::into),
        payment: Payment::default(),
    }
}

async fn shown(store: &dyn Store) -> Vec<String> {
    let apps = store.apps().await.unwrap().into_iter().map(|app| {
        let more = [app.token, app.aes_key]
            .map(|secret| secret.map(|secret| secret.expose_secret().to_owned()));
        let [token, aes_key] = more;
        assert!(
            token == aes_key && token == app.template_id,
            "{token:?} {aes_key:?} {:?}",
            app.template_id
        );
        format!(
            "{} {} {}",
            app.app_id,
            app.secret.expose_secret(),
            token.as_deref().unwrap_or("-")
        )
    });
    apps.collect()
}

async fn opened(config: StoreConfig) -> Arc<dyn Store> {
    open(&config, &Clock::system())
        .await
        .expect("the configuration is sound")
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    keeps_the_contract(opened(StoreConfig::Memory(Default::default())).await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    let server = RedisServer::start();
    keeps_the_contract(
        opened(StoreConfig::Redis(redis::from_url(&server.url()).unwrap())).await,
        true,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_cluster_keeps_the_contract() {
    let cluster = RedisCluster::start();
    keeps_the_contract(
        opened(StoreConfig::Redis(redis::from_url(&cluster.url()).unwrap())).await,
        true,
    )
    .await;
}
