//! What the store says of a credential, and when it is believed.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::Keeper;
use super::holding::{Holding, NearCopy};
use crate::account::TokenApi;
use crate::clock::SteadyMillis;
use crate::credential::CredentialKind;
use crate::renewal::{Landing, Seen};
use crate::store::{Record, StoreError};

/// A store that takes longer than this is as good as down, for who can do without it.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// The same for a store that did not answer the last time: one that is back answers within this.
const NO_PATIENCE: Duration = Duration::from_millis(50);

/// A copy that the store confirmed, or failed to, within this time is no memory of long ago.
const KNOWN_LATELY: Duration = Duration::from_secs(10);

impl Keeper {
    /// What the store holds, read once however many ask; the near copy is brought up to date on the way.
    pub(super) async fn look(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Result<Option<Arc<NearCopy>>, StoreError> {
        self.begin_look(holding, kind).result().await?
    }

    /// As [`Keeper::look`]; but who holds a living value, or may ask WeChat without the store, does not wait long for a store that is silent.
    pub(super) async fn look_patiently(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
    ) -> Result<Option<Arc<NearCopy>>, StoreError> {
        let held = holding.slot(kind).near.load_full().filter(|near| !near.life.is_over(&self.0.clock));
        if held.is_none() && holding.account.token_api == TokenApi::Basic {
            return self.look(holding, kind).await;
        }
        let age = held.as_ref().map_or(Duration::ZERO, |near| near.life.age(self.0.clock.steady()));
        let patience = if age < KNOWN_LATELY { self.store_patience() } else { STORE_PATIENCE };
        tokio::time::timeout(patience, self.look(holding, kind)).await.unwrap_or_else(|_| {
            let error = StoreError::silent("read", patience);
            self.0.outage.failed(&error, self.0.clock.steady());
            if let Some(near) = held {
                near.life.confirm(self.0.clock.steady());
            }
            Err(error)
        })
    }

    /// How long to wait for a store that one can do without for once: hardly at all when it is known to be silent.
    pub(super) fn store_patience(&self) -> Duration {
        match self.0.outage.lasts(self.0.clock.steady()) {
            Duration::ZERO => STORE_PATIENCE,
            _ => NO_PATIENCE,
        }
    }

    pub(super) fn begin_look(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
    ) -> Landing<Result<Option<Arc<NearCopy>>, StoreError>> {
        let (keeper, held) = (self.clone(), Arc::clone(holding));
        holding.slot(kind).look.join(&self.0.runtime, move || async move { keeper.read(&held, kind).await })
    }

    pub(super) async fn read(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Result<Option<Arc<NearCopy>>, StoreError> {
        self.read_and_see(holding, kind).await.map(|(near, _)| near)
    }

    /// As [`Keeper::read`], with the value that the store itself showed.
    pub(super) async fn read_and_see(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Result<Seen<NearCopy>, StoreError> {
        let (key, held, begun) = (holding.key(kind).to_string(), holding.slot(kind).near.load_full(), self.0.clock.steady());
        match self.0.store.get(&key).await {
            Ok(record) => {
                self.0.outage.answered(self.0.clock.steady());
                let seen = record.as_ref().map(|record| record.value.clone());
                // An empty text is no credential, whoever wrote it.
                let record = record.filter(|record| !record.value.expose_secret().is_empty());
                let news = record.as_ref().filter(|record| held.as_ref().is_none_or(|near| !near.is(record)));
                let Some(news) = news else {
                    let lifetime = holding.slot(kind).lifetime();
                    return Ok((self.adopt(holding, kind, held, record, lifetime, begun), seen));
                };
                // The wall clock may be moved while the store is asked once more.
                let ends = self.0.clock.steady().plus(self.0.clock.wall().until(news.expires_at));
                let lifetime = self.lifetime_of(holding, kind).await;
                let news = self.record_of(news.value.clone(), ends);
                Ok((self.adopt(holding, kind, held, Some(news), lifetime, begun), seen))
            }
            Err(error) => {
                self.0.outage.failed(&error, self.0.clock.steady());
                if let Some(near) = holding.slot(kind).near.load().as_ref() {
                    // Good for another second: each request asking a dead store would make each one wait for it.
                    near.life.confirm(self.0.clock.steady());
                }
                Err(error)
            }
        }
    }

    /// Takes what the store said for the truth over what was `held` when it was asked, but for five cases: a value that never reached the
    /// store, one that the store lost while it was down, one whose predecessor the store shows again, as a Redis does that was started with an
    /// old snapshot, one of our own that the store would keep beyond its end (those are written back instead of being fetched anew), and a
    /// renewal that ended while the store was being read. `lifetime` is the whole life of what the store said, `begun` when it was asked.
    fn adopt(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        held: Option<Arc<NearCopy>>,
        record: Option<Record>,
        lifetime: Duration,
        begun: SteadyMillis,
    ) -> Option<Arc<NearCopy>> {
        let (slot, clock) = (holding.slot(kind), &self.0.clock);
        let is_alive = |near: &Arc<NearCopy>| !near.life.is_over(clock);
        let faults = self.0.outage.faults();
        let took = begun.until(clock.steady());
        let against = |near: &NearCopy, record: &Record| near.against(record, clock, self.0.wechat.timeout(), took);
        if !slot.holds(&held) {
            return slot.near.load_full().filter(is_alive);
        }
        match (held.as_ref().filter(|near| is_alive(near)), record) {
            // What has ended stays where it is: by it we know the same value again, should the wall clock be set back.
            (None, None) => return None,
            (None, Some(record)) if held.as_ref().is_some_and(|ended| ended.is(&record)) => return None,
            (Some(near), None) => {
                if near.life.is_missed(faults) {
                    near.life.missed(clock.steady());
                    self.write_back_soon(holding, kind);
                    return held;
                }
                slot.replace(&held, None);
            }
            (Some(near), Some(record)) if near.is(&record) => {
                // Who wrote it may have found that its write took long.
                near.life.shorten(record.expires_at, clock);
                near.life.confirm(clock.steady());
                near.life.saved(faults);
                return held;
            }
            (Some(near), Some(record))
                if near.corrects(&record, clock) || near.life.is_unsaved() && against(near, &record).is_gt() =>
            {
                near.life.missed(clock.steady());
                self.write_back_soon(holding, kind);
                return held;
            }
            (before, Some(record)) => {
                // Which of two that crossed WeChat granted last cannot be told by ends so close together: the store's stays, in doubt.
                let has_crossed = before
                    .is_some_and(|near| near.life.is_unsaved() && !near.is_value_of(&record) && against(near, &record).is_eq());
                let near = self.take_over(holding, kind, &held, record, lifetime, took);
                if let Some(near) = near.filter(|_| has_crossed && kind == CredentialKind::AccessToken) {
                    self.doubt(holding, kind, &near);
                }
            }
        }
        slot.near.load_full().filter(is_alive)
    }

    /// Puts what the store said in the place of what was `held`, unless something else has come there.
    fn take_over(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        held: &Option<Arc<NearCopy>>,
        record: Record,
        lifetime: Duration,
        took: Duration,
    ) -> Option<Arc<NearCopy>> {
        let (slot, clock) = (holding.slot(kind), &self.0.clock);
        let is_news = held.as_ref().is_none_or(|held| !held.is_value_of(&record));
        // Nothing lives longer than its whole life, whatever somebody wrote.
        let ends = clock.steady().plus(clock.wall().until(record.expires_at).min(lifetime));
        let near = self.near_copy(holding, kind, record.value, ends, lifetime, false);
        let near = Arc::new(near.read_in(took).instead_of(held.as_ref()));
        if !slot.replace(held, Some(Arc::clone(&near))) {
            return None;
        }
        if is_news {
            // Somebody else has succeeded: our failures of long ago are no row that the next one adds to.
            slot.set_failure(None);
        }
        self.reschedule(holding, kind, &near);
        Some(near)
    }
}
