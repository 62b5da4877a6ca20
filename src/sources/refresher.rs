//! What is done ahead of time, and when: each source has one appointment on the agenda.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::Sources;
use super::error::SourceError;
use super::slot::{Held, Near, Why};
use crate::account::Keep;
use crate::clock::SteadyMillis;
use crate::credential::Freshness;
use crate::renewal::{NO_HURRY, SOON, keep_appointments};

impl Sources {
    /// Renews ahead until `stop` changes. What is under way then goes on in its own flight; [`Sources::close`] waits for it.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let attend = |name| {
            let sources = self.clone();
            async move { sources.attend(name).await }
        };
        // What others renewed is seen when the near copy has aged.
        keep_appointments(&self.0.agenda, &self.0.clock, stop, attend, None, |_| ()).await;
    }

    /// Waits for the renewals under way, at most `grace`, and writes what the store lacks. Closing the store is its owner's business.
    pub async fn close(&self, grace: Duration) {
        let mut flying = self.0.flying.subscribe();
        if tokio::time::timeout(grace, flying.wait_for(|flying| *flying == 0)).await.is_err() {
            tracing::warn!("stopped before every source's renewal had ended");
        }
        for held in self.0.directory.load_full().values() {
            self.write_back(held).await;
        }
    }

    /// Puts a source's renewal on the list, if it is not there.
    pub(super) fn schedule(&self, held: &Held, near: &Near) {
        if !held.slot.scheduled.load(Ordering::Relaxed) {
            self.reschedule(held, near);
        }
    }

    /// Puts the renewal of a new object on the list, over that of the old one.
    pub(super) fn reschedule(&self, held: &Held, near: &Near) {
        held.slot.scheduled.store(true, Ordering::Relaxed);
        self.0.agenda.set(held.source.name.clone(), near.life.renewal_due(rand::random()));
    }

    /// Has what the store lacks written soon.
    pub(super) fn soon(&self, held: &Held) {
        self.attend_no_later(held, self.0.clock.steady().plus(SOON));
    }

    /// Puts a source on the list for `due`, unless it is there for an earlier time.
    pub(super) fn attend_no_later(&self, held: &Held, due: SteadyMillis) {
        held.slot.scheduled.store(true, Ordering::Relaxed);
        self.0.agenda.set_no_later(held.source.name.clone(), due);
    }

    /// Does what is due for one source and puts its next appointment on the list.
    async fn attend(&self, name: String) {
        let Some(held) = self.0.directory.load().get(&name).cloned() else { return };
        let (slot, clock) = (&held.slot, &self.0.clock);
        self.write_back(&held).await;
        let near = slot.near.load_full();
        let unsaved = |near: &Option<Arc<Near>>| near.as_ref().is_some_and(|near| near.life.is_unsaved());
        if self.0.keep != Keep::Always && !slot.is_wanted(clock.steady()) && !unsaved(&near) {
            slot.scheduled.store(false, Ordering::Relaxed);
            return;
        }
        let next = match near {
            Some(near) if near.life.freshness(clock) == Freshness::Fresh => near.life.renewal_due(rand::random()),
            _ => match self.renew(&held, Why::Ahead).await {
                Ok((near, _)) => near.life.after_renewal(clock, rand::random()),
                Err(error) => self.after_failure(&error),
            },
        };
        let still_unsaved = unsaved(&slot.near.load_full());
        self.attend_no_later(&held, if still_unsaved { next.min(clock.steady().plus(SOON)) } else { next });
    }

    fn after_failure(&self, error: &SourceError) -> SteadyMillis {
        let now = self.0.clock.steady();
        match error {
            SourceError::CoolingDown { retry_after, .. } => now.plus(*retry_after),
            // What failed may be another source that this one needs; then its pause is the one to wait for.
            SourceError::Upstream { name, .. } => {
                let failure = self.0.directory.load().get(name).and_then(|held| held.slot.failure());
                failure.map_or(now.plus(NO_HURRY), |failure| failure.until)
            }
            SourceError::Store(_) | SourceError::TooSlow { .. } | SourceError::Lost { .. } => now.plus(SOON),
        }
    }
}
