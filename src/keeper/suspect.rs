//! Values that may be void although they have not ended: WeChat may have granted another one that was lost on the way, or a caller said
//! so while nothing could be done. They are handed out, there being nothing better, and renewed without being asked for again.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Keeper;
use super::holding::{Holding, NearCopy, Why};
use super::limits::ROTATION_SPACING;
use crate::clock::SteadyMillis;
use crate::credential::{CredentialKey, CredentialKind};
use crate::renewal::SOON;

/// A call that WeChat has not answered by then it has not got, or has carried out.
const CARRIED_OUT: Duration = Duration::from_secs(10);

/// Calls that were not answered, where each may void a token: whatever is current a while later may have been granted before WeChat came to
/// them.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<HashMap<CredentialKey, SteadyMillis>>);

impl Unanswered {
    fn calls(&self) -> MutexGuard<'_, HashMap<CredentialKey, SteadyMillis>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the call for `key` must have been carried out, if there is one.
    pub(super) fn due(&self, key: &CredentialKey) -> Option<SteadyMillis> {
        self.calls().get(key).copied()
    }

    /// Whether there was one that must have been carried out by `now`; told once.
    fn take(&self, key: &CredentialKey, now: SteadyMillis) -> bool {
        let mut calls = self.calls();
        let is_due = calls.get(key).is_some_and(|until| *until <= now);
        if is_due {
            calls.remove(key);
        }
        is_due
    }
}

impl Keeper {
    /// A call that may void a token was not answered.
    pub(super) fn note_unanswered(&self, holding: &Holding, kind: CredentialKind) {
        let until = self.0.clock.steady().plus(CARRIED_OUT);
        self.0.unanswered.calls().insert(holding.key(kind), until);
        self.attend_no_later(holding, kind, until);
    }

    /// Doubts what is current if a call was left without an answer long enough ago.
    pub(super) fn doubt_after_unanswered(&self, key: &CredentialKey, near: Option<&Arc<NearCopy>>) {
        if let Some(near) = near
            && self.0.unanswered.take(key, self.0.clock.steady())
        {
            near.doubtful.store(true, Ordering::Relaxed);
        }
    }

    /// Renews a value that may be void, within the limit on forced renewals.
    pub(super) async fn resolve(&self, holding: &Arc<Holding>, kind: CredentialKind, suspect: &NearCopy) -> SteadyMillis {
        let value = suspect.value().clone();
        let why = if suspect.refused.load(Ordering::Relaxed) { Why::Refused(value) } else { Why::Doubted(value) };
        match self.renew_over(holding, kind, why).await {
            Ok(near) if near.is_suspect() => self.0.clock.steady().plus(ROTATION_SPACING),
            Ok(near) => near.life.after_renewal(self.clock(), self.0.chance.fraction()),
            Err(error) => self.after_failure(holding, &error),
        }
    }

    /// Has `near` renewed soon, because WeChat may have voided it.
    pub(super) fn doubt(&self, holding: &Holding, kind: CredentialKind, near: &NearCopy) {
        near.doubtful.store(true, Ordering::Relaxed);
        self.attend_to_suspect(holding, kind);
    }

    /// A caller says that WeChat refused `value`, and it could not be renewed. If it is what we hold it will be, without being asked again.
    pub(super) fn note_refused(&self, holding: &Holding, kind: CredentialKind, value: &SecretString) {
        let near = holding.slot(kind).near.load_full();
        if let Some(near) = near.filter(|near| near.value().expose_secret() == value.expose_secret()) {
            near.refused.store(true, Ordering::Relaxed);
            self.attend_to_suspect(holding, kind);
        }
    }

    /// A caller says that WeChat refused `near`, less than 30 s after a forced renewal. That one's answer may have been lost with the process
    /// that asked, so what is handed out now is looked after when the 30 s are over. On stable by a plain question, which voids nothing. On basic
    /// a token outlives the next one's grant by five minutes (获取接口调用凭据), so that of a new one the report cannot be true, and it stays:
    /// WeChat's servers take a moment to know it.
    pub(super) fn note_told_too_soon(&self, holding: &Holding, kind: CredentialKind, near: &NearCopy) {
        if !self.voids(holding) {
            near.doubtful.store(true, Ordering::Relaxed);
        } else if near.left(self.clock()) + ROTATION_SPACING < holding.slot(kind).lifetime() {
            near.refused.store(true, Ordering::Relaxed);
        } else {
            return;
        }
        self.attend_no_later(holding, kind, self.0.clock.steady().plus(ROTATION_SPACING));
    }

    fn attend_to_suspect(&self, holding: &Holding, kind: CredentialKind) {
        self.attend_no_later(holding, kind, self.0.clock.steady().plus(SOON));
    }
}
