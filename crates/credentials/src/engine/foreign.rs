//! Signs that another program fetches the same credential: a value of ours is void before its end,
//! and nothing that we did explains it. Our own renewals leave traces: a later generation in the
//! store, a call that was counted and whose answer never came, a doubt about the value.

use std::sync::Arc;
use std::time::Duration;

use super::cached::Cached;
use super::credential::Credential;
use super::lease::Right;
use super::subject::{Effect, Subject};
use crate::ledger::Ledger;
use clock::UnixMillis;

/// A value may be replaced without anybody's fault this long before its end: WeChat grants a new
/// stable token in the last five minutes of the one before. Source: 获取稳定版接口调用凭据.
const LAST_MINUTES: Duration = Duration::from_secs(5 * 60);

impl<S: Subject> Credential<S> {
    /// Whether nothing that we did explains why `current` should be void.
    pub(super) fn is_unexplained(&self, current: &Cached, ledger: &Ledger, right: &Right) -> bool {
        self.subject.load().effect() == Effect::Supersedes
            && right.lease.is_some()
            && !current.version.is_foreign
            && current.version.generation > 0
            && ledger.called <= current.version.generation
            && !current.is_doubtful()
            && self.unanswered_until().is_none()
            // A store that fails loses traces.
            && self.engine.outage.faults() == current.faults_at_first
            && current.left(&self.engine.clock) > LAST_MINUTES
    }

    /// A plain fetch, which voids nothing, returned another value than the current one.
    pub(super) async fn note_if_foreign(&self, right: &Right) {
        let (Some(current), true) = (&right.current, self.subject.load().can_ask_freely()) else {
            return;
        };
        if self.subject.load().calls_per_day().is_some()
            && self.is_unexplained(current, &self.ledger.last(), right)
        {
            self.note_foreign(current).await;
        }
    }

    /// Notes that another program has fetched the credential since `current` was granted.
    pub(super) async fn note_foreign(&self, current: &Arc<Cached>) {
        // The service granted it one lifetime before its end.
        let lifetime = u64::try_from(current.lifetime.as_millis()).unwrap_or(u64::MAX);
        let after = UnixMillis(current.expires_at().0.saturating_sub(lifetime));
        let before = self.engine.clock.wall();
        let generation = current.version.generation;
        let noted = self
            .change_ledger(|ledger| ledger.add_foreign(generation, after, before))
            .await;
        if let Some(ledger) = noted {
            tracing::warn!(
                credential = %self.key(),
                times = ledger.foreign_total,
                after = after.seconds().0,
                before = before.seconds().0,
                "another program fetches this account's token and voids ours"
            );
        }
    }
}
