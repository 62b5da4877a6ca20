//! Several instances on one store: how soon they see each other's values, how often they read, and
//! what works while the store is down.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clock::{Clock, SteadyMillis, UnixMillis};
use credentials::keeper::{Keeper, KeeperError, Parts};
use credentials::store::{
    Apps, CredentialStore, MemoryStore, NewCredential, Pair, Record, Records, Store, StoreError,
    StoredApp, VersionedRecords,
};
use sandbox::Fault;
use secrecy::SecretString;
use wechat::account::{Keep, TokenApi};
use wechat::credential::CredentialKind;

use crate::store_contract::{record, value};
use crate::support::app::APP;
use crate::support::keepers::{Instance, TIMEOUT, World, account, client, eventually};

const KEY: &str = "wx0123456789abcdef.token";
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// A shared store in memory that can be broken.
struct Brittle {
    records: MemoryStore,
    claims: Mutex<HashMap<String, (String, Instant)>>,
    gets: AtomicU64,
    puts: AtomicU64,
    is_down: AtomicBool,
    /// The delay of an answer after the store has read the value.
    latency_ms: AtomicU64,
    is_shared: bool,
}

impl Brittle {
    fn new() -> Arc<Self> {
        Self::shared(true)
    }

    fn shared(is_shared: bool) -> Arc<Self> {
        Arc::new(Self {
            records: MemoryStore::new(BTreeMap::new(), Clock::system()),
            claims: Mutex::default(),
            gets: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
            latency_ms: AtomicU64::new(0),
            is_shared,
        })
    }

    fn down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Delays every answer.
    fn answers_after(&self, span: Duration) {
        self.latency_ms
            .store(span.as_millis() as u64, Ordering::SeqCst);
    }

    fn fault(&self, operation: &'static str) -> Result<(), StoreError> {
        let cause = || "the test switched it off".to_owned();
        if self.is_down.load(Ordering::SeqCst) {
            Err(StoreError {
                backend: "brittle",
                operation,
                cause: cause(),
            })
        } else {
            Ok(())
        }
    }

    async fn on_its_way(&self) {
        tokio::time::sleep(Duration::from_millis(
            self.latency_ms.load(Ordering::SeqCst),
        ))
        .await;
    }

    /// The stored value, even if the store is down.
    async fn stored(&self) -> Option<String> {
        value(self.records.get(KEY).await.expect("memory does not fail"))
    }

    /// Writes as another instance would.
    async fn written_elsewhere(&self, text: &str) {
        self.records
            .put(KEY, &record(text, HOUR))
            .await
            .expect("memory does not fail");
    }

    async fn deleted(&self) {
        self.records.take(KEY).await.expect("memory does not fail");
    }
}

#[async_trait]
impl Apps for Brittle {
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        self.records.apps().await
    }

    async fn put_app(&self, app: &StoredApp) -> Result<(), StoreError> {
        self.records.put_app(app).await
    }
}

#[async_trait]
impl Store for Brittle {
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VersionedRecords for Brittle {
    async fn read_pair(&self, key: &str) -> Result<Pair, StoreError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let read = match self.fault("read") {
            Ok(()) => self.records.read_pair(key).await,
            Err(error) => Err(error),
        };
        self.on_its_way().await;
        read
    }

    async fn write_pair(
        &self,
        key: &str,
        over: Option<&SecretString>,
        new: NewCredential<'_>,
        companion: &str,
        kept: Duration,
    ) -> Result<bool, StoreError> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.fault("write")?;
        self.records
            .write_pair(key, over, new, companion, kept)
            .await
    }

    async fn write_companion(
        &self,
        key: &str,
        companion: &str,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        self.fault("write")?;
        self.records.write_companion(key, companion, ttl).await
    }

    async fn take_lease(
        &self,
        key: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<UnixMillis>, StoreError> {
        self.fault("claim")?;
        let (mut claims, now) = (self.claims.lock().unwrap(), Instant::now());
        let is_free = claims
            .get(key)
            .is_none_or(|(holder, ends)| holder == owner || *ends <= now)
            || !self.is_shared;
        if is_free {
            claims.insert(key.to_owned(), (owner.to_owned(), now + ttl));
        }
        Ok(is_free.then(|| Clock::system().wall()))
    }

    async fn return_lease(&self, key: &str, owner: &str) -> Result<(), StoreError> {
        self.fault("release")?;
        let mut claims = self.claims.lock().unwrap();
        if claims.get(key).is_some_and(|(holder, _)| holder == owner) {
            claims.remove(key);
        }
        Ok(())
    }

    fn steady(&self) -> SteadyMillis {
        self.records.steady()
    }
}

#[async_trait]
impl Records for Brittle {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.fault("read")?;
        self.records.get(key).await
    }

    async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        self.fault("write")?;
        self.records.put(key, record).await
    }

    async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        self.fault("write")?;
        self.records.replace(key, before, record).await
    }

    async fn take(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.fault("take")?;
        self.records.take(key).await
    }

    async fn take_permit(
        &self,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Result<bool, StoreError> {
        self.fault("spend")?;
        self.records.take_permit(key, limit, window).await
    }

    async fn return_permit(&self, key: &str) -> Result<(), StoreError> {
        self.fault("refund")?;
        self.records.return_permit(key).await
    }
}

async fn one(token_api: TokenApi) -> (World, Arc<Brittle>, Instance) {
    let (world, store) = (World::new(Clock::system()).await, Brittle::new());
    let instance = world.instance(Arc::clone(&store) as Arc<dyn Store>, token_api);
    (world, store, instance)
}

async fn token(instance: &Instance) -> String {
    instance.token().await.expect("a token")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_value_reaches_every_instance_within_a_second() {
    let (world, store, one) = one(TokenApi::Basic).await;
    let two = world.instance(Arc::clone(&store) as Arc<dyn Store>, TokenApi::Basic);
    let first = token(&one).await;
    assert_eq!(token(&two).await, first);
    store.written_elsewhere("renewed elsewhere").await;
    // An idle instance reads the store at the first request after a second; a busy one has read it
    // before.
    tokio::time::sleep(SECOND + Duration::from_millis(20)).await;
    assert_eq!(
        (token(&one).await.as_str(), token(&two).await.as_str()),
        ("renewed elsewhere", "renewed elsewhere")
    );
    store.written_elsewhere("and again").await;
    let begun = Instant::now();
    while token(&one).await != "and again" {
        assert!(begun.elapsed() < 3 * SECOND, "a busy instance");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_credentials_are_read_twice_a_second_without_a_wait() {
    let (_world, store, instance) = one(TokenApi::Basic).await;
    token(&instance).await;
    store.answers_after(Duration::from_millis(300));
    let (before, begun) = (store.gets.load(Ordering::SeqCst), Instant::now());
    let (mut requests, mut slowest) = (0, Duration::ZERO);
    while begun.elapsed() < 2 * SECOND {
        let asked = Instant::now();
        token(&instance).await;
        (requests, slowest) = (requests + 1, slowest.max(asked.elapsed()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let gets = store.gets.load(Ordering::SeqCst) - before;
    assert!(
        (2..=5).contains(&gets),
        "{gets} reads for {requests} requests in two seconds"
    );
    assert!(
        slowest < Duration::from_millis(250),
        "the reading runs behind: {slowest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_values_are_served_while_the_store_is_down() {
    for token_api in [TokenApi::Basic, TokenApi::Stable] {
        let (world, store, instance) = one(token_api).await;
        let held = token(&instance).await;
        store.down(true);
        let begun = Instant::now();
        while begun.elapsed() < 5 * SECOND / 2 {
            assert_eq!(token(&instance).await, held);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(world.token_calls(), 1);
        store.down(false);
        store.written_elsewhere("renewed elsewhere").await;
        eventually("the store's truth counts again", async || {
            token(&instance).await == "renewed elsewhere"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stable_fetches_without_the_store_and_writes_back_later() {
    let (world, store, instance) = one(TokenApi::Stable).await;
    store.down(true);
    let fetched = token(&instance).await;
    assert!(world.sandbox.accepts(&fetched));
    for _ in 0..50 {
        assert_eq!(token(&instance).await, fetched);
    }
    assert_eq!((world.token_calls(), store.stored().await), (1, None));
    store.down(false);
    eventually("it is written back", async || {
        store.stored().await.as_ref() == Some(&fetched)
    })
    .await;
    assert_eq!((token(&instance).await, world.token_calls()), (fetched, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stable_ticket_is_fetched_without_the_store() {
    let (world, store, instance) = one(TokenApi::Stable).await;
    store.down(true);
    let ticket = instance
        .value(CredentialKind::JsapiTicket)
        .await
        .expect("a ticket");
    assert_eq!(world.sandbox.current_ticket(APP), Some(ticket));
    assert_eq!((world.token_calls(), world.ticket_calls()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_refuses_a_cold_token_while_the_store_is_down() {
    let (world, store, instance) = one(TokenApi::Basic).await;
    store.down(true);
    assert!(matches!(instance.token().await, Err(KeeperError::Store(_))));
    assert!(matches!(
        instance.value(CredentialKind::JsapiTicket).await,
        Err(KeeperError::Store(_))
    ));
    assert_eq!(
        world.token_calls(),
        0,
        "a fetch without the lease could void another instance's token"
    );
    store.down(false);
    assert!(
        world.sandbox.accepts(&token(&instance).await),
        "no pause: it was not WeChat's fault"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_renewal_never_happens_without_the_store() {
    for token_api in [TokenApi::Basic, TokenApi::Stable] {
        let (world, store, instance) = one(token_api).await;
        let held = token(&instance).await;
        store.down(true);
        assert!(
            instance.rotate(&held).await.is_err(),
            "{token_api:?}: the limit lives in the store"
        );
        assert_eq!(token(&instance).await, held);
        assert_eq!(world.token_calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_lost_in_an_outage_is_written_back_not_fetched() {
    let (world, store, instance) = one(TokenApi::Basic).await;
    let held = token(&instance).await;
    store.down(true);
    store.deleted().await;
    tokio::time::sleep(SECOND + Duration::from_millis(100)).await;
    assert_eq!(token(&instance).await, held);
    store.down(false);
    eventually("it is written back", async || {
        assert_eq!(token(&instance).await, held);
        store.stored().await.as_ref() == Some(&held)
    })
    .await;
    assert_eq!(world.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_value_is_fetched_again() {
    let (world, store, instance) = one(TokenApi::Basic).await;
    let first = token(&instance).await;
    store.deleted().await;
    eventually("another token comes", async || {
        token(&instance).await != first
    })
    .await;
    assert_eq!(world.token_calls(), 2);
    assert_eq!(store.stored().await, Some(token(&instance).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_instances_renews_for_all() {
    let (world, store) = (World::new(Clock::system()).await, Brittle::new());
    world
        .sandbox
        .fault(Fault::delay(Duration::from_millis(400)));
    let instances: Vec<_> = (0..8)
        .map(|_| world.instance(Arc::clone(&store) as Arc<dyn Store>, TokenApi::Basic))
        .collect();
    let tokens = futures_util::future::join_all(instances.iter().map(token)).await;
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(
        (world.token_calls(), store.puts.load(Ordering::SeqCst)),
        (1, 1)
    );
    // The same for a refused value: one renewal and one limit over all instances.
    let rotated = futures_util::future::join_all(
        instances.iter().map(|instance| instance.rotate(&tokens[0])),
    )
    .await;
    let rotated: Vec<_> = rotated
        .into_iter()
        .map(|token| token.expect("a token"))
        .collect();
    assert!(
        rotated
            .iter()
            .all(|token| *token == rotated[0] && *token != tokens[0])
    );
    assert_eq!(world.token_calls(), 2);
    assert_eq!(
        instances[3].rotate(&rotated[0]).await.expect("a token"),
        rotated[0],
        "30 s have not passed for anyone"
    );
    assert_eq!(world.token_calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_lifetime_is_renewed_in_its_last_twelfth_everywhere() {
    let (world, store) = (
        World::with_lives_of(Duration::from_secs(48)).await,
        Brittle::new(),
    );
    let instances: Vec<_> = (0..3)
        .map(|_| world.instance(Arc::clone(&store) as Arc<dyn Store>, TokenApi::Basic))
        .collect();
    let first = token(&instances[0]).await;
    for instance in &instances {
        for kind in [CredentialKind::AccessToken, CredentialKind::JsapiTicket] {
            instance.value(kind).await.expect("a value");
        }
        assert_eq!(token(instance).await, first);
    }
    // An instance that mistook 48 s for the rest of two hours would have renewed by now, and both
    // credentials.
    tokio::time::sleep(2 * SECOND).await;
    for instance in &instances {
        assert_eq!(token(instance).await, first);
    }
    assert_eq!((world.token_calls(), world.ticket_calls()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_the_lease_takes_the_holders_value() {
    let (world, store, instance) = one(TokenApi::Basic).await;
    assert!(
        store
            .acquire(KEY, "another instance", HOUR, 0)
            .await
            .unwrap()
            .lease
            .is_some()
    );
    let winner = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        store.written_elsewhere("the winner's").await;
    };
    let (_, taken) = tokio::join!(winner, token(&instance));
    assert_eq!((taken.as_str(), world.token_calls()), ("the winner's", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_leader_is_replaced_when_its_lease_ends() {
    let (world, store, instance) = one(TokenApi::Basic).await;
    // The lease is the upstream timeout and two seconds; the leader died at once.
    let lease = TIMEOUT + 2 * SECOND;
    assert!(
        store
            .acquire(KEY, "a dead instance", lease, 0)
            .await
            .unwrap()
            .lease
            .is_some()
    );
    let begun = Instant::now();
    match instance.token().await {
        Err(KeeperError::TooSlow { .. }) => assert!(
            begun.elapsed() < lease,
            "no caller waits for the whole lease"
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.token_calls(), 0);
    eventually("it is replaced", async || instance.token().await.is_ok()).await;
    assert!(
        begun.elapsed() >= lease - Duration::from_millis(100)
            && begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(world.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_released_after_success_and_failure() {
    let (world, store, instance) = one(TokenApi::Basic).await;
    world
        .sandbox
        .fault(Fault::errcode(-1, "system error").times(1));
    instance.token().await.expect_err("WeChat is busy");
    assert!(store.claims.lock().unwrap().is_empty(), "after a failure");
    eventually("it comes", async || instance.token().await.is_ok()).await;
    eventually("after a success", async || {
        store.claims.lock().unwrap().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_read_does_not_undo_a_renewal() {
    for is_shared in [true, false] {
        let (world, store) = (
            World::new(Clock::system()).await,
            Brittle::shared(is_shared),
        );
        let instance = world.instance(Arc::clone(&store) as Arc<dyn Store>, TokenApi::Basic);
        let first = token(&instance).await;
        world
            .sandbox
            .fault(Fault::delay(Duration::from_millis(400)).on("/cgi-bin/token"));
        let late = async {
            // Started during the renewal and answered after it, with the value from before.
            tokio::time::sleep(Duration::from_millis(200)).await;
            store.answers_after(Duration::from_millis(600));
            let answer = instance.rotate("never seen").await;
            store.answers_after(Duration::ZERO);
            answer
        };
        let (renewed, late) = tokio::join!(instance.rotate(&first), late);
        let renewed = renewed.expect("a token");
        assert_ne!(renewed, first);
        assert_eq!(late.expect("a token"), renewed, "shared: {is_shared}");
        assert_eq!(token(&instance).await, renewed, "shared: {is_shared}");
        assert_eq!(world.token_calls(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_writes_what_the_store_lacks() {
    let (world, store) = (World::new(Clock::system()).await, Brittle::new());
    let wechat = client(&[&world.sandbox.url()]);
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    // No renewal task runs, so only `close` can write it.
    let parts = Parts::new(shared, Clock::system(), Keep::Active);
    let keeper = Keeper::new(vec![account(TokenApi::Stable)], wechat, parts);
    store.down(true);
    let credentials = keeper.credentials(APP).expect("the usual account");
    credentials
        .credential(CredentialKind::AccessToken)
        .get()
        .await
        .expect("a token");
    assert_eq!(store.stored().await, None);
    store.down(false);
    keeper.close(SECOND).await;
    assert!(
        world
            .sandbox
            .accepts(&store.stored().await.expect("it was written"))
    );
}
