//! Who looks ahead: one task that sleeps until the earliest source is due. There are few sources, so it looks at all of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Sources;
use super::error::SourceError;
use super::renew::Why;
use super::slot::{Held, Near, lifetime};
use crate::account::Keep;
use crate::clock::SteadyMillis;
use crate::credential::Freshness;

/// How long after a failure of the store, or a lost task, the next try comes.
const SOON: Duration = Duration::from_secs(1);

/// The shortest pause after a service handed back the same object.
const NOT_YET: Duration = Duration::from_millis(200);

/// The pause after a failure of another source that this one needs and that names no pause of its own.
const NO_HURRY: Duration = Duration::from_secs(60);

impl Sources {
    /// Renews ahead until `stop` changes. What is under way then goes on in its own flight; [`Sources::close`] waits for it.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut visits = JoinSet::new();
        loop {
            let (now, directory) = (self.0.clock.steady(), self.0.directory.load_full());
            let mut next = now.plus(Duration::from_secs(3600));
            for held in directory.values() {
                match held.slot.due() {
                    Some(due) if due > now => next = next.min(due),
                    Some(_) if !held.slot.visited.swap(true, Ordering::Relaxed) => {
                        let (sources, held) = (self.clone(), Arc::clone(held));
                        visits.spawn(async move { sources.attend(&held).await });
                    }
                    _ => {}
                }
            }
            tokio::select! {
                () = tokio::time::sleep(now.until(next)) => {}
                () = self.0.bell.notified() => {}
                Some(_) = visits.join_next() => {}
                _ = stop.changed() => return,
            }
        }
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

    /// Has a source looked at when its object is due, if that is not arranged yet.
    pub(super) fn schedule(&self, held: &Held, near: &Near) {
        if held.slot.due().is_none() && !held.slot.visited.load(Ordering::Relaxed) {
            self.appoint(held, near.renewal_due(rand::random()));
        }
    }

    /// Has a source looked at at `due`, and at no other time.
    pub(super) fn appoint(&self, held: &Held, due: SteadyMillis) {
        held.slot.set_due(Some(due));
        self.0.bell.notify_one();
    }

    /// Has what the store lacks written soon.
    pub(super) fn soon(&self, held: &Held) {
        let soon = self.0.clock.steady().plus(SOON);
        if held.slot.due().is_none_or(|due| due > soon) {
            self.appoint(held, soon);
        }
    }

    /// Does what is due for one source and arranges its next appointment.
    async fn attend(&self, held: &Arc<Held>) {
        let (slot, clock) = (&held.slot, &self.0.clock);
        self.write_back(held).await;
        let near = slot.near.load_full();
        let unsaved = |near: &Option<Arc<Near>>| near.as_ref().is_some_and(|near| near.unsaved.load(Ordering::Relaxed));
        let wanted = self.0.keep == Keep::Always || slot.asked_within(lifetime(near.as_ref()), clock.steady());
        if wanted || unsaved(&near) {
            let next = match near {
                Some(near) if near.freshness(clock) == Freshness::Fresh => near.renewal_due(rand::random()),
                _ => match self.renew(held, Why::Ahead).await {
                    Ok(near) => self.after_renewal(&near),
                    Err(error) => self.after_failure(&error),
                },
            };
            let still_unsaved = unsaved(&slot.near.load_full());
            slot.set_due(Some(if still_unsaved { next.min(clock.steady().plus(SOON)) } else { next }));
        } else {
            slot.set_due(None);
        }
        slot.visited.store(false, Ordering::Relaxed);
    }

    /// A fresh object comes up again by its own window; one that is still due is "not yet" and is asked for again soon, the sooner the
    /// less of its life is left.
    fn after_renewal(&self, near: &Near) -> SteadyMillis {
        if near.freshness(&self.0.clock) == Freshness::Fresh {
            return near.renewal_due(rand::random());
        }
        let pause = (near.left(&self.0.clock) / 4).min(near.window() / 8).max(NOT_YET);
        self.0.clock.steady().plus(pause.mul_f64(1.0 - 0.2 * rand::random::<f64>()))
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
