//! What is done before anybody asks. Each credential has one appointment on the agenda, and one task sleeps until the earliest of all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinSet;

use super::cached::Cached;
use super::credential::{Credential, Error};
use super::engine::Engine;
use super::error::RenewalError;
use super::renew::Reason;
use super::subject::Subject;
use crate::engine::freshness::Freshness;
use crate::store::{Changed, Committed, Version};
use clock::SteadyMillis;
use wechat::account::Keep;

/// How many appointments are kept at once, so that ten thousand credentials due together are no storm.
const AT_ONCE: usize = 32;

/// When to look again after a failure of the store, or a lost task.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// Retry delay for background renewals whose error sets no back-off.
const NO_HURRY: Duration = Duration::from_secs(60);

/// The longest pause before the store is asked again for one credential.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long after a write the store is asked whether it still has the value: a replica that takes over may not.
const SETTLED: Duration = Duration::from_secs(3);

type Notice = Result<Changed, broadcast::error::RecvError>;

impl<S: Subject> Engine<S> {
    /// Keeps all appointments until `stop` changes or is dropped. A renewal under way then goes on; [`Engine::close`] waits for it.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (at_once, mut visits) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        let mut changes = self.store.changes();
        loop {
            for key in self.agenda.take_due(self.clock.steady()) {
                let Some(credential) = self.find(&key) else { continue };
                let at_once = Arc::clone(&at_once);
                visits.spawn(async move {
                    // The semaphore is never closed; without a permit the visit would only be less well spaced.
                    let _permit = at_once.acquire().await.ok();
                    credential.attend().await;
                });
            }
            let pause = self.agenda.earliest().map_or(Duration::from_secs(3600), |due| self.clock.steady().until(due));
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

    /// Another process changed something. What was missed is left to age.
    fn on_notice(&self, notice: Notice) {
        let key = match notice {
            Ok(Changed::Key(key)) => key,
            // A store that hung up may have been started again, with less than it had.
            Ok(Changed::Perhaps) => return self.outage.suspect(),
            Err(_) => return,
        };
        self.waiters.wake(&key);
        // A credential that nobody asked for here is not read either.
        if let Some(credential) = S::key_of(&key).and_then(|key| self.find(&key)).filter(|found| found.cached.load().is_some()) {
            drop(credential.begin_reading());
        }
    }

    /// `keep: always`: every credential of `keys`, spread over a few seconds.
    pub(crate) fn schedule_all(&self, credentials: &[Arc<Credential<S>>]) {
        let now = self.clock.steady();
        let spread = Duration::from_millis(3).saturating_mul(u32::try_from(credentials.len()).unwrap_or(u32::MAX));
        for credential in credentials {
            if !credential.is_scheduled.swap(true, Relaxed) {
                self.agenda.set(credential.key.clone(), now.plus(spread.mul_f64(self.jitter())));
            }
        }
    }

    /// Forgets every failure, and tries again at once what was put off: a reload is how an operator says "I have corrected it".
    pub(crate) fn forget_failures(&self) {
        let (now, all) = (self.clock.steady(), self.all());
        let failed: BTreeSet<_> = all.iter().filter(|one| one.set_failure(None).is_some()).map(|one| one.key.clone()).collect();
        // A credential may wait for the pause of one that it needs.
        let waits =
            |one: &Credential<S>| failed.contains(&one.key) || one.subject.load().needs().iter().any(|key| failed.contains(key));
        for credential in all.iter().filter(|one| one.is_scheduled.load(Relaxed) && waits(one)) {
            credential.attend_no_later(now);
        }
    }

    /// Waits for the renewals under way, at most `grace`, and writes what the store lacks.
    pub(crate) async fn close(&self, grace: Duration) {
        let mut renewing = self.renewing.subscribe();
        if tokio::time::timeout(grace, renewing.wait_for(|renewing| *renewing == 0)).await.is_err() {
            tracing::warn!("stopped before every renewal had ended");
        }
        for credential in self.all() {
            credential.write_back().await;
        }
    }
}

/// The next notice; never, where the store sends none any more.
async fn next(changes: &mut Option<broadcast::Receiver<Changed>>) -> Notice {
    let Some(receiver) = changes else { return std::future::pending().await };
    let notice = receiver.recv().await;
    if matches!(notice, Err(broadcast::error::RecvError::Closed)) {
        *changes = None;
    }
    notice
}

impl<S: Subject> Credential<S> {
    /// Does what is due, and makes the next appointment.
    async fn attend(self: Arc<Self>) {
        let engine = &self.engine;
        self.write_back().await;
        // A shared store may have lost what it said it had, or others may have renewed.
        let is_unsure = engine.is_shared && self.read().await.is_err();
        let cached = self.cached.load_full();
        self.doubt_after_unanswered(cached.as_ref());
        if engine.keep != Keep::Always && !self.is_wanted() && !self.is_unsaved() {
            self.is_scheduled.store(false, Relaxed);
            return;
        }
        let next = match cached {
            Some(cached) if cached.is_suspect() => self.resolve(&cached).await,
            Some(cached) if cached.freshness(&engine.clock) == Freshness::Fresh => cached.renewal_due(engine.jitter()),
            _ => match self.renew(Reason::Ahead).await {
                Ok((cached, _)) => cached.after_renewal(&engine.clock, engine.jitter()),
                Err(error) => self.after_failure(&error),
            },
        };
        let next = if is_unsure || self.is_unsaved() { next.min(engine.clock.steady().plus(self.store_pause())) } else { next };
        self.attend_no_later(next);
    }

    /// Whether a valid copy waits to be written.
    fn is_unsaved(&self) -> bool {
        self.living().is_some_and(|cached| cached.is_unsaved())
    }

    /// Writes a value that the store lacks, unless the store has a later one.
    pub(super) async fn write_back(self: &Arc<Self>) {
        let Some(unsaved) = self.living().filter(|cached| cached.is_unsaved()) else { return };
        let engine = &self.engine;
        let Version { generation, is_foreign } = unsaved.version;
        let written = if generation == 0 || is_foreign {
            self.write_back_first(&unsaved).await
        } else {
            let key = self.subject.load().store_key();
            let new = unsaved.to_store(generation);
            self.save(|new| engine.store.restore(&key, new), new).await.map(|written| (written, generation))
        };
        match written {
            Ok((Committed::Stored, generation)) => {
                engine.outage.answered(engine.clock.steady());
                let saved = Arc::new(unsaved.with_version(Version::ours(generation), &engine.clock, engine.outage.faults()));
                self.swap(&Some(unsaved), Some(saved));
                tracing::info!(credential = %self.key, "written back to the store");
            }
            Ok((Committed::Superseded(theirs), _)) => {
                self.apply(Some(unsaved), theirs);
            }
            Err(error) => engine.outage.failed(&error, engine.clock.steady()),
        }
    }

    /// A value that was fetched without a lease, or that another program wrote, gets a generation of ours now.
    async fn write_back_first(&self, unsaved: &Cached) -> Result<(Committed, u64), crate::store::StoreError> {
        let (store, key) = (&self.engine.store, self.subject.load().store_key());
        // Another owner than a renewal's, which may run at the same time: neither may use or release the other's lease.
        let owner = format!("{}.w", self.owner());
        let acquired = store.acquire(&key, &owner, self.engine.timeout, 0).await?;
        let Some(lease) = acquired.lease else { return Ok((Committed::Superseded(acquired.current), 0)) };
        let is_free = acquired.current.as_ref().is_none_or(|current| unsaved.is_value(&current.value));
        let written = match is_free {
            true => self.save(|new| store.commit(&lease, new), unsaved.to_store(lease.generation)).await,
            false => Ok(Committed::Superseded(acquired.current)),
        };
        self.release(&lease, None).await;
        written.map(|written| (written, lease.generation))
    }

    pub(super) fn after_failure(&self, error: &Error<S>) -> SteadyMillis {
        let now = self.engine.clock.steady();
        match error {
            RenewalError::CoolingDown { retry_after, .. } => now.plus(*retry_after),
            // What failed may be a credential that this one needs; then its pause is the one to wait for.
            RenewalError::Upstream { key, .. } => {
                let pause = self.engine.find(key).and_then(|failed| failed.failed_until());
                pause.unwrap_or(now.plus(NO_HURRY))
            }
            RenewalError::Store(_) => now.plus(self.store_pause()),
            RenewalError::TooSlow { .. } | RenewalError::Lost { .. } => now.plus(SOON),
        }
    }

    /// How long to wait before the store is asked again: the longer it has been down, the longer, so that ten thousand credentials are no storm
    /// on a server that comes back. Whoever asks for a credential does not wait for this.
    fn store_pause(&self) -> Duration {
        let down_for = self.engine.outage.lasts(self.engine.clock.steady());
        (down_for / 8).clamp(SOON, LONGEST_PAUSE).mul_f64(1.0 + 0.5 * self.engine.jitter())
    }

    /// Makes an appointment for the renewal, if there is none.
    pub(super) fn schedule(&self, cached: &Cached) {
        if !self.is_scheduled.swap(true, Relaxed) {
            self.engine.agenda.set(self.key.clone(), cached.renewal_due(self.engine.jitter()));
        }
    }

    /// Makes the appointment for the renewal of a new value, instead of that of the old one.
    pub(super) fn reschedule(&self, cached: &Cached) {
        self.is_scheduled.store(true, Relaxed);
        let due = cached.renewal_due(self.engine.jitter());
        // After an unanswered call, whatever comes now may be void by then.
        let due = self.unanswered_until().map_or(due, |doubted| doubted.min(due));
        self.engine.agenda.set(self.key.clone(), due);
    }

    /// Makes an appointment for `due`, unless there is an earlier one.
    pub(super) fn attend_no_later(&self, due: SteadyMillis) {
        self.is_scheduled.store(true, Relaxed);
        self.engine.agenda.set_no_later(self.key.clone(), due);
    }

    pub(super) fn verify_later(&self) {
        if self.engine.is_shared {
            self.attend_no_later(self.engine.clock.steady().plus(SETTLED));
        }
    }

    pub(super) fn write_back_soon(&self) {
        self.attend_no_later(self.engine.clock.steady().plus(self.store_pause()));
    }
}
