//! Renewal before anybody asks. Each credential has one entry on the agenda, and one task sleeps
//! until the earliest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinSet;

use super::cached::Cached;
use super::credential::{Credential, Engine, Error};
use super::error::RenewalError;
use super::reason::Reason;
use super::subject::Subject;
use crate::engine::freshness::Freshness;
use crate::store::Changed;
use clock::SteadyMillis;
use wechat::account::Keep;

/// How many credentials are attended to at once, so that ten thousand that are due together do not
/// flood the service.
const AT_ONCE: usize = 32;

/// Retry delay after a failure of the store or a lost task.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// Retry delay for background renewals whose error sets no back-off.
const NO_HURRY: Duration = Duration::from_secs(60);

/// The longest retry delay for one credential while the store is down.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

type Notice = Result<Changed, broadcast::error::RecvError>;

impl<S: Subject> Engine<S> {
    /// Attends to whatever is due until `stop` changes or is dropped. Renewals in flight then
    /// continue; [`Engine::close`] waits for them.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (at_once, mut visits) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        let mut changes = self.store.changes();
        loop {
            for key in self.agenda.take_due(self.clock.steady()) {
                let Some(credential) = self.find(&key) else {
                    continue;
                };
                let at_once = Arc::clone(&at_once);
                visits.spawn(async move {
                    // The semaphore is never closed, so there always is a permit.
                    let _permit = at_once.acquire().await.ok();
                    credential.attend().await;
                });
            }
            let pause = self
                .agenda
                .earliest()
                .map_or(Duration::from_secs(3600), |due| {
                    self.clock.steady().until(due)
                });
            tokio::select! {
                // In this order, so that a run with the same seed is the same run.
                biased;
                _ = stop.changed() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.agenda.earlier() => {}
                Some(_) = visits.join_next() => {}
                notice = next(&mut changes) => self.on_notice(notice),
            }
        }
    }

    /// Another process changed something. A missed notice costs nothing: the copy is read again
    /// when it is a second old.
    fn on_notice(&self, notice: Notice) {
        let key = match notice {
            Ok(Changed::Key(key)) => key,
            // A store that closed the connection may have restarted with less than it had.
            Ok(Changed::Unknown) => return self.outage.suspect(),
            Err(_) => return,
        };
        self.waiters.wake(&key);
        // A credential without a cached copy is read when somebody asks for it.
        if let Some(credential) = S::key_of(&key)
            .and_then(|key| self.find(&key))
            .filter(|found| found.cached.load().is_some())
        {
            drop(credential.begin_reading());
        }
    }

    /// `keep: always`: schedules every credential, spread over a few seconds.
    pub(super) fn schedule_all(&self) {
        let (now, mut credentials) = (self.clock.steady(), self.all());
        credentials.retain(|credential| credential.subject.load().is_always_kept());
        let spread = Duration::from_millis(3)
            .saturating_mul(u32::try_from(credentials.len()).unwrap_or(u32::MAX));
        for credential in credentials {
            if !credential.is_scheduled.swap(true, Relaxed) {
                self.agenda
                    .set(credential.key(), now.plus(spread.mul_f64(self.jitter())));
            }
        }
    }

    /// Forgets every failure and retries at once what was backing off: an operator who reloads has
    /// corrected something.
    pub(crate) fn forget_failures(&self) {
        let (now, all) = (self.clock.steady(), self.all());
        let failed: BTreeSet<_> = all
            .iter()
            .filter(|one| one.set_failure(None).is_some())
            .map(|one| one.key())
            .collect();
        // A credential may wait for the back-off of one that it needs.
        let waits = |one: &Credential<S>| {
            failed.contains(&one.key())
                || one
                    .subject
                    .load()
                    .needs()
                    .iter()
                    .any(|key| failed.contains(key))
        };
        for credential in all
            .iter()
            .filter(|one| one.is_scheduled.load(Relaxed) && waits(one))
        {
            credential.attend_no_later(now);
        }
    }

    /// Waits for the renewals in flight, at most `grace`, and writes what the store lacks.
    pub(crate) async fn close(&self, grace: Duration) {
        let mut renewing = self.renewing.subscribe();
        if tokio::time::timeout(grace, renewing.wait_for(|renewing| *renewing == 0))
            .await
            .is_err()
        {
            tracing::warn!("stopped before every renewal had ended");
        }
        for credential in self.all() {
            credential.write_back().await;
        }
    }
}

/// The next notice; pending for ever once the store sends no more.
async fn next(changes: &mut Option<broadcast::Receiver<Changed>>) -> Notice {
    let Some(receiver) = changes else {
        return std::future::pending().await;
    };
    let notice = receiver.recv().await;
    if matches!(notice, Err(broadcast::error::RecvError::Closed)) {
        *changes = None;
    }
    notice
}

impl<S: Subject> Credential<S> {
    /// Does what is due, and schedules the next time.
    async fn attend(self: Arc<Self>) {
        let engine = &self.engine;
        self.write_back().await;
        // A shared store may have lost the value, or another instance may have renewed it.
        let is_unsure = engine.is_shared && self.read().await.is_err();
        let cached = self.cached.load_full();
        self.doubt_after_unanswered(cached.as_ref());
        if engine.keep != Keep::Always && !self.is_wanted() && !self.is_unsaved() {
            self.is_scheduled.store(false, Relaxed);
            return;
        }
        let next = match cached {
            Some(cached) if cached.is_suspect() => self.resolve(&cached).await,
            Some(cached) if cached.freshness(&engine.clock) == Freshness::Fresh => {
                cached.renewal_due(engine.jitter())
            }
            _ => match self.renew(Reason::Ahead).await {
                Ok((cached, _)) => cached.after_renewal(&engine.clock, engine.jitter()),
                Err(error) => self.after_failure(&error),
            },
        };
        let next = if is_unsure || self.is_unsaved() {
            next.min(engine.clock.steady().plus(self.store_pause()))
        } else {
            next
        };
        self.attend_no_later(next);
    }

    pub(super) fn after_failure(&self, error: &Error<S>) -> SteadyMillis {
        let now = self.engine.clock.steady();
        match error {
            RenewalError::CoolingDown { retry_after, .. } => now.plus(*retry_after),
            // The failure may be that of a credential which this one needs; then its back-off
            // counts.
            RenewalError::Upstream { key, .. } => {
                let pause = self
                    .engine
                    .find(key)
                    .and_then(|failed| failed.failed_until());
                pause.unwrap_or(now.plus(NO_HURRY))
            }
            RenewalError::Store(_) => now.plus(self.store_pause()),
            RenewalError::TooSlow { .. } | RenewalError::Lost { .. } => now.plus(SOON),
        }
    }

    /// Retry delay while the store is down. It grows with the outage, so that ten thousand
    /// credentials do not flood a store that recovers. Requests do not wait for it.
    pub(super) fn store_pause(&self) -> Duration {
        let down_for = self.engine.outage.lasts(self.engine.clock.steady());
        (down_for / 8)
            .clamp(SOON, LONGEST_PAUSE)
            .mul_f64(1.0 + 0.5 * self.engine.jitter())
    }

    /// Schedules the renewal, unless something is scheduled.
    pub(super) fn schedule(&self, cached: &Cached) {
        if !self.is_scheduled.swap(true, Relaxed) {
            self.engine
                .agenda
                .set(self.key(), cached.renewal_due(self.engine.jitter()));
        }
    }

    /// Schedules the renewal of a new value instead of that of the old one.
    pub(super) fn reschedule(&self, cached: &Cached) {
        self.is_scheduled.store(true, Relaxed);
        let due = cached.renewal_due(self.engine.jitter());
        // After an unanswered call the new value may be void by then.
        let due = self
            .unanswered_until()
            .map_or(due, |doubted| doubted.min(due));
        self.engine.agenda.set(self.key(), due);
    }

    /// Schedules for `due`, unless something earlier is scheduled.
    pub(super) fn attend_no_later(&self, due: SteadyMillis) {
        self.is_scheduled.store(true, Relaxed);
        self.engine.agenda.set_no_later(self.key(), due);
    }
}
