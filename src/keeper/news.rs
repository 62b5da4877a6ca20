//! What the store tells of other instances' work: a near copy that was overtaken is looked at anew at once, and whoever waits for another
//! instance's renewal looks for its result. Where the store tells nothing, near copies age and waiters look again by themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Keeper;
use crate::credential::{CredentialKey, CredentialKind};
use crate::renewal::Told;
use crate::store::Changed;

/// Renewals here that wait for another instance's, each at most once.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<CredentialKey, Arc<Notify>>>);

impl Waiters {
    fn bells(&self) -> MutexGuard<'_, HashMap<CredentialKey, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is news of `key`, at most `longest`.
    pub(super) async fn wait(&self, key: &CredentialKey, longest: Duration) {
        let bell = Arc::clone(self.bells().entry(key.clone()).or_default());
        tokio::time::timeout(longest, bell.notified()).await.ok();
        self.bells().remove(key);
    }

    fn ring(&self, key: &CredentialKey) {
        if let Some(bell) = self.bells().get(key) {
            bell.notify_one();
        }
    }
}

impl Keeper {
    /// Something was told. What was missed is left to age.
    pub(super) fn hear(&self, told: Told) {
        let (key, order) = match told {
            Ok(Changed::Key(key)) => (key, None),
            Ok(Changed::Renewed { key, before, after }) => (key, Some((before, after))),
            // A store that hung up may have been started again, with less than it had.
            Ok(Changed::Perhaps) => return self.0.outage.suspect(),
            Err(_) => return,
        };
        let Some((app_id, kind)) = key.split_once('.') else { return };
        let (Some(kind), Some(holding)) = (CredentialKind::from_name(kind), self.holding(app_id)) else { return };
        self.0.waiters.ring(&holding.key(kind));
        // What nobody has asked for here is not read either.
        if let Some(near) = &*holding.slot(kind).near.load() {
            if let Some((before, after)) = order {
                near.learn(before, after);
            }
            drop(self.begin_look(&holding, kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AppId;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_rung_or_looks_by_itself() {
        let waiters = Arc::new(Waiters::default());
        let key = CredentialKey { app_id: AppId::parse("wx1").expect("a good appid"), kind: CredentialKind::AccessToken };
        let begun = tokio::time::Instant::now();
        waiters.wait(&key, Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let (rung, name) = (Arc::clone(&waiters), key.clone());
        let waiting = tokio::spawn(async move { rung.wait(&name, Duration::from_secs(3600)).await });
        while waiters.bells().is_empty() {
            tokio::task::yield_now().await;
        }
        waiters.ring(&key);
        waiting.await.expect("it ends");
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert!(waiters.bells().is_empty(), "nobody is remembered who does not wait");
    }
}
