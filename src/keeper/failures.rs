//! What is remembered of renewals that failed, so that a broken account is not asked about again and again.

use std::sync::atomic::Ordering;

use super::holding::{Holding, in_order};
use super::{Keeper, KeeperError};
use crate::credential::CredentialKind;

impl Keeper {
    pub(super) fn unless_cooling(&self, holding: &Holding, kind: CredentialKind) -> Result<(), KeeperError> {
        match holding.slot(kind).pause(self.0.clock.steady()) {
            Some((retry_after, cause)) => Err(KeeperError::CoolingDown { key: holding.key(kind), retry_after, cause }),
            None => Ok(()),
        }
    }

    /// Remembers a failure of WeChat's as the cause of a pause. A fault of the store, or of the token that a ticket needs, is
    /// remembered elsewhere or not at all. A code about a visitor has no business here, and costs a call of the day's quota like any other.
    pub(super) fn remember(&self, holding: &Holding, kind: CredentialKind, error: KeeperError) -> KeeperError {
        let (slot, own) = (holding.slot(kind), holding.key(kind));
        if let KeeperError::Upstream { key, source } = &error
            && *key == own
        {
            let (seed, now) = (self.0.chance.fraction(), self.0.clock.steady());
            let (attempts, pause) = slot.failed(source.clone(), source.kind(), seed, now);
            let advice = source.advice().unwrap_or("none");
            tracing::warn!(account.id = %holding.account.app_id, credential.kind = kind.name(), error = %source, advice,
                attempts, pause_ms = pause.as_millis() as u64, "a renewal failed");
        }
        error
    }

    /// As [`Keeper::remember`], but for what passes by itself: that was remembered, and shared, while the lease was held.
    pub(super) fn remember_lasting(&self, holding: &Holding, kind: CredentialKind, error: KeeperError) -> KeeperError {
        if error.is_passing() { error } else { self.remember(holding, kind, error) }
    }

    /// Forgets every failure, and has what the refresher put off for one tried again at once: a reload of the settings is how an operator
    /// says "I have mended it".
    pub fn forget_failures(&self) {
        let now = self.0.clock.steady();
        for holding in in_order(&self.0.directory.load()) {
            let failed = holding.slots.iter().filter(|slot| slot.set_failure(None).is_some()).count() > 0;
            // A ticket waits for its token's pause to end, so all of the account's are looked at.
            for kind in CredentialKind::ALL.into_iter().filter(|_| failed) {
                if holding.slot(kind).scheduled.load(Ordering::Relaxed) {
                    self.attend_no_later(holding, kind, now);
                }
            }
        }
    }
}
