//! What becomes of WeChat's answer: a grant is written to the store and to the near copy, unless something else has come there; a
//! refusal leaves what there is, perhaps in doubt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use secrecy::SecretString;

use super::holding::{Holding, NearCopy};
use super::{Keeper, KeeperError};
use crate::account::TokenApi;
use crate::clock::SteadyMillis;
use crate::credential::{CredentialKind, FULL_LIFETIME, renewal_window};
use crate::renewal::{Lease, Life};
use crate::store::{Record, StoreError};
use crate::wechat::{Grant, WechatError};

/// On the stable endpoint a returned `expires_in` is the rest of a life and never below this on WeChat's own servers.
const SHORTEST_STABLE_REST: Duration = Duration::from_secs(300);

/// A write that took no longer than this is exact enough: stores keep whole seconds.
pub(super) const PROMPT: Duration = Duration::from_secs(1);

/// How often a write is made anew because it took longer.
const TURNS: u32 = 3;

impl Keeper {
    /// Writes a grant to the store and to the near copy. Its life counts from the moment of asking.
    pub(super) async fn settle(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        grant: Grant,
        asked_at: SteadyMillis,
        lease: Lease<NearCopy>,
    ) -> Arc<NearCopy> {
        let slot = holding.slot(kind);
        slot.set_failure(None);
        // By the steady clock throughout: the wall clock may be moved while the store is written to.
        let ends = asked_at.plus(grant.expires_in);
        let record = self.record_of(grant.value.clone(), ends);
        if let Some(same) = lease.before.filter(|before| before.is(&record) && !before.life.is_over(self.clock())) {
            // WeChat hands back what we had: not yet, and no progress. The refresher asks again before long.
            same.doubtful.store(false, Ordering::Relaxed);
            slot.near.store(Some(Arc::clone(&same)));
            return same;
        }
        let is_a_rest = kind == CredentialKind::AccessToken
            && holding.account.token_api == TokenApi::Stable
            && grant.expires_in >= SHORTEST_STABLE_REST;
        let lifetime = if is_a_rest { FULL_LIFETIME } else { grant.expires_in };
        let saved = match lease.claimed_at {
            Some(_) => {
                self.tell_lifetime(holding, kind, lifetime).await;
                self.save(&holding.key(kind).to_string(), lease.seen.clone(), &grant.value, ends).await
            }
            // The store is down; the next try is the refresher's.
            None => Err(StoreError { backend: "any", operation: "write", cause: "it was down before".to_owned() }),
        };
        match &saved {
            Ok(true) => {}
            Ok(false) => {
                if let Some(theirs) = self.crossed(holding, kind).await {
                    return theirs;
                }
            }
            Err(error) => self.0.outage.failed(error, self.0.clock.steady()),
        }
        let is_saved = matches!(saved, Ok(true));
        let near =
            Arc::new(self.near_copy(holding, kind, grant.value, ends, lifetime, !is_saved).fetched_after(lease.seen.as_ref()));
        slot.near.store(Some(Arc::clone(&near)));
        self.reschedule(holding, kind, &near);
        if is_saved {
            self.verify_later(holding, kind);
        } else {
            self.write_back_soon(holding, kind);
        }
        near
    }

    /// Somebody wrote between our looking and our writing: this process was held up beyond its lease, or the store lost the lease.
    /// What they wrote stays. Which of the two WeChat granted last cannot be told, so what stays is doubted.
    async fn crossed(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Option<Arc<NearCopy>> {
        tracing::warn!(account.id = %holding.account.app_id, credential.kind = kind.name(), "two renewals crossed; the other one stays");
        let theirs = self.read(holding, kind).await.ok().flatten()?;
        // On stable, too, where one of the two was forced; there a plain question tells which is current, and voids nothing.
        if kind == CredentialKind::AccessToken {
            self.doubt(holding, kind, &theirs);
        }
        Some(theirs)
    }

    /// A near copy of a value whose whole life is `lifetime` and that ends at `ends`.
    pub(super) fn near_copy(
        &self,
        holding: &Holding,
        kind: CredentialKind,
        value: SecretString,
        ends: SteadyMillis,
        lifetime: Duration,
        unsaved: bool,
    ) -> NearCopy {
        holding.slot(kind).learn_lifetime(lifetime);
        let reserve = match kind {
            CredentialKind::AccessToken => holding.account.reserve,
            CredentialKind::JsapiTicket | CredentialKind::CardTicket => holding.account.ticket_reserve,
        };
        let life = Life::until(ends, renewal_window(reserve, lifetime), self.clock());
        life.saved(self.0.outage.faults());
        if unsaved {
            life.missed(self.0.clock.steady());
        }
        NearCopy::new(value, life)
    }

    /// WeChat granted nothing, or its grant was lost on the way. What passes by itself is remembered, and shared, while the lease is held.
    pub(super) async fn not_granted(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        force: bool,
        source: WechatError,
        lease: Lease<NearCopy>,
    ) -> KeeperError {
        let is_lost = kind == CredentialKind::AccessToken && source.may_have_been_granted();
        if is_lost && self.voids(holding) {
            self.note_unanswered(holding, kind);
        }
        if let Some(current) = lease.before.filter(|_| force && is_lost) {
            self.doubt(holding, kind, &current);
        }
        let mut error = KeeperError::Upstream { key: holding.key(kind), source };
        if error.is_passing() {
            error = self.remember(holding, kind, error);
            self.share_pause(holding, kind).await;
        }
        error
    }

    /// Writes `value`, which ends at `ends`, over what was `seen`, and once more with what is left by then if that took so long that the store
    /// would keep it beyond its end.
    pub(super) async fn save(
        &self,
        key: &str,
        mut seen: Option<SecretString>,
        value: &SecretString,
        ends: SteadyMillis,
    ) -> Result<bool, StoreError> {
        for _ in 0..TURNS {
            let begun = self.0.clock.steady();
            let saved = self.0.store.replace(key, seen.as_ref(), &self.record_of(value.clone(), ends)).await?;
            if !saved || begun.until(self.0.clock.steady()) <= PROMPT {
                return Ok(saved);
            }
            seen = Some(value.clone());
        }
        Ok(true)
    }

    /// What a store is told: the end by the wall clock as it is now, since a store turns it into what is left at once.
    pub(super) fn record_of(&self, value: SecretString, ends: SteadyMillis) -> Record {
        Record { value, expires_at: self.0.clock.wall().plus(self.0.clock.steady().until(ends)) }
    }
}
