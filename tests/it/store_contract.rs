//! The contract of every store, in one suite that knows no backend.

use std::sync::Arc;
use std::time::Duration;

use jsdkd::clock::Clock;
use jsdkd::store::{Payment, Record, Store, StoreConfig, StoredApp, open, redis};
use secrecy::{ExposeSecret, SecretString};

use crate::support::redis::{RedisCluster, RedisServer};

/// A record of that value which ends `left` from now.
pub(crate) fn record(value: &str, left: Duration) -> Record {
    Record { value: SecretString::from(value), expires_at: Clock::system().wall().plus(left) }
}

/// The value found, without its end.
pub(crate) fn value(found: Option<Record>) -> Option<String> {
    found.map(|record| record.value.expose_secret().to_owned())
}

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(300);

/// `shared`: other processes may use the same records, so that claims mean something.
pub(crate) async fn keeps_the_contract(store: Arc<dyn Store>, shared: bool) {
    assert_eq!(store.is_shared(), shared);
    keeps_records(&*store).await;
    forgets_what_has_ended(&*store).await;
    replaces_only_what_was_seen(&store).await;
    hands_out_once(&store).await;
    grants_claims(&*store, shared).await;
    counts_permits(&store).await;
    keeps_apps(&*store).await;
    store.close().await.expect("closing is no fault");
}

async fn keeps_records(store: &dyn Store) {
    assert_eq!(value(store.get("wx1.token").await.unwrap()), None, "a miss is no error");
    for text in ["abc", "", "with \"quotes\", \\ and \n \u{1}\u{7f}", "微信 \u{2028} 🙂"] {
        store.put("wx1.token", &record(text, HOUR)).await.unwrap();
        assert_eq!(value(store.get("wx1.token").await.unwrap()).as_deref(), Some(text), "the last value written is there");
    }
    let long = "x".repeat(100_000);
    store.put("wx1.long", &record(&long, HOUR)).await.unwrap();
    assert_eq!(value(store.get("wx1.long").await.unwrap()), Some(long));

    let put = record("timed", Duration::from_millis(7_199_500));
    store.put("wx1.ticket", &put).await.unwrap();
    let got = store.get("wx1.ticket").await.unwrap().expect("it was written");
    // Redis counts the time left, not the end, so that a few milliseconds of the way are allowed.
    assert!(got.expires_at.0 <= put.expires_at.0 + 100, "no store lengthens a life");
    assert!(got.expires_at.0 + 1_100 >= put.expires_at.0, "a store keeps whole seconds of it");
}

async fn forgets_what_has_ended(store: &dyn Store) {
    store.put("wx1.short", &record("short", SHORT)).await.unwrap();
    assert_eq!(value(store.get("wx1.short").await.unwrap()).as_deref(), Some("short"));
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(value(store.get("wx1.short").await.unwrap()), None);
    assert_eq!(value(store.take("wx1.short").await.unwrap()), None);

    store.put("wx1.ended", &record("fresh", HOUR)).await.unwrap();
    store.put("wx1.ended", &record("ended", Duration::ZERO)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(value(store.get("wx1.ended").await.unwrap()), None, "a write replaces, also with what has ended");
}

async fn replaces_only_what_was_seen(store: &Arc<dyn Store>) {
    // A record of ours and, in a database, a row of wetoken's.
    for key in ["wx1.seen", "wx3.token"] {
        let replace = async |before: Option<&str>, new, left| {
            store.replace(key, before.map(SecretString::from).as_ref(), &record(new, left)).await.unwrap()
        };
        let now = async || value(store.get(key).await.unwrap());
        assert!(replace(None, "a", HOUR).await, "nothing is there");
        assert!(!replace(None, "b", HOUR).await, "who saw nothing writes over nothing");
        assert!(!replace(Some("z"), "b", HOUR).await, "nor who saw something else");
        assert_eq!(now().await.as_deref(), Some("a"));
        assert!(replace(Some("a"), "b", HOUR).await);
        assert!(replace(Some("a"), "b", HOUR).await, "a write whose answer was lost is repeated");
        assert_eq!(now().await.as_deref(), Some("b"));
        assert!(store.take(key).await.unwrap().is_some());
        assert!(replace(Some("b"), "c", SHORT * 4).await, "what is gone is in nobody's way");
        tokio::time::sleep(SHORT * 5).await;
        assert!(replace(Some("x"), "d", HOUR).await, "nor what has ended");
        let rivals = (0..20).map(|number| {
            let store = Arc::clone(store);
            let new = record(&format!("r{number}"), HOUR);
            tokio::spawn(async move { store.replace(key, Some(&SecretString::from("d")), &new).await.unwrap() })
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

async fn grants_claims(store: &dyn Store, shared: bool) {
    let claim = async |owner: &'static str, ttl| store.claim("wx1.token", owner, ttl).await.unwrap();
    assert!(claim("a", HOUR).await);
    assert!(claim("a", HOUR).await, "an owner who asks again still has it");
    assert_eq!(claim("b", HOUR).await, !shared, "a claim is exclusive where others could write");
    store.release("wx1.token", "b").await.unwrap();
    assert_eq!(claim("b", HOUR).await, !shared, "only the owner releases");
    store.release("wx1.token", "a").await.unwrap();
    assert!(claim("b", SHORT).await, "what was released is free");
    assert!(store.claim("wx2.token", "a", HOUR).await.unwrap(), "another key is another claim");
    tokio::time::sleep(SHORT * 2).await;
    assert!(claim("c", HOUR).await, "a claim ends with its time");
    store.release("wx1.token", "b").await.unwrap();
    assert_eq!(claim("d", HOUR).await, !shared, "a former owner releases nothing");
    // As after a server's clock was set back: nobody waits for an hour for a claim that is made for a moment.
    assert_eq!(claim("e", SHORT).await, !shared);
    tokio::time::sleep(SHORT * 2).await;
    assert!(claim("e", SHORT).await, "a claim that ends much later than those of others ends with theirs");
}

async fn counts_permits(store: &Arc<dyn Store>) {
    let spenders = (0..20).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.spend("wx1.rotate", 3, HOUR).await.unwrap() })
    });
    let mut granted = 0;
    for spender in spenders.collect::<Vec<_>>() {
        granted += u32::from(spender.await.unwrap());
    }
    assert_eq!(granted, 3, "no more than the limit, however many ask");
    assert!(!store.spend("wx1.none", 0, HOUR).await.unwrap());

    store.refund("wx1.rotate").await.unwrap();
    assert!(store.spend("wx1.rotate", 3, HOUR).await.unwrap(), "what was given back is taken again");
    assert!(!store.spend("wx1.rotate", 3, HOUR).await.unwrap());
    for _ in 0..2 {
        store.refund("wx3.rotate").await.unwrap();
    }
    assert!(store.spend("wx3.rotate", 1, HOUR).await.unwrap());
    assert!(!store.spend("wx3.rotate", 1, HOUR).await.unwrap(), "what was never taken cannot be given back");

    // The window counts from the permit that was used, not from the one that was given back.
    assert!(store.spend("wx4.rotate", 1, SHORT).await.unwrap());
    tokio::time::sleep(SHORT / 2).await;
    store.refund("wx4.rotate").await.unwrap();
    assert!(store.spend("wx4.rotate", 1, HOUR).await.unwrap());
    tokio::time::sleep(SHORT).await;
    assert!(!store.spend("wx4.rotate", 1, HOUR).await.unwrap());

    assert!(store.spend("wx2.rotate", 1, SHORT).await.unwrap());
    assert!(!store.spend("wx2.rotate", 1, SHORT).await.unwrap());
    tokio::time::sleep(SHORT * 2).await;
    assert!(store.spend("wx2.rotate", 1, SHORT).await.unwrap(), "permits come back when the window ends");
}

async fn keeps_apps(store: &dyn Store) {
    assert!(store.apps().await.unwrap().is_empty());
    store.put_app(&app("wx2", "second", None)).await.unwrap();
    store.put_app(&app("wx1", "first", Some("微信 \"t\""))).await.unwrap();
    assert_eq!(shown(store).await, ["wx1 first 微信 \"t\"", "wx2 second -"], "by appid, whole");
    store.put_app(&app("wx1", "again", None)).await.unwrap();
    assert_eq!(shown(store).await, ["wx1 again -", "wx2 second -"], "a write replaces all of an app");
    store.put("wx1.token", &record("beside", HOUR)).await.unwrap();
    assert_eq!(store.apps().await.unwrap().len(), 2, "records and apps do not mix");
    assert_eq!(store.find_user("wx1", "nobody").await.unwrap(), None);

    let found = async |app_id: &str| store.find_app(app_id).await.unwrap().map(|app| app.secret.expose_secret().to_owned());
    assert_eq!((found("wx2").await.as_deref(), found("wx3").await, found("WX2").await), (Some("second"), None, None));
    let mut paid = app("wx3", "third", None);
    paid.payment = Payment {
        mchid: Some("1900000109".to_owned()),
        pay_key: Some("pay-key".into()),
        sub_appid: Some("wx-sub".to_owned()),
        sub_mchid: None,
    };
    store.put_app(&paid).await.unwrap();
    let Payment { mchid, pay_key, sub_appid, sub_mchid } = store.find_app("wx3").await.unwrap().expect("it was written").payment;
    assert_eq!((mchid.as_deref(), sub_appid.as_deref(), sub_mchid), (Some("1900000109"), Some("wx-sub"), None));
    assert_eq!(pay_key.as_ref().map(|key| key.expose_secret()), Some("pay-key"));
}

/// An app that has either all of what may be absent or nothing of it.
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
        let more = [app.token, app.aes_key].map(|secret| secret.map(|secret| secret.expose_secret().to_owned()));
        let [token, aes_key] = more;
        assert!(token == aes_key && token == app.template_id, "{token:?} {aes_key:?} {:?}", app.template_id);
        format!("{} {} {}", app.app_id, app.secret.expose_secret(), token.as_deref().unwrap_or("-"))
    });
    apps.collect()
}

async fn opened(config: StoreConfig) -> Arc<dyn Store> {
    open(&config, &Clock::system()).await.expect("the configuration is sound")
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    keeps_the_contract(opened(StoreConfig::Memory(Default::default())).await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    let server = RedisServer::start();
    keeps_the_contract(opened(StoreConfig::Redis(redis::from_url(&server.url()).unwrap())).await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_cluster_keeps_the_contract() {
    let cluster = RedisCluster::start();
    keeps_the_contract(opened(StoreConfig::Redis(redis::from_url(&cluster.url()).unwrap())).await, true).await;
}
