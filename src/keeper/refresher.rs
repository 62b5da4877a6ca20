//! What is done ahead of time, and when: each credential has one appointment on the agenda.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::holding::{Holding, NearCopy, Why, in_order};
use super::settle::PROMPT;
use super::{Keeper, KeeperError};
use crate::account::Keep;
use crate::clock::SteadyMillis;
use crate::credential::{CredentialKey, CredentialKind, Freshness};
use crate::renewal::{NO_HURRY, SOON, keep_appointments};

/// The longest pause before the store is asked again for one credential.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long after a write it is looked whether the store still has it.
const SETTLED: Duration = Duration::from_secs(3);

/// The one background loop. Owned by the server; ends when its stop signal changes or is dropped.
pub struct Refresher {
    keeper: Keeper,
}

impl Keeper {
    /// The loop that renews ahead; see [`Refresher::run`].
    pub fn refresher(&self) -> Refresher {
        Refresher { keeper: self.clone() }
    }

    /// Puts a credential's renewal on the list, if it is not there.
    pub(super) fn schedule(&self, holding: &Holding, kind: CredentialKind, near: &NearCopy) {
        if !holding.slot(kind).scheduled.swap(true, Ordering::Relaxed) {
            self.0.agenda.set(holding.key(kind), near.life.renewal_due(self.0.chance.fraction()));
        }
    }

    /// Puts the renewal of a new value on the list, over that of the old one.
    pub(super) fn reschedule(&self, holding: &Holding, kind: CredentialKind, near: &NearCopy) {
        holding.slot(kind).scheduled.store(true, Ordering::Relaxed);
        let (key, due) = (holding.key(kind), near.life.renewal_due(self.0.chance.fraction()));
        // Whatever comes now may be void by then.
        let doubted = self.0.unanswered.due(&key);
        self.0.agenda.set(key, doubted.map_or(due, |doubted| doubted.min(due)));
    }

    /// Has the store looked at once more when a write to it can no longer be lost without a word, as it is when a replica takes over.
    pub(super) fn verify_later(&self, holding: &Holding, kind: CredentialKind) {
        if self.0.store.is_shared() {
            self.attend_no_later(holding, kind, self.0.clock.steady().plus(SETTLED));
        }
    }

    /// Has a value that the store lacks written soon.
    pub(super) fn write_back_soon(&self, holding: &Holding, kind: CredentialKind) {
        self.attend_no_later(holding, kind, self.0.clock.steady().plus(self.store_pause()));
    }

    /// Puts a credential on the list for `due`, unless it is there for an earlier time.
    pub(super) fn attend_no_later(&self, holding: &Holding, kind: CredentialKind, due: SteadyMillis) {
        holding.slot(kind).scheduled.store(true, Ordering::Relaxed);
        self.0.agenda.set_no_later(holding.key(kind), due);
    }

    /// `keep: always`: every account's token and ticket, spread over a few seconds.
    pub(super) fn schedule_all(&self) {
        let (now, directory) = (self.0.clock.steady(), self.0.directory.load());
        let spread = Duration::from_millis(5).saturating_mul(u32::try_from(directory.len()).unwrap_or(u32::MAX));
        for holding in in_order(&directory) {
            for kind in [CredentialKind::AccessToken, CredentialKind::JsapiTicket] {
                if !holding.slot(kind).scheduled.swap(true, Ordering::Relaxed) {
                    self.0.agenda.set(holding.key(kind), now.plus(spread.mul_f64(self.0.chance.fraction())));
                }
            }
        }
    }

    /// How long the refresher waits before it asks the store again for one credential: the longer the store has been down the longer, so
    /// that ten thousand accounts are no storm on a server that is coming back. Whoever asks for a credential does not wait for this.
    fn store_pause(&self) -> Duration {
        let down_for = self.0.outage.lasts(self.0.clock.steady());
        (down_for / 8).clamp(SOON, LONGEST_PAUSE).mul_f64(1.0 + 0.5 * self.0.chance.fraction())
    }

    /// Waits for the renewals under way, at most `grace`, writes what the store lacks, and lets the store finish.
    pub async fn close(&self, grace: Duration) {
        let mut flying = self.0.flying.subscribe();
        if tokio::time::timeout(grace, flying.wait_for(|flying| *flying == 0)).await.is_err() {
            tracing::warn!("stopped before every renewal had ended");
        }
        let directory = self.0.directory.load_full();
        for holding in in_order(&directory) {
            for kind in CredentialKind::ALL {
                self.write_back(holding, kind).await;
            }
        }
        if let Err(error) = self.0.store.close().await {
            tracing::error!(%error, "the store could not finish");
        }
    }

    /// Writes a value that the store lacks, unless the store has a later one by now.
    async fn write_back(&self, holding: &Arc<Holding>, kind: CredentialKind) {
        let unsaved = holding.slot(kind).near.load_full().filter(|near| near.life.is_unsaved());
        let Some(near) = unsaved.filter(|near| !near.life.is_over(self.clock())) else { return };
        let key = holding.key(kind).to_string();
        let begun = self.0.clock.steady();
        let read = self.0.store.get(&key).await;
        let took = begun.until(self.0.clock.steady());
        let written = match read {
            // What is left of a life counts from the asking: of what was read slowly it cannot be told which ends later.
            Ok(_) if took > PROMPT => Ok(false),
            Ok(Some(theirs)) if near.stays_behind(&theirs, self.clock(), self.0.wechat.timeout(), took) => {
                // The next look takes over what another instance fetched, or may have fetched, later.
                if !near.is_value_of(&theirs) {
                    self.look(holding, kind).await.ok();
                    return;
                }
                Ok(true)
            }
            Ok(theirs) => self.save(&key, theirs.map(|theirs| theirs.value), near.value(), near.life.ends()).await,
            Err(error) => Err(error),
        };
        match written {
            // Somebody wrote meanwhile; the next look tells what.
            Ok(false) => self.write_back_soon(holding, kind),
            Ok(true) => {
                self.0.outage.answered(self.0.clock.steady());
                near.life.saved(self.0.outage.faults());
                tracing::info!(credential = %key, "written back to the store");
            }
            Err(error) => self.0.outage.failed(&error, self.0.clock.steady()),
        }
    }

    /// Does what is due for one credential and puts its next appointment on the list.
    async fn attend(&self, key: CredentialKey) {
        let Some(holding) = self.holding(key.app_id.as_str()) else { return };
        let slot = holding.slot(key.kind);
        self.write_back(&holding, key.kind).await;
        // A shared store may have lost what it said it had, or others may have renewed.
        let is_unsure = self.0.store.is_shared() && self.look(&holding, key.kind).await.is_err();
        let wanted = self.0.keep == Keep::Always || slot.is_wanted(self.0.clock.steady());
        let near = slot.near.load_full();
        self.doubt_after_unanswered(&key, near.as_ref());
        let unsaved = near.as_ref().is_some_and(|near| near.life.is_unsaved());
        if !wanted && !unsaved {
            slot.scheduled.store(false, Ordering::Relaxed);
            return;
        }
        let next = match near {
            Some(near) if near.is_suspect() => self.resolve(&holding, key.kind, &near).await,
            Some(near) if near.life.freshness(self.clock()) == Freshness::Fresh => near.life.renewal_due(self.0.chance.fraction()),
            _ => match self.renew(&holding, key.kind, Why::Ahead).await {
                Ok((near, _)) => near.life.after_renewal(self.clock(), self.0.chance.fraction()),
                Err(error) => self.after_failure(&holding, &error),
            },
        };
        let next = if is_unsure || unsaved && slot.near.load().as_ref().is_some_and(|near| near.life.is_unsaved()) {
            next.min(self.0.clock.steady().plus(self.store_pause()))
        } else {
            next
        };
        self.attend_no_later(&holding, key.kind, next);
    }

    pub(super) fn after_failure(&self, holding: &Holding, error: &KeeperError) -> SteadyMillis {
        let now = self.0.clock.steady();
        match error {
            KeeperError::CoolingDown { retry_after, .. } => now.plus(*retry_after),
            // What failed may be the token that a ticket needs; then its pause is the one to wait for.
            KeeperError::Upstream { key, .. } => {
                holding.slot(key.kind).failure().map_or(now.plus(NO_HURRY), |failure| failure.until)
            }
            KeeperError::Store(_) => now.plus(self.store_pause()),
            KeeperError::TooSlow { .. } | KeeperError::Lost { .. } => now.plus(SOON),
        }
    }
}

impl Refresher {
    /// Renews ahead until `stop` changes. What is under way then goes on in its own flight; [`Keeper::close`] waits for it.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let keeper = &self.keeper;
        let attend = |key| {
            let keeper = keeper.clone();
            async move { keeper.attend(key).await }
        };
        let news = keeper.0.store.changes();
        keep_appointments(&keeper.0.agenda, keeper.clock(), stop, attend, news, |told| keeper.hear(told)).await;
    }
}
