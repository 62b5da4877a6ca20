//! A store whose operations are timed and reported. It changes nothing about them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use secrecy::SecretString;
use tokio::sync::broadcast;

use super::{
    Acquired, Apps, Backoff, Changed, Committed, CredentialStore, Lease, NewCredential, Record,
    Records, Store, StoreError, StoredApp, StoredCredential, Users,
};
use crate::observer::{Observer, StoreOperation};
use clock::Clock;

/// The names of all operations, as they are reported.
pub const OPERATIONS: [&str; 14] = [
    "load",
    "acquire",
    "commit",
    "restore",
    "release",
    "get",
    "put",
    "replace",
    "take",
    "take_permit",
    "return_permit",
    "apps",
    "find_app",
    "put_app",
];

/// `store`, with every operation reported to `observer`.
pub fn observed(
    store: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
    clock: Clock,
) -> Arc<dyn Store> {
    Arc::new(ObservedStore {
        store,
        observer,
        clock,
    })
}

struct ObservedStore {
    store: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
    clock: Clock,
}

impl ObservedStore {
    fn reads<'a, T>(
        &'a self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.timed(name, false, operation)
    }

    fn writes<'a, T>(
        &'a self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.timed(name, true, operation)
    }

    /// An operation that its caller gives up is not reported: nothing is known about the store then.
    fn timed<'a, T>(
        &'a self,
        name: &'static str,
        is_write: bool,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        async move {
            let begun = self.clock.steady();
            let result = operation.await;
            self.observer.store_operation(&StoreOperation {
                name,
                is_write,
                took: begun.until(self.clock.steady()),
                has_failed: result.is_err(),
            });
            result
        }
        .boxed()
    }
}

#[async_trait]
impl CredentialStore for ObservedStore {
    async fn load(&self, key: &str) -> Result<Option<StoredCredential>, StoreError> {
        self.reads("load", self.store.load(key)).await
    }

    async fn previous(&self, key: &str) -> Result<Option<SecretString>, StoreError> {
        self.reads("load", self.store.previous(key)).await
    }

    async fn acquire(
        &self,
        key: &str,
        owner: &str,
        ttl: Duration,
        at_least: u64,
    ) -> Result<Acquired, StoreError> {
        self.writes("acquire", self.store.acquire(key, owner, ttl, at_least))
            .await
    }

    async fn commit(&self, lease: &Lease, new: NewCredential<'_>) -> Result<Committed, StoreError> {
        self.writes("commit", self.store.commit(lease, new)).await
    }

    async fn restore(&self, key: &str, lost: NewCredential<'_>) -> Result<Committed, StoreError> {
        self.writes("restore", self.store.restore(key, lost)).await
    }

    async fn release(&self, lease: &Lease, backoff: Option<&Backoff>) -> Result<(), StoreError> {
        self.writes("release", self.store.release(lease, backoff))
            .await
    }
}

#[async_trait]
impl Records for ObservedStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.reads("get", self.store.get(key)).await
    }

    async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        self.writes("put", self.store.put(key, record)).await
    }

    async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        self.writes("replace", self.store.replace(key, before, record))
            .await
    }

    async fn take(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.writes("take", self.store.take(key)).await
    }

    async fn take_permit(
        &self,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Result<bool, StoreError> {
        self.writes("take_permit", self.store.take_permit(key, limit, window))
            .await
    }

    async fn return_permit(&self, key: &str) -> Result<(), StoreError> {
        self.writes("return_permit", self.store.return_permit(key))
            .await
    }
}

#[async_trait]
impl Apps for ObservedStore {
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        self.reads("apps", self.store.apps()).await
    }

    async fn find_app(&self, app_id: &str) -> Result<Option<StoredApp>, StoreError> {
        self.reads("find_app", self.store.find_app(app_id)).await
    }

    async fn put_app(&self, app: &StoredApp) -> Result<(), StoreError> {
        self.writes("put_app", self.store.put_app(app)).await
    }
}

#[async_trait]
impl Store for ObservedStore {
    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        self.store.changes()
    }

    fn users(&self) -> Option<&dyn Users> {
        self.store.users()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::store::MemoryStore;
    use clock::UnixMillis;

    #[derive(Debug, Default)]
    struct Names(Mutex<Vec<&'static str>>);

    impl Observer for Names {
        fn store_operation(&self, operation: &StoreOperation) {
            assert!(!operation.has_failed);
            self.0.lock().expect("nobody panics").push(operation.name);
        }
    }

    #[tokio::test]
    async fn every_operation_is_reported_by_its_name() {
        let (names, clock) = (Arc::new(Names::default()), Clock::manual(UnixMillis(0)));
        let inner = Arc::new(MemoryStore::new(Default::default(), clock.clone()));
        let store = observed(inner, names.clone(), clock.clone());
        let acquired = store.acquire("k", "me", Duration::from_secs(9), 0).await;
        let lease = acquired.expect("memory").lease.expect("a lease");
        let value = SecretString::from("v");
        let new = NewCredential {
            value: &value,
            ends: clock.steady().plus(Duration::from_secs(9)),
            generation: lease.generation,
            lifetime: Duration::from_secs(9),
        };
        let record = Record {
            value: value.clone(),
            expires_at: UnixMillis(9000),
        };
        store.commit(&lease, new).await.expect("memory");
        store.release(&lease, None).await.expect("memory");
        store.load("k").await.expect("memory");
        store.restore("k", new).await.expect("memory");
        store.put("r", &record).await.expect("memory");
        store.get("r").await.expect("memory");
        store.replace("r", None, &record).await.expect("memory");
        store.take("r").await.expect("memory");
        store
            .take_permit("p", 1, Duration::from_secs(9))
            .await
            .expect("memory");
        store.return_permit("p").await.expect("memory");
        let app = StoredApp {
            app_id: "wx1".to_owned(),
            secret: "s".into(),
            token: None,
            aes_key: None,
            template_id: None,
            payment: Default::default(),
        };
        store.put_app(&app).await.expect("memory");
        store.find_app("wx1").await.expect("memory");
        store.apps().await.expect("memory");
        let mut seen = names.0.lock().expect("nobody panics").clone();
        let mut wanted = OPERATIONS.to_vec();
        seen.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(seen, wanted);
    }
}
