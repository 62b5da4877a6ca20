//! The call, and what follows from its answer: a grant is written to the store and to the cached
//! copy, a refusal is remembered.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::cached::Cached;
use super::credential::Credential;
use super::lease::Right;
use super::reason::Reason;
use super::reconcile::SAME_END;
use super::subject::{Effect, Granted, Needed, Refusal, Subject};
use crate::observer::{Renewal, RenewalResult};
use crate::store::{Committed, NewCredential, StoreError, Version};
use clock::SteadyMillis;

/// A write that took no longer than this is exact enough, because stores keep whole seconds.
pub(super) const PROMPT: Duration = Duration::from_secs(1);

/// The most attempts of a write that takes longer than [`PROMPT`].
const TURNS: u32 = 3;

/// The result of a call.
pub(super) enum Settled<S: Subject> {
    Granted(Arc<Cached>),
    Refused(S::Refusal),
}

impl<S: Subject> Credential<S> {
    /// Asks the service, and settles a grant. Counts the call meanwhile, so that a slow store does
    /// not lengthen the renewal.
    pub(super) async fn call(
        self: &Arc<Self>,
        needed: &Needed<S>,
        force: bool,
        reason: &Reason,
        right: &Right,
    ) -> Settled<S> {
        let calling = self.fetch_and_settle(needed, force, reason, right);
        tokio::join!(calling, self.count_call(force, right)).0
    }

    async fn fetch_and_settle(
        self: &Arc<Self>,
        needed: &Needed<S>,
        force: bool,
        reason: &Reason,
        right: &Right,
    ) -> Settled<S> {
        let (engine, subject) = (&self.engine, self.subject.load_full());
        let asked_at = engine.clock.steady();
        let answer = subject.fetch(needed, force).await;
        let duration_ms = asked_at.until(engine.clock.steady()).as_millis() as u64;
        match answer {
            Ok(granted) => {
                let is_same = right
                    .current
                    .as_ref()
                    .is_some_and(|current| self.is_same(current.value(), &granted.value));
                let result = match is_same {
                    true => RenewalResult::Same,
                    false => RenewalResult::Granted,
                };
                self.report(reason, result, None);
                if !force && !is_same {
                    self.note_if_foreign(right).await;
                }
                let expires_in = granted.expires_in.as_secs();
                let cached = self.settle(granted, asked_at, right).await;
                let names = subject.log_names();
                tracing::info!(
                    account.id = names.account,
                    credential.kind = names.kind,
                    source.name = names.source,
                    why = reason.name(),
                    expires_in,
                    duration_ms,
                    "renewed"
                );
                Settled::Granted(cached)
            }
            Err(refusal) => {
                let code = refusal.code();
                let result = match refusal.is_answer() {
                    true => RenewalResult::Refused,
                    false => RenewalResult::Unreachable,
                };
                self.report(reason, result, code);
                self.note_lost(&refusal, force, right).await;
                Settled::Refused(refusal)
            }
        }
    }

    fn report(&self, reason: &Reason, result: RenewalResult, code: Option<i64>) {
        let Some(observer) = &self.engine.observer else {
            return;
        };
        observer.renewal(&Renewal {
            names: self.subject.load().log_names(),
            why: reason.name(),
            result,
            code,
        });
    }

    /// Writes a grant to the store and to the cached copy. Its expiry is measured from when the
    /// request was sent.
    async fn settle(
        self: &Arc<Self>,
        granted: Granted,
        asked_at: SteadyMillis,
        right: &Right,
    ) -> Arc<Cached> {
        self.set_failure(None);
        // By the steady clock: the wall clock may be moved while the store is written to.
        let ends = asked_at.plus(granted.expires_in);
        if let Some(same) = self.unchanged(&granted, ends, right) {
            same.set_doubtful(false);
            self.cached.store(Some(Arc::clone(&same)));
            return same;
        }
        let is_saved = match self.commit(&granted, ends, right).await {
            ControlFlow::Continue(is_saved) => is_saved,
            ControlFlow::Break(theirs) => return theirs,
        };
        let generation = right.lease.as_ref().map_or(0, |lease| lease.generation);
        let cached = self.copy(
            granted.value,
            Version::ours(generation),
            ends,
            granted.lifetime,
            true,
        );
        let cached = Arc::new(cached);
        if !is_saved {
            cached.set_unsaved(self.engine.clock.steady());
        }
        let before = self.cached.swap(Some(Arc::clone(&cached)));
        self.keep_previous(before.as_ref());
        self.reschedule(&cached);
        if is_saved {
            self.verify_later();
        } else {
            self.write_back_soon();
        }
        cached
    }

    /// Commits a grant under the lease. Returns whether the store has it now, or breaks with the
    /// value that it has instead.
    async fn commit(
        self: &Arc<Self>,
        granted: &Granted,
        ends: SteadyMillis,
        right: &Right,
    ) -> ControlFlow<Arc<Cached>, bool> {
        let Some(lease) = &right.lease else {
            return ControlFlow::Continue(false);
        };
        let new = NewCredential {
            value: &granted.value,
            ends,
            generation: lease.generation,
            lifetime: granted.lifetime,
        };
        let commit = |new| self.engine.store.commit(lease, new);
        let theirs = match self.save(commit, new).await {
            Ok(Committed::Stored) => return ControlFlow::Continue(true),
            Ok(Committed::Superseded(theirs)) => theirs,
            Err(error) => {
                self.engine.store_failed(&error);
                return ControlFlow::Continue(false);
            }
        };
        tracing::warn!(credential = %self.key(), "two renewals crossed; the other one's value is kept");
        let Some(theirs) = self.apply(self.cached.load_full(), theirs) else {
            return ControlFlow::Continue(false);
        };
        if self.subject.load().effect() == Effect::Supersedes {
            // Which of the two the service granted last cannot be known.
            self.doubt(&theirs);
        }
        ControlFlow::Break(theirs)
    }

    /// The current copy, if the service returned the same value again: no progress, and nothing to
    /// write.
    fn unchanged(
        &self,
        granted: &Granted,
        ends: SteadyMillis,
        right: &Right,
    ) -> Option<Arc<Cached>> {
        let current = right
            .current
            .clone()
            .filter(|current| !current.is_over(&self.engine.clock))?;
        let is_same_end = current.ends.0.abs_diff(ends.0) <= SAME_END.as_millis() as u64;
        let is_no_progress =
            is_same_end || self.subject.load().repeats_lifetime() && ends > current.ends;
        (self.is_same(current.value(), &granted.value) && is_no_progress).then_some(current)
    }

    /// Calls `write`, and repeats it if it took so long that the store would keep the value beyond
    /// its expiry.
    pub(super) async fn save<'n, F>(
        &self,
        write: impl Fn(NewCredential<'n>) -> F,
        new: NewCredential<'n>,
    ) -> Result<Committed, StoreError>
    where
        F: Future<Output = Result<Committed, StoreError>>,
    {
        let mut turns = 1;
        loop {
            let begun = self.engine.clock.steady();
            let written = write(new).await?;
            let was_prompt = begun.until(self.engine.clock.steady()) <= PROMPT;
            if was_prompt || turns == TURNS || !matches!(written, Committed::Stored) {
                return Ok(written);
            }
            turns += 1;
        }
    }

    /// A failed call may have changed something at the service nevertheless: notes what.
    async fn note_lost(self: &Arc<Self>, refusal: &S::Refusal, force: bool, right: &Right) {
        let subject = self.subject.load_full();
        let may_have_been_granted = refusal.may_have_been_granted();
        if may_have_been_granted && subject.effect() == Effect::Supersedes {
            if !subject.can_ask_freely() {
                self.note_unanswered();
            }
            if let Some(current) = right.current.as_ref().filter(|_| force) {
                self.doubt(current);
            }
        }
        if force && !may_have_been_granted {
            self.return_forced_permit().await;
        }
    }
}
