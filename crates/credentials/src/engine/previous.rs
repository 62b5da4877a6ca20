//! The value before the current one, which explains a signature that was made with it. It is kept in
//! memory and in the store's companion record, and handed out to nobody but the explanation.

use std::sync::Arc;

use secrecy::SecretString;

use super::cached::Cached;
use super::credential::Credential;
use super::subject::Subject;

impl<S: Subject> Credential<S> {
    /// The cached copy that has not expired, without counting as a request for `keep: active`.
    pub fn peek(&self) -> Option<Arc<Cached>> {
        self.living()
    }

    /// The value before the current one, if this process has seen it.
    pub fn previous(&self) -> Option<Arc<SecretString>> {
        self.previous.load_full()
    }

    /// The value before the current one as the store has it, which another instance may have written,
    /// or this one before its restart. `None` also if the store fails.
    pub async fn previous_in_store(&self) -> Option<SecretString> {
        let key = self.subject.load().store_key();
        self.engine.store.previous(&key).await.ok()?
    }

    /// Keeps the value of `before`, which was just replaced.
    pub(super) fn keep_previous(&self, before: Option<&Arc<Cached>>) {
        let Some(before) = before else { return };
        let current = self.cached.load();
        if !current
            .as_ref()
            .is_some_and(|current| current.is_value(before.value()))
        {
            self.previous.store(Some(Arc::new(before.value().clone())));
        }
    }
}
